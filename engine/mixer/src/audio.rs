//! The audio mix of one conference, tick by tick: everybody hears everybody but themselves.
//!
//! What a tick does ([`AudioMixer::tick`]):
//!
//! 1. *listen*: each source's level, from its packets' header extension or from its sound; the loudest of each
//!    room are mixed, the others are not even decoded when their packets say how loud they are;
//! 2. *blend*: what is mixed is brought from its own rate to those that outputs need, and summed up by room, once;
//! 3. *assign*: outputs that are to hear something else than before get another feed. All who hear the same in
//!    the same codec share one feed: one mix, one limiter, one encoder;
//! 4. *encode*: each feed is the room's sum, less the receivers' own voice, with what differs for them;
//! 5. *send*: each output gets its feed's payload under a header of its own.
//!
//! Words: a *source* is a stream that a participant publishes, an *output* one that it receives, a *group* a room
//! whose sources and outputs hear each other. A *strip* is a sound that is being mixed, a *recipe* what an output
//! hears, a *feed* a recipe encoded. `docs/audio.md` has the rules.
//!
//! There is no clock and no lock in here. Ticks and packets allocate nothing once warm; when a speaker comes or
//! goes, an encoder is copied or given up.

mod agc;
mod apply;
mod blend;
mod command;
mod dtmf;
mod error;
mod events;
mod feed;
mod gain;
mod group;
mod level;
mod limiter;
pub mod limits;
mod listen;
mod mixer;
mod outbox;
mod output;
pub mod prompt;
mod slots;
mod source;
mod stage;
mod strip;
mod suppress;
#[cfg(test)]
mod tests;

use crate::{kernel, rate};
pub use command::*;
pub use error::{MixDrop, MixDrops, MixError};
pub use gain::Gain;
pub use mixer::AudioMixer;
pub use outbox::{MixEvent, MixOutbox, MixPacket, MixStats, SourceStatus};
