//! How long packets are gathered for a turn when nobody waits for them. Pure.
//!
//! A mixing thread uses what it finds when it mixes, every 20 ms, and says when that is. What comes for it meanwhile
//! may as well come to the worker in one turn shortly before. When the thread is at work, what it makes is about to
//! come, and must not wait. A worker that also relays gathers for a short time only.

use motet_rtp::Time;
use std::time::Duration;

/// What comes is counted for so long.
const WINDOW: Duration = Duration::from_millis(20);
/// With fewer packets a second a turn has one anyhow, and it may as well come soon.
const PER_SECOND_MIN: f64 = 1_500.0;
/// Beside packets that somebody waits for: packets of a turn that are worth to wait for, and how long at most.
const PACKETS: f64 = 8.0;
const SHORT_MAX: Duration = Duration::from_millis(2);
/// How long a worker is taken for one that relays.
const URGENT: Duration = Duration::from_secs(1);
/// With nothing else to do: how long at most, for who begins to relay or has a change of a conference meanwhile.
const LONG_MAX: Duration = Duration::from_millis(10);
/// What a turn of many packets takes, and being woken late: it ends before the look that it is for.
const BEFORE_LOOK: Duration = Duration::from_millis(1);
/// While a mixing thread is at work.
const MIXING: Duration = Duration::from_micros(250);

/// Counts what comes.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    since: Time,
    packets: usize,
    /// None: too little comes.
    short: Option<Duration>,
    urgent_at: Option<Time>,
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
        let short = || Duration::from_secs_f64(PACKETS / per_second).min(SHORT_MAX);
        self.short = (per_second >= PER_SECOND_MIN).then(short);
        (self.since, self.packets) = (now, 0);
    }

    /// This turn has packets that somebody waits for.
    pub(super) fn on_urgent(&mut self, now: Time) {
        self.urgent_at = Some(now);
    }

    /// How long the next wait is to last at least. `any`: this turn has made something. `look`: when the next mixing
    /// thread looks; none: one is at work, or nobody knows.
    pub(super) fn time(&self, now: Time, any: bool, look: Option<Time>) -> Duration {
        let Some(short) = self.short else { return Duration::ZERO };
        if let Some(urgent_at) = self.urgent_at.filter(|at| now.since(*at) < URGENT) {
            return if any && urgent_at != now { short } else { Duration::ZERO };
        }
        match look.map(|look| look.since(now)) {
            Some(left) if left > BEFORE_LOOK => (left - BEFORE_LOOK).min(LONG_MAX),
            Some(left) => left,
            None => short.min(MIXING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(1_000_000_000 + micros * 1_000)
    }

    /// So many packets a second, for a second, all of them in turns of their own.
    fn busy(per_second: u64) -> Gathering {
        let mut gathering = Gathering::default();
        for packet in 1..=per_second {
            gathering.on_turn(Time::from_nanos(packet * 1_000_000_000 / per_second), 1);
        }
        gathering
    }

    #[test]
    fn beside_urgent_packets_few_are_taken_at_once_and_many_together() {
        for (per_second, micros) in
            [(50, 0), (200, 0), (1_000, 0), (2_500, 2_000), (5_000, 1_600), (50_000, 160)]
        {
            let mut gathering = busy(per_second);
            gathering.on_urgent(at(0));
            let time = gathering.time(at(300), true, Some(at(15_000))).as_micros() as u64;
            assert!(time.abs_diff(micros) * 10 <= micros, "{per_second}: {time} us");
            assert_eq!(
                gathering.time(at(0), true, Some(at(15_000))),
                Duration::ZERO,
                "they wait in this turn"
            );
            assert_eq!(gathering.time(at(300), false, Some(at(15_000))), Duration::ZERO);
        }
    }

    #[test]
    fn with_mixing_alone_a_turn_is_shortly_before_each_look() {
        let gathering = busy(5_000);
        let time = |now: u64, look: Option<u64>| gathering.time(at(now), true, look.map(at)).as_micros();
        assert_eq!(time(0, Some(8_000)), 7_000);
        assert_eq!(time(0, Some(19_500)), 10_000, "a change of a conference does not wait for longer");
        assert_eq!(time(10_000, Some(19_500)), 8_500);
        assert_eq!(time(18_600, Some(19_500)), 900, "what comes now is too late for it");
        assert_eq!(time(19_600, None), 250, "the thread is at work");
        assert_eq!(busy(200).time(at(0), true, Some(at(8_000))), Duration::ZERO, "a turn has one anyhow");
    }

    #[test]
    fn a_second_after_the_last_urgent_packet_it_is_mixing_alone_again() {
        let mut gathering = busy(5_000);
        gathering.on_urgent(at(0));
        let time = |now| gathering.time(at(now), true, Some(at(now + 8_000))).as_micros();
        assert_eq!((time(999_999), time(1_000_000)), (1_600, 7_000));
    }
}
