//! A worker's counters, as the rest of the node sees them.
//!
//! The worker counts in memory of its own and shows a copy four times a second, between two turns; readers
//! read the copy. So a scrape costs the packet path nothing, and what it shows is a quarter of a second old
//! at most.

use crate::exchange::Crossed;
use motet_net::{AnyIo, Io, IoStats};
use motet_relay::{Counts, Relay};
use motet_rtp::Time;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a worker shows its counters.
const INTERVAL: Duration = Duration::from_millis(250);
/// Bounds of the batch histogram: 1, 2, 4, ... 2,048 packets, and more.
pub(crate) const BATCH_BUCKETS: usize = 13;

/// A worker's counters at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) io: IoStats,
    pub(crate) counts: Counts,
    pub(crate) drops: Vec<(&'static str, u64)>,
    pub(crate) events_dropped: u64,
    /// What went to other workers and came from them.
    pub(crate) crossed: Crossed,
    /// Times around the loop.
    pub(crate) turns: u64,
    /// Turns that brought packets, by how many: up to 1, 2, 4, ... and more.
    pub(crate) batches: [u64; BATCH_BUCKETS],
    /// When this was shown; none: not yet.
    pub(crate) taken: Option<Instant>,
}

/// Where a worker shows its counters, for readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<Snapshot>>);

impl Shown {
    pub(crate) fn read(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The worker's side.
pub(crate) struct Meter {
    shown: Shown,
    origin: Instant,
    due: Time,
    turns: u64,
    batches: [u64; BATCH_BUCKETS],
    packets: u64,
    /// Events that found no room on their way to the watchers.
    pub(crate) events_dropped: u64,
}

impl Meter {
    /// `origin` is when the worker's clock was at zero.
    pub(crate) fn new(shown: Shown, origin: Instant) -> Meter {
        let batches = [0; BATCH_BUCKETS];
        Meter { shown, origin, due: Time::ZERO, turns: 0, batches, packets: 0, events_dropped: 0 }
    }

    /// When the counters are to be shown next.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Makes them due now.
    pub(crate) fn hurry(&mut self, now: Time) {
        self.due = now;
    }

    /// Once a turn, at its end.
    pub(crate) fn turn(&mut self, now: Time, io: &AnyIo, relay: &Relay, crossed: Crossed) {
        let counts = relay.counts();
        self.turns += 1;
        if let Some(bucket) = batch_bucket(counts.packets_in - self.packets) {
            self.batches[bucket] += 1;
        }
        self.packets = counts.packets_in;
        if now < self.due {
            return;
        }
        self.due = now + INTERVAL;
        // A reader that holds the lock just now gets the next one.
        if let Ok(mut snapshot) = self.shown.0.try_lock() {
            snapshot.io = *io.stats();
            snapshot.counts = counts;
            snapshot.drops.clear();
            snapshot.drops.extend(relay.drops().iter());
            snapshot.events_dropped = self.events_dropped;
            snapshot.crossed = crossed;
            (snapshot.turns, snapshot.batches) = (self.turns, self.batches);
            snapshot.taken = Some(self.origin + Duration::from_nanos(now.as_nanos()));
        }
    }
}

/// Which bucket a batch of so many packets belongs to; none: it is no batch.
fn batch_bucket(packets: u64) -> Option<usize> {
    let above = packets.checked_sub(1)?;
    Some(((u64::BITS - above.leading_zeros()) as usize).min(BATCH_BUCKETS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fall_into_the_bucket_of_their_bound() {
        assert_eq!(batch_bucket(0), None);
        for (packets, bucket) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (2048, 11), (2049, 12), (9999, 12)]
        {
            assert_eq!(batch_bucket(packets), Some(bucket), "{packets} packets");
        }
    }
}
