//! RTP load generator with exact loss and latency accounting.
//!
//! Sends many RTP streams through any relay, receives them at many sockets, and says for every stream at
//! every receiver what was lost, reordered, duplicated, corrupted, relabelled or sent to the wrong place.
//! Latency counts from the moment at which a packet *should* have left, so that a stalled generator or a
//! stalled relay cannot hide packets (no coordinated omission).
//!
//! The cores take `now` and never read a clock: [`schedule`] says what is due, [`sender`] writes it,
//! [`payload`] marks it, [`receiver`] reads it, [`account`] judges it, [`report`] sums it up. The edges
//! own sockets and threads: [`run`], [`reach`], [`conference`], [`cli`]. [`audio`] has the same for sound that
//! is mixed, and so cannot be stamped.
#![forbid(unsafe_code)]
// They panic when nobody reads any more.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod account;
pub mod audio;
pub mod cli;
pub mod conference;
pub mod options;
pub mod payload;
pub mod raw;
pub mod reach;
pub mod receiver;
pub mod report;
pub mod run;
pub mod schedule;
pub mod sender;
pub mod system;
