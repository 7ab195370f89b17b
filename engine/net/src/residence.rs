//! How long packets stay in this process: from the kernel's receive stamp to the end of the sends.
//!
//! The kernel stamps each message when it takes it in (SO_TIMESTAMPNS, socket(7)); with UDP_GRO a run has
//! one stamp, that of its first datagram. A stamp costs some 50 ns a message (3 % of receiving and sending a
//! single small packet), so where there are many sockets only a part of them is stamped. A clock is read once in a measured turn, when its last send is
//! done, so each packet is charged with the sends of the whole turn: an upper bound. One turn of
//! [`Options::residence_turns`](crate::Options::residence_turns) is measured, of those that send anything.

use crate::SocketId;
use std::time::SystemTime;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS_US: [u32; BUCKETS - 1] = [
    10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 140, 160, 180, 200, 250, 300, 400, 500, 600, 800, 1_000, 2_000,
    5_000, 10_000, 20_000, 50_000, 100_000,
];
const BUCKETS: usize = 28;

/// Sockets below this id are all stamped, so that a few sockets are seen whole.
const STAMPED_IDS: u32 = 32;
/// Of the others, one of so many.
const STAMPED_EVERY: u32 = 16;

/// Whether the kernel is asked for stamps at this socket.
pub(crate) fn is_stamped(id: SocketId) -> bool {
    id.0 < STAMPED_IDS || id.0.is_multiple_of(STAMPED_EVERY)
}

/// A histogram of times in this process, over datagrams received in measured turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    counts: [u64; BUCKETS],
    sum_ns: u64,
    /// Turns that sent something.
    turns: u32,
}

impl Residence {
    /// Upper bounds of all buckets but the last, in seconds.
    pub fn bounds_seconds() -> impl Iterator<Item = f64> {
        BOUNDS_US.iter().map(|bound| f64::from(*bound) / 1e6)
    }

    /// Datagrams in each bucket; the last is for what is above all bounds.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// All times together, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Counts a turn that sends something; true: it is to be measured.
    pub(crate) fn begins(&mut self, residence_turns: u32) -> bool {
        if residence_turns == 0 {
            return false;
        }
        self.turns = (self.turns + 1) % residence_turns;
        self.turns == 0
    }

    /// Takes the receive stamps and datagrams of a turn whose sends are done.
    pub(crate) fn record(&mut self, runs: impl Iterator<Item = (u64, u32)>) {
        self.record_at(unix_ns(), runs);
    }

    fn record_at(&mut self, now_ns: u64, runs: impl Iterator<Item = (u64, u32)>) {
        for (arrived_ns, datagrams) in runs.filter(|(arrived_ns, _)| *arrived_ns > 0) {
            // The clock may have been set back meanwhile.
            let stay_ns = now_ns.saturating_sub(arrived_ns);
            let bucket = BOUNDS_US.partition_point(|bound| u64::from(*bound) * 1_000 < stay_ns);
            self.counts[bucket] += u64::from(datagrams);
            self.sum_ns += stay_ns * u64::from(datagrams);
        }
    }
}

/// Nanoseconds since 1970 on the clock of the kernel's stamps, CLOCK_REALTIME.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_of_their_bound() {
        let mut residence = Residence::default();
        let now = 1_000_000_000_000;
        let runs = [(now - 10_000, 3), (now - 10_001, 1), (now - 200_000, 5), (now - 100_000_001, 7)];
        residence.record_at(now, runs.into_iter());
        let at = |bound: f64| Residence::bounds_seconds().position(|b| b == bound).expect("a bound");
        assert_eq!((residence.counts()[at(10e-6)], residence.counts()[at(15e-6)]), (3, 1));
        assert_eq!((residence.counts()[at(200e-6)], residence.counts()[BUCKETS - 1]), (5, 7));
        assert_eq!(residence.counts().iter().sum::<u64>(), 16);
        assert!((residence.sum_seconds() - (40_001.0 + 1e6 + 700_000_007.0) / 1e9).abs() < 1e-12);
    }

    #[test]
    fn without_a_stamp_and_after_a_step_of_the_clock_nothing_is_made_up() {
        let mut residence = Residence::default();
        residence.record_at(5, [(0, 9)].into_iter());
        assert_eq!(residence, Residence::default());
        residence.record_at(5, [(6, 1)].into_iter());
        assert_eq!((residence.counts()[0], residence.sum_ns), (1, 0));
    }

    #[test]
    fn few_sockets_are_stamped_whole_and_many_in_part() {
        let stamped = |ids: std::ops::Range<u32>| ids.filter(|id| is_stamped(SocketId(*id))).count();
        assert_eq!((stamped(0..32), stamped(32..1_632)), (32, 100));
    }

    #[test]
    fn one_turn_of_many_is_measured() {
        let mut residence = Residence::default();
        assert_eq!((0..64).filter(|_| residence.begins(16)).count(), 4);
        assert_eq!((0..64).filter(|_| residence.begins(0)).count(), 0);
        assert_eq!((0..64).filter(|_| residence.begins(1)).count(), 64);
    }
}
