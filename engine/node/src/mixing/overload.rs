//! What a mixing thread does without when there is too much to do. Pure.
//!
//! First encoders work less, which few hear; then fewer voices are mixed at once. Somebody is always heard. What
//! was taken away comes back when there has been room for it for a while, for longer each time that it turned out
//! to be too early.

use motet_mixer::audio::Effort;
use motet_rtp::Time;
use std::time::Duration;

/// What is left at each level.
const LEVELS: [Effort; 6] = [
    Effort { complexity_max: None, speakers_max: None },
    Effort { complexity_max: Some(3), speakers_max: None },
    Effort { complexity_max: Some(0), speakers_max: None },
    Effort { complexity_max: Some(0), speakers_max: Some(3) },
    Effort { complexity_max: Some(0), speakers_max: Some(2) },
    Effort { complexity_max: Some(0), speakers_max: Some(1) },
];
/// A thread that is busier has too much to do.
const BUSY_MAX: f64 = 0.85;
/// A thread that is less busy is late for others' sake, whom no sacrifice of ours helps.
const BUSY_OWN: f64 = 0.3;
/// Ticks that may be late in a window without meaning anything.
const LATE_MAX: u64 = 1;
/// A thread that is less busy may do more again.
const BUSY_CALM: f64 = 0.6;
const PATIENCE_MIN: Duration = Duration::from_secs(5);
const PATIENCE_MAX: Duration = Duration::from_secs(80);

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// Share of the time that the thread ran, 0 to 1.
    pub(crate) busy_share: f64,
    /// Ticks that ended late or were left out.
    pub(crate) late: u64,
}

/// How much is taken away.
#[derive(Debug)]
pub(crate) struct Overload {
    level: usize,
    /// Since when nothing speaks against doing more.
    calm_since: Option<Time>,
    patience: Duration,
    /// When something was given back last.
    eased: Option<Time>,
}

impl Overload {
    pub(crate) fn new() -> Overload {
        Overload { level: 0, calm_since: None, patience: PATIENCE_MIN, eased: None }
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
        let starved = window.late > LATE_MAX && window.busy_share > BUSY_OWN;
        if window.busy_share > BUSY_MAX || starved {
            self.calm_since = None;
            if self.level + 1 == LEVELS.len() {
                return false;
            }
            self.level += 1;
            if self.eased.take().is_some_and(|eased| now.since(eased) < 2 * PATIENCE_MIN) {
                self.patience = (self.patience * 2).min(PATIENCE_MAX);
            }
            return true;
        }
        if self.level == 0 && self.eased.is_some_and(|eased| now.since(eased) > PATIENCE_MAX) {
            (self.eased, self.patience) = (None, PATIENCE_MIN);
        }
        if self.level == 0 || window.busy_share > BUSY_CALM || window.late > LATE_MAX {
            self.calm_since = None;
            return false;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.since(since) < self.patience {
            return false;
        }
        self.level -= 1;
        (self.calm_since, self.eased) = (Some(now), Some(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(250);

    /// The levels over so many seconds of a thread that is this busy at each level.
    fn levels(
        overload: &mut Overload,
        now: &mut Time,
        seconds: u32,
        busy: impl Fn(usize) -> f64,
    ) -> Vec<usize> {
        let mut seen = Vec::new();
        for _ in 0..seconds * 4 {
            *now += WINDOW;
            let busy_share = busy(overload.level());
            overload.look(*now, Window { busy_share, late: u64::from(busy_share >= 1.0) * 5 });
            if seen.last() != Some(&overload.level()) {
                seen.push(overload.level());
            }
        }
        seen
    }

    #[test]
    fn somebody_is_always_heard() {
        assert!(LEVELS.iter().all(|effort| effort.speakers_max != Some(0)));
        let mut overload = Overload::new();
        let mut now = Time::ZERO;
        assert_eq!(levels(&mut overload, &mut now, 60, |_| 1.0), [1, 2, 3, 4, 5]);
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
        let mut overload = Overload::new();
        let mut now = Time::ZERO;
        // At level 1 there seems to be room, at level 0 there is not.
        let changes = levels(&mut overload, &mut now, 300, |level| if level == 0 { 0.95 } else { 0.5 });
        let early =
            levels(
                &mut Overload::new(),
                &mut Time::ZERO.clone(),
                30,
                |level| {
                    if level == 0 { 0.95 } else { 0.5 }
                },
            );
        assert!(early.len() >= 4, "at first after five seconds: {early:?}");
        assert!(changes.len() <= 16, "and then less and less often: {changes:?}");
    }

    #[test]
    fn late_for_others_sake_takes_nothing_away() {
        let mut overload = Overload::new();
        for tick in 0..100 {
            assert!(
                !overload.look(Time::from_nanos(tick * 250_000_000), Window { busy_share: 0.1, late: 9 })
            );
        }
    }
}
