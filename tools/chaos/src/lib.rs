//! `make chaos`: control processes, nodes and Redis as real processes on loopback, real media between
//! participants, and a plan of what is killed, stopped and cut off.
//!
//! [`world`] has the processes, [`net`] the links between them, [`callers`] who uses the service, [`media`] what
//! they hear, [`ledger`] what was acknowledged to them, [`check`] what must hold at the end, [`rows`] what is
//! measured. Only processes that were started here are touched, each by its id.
#![forbid(unsafe_code)]

pub mod callers;
pub mod check;
pub mod client;
pub mod ledger;
pub mod media;
pub mod net;
pub mod options;
pub mod place;
pub mod plan;
pub mod process;
pub mod redis;
pub mod report;
pub mod rows;
pub mod world;
