//! The media relay as a pure core: packets, commands and the time in; packets, events and deadlines out.
//!
//! Calling order, once per turn of a worker:
//!
//! 1. `Relay::handle_batch` with everything received in this turn;
//! 2. `Relay::handle_timeout` when `Relay::poll_timeout` is due;
//! 3. `Relay::handle_command` for each command that waits, never between packets of a batch;
//! 4. drain the [`Outbox`]: every message, in order, before the next batch.
//!
//! There is no clock, socket, lock or randomness in here, and no allocation per packet after warm-up.
//! Words: a *leg* is one participant's connection, a *stream* what it publishes, a *route* one stream to
//! one leg; `docs/packet.md` defines them.
#![forbid(unsafe_code)]

mod command;
mod event;
mod outbox;

pub use command::*;
pub use event::*;
pub use outbox::*;
