//! The media node: the process in which relay and packet input and output meet.
//!
//! ```text
//! gRPC --> service --> state (spec, plan: what should run against what runs)
//!                        |  sockets and relay commands, one bounded queue per worker
//!                        v
//!                      worker (pinned thread): io.turn -> relay -> io.queue
//!                        |  events, by a bounded queue
//!                        v
//!                      events --> Watch
//! ```
//!
//! Conferences that are mixed have a place on a mixing thread too, which the exchange joins with the workers
//! (`mixing.rs`, `docs/audio.md`), those with a canvas one on a canvas thread (`canvas.rs`, `docs/video.md`), and those
//! that are recorded one on the recorder (`recording.rs`, `docs/recording.md`).
//!
//! Everything that decides is pure and tested without a socket: [`model`] (wire to domain, checked once),
//! [`routing`] (which routes the policy wants) and [`plan`] (the difference as commands). Read
//! `docs/packet.md` for a packet's way.
#![forbid(unsafe_code)]

pub mod calibration;
pub mod error;
pub mod exchange;
pub mod model;
pub mod notify;
pub mod placement;
pub mod plan;
mod playing;
pub mod ports;
pub mod routing;
pub mod topology;

mod announce;
mod canvas;
mod claims;
mod drain;
mod ending;
mod events;
mod fence;
mod handover;
mod ids;
mod meter;
mod metrics;
mod mixing;
mod numa;
mod options;
mod probe;
mod rates;
mod recording;
mod resources;
mod run;
mod service;
mod snapshot;
mod state;
#[cfg(test)]
mod testing;
mod worker;

pub use canvas::run_canvas_process;
pub use numa::{NumaMemory, NumaOptions, allowed_cpus};
pub use options::{Calibrate, Handover, NodeOptions, Rebalance, io_choice};
pub use run::{Ended, Identity, RunningNode, bind, run, run_beside, start};
