//! How long packets are gathered for a turn when nobody waits for them. Pure.

use motet_rtp::Time;
use std::time::Duration;

/// What comes is counted for so long.
const WINDOW: Duration = Duration::from_millis(20);
/// With fewer packets a second a turn has one anyhow, and it may as well come soon.
const PER_SECOND_MIN: f64 = 1_500.0;
/// Packets of a turn that are worth to wait for, and how long at most.
const PACKETS: f64 = 8.0;
const TIME_MAX: Duration = Duration::from_millis(2);

/// Counts what comes.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    since: Time,
    packets: usize,
    time: Duration,
}

impl Gathering {
    /// A turn brought so many packets, or runs of them.
    pub(super) fn on_turn(&mut self, now: Time, packets: usize) {
        self.packets += packets;
        let passed = now.since(self.since);
        if passed < WINDOW {
            return;
        }
        let per_second = self.packets as f64 / passed.as_secs_f64();
        self.time = if per_second < PER_SECOND_MIN {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(PACKETS / per_second).min(TIME_MAX)
        };
        (self.since, self.packets) = (now, 0);
    }

    /// How long a wait is to last at least.
    pub(super) fn time(&self) -> Duration {
        self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_packets_are_taken_at_once_and_many_together() {
        for (per_second, micros) in
            [(50, 0), (200, 0), (1_000, 0), (2_500, 2_000), (5_000, 1_600), (50_000, 160)]
        {
            let mut gathering = Gathering::default();
            for packet in 1..=per_second {
                gathering.on_turn(Time::from_nanos(packet * 1_000_000_000 / per_second), 1);
            }
            let time = gathering.time().as_micros() as u64;
            assert!(time.abs_diff(micros) * 10 <= micros, "{per_second}: {time} us");
        }
    }
}
