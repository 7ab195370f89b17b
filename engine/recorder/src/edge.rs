//! The edge: a thread that runs recordings and writes their files.
//!
//! A [`Recorder`] is one thread for many recordings. Packets reach it through a bounded queue, with one copy and
//! without a wait: what finds no room is dropped and counted ([`RecorderInput`]). Or it fetches them by itself from a
//! [`Feed`]. Files are written by io_uring
//! (`tokio-uring`), or by threads where io_uring is not to be had ([`Backend`]); a file that cannot be written, or not
//! fast enough, ends its own recording with an event, and no other.
//!
//! A file is `NAME-00001.part.mp4` while it is written, and `NAME-00001.mp4` once it is whole: a crash, a full disk or a
//! slow one leaves a `.part.mp4`, which plays. Live output is a playlist `NAME.m3u8`, which is never seen half written,
//! and the files that it names.

mod begin;
mod events;
mod feed;
mod job;
mod live;
mod storage;
mod thread;

pub use begin::{BeginError, RecordingSpec};
pub use feed::{Deck, Feed};
pub use storage::{Backend, Storage, ThreadStorage, UringStorage};
pub use thread::{Recorder, RecorderConfig, RecorderInput};

use crate::{SegmentSummary, TrackStats};
use std::path::PathBuf;

/// What happened to a recording.
#[derive(Debug)]
pub struct RecorderEvent {
    /// As [`Recorder::begin`] gave it.
    pub recording: u64,
    /// What it was.
    pub kind: EventKind,
}

/// See [`RecorderEvent`].
#[derive(Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A file begins.
    SegmentBegan {
        /// Its name while it is written.
        path: PathBuf,
    },
    /// A file is whole and has its name.
    SegmentEnded {
        /// Its name.
        path: PathBuf,
        /// What it holds.
        summary: SegmentSummary,
    },
    /// The sender of a track is to be asked for a key frame.
    KeyFrameWanted {
        /// Index of the track.
        track: usize,
    },
    /// The recording has ended by itself. Its last file keeps its `.part.mp4` name.
    Failed {
        /// Why.
        reason: Failure,
        /// For an operator: what failed, and the likely cause.
        message: String,
    },
    /// The recording was stopped, and all its files are whole.
    Stopped {
        /// What was counted, track by track.
        tracks: Vec<TrackStats>,
    },
}

/// Why a recording ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// There is no room on the disk, or in the quota.
    DiskFull,
    /// The disk does not take as much as comes.
    SlowDisk,
    /// Any other error of a file.
    File,
}
