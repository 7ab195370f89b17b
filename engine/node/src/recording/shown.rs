//! The recorder's counters, as the rest of the node sees them.

use super::Reason;
use crate::exchange::Crossed;
use motet_recorder::{DropReason, TrackStats};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The recorder at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordingSnapshot {
    /// Recordings that run, and those of them that are paused.
    pub(crate) recordings: usize,
    pub(crate) paused: usize,
    /// Legs and mixes that files are written of.
    pub(crate) files: usize,
    pub(crate) counters: Counters,
    pub(crate) crossed: Crossed,
    /// When this was shown; none: not yet.
    pub(crate) taken: Option<Instant>,
    /// Kernel's id of the thread.
    pub(crate) thread_id: Option<u32>,
}

/// Why a packet came to no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfiled {
    /// Nothing that is recorded at the moment is sent so.
    UnknownSource,
    /// No file is written of it: its recording has failed, or ended before it had a folder, or files hold no such codec.
    NoFile,
    /// The folder of its recording was not there yet, and too much waited for that.
    WaitingFolder,
}

impl Unfiled {
    /// All of them, for counters.
    pub(crate) const ALL: [Unfiled; 3] = [Unfiled::UnknownSource, Unfiled::NoFile, Unfiled::WaitingFolder];

    /// A stable word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Unfiled::UnknownSource => "unknown_source",
            Unfiled::NoFile => "no_file",
            Unfiled::WaitingFolder => "waiting_folder",
        }
    }
}

/// What only rises, however many recordings come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// Packets and frames that came.
    pub(crate) packets: u64,
    /// Pictures and packets of sound that were written, and their bytes.
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
    /// Packets that never came.
    pub(crate) lost: u64,
    /// By reason.
    pub(crate) drops: [u64; DropReason::ALL.len()],
    /// Packets that came to no file, by reason; counted among `packets`, too.
    pub(crate) unfiled: [u64; Unfiled::ALL.len()],
    /// Files that are whole.
    pub(crate) segments: u64,
    /// Recordings that ended by themselves, by reason.
    pub(crate) failed: [u64; Reason::ALL.len()],
    /// Events that found no room on their way to the watchers.
    pub(crate) events_dropped: u64,
}

impl Counters {
    /// Adds what tracks counted.
    pub(super) fn add(&mut self, tracks: &[TrackStats]) {
        for stats in tracks {
            self.packets += stats.packets;
            self.samples += stats.samples;
            self.bytes += stats.bytes;
            self.lost += stats.lost;
            for (sum, reason) in self.drops.iter_mut().zip(DropReason::ALL) {
                *sum += stats.dropped(reason);
            }
        }
    }

    /// Notes a packet that no track of a file counts.
    pub(super) fn unfiled(&mut self, why: Unfiled) {
        self.packets += 1;
        self.unfiled[why as usize] += 1;
    }

    /// The same, for a reason that tracks have, too.
    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.packets += 1;
        self.drops[reason as usize] += 1;
    }

    /// Notes that a recording ended by itself.
    pub(super) fn failed(&mut self, reason: Reason) {
        self.failed[reason as usize] += 1;
    }
}

/// Where the recorder shows its counters, for readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordingShown(Arc<Mutex<RecordingSnapshot>>);

impl RecordingShown {
    pub(crate) fn read(&self) -> RecordingSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, snapshot: RecordingSnapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
