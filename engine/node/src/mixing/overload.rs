//! What a mixing thread does without when there is too much to do. Pure.
//!
//! First encoders work less, which few hear; then nothing is sent to who hears nobody, and who is silent is listened to
//! now and then only; then fewer voices are mixed at once. Somebody is always heard. What was taken away comes back
//! when there has been room for it for a while, for longer each time that it turned out to be too early; soon when the
//! thread has next to nothing to do, as after a crowd has left.

use motet_mixer::audio::Effort;
use motet_rtp::Time;
use std::time::Duration;

const ALL: Effort = Effort { complexity_max: None, speakers_max: None, skip_silence: false, listen_every: 1 };
const PLAIN: Effort = Effort { complexity_max: Some(2), ..ALL };
const PLAINEST: Effort = Effort { complexity_max: Some(0), skip_silence: true, ..ALL };
const HALF_DEAF: Effort = Effort { listen_every: 4, ..PLAINEST };
/// What is left at each level.
const LEVELS: [Effort; 7] = [
    ALL,
    PLAIN,
    PLAINEST,
    HALF_DEAF,
    Effort { speakers_max: Some(3), ..HALF_DEAF },
    Effort { speakers_max: Some(2), listen_every: 8, ..PLAINEST },
    Effort { speakers_max: Some(1), listen_every: 8, ..PLAINEST },
];
/// A thread that is busier has too much to do.
const BUSY_MAX: f64 = 0.85;
/// A thread that runs less is late for others' sake, whom no sacrifice of ours helps.
const BUSY_OWN: f64 = 0.3;
/// Ticks that may be late in a window without meaning anything.
const LATE_MAX: u64 = 1;
/// A thread that is less busy may do more again.
const BUSY_CALM: f64 = 0.7;
/// A thread that is less busy than this has so much room that the next level fits, unless it costs five times as much.
const BUSY_IDLE: f64 = 0.15;
const PATIENCE_IDLE: Duration = Duration::from_millis(500);
const PATIENCE_MIN: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_secs(80);

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// Share of the time in which the thread had something to do, 0 to 1, whether it had a processor or not.
    pub(crate) busy_share: f64,
    /// Share of the time that it ran.
    pub(crate) own_share: f64,
    /// Ticks that ended late or were left out.
    pub(crate) late: u64,
}

/// How much is taken away.
#[derive(Debug)]
pub(crate) struct Overload {
    levels: usize,
    level: usize,
    /// Since when nothing speaks against doing more.
    calm_since: Option<Time>,
    patience: Duration,
    /// Since when there is next to nothing to do.
    idle_since: Option<Time>,
    patience_idle: Duration,
    /// When something was given back last.
    eased: Option<Time>,
}

impl Overload {
    pub(crate) fn new() -> Overload {
        Overload::with_levels(LEVELS.len())
    }

    /// For another thread, which does without something at each of so many levels but the first.
    pub(crate) fn with_levels(levels: usize) -> Overload {
        Overload {
            levels,
            level: 0,
            calm_since: None,
            patience: PATIENCE_MIN,
            idle_since: None,
            patience_idle: PATIENCE_IDLE,
            eased: None,
        }
    }

    /// 0: nothing is taken away.
    pub(crate) fn level(&self) -> usize {
        self.level
    }

    /// What is left.
    pub(crate) fn effort(&self) -> Effort {
        LEVELS[self.level]
    }

    /// Looks at what happened; several times a second. True: the effort is another one now.
    pub(crate) fn look(&mut self, now: Time, window: Window) -> bool {
        let too_much = window.late > LATE_MAX || window.busy_share > BUSY_MAX;
        if too_much && window.own_share > BUSY_OWN {
            return self.take(now);
        }
        if self.level == 0 && self.eased.is_some_and(|eased| now.since(eased) > PATIENCE_MAX) {
            *self = Overload::with_levels(self.levels);
        }
        let calm = self.level > 0 && window.busy_share <= BUSY_CALM && window.late <= LATE_MAX;
        let long_enough = |calm: bool, since: &mut Option<Time>, patience| {
            *since = calm.then_some(since.unwrap_or(now));
            since.is_some_and(|since| now.since(since) >= patience)
        };
        let idle = calm && window.busy_share <= BUSY_IDLE;
        let has_rested = long_enough(idle, &mut self.idle_since, self.patience_idle);
        if !long_enough(calm, &mut self.calm_since, self.patience) && !has_rested {
            return false;
        }
        self.level -= 1;
        (self.calm_since, self.idle_since, self.eased) = (Some(now), None, Some(now));
        true
    }

    fn take(&mut self, now: Time) -> bool {
        (self.calm_since, self.idle_since) = (None, None);
        if self.level + 1 == self.levels {
            return false;
        }
        self.level += 1;
        if self.eased.take().is_some_and(|eased| now.since(eased) < 2 * PATIENCE_MIN) {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
            self.patience_idle = (self.patience_idle * 2).min(PATIENCE_MAX);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixing::schedule::{ROUND, SLOTS, Schedule};

    const WINDOW: Duration = Duration::from_millis(100);

    /// The levels over so many seconds of a thread that is this busy at each level.
    fn levels(
        overload: &mut Overload,
        now: &mut Time,
        seconds: u32,
        busy: impl Fn(usize) -> f64,
    ) -> Vec<usize> {
        let mut seen = Vec::new();
        for _ in 0..seconds * 10 {
            *now += WINDOW;
            let busy_share = busy(overload.level());
            let late = u64::from(busy_share >= 1.0) * 5;
            overload.look(*now, Window { busy_share, own_share: busy_share, late });
            if seen.last() != Some(&overload.level()) {
                seen.push(overload.level());
            }
        }
        seen
    }

    #[test]
    fn somebody_is_always_heard() {
        assert!(LEVELS.iter().all(|effort| effort.speakers_max != Some(0) && effort.listen_every > 0));
        assert_eq!(LEVELS[0], Effort::default());
        let mut overload = Overload::new();
        let mut now = Time::ZERO;
        assert_eq!(levels(&mut overload, &mut now, 60, |_| 1.0), [1, 2, 3, 4, 5, 6]);
        assert_eq!(overload.effort().speakers_max, Some(1));
    }

    #[test]
    fn only_as_much_is_taken_as_helps_and_it_comes_back() {
        let mut overload = Overload::new();
        let mut now = Time::ZERO;
        assert_eq!(levels(&mut overload, &mut now, 3, |level| 1.1 - 0.2 * level as f64), [1, 2]);
        assert_eq!(levels(&mut overload, &mut now, 30, |_| 0.3), [2, 1, 0]);
        assert_eq!(overload.effort(), Effort::default());
    }

    #[test]
    fn what_is_given_back_too_early_is_given_back_later() {
        let busy = |level| if level == 0 { 0.95 } else { 0.5 };
        // At level 1 there seems to be room, at level 0 there is not.
        let changes = levels(&mut Overload::new(), &mut Time::ZERO.clone(), 300, busy);
        let early = levels(&mut Overload::new(), &mut Time::ZERO.clone(), 30, busy);
        assert!(early.len() >= 4, "at first after five seconds: {early:?}");
        assert!(changes.len() <= 16, "and then less and less often: {changes:?}");
    }

    #[test]
    fn after_the_crowd_has_left_all_comes_back_soon() {
        let (mut overload, mut now) = (Overload::new(), Time::ZERO);
        // A minute of too much, with attempts to give back in it, so that patience has grown.
        levels(&mut overload, &mut now, 60, |level| if level < 6 { 1.0 } else { 0.6 });
        assert!(overload.level() > 4 && overload.patience > PATIENCE_MIN, "{overload:?}");
        levels(&mut overload, &mut now, 30, |_| 0.05);
        assert_eq!(overload.level(), 0);
    }

    #[test]
    fn what_seems_idle_and_is_not_is_tried_less_and_less() {
        let busy = |level| if level == 0 { 0.95 } else { 0.1 };
        let changes = levels(&mut Overload::new(), &mut Time::ZERO.clone(), 300, busy);
        assert!(changes.len() <= 24, "{changes:?}");
    }

    #[test]
    fn late_for_others_sake_takes_nothing_away() {
        let mut overload = Overload::new();
        for tick in 0..100 {
            let window = Window { busy_share: 0.95, own_share: 0.1, late: 9 };
            assert!(!overload.look(Time::from_nanos(tick * 100_000_000), window));
        }
    }

    /// What became of a thread with this many conferences: the level at the end, and for each second how many ticks
    /// each conference had at least, and how many ended late.
    fn run(rooms: usize, seconds: u64, micros: impl Fn(usize) -> u64) -> (usize, Vec<(u64, u64)>) {
        let (mut now, mut overload) = (Time::from_millis(1_000), Overload::new());
        let mut schedule = Schedule::new(now);
        let slots: Vec<usize> = (0..rooms).map(|_| schedule.place(now)).collect();
        let (mut window, mut slept, mut late_before) = (now, Duration::ZERO, 0);
        let mut history = Vec::new();
        for second in 1..=seconds {
            let until = Time::from_millis(1_000 + 1_000 * second);
            let (mut ticks, mut late) = ([0; SLOTS], 0);
            while now < until {
                let next = schedule.next().expect("there are conferences");
                if next > now {
                    slept += next.since(now);
                    now = next;
                }
                let due = schedule.due(now).expect("it is due");
                let in_slot = slots.iter().filter(|slot| **slot == due.slot).count() as u64;
                now += Duration::from_micros(in_slot * micros(overload.level()));
                ticks[due.slot] += 1;
                late += in_slot * (u64::from(now.since(due.at) > ROUND / 2) + due.missed);
                if now.since(window) >= WINDOW {
                    let busy_share = 1.0 - slept.as_secs_f64() / now.since(window).as_secs_f64();
                    let window_late = late.max(late_before) - late_before;
                    overload.look(now, Window { busy_share, own_share: busy_share, late: window_late });
                    (window, slept, late_before) = (now, Duration::ZERO, late);
                }
            }
            late_before = 0;
            history.push((slots.iter().map(|slot| ticks[*slot]).min().expect("some"), late));
        }
        (overload.level(), history)
    }

    #[test]
    fn what_fits_is_never_late_and_nothing_is_taken_away() {
        let (level, history) = run(200, 20, |_| 70);
        assert_eq!(level, 0);
        assert!(history.iter().all(|second| *second == (50, 0)), "{history:?}");
    }

    #[test]
    fn what_can_be_made_to_fit_is_so_within_a_second() {
        // 1.6 times too much at first; each level takes off a little.
        let (level, history) = run(200, 20, |level| [160, 140, 110, 95, 80, 60, 40][level]);
        assert!((3..=5).contains(&level), "{level}: {history:?}");
        assert!(history[0].0 >= 25, "heard in the meantime, too: {history:?}");
        assert!(history[2..].iter().all(|(ticks, late)| *ticks >= 49 && *late == 0), "{history:?}");
    }

    #[test]
    fn where_nothing_helps_all_are_heard_part_of_the_time() {
        // Twice too much, whatever is taken away.
        let (level, history) = run(200, 20, |_| 200);
        assert_eq!(level, LEVELS.len() - 1);
        assert!(history.iter().all(|(ticks, _)| (20..=30).contains(ticks)), "{history:?}");
    }
}
