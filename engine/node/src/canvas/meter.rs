//! A canvas thread's counters, as the rest of the node sees them.

use crate::exchange::Crossed;
use motet_mixer::video::VideoStats;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A canvas thread's counters at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CanvasSnapshot {
    /// Conferences with a canvas.
    pub(crate) canvases: usize,
    /// Of those, conferences that have none for a while, since their process ended over them again and again.
    pub(crate) left_out: usize,
    /// Legs that can be seen.
    pub(crate) sources: usize,
    /// Streams with a canvas, each for all on a worker who get the same.
    pub(crate) outputs: usize,
    /// How much rarer pictures are for overload; 0: as asked for.
    pub(crate) level: usize,
    /// Times that the rate was lowered.
    pub(crate) lowered: u64,
    /// What was done, canvases that are over included.
    pub(crate) stats: VideoStats,
    /// RTP packets made for receivers.
    pub(crate) packets: u64,
    /// Requests for key frames of receivers, and those made to participants.
    pub(crate) key_frames_asked: u64,
    pub(crate) key_frames_wanted: u64,
    /// Datagrams that came while nothing was carried.
    pub(crate) fenced: u64,
    pub(crate) crossed: Crossed,
    /// Time that it has spent on a processor.
    pub(crate) busy: Duration,
    /// Processes that ended by themselves, where canvases have one of their own.
    pub(crate) crashes: u64,
    /// Datagrams that came while there was none.
    pub(crate) away: u64,
    /// Events that found no room on their way to the watchers.
    pub(crate) events_dropped: u64,
    /// When this was shown; none: not yet.
    #[serde(skip)]
    pub(crate) taken: Option<Instant>,
}

/// Where a canvas thread shows its counters, for readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct CanvasShown(Arc<Mutex<CanvasSnapshot>>);

impl CanvasShown {
    pub(crate) fn read(&self) -> CanvasSnapshot {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self, snapshot: CanvasSnapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
