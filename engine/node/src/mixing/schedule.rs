//! When conferences are mixed: each every 20 ms, on a timeline that never drifts, a quarter of them each 5 ms, so
//! that the work is even. Where few conferences are, each may be mixed a little earlier (`phase.rs`), in slots of 1 ms.
//! Slots without conferences are passed over. Pure.

use motet_rtp::Time;
use std::time::Duration;

/// Every conference is mixed once in so long.
pub(crate) const ROUND: Duration = Duration::from_millis(20);
/// Parts of a round. Before each of them that holds conferences packets are taken.
pub(crate) const SLOTS: usize = 20;
/// How long a slot is.
pub(crate) const STEP: Duration = Duration::from_millis(ROUND.as_millis() as u64 / SLOTS as u64);
/// New conferences come to every so many-th slot: the fewer have some, the fewer wake-ups are needed.
const QUARTER: usize = SLOTS / 4;
/// A conference of its own way is given a slot of its own while no more than so many are in use.
const IN_USE_MAX: usize = 8;
/// Work that is this far behind is not made up for: it would only make what follows late, too. What is left out then
/// is short enough for receivers to conceal.
const BEHIND_MAX: Duration = Duration::from_millis(40);
/// What a slot takes is known from about the last so many rounds.
const MEMORY: f64 = 50.0;

/// The timeline of a mixing thread.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// When the next slot is due.
    next: Time,
    slot: usize,
    slots: [Slot; SLOTS],
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    rooms: usize,
    /// Seconds of work in a round, lately.
    work: f64,
}

/// A slot to be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Which.
    pub(crate) slot: usize,
    /// When it is due.
    pub(crate) at: Time,
    /// Whole rounds that were left out before.
    pub(crate) missed: u64,
}

impl Schedule {
    pub(crate) fn new(now: Time) -> Schedule {
        Schedule { next: now + STEP * QUARTER as u32, slot: 0, slots: [Slot::default(); SLOTS] }
    }

    /// When there is something to do; none: nothing is mixed.
    pub(crate) fn next(&self) -> Option<Time> {
        Some(self.next + STEP * self.empty_before_next()?)
    }

    /// Slots that hold nothing before the next one that does.
    fn empty_before_next(&self) -> Option<u32> {
        let occupied = |ahead: &u32| self.slots[(self.slot + *ahead as usize) % SLOTS].rooms > 0;
        (0..SLOTS as u32).find(occupied)
    }

    /// Gives a new conference its place: where there is least to do.
    pub(crate) fn place(&mut self, now: Time) -> usize {
        match self.empty_before_next() {
            None => self.next = self.next.max(now),
            // Nobody has missed what has passed of empty slots.
            Some(empty) => {
                let passed =
                    (now.since(self.next).as_nanos() / STEP.as_nanos()).min(u128::from(empty)) as u32;
                self.next += STEP * passed;
                self.slot = (self.slot + passed as usize) % SLOTS;
            }
        }
        let least = |a: &&Slot, b: &&Slot| a.work.total_cmp(&b.work).then(a.rooms.cmp(&b.rooms));
        let quarters = self.slots.iter().enumerate().step_by(QUARTER);
        let (slot, _) = quarters.min_by(|a, b| least(&a.1, &b.1)).expect("there are slots");
        self.slots[slot].rooms += 1;
        // Until it is measured: several that come at once must not all go to one place.
        self.slots[slot].work += 1e-4;
        slot
    }

    /// Moves a conference so many slots ahead, if there is a place for it. Right after its slot was due: it is mixed
    /// next when less than a round has passed.
    pub(crate) fn earlier(&mut self, slot: usize, steps: usize) -> Option<usize> {
        let to = (slot + SLOTS - steps % SLOTS) % SLOTS;
        let in_use = self.slots.iter().filter(|slot| slot.rooms > 0).count();
        if self.slots[to].rooms == 0 && in_use >= IN_USE_MAX {
            return None;
        }
        let work = self.slots[slot].work / self.slots[slot].rooms as f64;
        self.leave(slot);
        self.slots[slot].work = (self.slots[slot].work - work).max(0.0);
        self.slots[to].rooms += 1;
        self.slots[to].work += work;
        Some(to)
    }

    /// Takes a conference away.
    pub(crate) fn leave(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        slot.rooms -= 1;
        if slot.rooms == 0 {
            slot.work = 0.0;
        }
    }

    /// The next slot that is due, if one is.
    pub(crate) fn due(&mut self, now: Time) -> Option<Due> {
        let empty = self.empty_before_next()?;
        let next = self.next + STEP * empty;
        if next > now {
            return None;
        }
        let slot = (self.slot + empty as usize) % SLOTS;
        let behind = now.since(next);
        let missed = if behind > BEHIND_MAX { (behind.as_nanos() / ROUND.as_nanos()) as u64 } else { 0 };
        let at = next + Duration::from_nanos(ROUND.as_nanos() as u64 * missed);
        self.next = at + STEP;
        self.slot = (slot + 1) % SLOTS;
        Some(Due { slot, at, missed })
    }

    /// Takes note of how long a slot took.
    pub(crate) fn worked(&mut self, slot: usize, work: Duration) {
        let slot = &mut self.slots[slot];
        slot.work += (work.as_secs_f64() - slot.work) / MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Time {
        Time::from_nanos(1_000_000_000 + micros * 1_000)
    }

    #[test]
    fn every_conference_has_its_tick_each_twenty_milliseconds_and_nothing_drifts() {
        let mut schedule = Schedule::new(at(0));
        assert_eq!(schedule.next(), None, "nothing to do");
        let slots: Vec<usize> = (0..8).map(|_| schedule.place(at(0))).collect();
        assert_eq!(slots, [0, 5, 10, 15, 0, 5, 10, 15]);
        let mut ticks = Vec::new();
        // A thread that wakes up a little late, and by a different time each time, for an hour.
        for turn in 0..720_000 {
            let now = at(5_000 * (turn + 1) + turn * 7 % 1_900);
            while let Some(due) = schedule.due(now) {
                assert_eq!((due.at, due.missed), (at(5_000 * (turn + 1)), 0));
                ticks.push(due.slot);
            }
        }
        assert_eq!(ticks.len(), 720_000);
        assert!(ticks.chunks(4).all(|round| *round == [0, 5, 10, 15]));
    }

    #[test]
    fn a_little_behind_is_made_up_for_and_far_behind_is_left_out() {
        let mut schedule = Schedule::new(at(0));
        let places: Vec<usize> = (0..4).map(|_| schedule.place(at(0))).collect();
        assert_eq!(places, [0, 5, 10, 15]);
        let slots = |schedule: &mut Schedule, now| -> Vec<(usize, u64)> {
            std::iter::from_fn(|| schedule.due(now)).map(|due| (due.slot, due.missed)).collect()
        };
        assert_eq!(slots(&mut schedule, at(21_000)), [(0, 0), (5, 0), (10, 0), (15, 0)]);
        // 10 s away: whole rounds are missed, and the timeline stays what it was.
        let after = slots(&mut schedule, at(10_025_000));
        assert_eq!(after, [(0, 500)]);
        assert_eq!(schedule.next(), Some(at(10_030_000)));
    }

    #[test]
    fn slots_without_conferences_are_passed_over() {
        let mut schedule = Schedule::new(at(0));
        let places: Vec<usize> = (0..4).map(|_| schedule.place(at(0))).collect();
        assert_eq!(places, [0, 5, 10, 15]);
        [0, 5, 15].into_iter().for_each(|slot| schedule.leave(slot));
        for round in 0..10 {
            assert_eq!(schedule.next(), Some(at(15_000 + round * 20_000)));
            assert_eq!(schedule.due(at(14_999 + round * 20_000)), None);
            let due = schedule.due(at(15_200 + round * 20_000)).expect("it is due");
            assert_eq!((due.slot, due.at, due.missed), (10, at(15_000 + round * 20_000), 0));
        }
    }

    #[test]
    fn an_idle_thread_has_missed_nothing() {
        let mut schedule = Schedule::new(at(0));
        let slot = schedule.place(at(0));
        schedule.leave(slot);
        assert_eq!(schedule.due(at(50_000)), None);
        schedule.place(at(60_000_000));
        assert_eq!(schedule.due(at(60_000_000)).map(|due| due.missed), Some(0));
    }

    #[test]
    fn a_new_conference_goes_where_least_is_done() {
        let mut schedule = Schedule::new(at(0));
        for _ in 0..4 {
            schedule.place(at(0));
        }
        for _ in 0..100 {
            for (quarter, micros) in [900, 200, 300, 250].into_iter().enumerate() {
                schedule.worked(quarter * QUARTER, Duration::from_micros(micros));
            }
        }
        assert_eq!([schedule.place(at(0)), schedule.place(at(0)), schedule.place(at(0))], [5, 15, 10]);
    }

    #[test]
    fn a_conference_that_is_moved_ahead_is_mixed_sooner_once_and_then_each_twenty_milliseconds() {
        let mut schedule = Schedule::new(at(0));
        let slot = schedule.place(at(0));
        assert_eq!(schedule.due(at(5_000)).map(|due| (due.slot, due.at)), Some((slot, at(5_000))));
        let slot = schedule.earlier(slot, 7).expect("there is a place");
        for round in 0..10 {
            let due = schedule.due(at(18_100 + round * 20_000)).expect("it is due");
            assert_eq!((due.slot, due.at, due.missed), (slot, at(18_000 + round * 20_000), 0));
            assert_eq!(schedule.due(at(19_000 + round * 20_000)), None);
        }
    }

    #[test]
    fn many_conferences_do_not_take_all_slots() {
        let mut schedule = Schedule::new(at(0));
        let mut slots: Vec<usize> = (0..40).map(|_| schedule.place(at(0))).collect();
        for (number, slot) in slots.iter_mut().enumerate() {
            if let Some(moved) = schedule.earlier(*slot, number % 5) {
                *slot = moved;
            }
        }
        let used: std::collections::BTreeSet<usize> = slots.iter().copied().collect();
        assert!(used.len() <= IN_USE_MAX, "{used:?}");
        let round = std::iter::from_fn(|| schedule.due(at(24_999))).map(|due| due.slot).collect::<Vec<_>>();
        assert_eq!(round, used.into_iter().collect::<Vec<_>>(), "each is due once in a round");
    }
}
