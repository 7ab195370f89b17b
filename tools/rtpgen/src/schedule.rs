//! When each stream has to send. Nothing is ever skipped: what is late is due at once.

use motet_rtp::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// The beat of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Time from one burst to the next; at least 1 ns.
    pub interval: Duration,
    /// Time from the start of the run to the first burst.
    pub phase: Duration,
}

/// A burst that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Index of the stream's beat.
    pub stream: usize,
    /// Bursts of this stream before this one.
    pub number: u64,
    /// When it should leave.
    pub intended: Time,
}

/// All bursts of all streams between two moments, in order of time.
#[derive(Debug)]
pub struct Schedule {
    start: Time,
    end: Time,
    beats: Vec<Beat>,
    due: BinaryHeap<Reverse<(Time, usize, u64)>>,
}

impl Schedule {
    /// Bursts from `start` until just before `start + duration`. Panics when an interval is zero.
    pub fn new(start: Time, duration: Duration, beats: Vec<Beat>) -> Self {
        assert!(beats.iter().all(|beat| !beat.interval.is_zero()), "an interval is at least 1 ns");
        let mut schedule = Schedule { start, end: start + duration, beats, due: BinaryHeap::new() };
        for stream in 0..schedule.beats.len() {
            schedule.push(stream, 0);
        }
        schedule
    }

    /// The next burst that is due at `now`, oldest first.
    pub fn poll(&mut self, now: Time) -> Option<Tick> {
        let &Reverse((intended, stream, number)) = self.due.peek()?;
        if intended > now {
            return None;
        }
        self.due.pop();
        self.push(stream, number + 1);
        Some(Tick { stream, number, intended })
    }

    /// When the next burst is due; none when all have been taken.
    pub fn next_due(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((intended, ..))| *intended)
    }

    fn push(&mut self, stream: usize, number: u64) {
        let beat = self.beats[stream];
        // Multiplied, not summed up, so that no rounding error grows over a long run.
        let nanos = beat.interval.as_nanos().saturating_mul(u128::from(number)) + beat.phase.as_nanos();
        let intended = self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if intended < self.end {
            self.due.push(Reverse((intended, stream, number)));
        }
    }
}

/// Phases that spread `count` streams evenly over an interval, so that they do not send all at once.
pub fn spread(interval: Duration, count: usize, index: usize) -> Duration {
    let nanos = interval.as_nanos() * (index % count.max(1)) as u128 / count.max(1) as u128;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn bursts_come_in_order_and_none_is_missing() {
        let start = Time::from_millis(1000);
        let beats = vec![Beat { interval: ms(20), phase: ms(0) }, Beat { interval: ms(10), phase: ms(5) }];
        let mut schedule = Schedule::new(start, ms(100), beats);
        assert_eq!(schedule.poll(Time::from_millis(999)), None);
        assert_eq!(schedule.next_due(), Some(start));
        let mut counts = [0u64; 2];
        let mut last = start;
        while let Some(tick) = schedule.poll(Time::from_millis(5000)) {
            assert_eq!(tick.number, counts[tick.stream]);
            assert!(tick.intended >= last, "oldest first");
            last = tick.intended;
            counts[tick.stream] += 1;
        }
        assert_eq!(counts, [5, 10]);
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut schedule = Schedule::new(Time::ZERO, ms(40), vec![Beat { interval: ms(10), phase: ms(3) }]);
        assert_eq!(schedule.poll(Time::from_nanos(2_999_999)), None);
        let first = schedule.poll(Time::from_millis(3)).expect("due to the nanosecond");
        assert_eq!(first.intended, Time::from_millis(3));
        assert_eq!(schedule.poll(Time::from_millis(3)), None);
        assert_eq!(schedule.next_due(), Some(Time::from_millis(13)));
    }

    #[test]
    fn odd_intervals_do_not_drift() {
        let interval = Duration::from_nanos(33_333_333);
        let mut schedule = Schedule::new(Time::ZERO, ms(60_000), vec![Beat { interval, phase: ms(0) }]);
        let mut last = None;
        while let Some(tick) = schedule.poll(Time::MAX) {
            last = Some(tick);
        }
        let last = last.expect("a minute has bursts");
        assert_eq!(last.intended.as_nanos(), 33_333_333 * last.number);
        assert_eq!(last.number, 59_999_999_999 / 33_333_333);
    }

    #[test]
    fn phases_are_spread_over_the_interval() {
        let phases: Vec<_> = (0..4).map(|i| spread(ms(20), 4, i)).collect();
        assert_eq!(phases, [ms(0), ms(5), ms(10), ms(15)]);
    }
}
