//! A mixing thread's counters, as the rest of the node sees them.

use super::room::Room;
use crate::exchange::Crossed;
use motet_mixer::audio::MixStats;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of the histogram of ticks, in microseconds, doubling; and more.
const TICK_BOUND_US_MIN: u64 = 32;
pub(crate) const TICK_BUCKETS: usize = 12;

/// A mixing thread's counters at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct MixingSnapshot {
    /// Conferences that are mixed.
    pub(crate) mixers: usize,
    /// Legs that are heard, and that hear.
    pub(crate) sources: usize,
    pub(crate) outputs: usize,
    /// Voices in a mix in this moment, of all conferences.
    pub(crate) speakers: usize,
    /// How much is taken away for overload; 0: nothing.
    pub(crate) shed_level: usize,
    pub(crate) counters: Counters,
    pub(crate) crossed: Crossed,
    /// Events that found no room on their way to the watchers.
    pub(crate) events_dropped: u64,
    /// When this was shown; none: not yet.
    pub(crate) taken: Option<Instant>,
}

/// What only rises, however many conferences come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) ticks: u64,
    /// Ticks that ended late.
    pub(crate) late: u64,
    /// Ticks that were left out.
    pub(crate) missed: u64,
    /// By how long they took.
    pub(crate) durations: [u64; TICK_BUCKETS],
    pub(crate) duration_sum: Duration,
    pub(crate) encodes: u64,
    pub(crate) shared: u64,
    pub(crate) decodes: u64,
    pub(crate) decodes_skipped: u64,
    pub(crate) packets: u64,
    /// By reason.
    pub(crate) drops: Vec<(&'static str, u64)>,
}

impl Counters {
    /// Takes note of a tick.
    pub(super) fn tick(&mut self, took: Duration, late: bool) {
        self.ticks += 1;
        self.late += u64::from(late);
        self.durations[bucket(took)] += 1;
        self.duration_sum += took;
    }

    /// Counts packets that were not heard.
    pub(super) fn dropped(&mut self, reason: &'static str, packets: u64) {
        match self.drops.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += packets,
            None => self.drops.push((reason, packets)),
        }
    }

    /// Adds what a conference counted.
    pub(super) fn add(&mut self, room: &Room) {
        let MixStats { encodes, shared, decodes, decodes_skipped, packets, .. } = room.mixer.stats();
        self.encodes += encodes;
        self.shared += shared;
        self.decodes += decodes;
        self.decodes_skipped += decodes_skipped;
        self.packets += packets;
        for (reason, count) in room.mixer.drops().iter() {
            self.dropped(reason, count);
        }
    }
}

/// Upper bounds of the histogram, in seconds.
pub(crate) fn tick_bounds_seconds() -> impl Iterator<Item = f64> {
    (0..TICK_BUCKETS - 1).map(|power| (TICK_BOUND_US_MIN << power) as f64 / 1e6)
}

fn bucket(took: Duration) -> usize {
    let units = (took.as_micros() as u64).saturating_sub(1) / TICK_BOUND_US_MIN;
    ((u64::BITS - units.leading_zeros()) as usize).min(TICK_BUCKETS - 1)
}

/// Where a mixing thread shows its counters, for readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct MixingShown(Arc<Mutex<MixingSnapshot>>);

impl MixingShown {
    pub(crate) fn read(&self) -> MixingSnapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, snapshot: MixingSnapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_falls_into_the_bucket_of_its_bound() {
        let bounds: Vec<f64> = tick_bounds_seconds().collect();
        for micros in [0, 1, 32, 33, 64, 65, 20_000, 1_000_000] {
            let seconds = micros as f64 / 1e6;
            let expected = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
            assert_eq!(bucket(Duration::from_micros(micros)), expected, "{micros} us");
        }
        assert!(bounds[10] > 0.02, "a whole round has a bucket");
    }
}
