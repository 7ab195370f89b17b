//! The core of control: conferences, their participants and the nodes that carry them.
//!
//! [`step()`] takes the state, one event and the time, and returns what to do. It reads no clock, draws no
//! random numbers and waits for nothing, so every history can be replayed. Rules that hold after every
//! step:
//!
//! - one operation at a time per conference; further requests wait in its queue;
//! - the store knows of a change before a node does, and a change that a node did not confirm is taken back
//!   under a higher revision, which repairs the node when it can be reached again;
//! - the epoch of a conference never goes down and goes up at each assignment to a node;
//! - a conference ends by an explicit request, when its time is over, when nobody is there for as long as was
//!   agreed, or when no node runs it and it is not to be restored; a node that no longer mentions it makes it pending-restore.

mod access;
mod agenda;
mod answers;
mod audio;
mod census;
mod clock;
mod conferences;
mod content;
mod create;
mod deadlines;
mod detect;
mod domains;
mod drain;
mod effect;
mod event;
mod history;
mod index;
mod info;
mod limits;
mod listing;
mod lists;
mod lookup;
mod maintain;
mod media;
mod model;
mod nodes;
mod notes;
mod numbers;
mod operations;
mod operator;
mod options;
mod orders;
mod reach;
mod recordings;
mod repeat;
mod requests;
mod restore;
mod room;
mod schedule;
mod scope;
mod settings;
mod specification;
mod step;
mod storing;
#[cfg(test)]
mod tests;
mod video;
mod views;
mod visit;

pub use access::{Access, Password, Role};
pub use audio::{Audio, Mix, PairGain, ParticipantAudio};
pub use census::Census;
pub use conferences::Conferences;
pub use content::Content;
pub use detect::Detection;
pub use domains::{Domain, DomainAnswer, DomainOrder, Domains, Feature, Level, feature_name};
pub use effect::{Effect, NodeAddress};
pub use event::Event;
pub use history::{Entry, History, Segment};
pub use limits::{Claim, Class};
pub use media::{Codec, Medium, check_media};
pub use model::{
    Conference, MediaEvent, Node, NodeAnnouncement, Now, Participant, Phase, Record, RequestId, RunningCopy,
    State, Token,
};
pub use notes::{NodeNote, NoteAnswer, NoteOrder};
pub use options::Options;
pub use recordings::Recording;
pub use repeat::Applied;
pub use requests::{NodeOrder, OrderAnswer, Request, Response};
pub use restore::{NOT_RESTORED, Restoration};
pub use room::Placing;
pub use schedule::{Kind, Schedule};
pub use scope::event_for;
pub use step::step;
pub use video::{Canvas, Cell, Presentation, Text, Video};
pub use views::{ParticipantVideo, View};
