//! The media relay as a pure core: packets, commands and the time in; packets, events and deadlines out.
//!
//! Calling order, once per turn of a worker:
//!
//! 1. [`Relay::handle_batch`] with everything received in this turn;
//! 2. [`Relay::handle_timeout`] when [`Relay::poll_timeout`] is due;
//! 3. [`Relay::handle_command`] for each command that waits, never between packets of a batch;
//! 4. drain the [`Outbox`]: every message, in order, before the next batch.
//!
//! There is no clock, socket, lock or randomness in here, and no allocation per packet after warm-up.
//! Words: a *leg* is one participant's connection, a *stream* what it publishes, a *route* one stream to
//! one leg; `docs/packet.md` defines them.
//!
//! A batch's journey (`relay.rs`): each datagram is taken apart and put to its stream's list (*sort*); each
//! stream with packets asks its routes' destinations for a job (*plan*); each destination gets all its jobs'
//! packets, one after another, under rewritten headers (*emit*). So what goes to one receiver lies together,
//! and the edge can send it as one message.
#![forbid(unsafe_code)]

mod change;
mod command;
mod drop;
mod event;
mod feedback;
mod inbound;
mod latch;
mod leg;
pub mod limits;
mod outbox;
mod port;
mod relay;
mod report;
mod route;
mod shared;
mod sink;
pub mod snapshot;
mod stats;
mod stream;
pub mod testing;
mod timeline;

pub use command::*;
pub use drop::{DropCounters, DropReason};
pub use event::*;
pub use outbox::*;
pub use relay::{Inbound, Relay, RelayConfig};
pub use stats::{Counts, RouteStats, StreamStats};
