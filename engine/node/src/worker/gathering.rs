//! How long packets are gathered for a turn when nobody waits for them. Pure.
//!
//! A mixing thread uses what it finds when it mixes, every 20 ms, and says when that is. What comes for it meanwhile
//! may as well come to the worker in one turn shortly before, for which the worker sleeps, until then or until somebody
//! has something for it: a mixing thread what it made, or control a change. A worker that also relays gathers for a short
//! time only.

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
/// With nothing else to do: packets that may wait in sockets.
const WAITING_MAX: f64 = 128.0;
/// What a turn of so many packets takes, and being woken late: it ends before the look that it is for.
const BEFORE_LOOK: Duration = Duration::from_micros(700);
/// A mixing thread at work says when it has made something. What comes meanwhile is for its next look, which is later
/// than this where it has little to do.
const MIXING: Duration = Duration::from_millis(2);

/// How long the next wait is to last at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Unless many packets come.
    Gather(Duration),
    /// Until then whatever comes, unless somebody says that there is something to do. For a look: who looks may count
    /// on what came until shortly before.
    Rest { until: Time, look: Option<Time> },
}

/// Counts what comes.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    since: Time,
    packets: usize,
    per_second: f64,
    /// None: too little comes.
    short: Option<Duration>,
    urgent_at: Option<Time>,
    /// The last look that it did not wake for.
    looked: Time,
}

impl Gathering {
    /// A turn brought so many packets, or runs of them.
    pub(super) fn on_turn(&mut self, now: Time, packets: usize) {
        self.packets += packets;
        let passed = now.since(self.since);
        if passed < WINDOW {
            return;
        }
        self.per_second = self.packets as f64 / passed.as_secs_f64();
        let short = || Duration::from_secs_f64(PACKETS / self.per_second).min(SHORT_MAX);
        self.short = (self.per_second >= PER_SECOND_MIN).then(short);
        (self.since, self.packets) = (now, 0);
    }

    /// This turn has packets that somebody waits for.
    pub(super) fn on_urgent(&mut self, now: Time) {
        self.urgent_at = Some(now);
    }

    /// How long the next wait is to last at least. `any`: this turn has made something. `look`: when the next mixing
    /// thread looks; none: one is at work, or nobody knows.
    pub(super) fn pause(&mut self, now: Time, any: bool, look: Option<Time>) -> Pause {
        let Some(short) = self.short else { return Pause::Gather(Duration::ZERO) };
        if let Some(urgent_at) = self.urgent_at.filter(|at| now.since(*at) < URGENT) {
            return Pause::Gather(if any && urgent_at != now { short } else { Duration::ZERO });
        }
        let (until, look) = match look {
            Some(look) if look > now + BEFORE_LOOK => (look - BEFORE_LOOK, Some(look)),
            Some(look) => {
                self.looked = look;
                (look + MIXING, None)
            }
            None => (now + MIXING, None),
        };
        let full = now + Duration::from_secs_f64(WAITING_MAX / self.per_second);
        Pause::Rest { until: until.min(full), look: look.filter(|_| until <= full) }
    }

    /// When a packet that came at `came` was there for whoever looks: what comes between the last turn and a look is
    /// there for the one after it, and to say otherwise would have a jitter buffer wait for it in vain.
    pub(super) fn was_there(&self, now: Time, came: Time) -> Time {
        came.max(self.looked).min(now)
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
            let Pause::Gather(time) = gathering.pause(at(300), true, Some(at(15_000))) else {
                panic!("{per_second}: packets are waited for")
            };
            let time = time.as_micros() as u64;
            assert!(time.abs_diff(micros) * 10 <= micros, "{per_second}: {time} us");
            let none = Pause::Gather(Duration::ZERO);
            assert_eq!(gathering.pause(at(0), true, Some(at(15_000))), none, "they wait in this turn");
            assert_eq!(gathering.pause(at(300), false, Some(at(15_000))), none);
        }
    }

    /// A rest in microseconds; none: packets are waited for.
    fn rest(gathering: &mut Gathering, now: u64, look: Option<u64>) -> Option<u128> {
        match gathering.pause(at(now), true, look.map(at)) {
            Pause::Rest { until, look: promised } => {
                assert!(promised.is_none_or(|promised| promised > until && look.map(at) == Some(promised)));
                Some(until.since(at(now)).as_micros())
            }
            Pause::Gather(_) => None,
        }
    }

    #[test]
    fn with_mixing_alone_a_turn_is_shortly_before_each_look() {
        let mut gathering = busy(5_000);
        assert_eq!(rest(&mut gathering, 0, Some(8_000)), Some(7_300));
        assert_eq!(rest(&mut gathering, 0, Some(19_500)), Some(18_800));
        assert_eq!(
            rest(&mut gathering, 18_900, Some(19_500)),
            Some(2_600),
            "what comes now is too late for it"
        );
        assert_eq!(
            rest(&mut gathering, 19_600, None),
            Some(2_000),
            "the thread is at work, and says when it is done"
        );
        assert_eq!(
            busy(200).pause(at(0), true, Some(at(8_000))),
            Pause::Gather(Duration::ZERO),
            "no more than one"
        );
    }

    #[test]
    fn no_more_packets_wait_than_sockets_hold() {
        assert_eq!(rest(&mut busy(25_600), 0, Some(19_500)), Some(5_000));
        assert_eq!(rest(&mut busy(256_000), 0, None), Some(500));
    }

    #[test]
    fn a_second_after_the_last_urgent_packet_it_is_mixing_alone_again() {
        let mut gathering = busy(5_000);
        gathering.on_urgent(at(0));
        assert_eq!(rest(&mut gathering, 999_999, Some(1_007_999)), None);
        assert_eq!(rest(&mut gathering, 1_000_000, Some(1_008_000)), Some(7_300));
    }

    #[test]
    fn what_comes_after_the_turn_before_a_look_was_not_there_for_it() {
        let mut gathering = busy(5_000);
        assert_eq!(rest(&mut gathering, 0, Some(10_000)), Some(9_300));
        assert_eq!(gathering.was_there(at(9_300), at(5_000)), at(5_000));
        assert_eq!(rest(&mut gathering, 9_400, Some(10_000)), Some(2_600));
        assert_eq!(gathering.was_there(at(10_500), at(9_700)), at(10_000), "for the next one");
        assert_eq!(gathering.was_there(at(10_500), at(10_300)), at(10_300));
        assert_eq!(gathering.was_there(at(9_800), at(9_700)), at(9_800), "woken by something else");
    }
}
