//! The recorder: streams of a conference in, files out.
//!
//! The core is pure: a [`Recording`] takes RTP packets, frames, sender reports and the time, and gives bytes to be
//! appended to files ([`Output`]). Files are fragmented MP4 (ISO/IEC 14496-12) or Matroska (RFC 9559): what was written
//! before a crash plays.
//! Everything is recorded as it comes, and nothing is transcoded.
//!
//! - `clock.rs`: how tracks lie to each other, from arrivals and sender reports;
//! - `reorder.rs`, [`motet_rtp::payload`]: packets in order;
//! - `sound.rs`, `picture.rs`: samples, and what a header says of them;
//! - `track.rs`: a track's place in the file;
//! - `segment.rs`, `mp4.rs`, `matroska.rs`: files and fragments;
//! - `piece.rs`, `playlist.rs`: live output (RFC 8216);
//! - [`edge`]: the thread that runs recordings and writes files.
//!
//! Not here: playback, snapshots.

#![forbid(unsafe_code)]

mod clock;
mod config;
pub mod edge;
mod matroska;
mod mp4;
mod picture;
mod piece;
mod playlist;
mod recording;
mod reorder;
mod segment;
mod sound;
mod stats;
pub mod testing;
mod track;

pub use config::{Codec, ConfigError, Container, ParameterChange, RecordingConfig, TRACKS_MAX, TrackConfig};
pub use recording::Recording;
pub use segment::{Output, SegmentSummary};
pub use stats::{DropReason, TrackStats};
