//! Holds back media after this process was stopped (SIGSTOP, a paused machine) until it is known again what runs
//! here.
//!
//! To control a stopped node is a lost one: its conferences go on elsewhere, and a node that wakes up and goes on as
//! if nothing had happened would send everything twice. A thread notices by its own clock that it did not run. From
//! then on it carries nothing, until every control that the node announces itself to has answered an announcement
//! made since then (with what is to be given up), or for [`Timing::hold`] if one does not: media must go on without
//! control, too. What came in while it was stopped is old, and is dropped even if control answers at once.
//!
//! Each thread has a fence of its own: one that alone was held up for long holds back what it carries itself.

use motet_rtp::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Packets that came while the process was stopped are read within this time.
const HOLD_MIN: Duration = Duration::from_millis(50);

/// When threads hold back, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// A thread that did not run for longer was stopped; zero: it never was.
    pub(crate) after: Duration,
    /// At most so long without an answer.
    pub(crate) hold: Duration,
}

/// What threads and announcements tell each other.
#[derive(Debug)]
pub(crate) struct Word {
    /// When a thread noticed a stop last, in nanoseconds.
    stopped: watch::Sender<u64>,
    /// For each control, when the last announcement that it answered was made.
    answered: Vec<AtomicU64>,
}

impl Word {
    /// For so many controls.
    pub(crate) fn new(controls: usize) -> Arc<Word> {
        let answered = std::iter::repeat_with(AtomicU64::default).take(controls).collect();
        Arc::new(Word { stopped: watch::Sender::new(0), answered })
    }

    /// Wakes those who announce.
    fn stopped(&self, now: Time) {
        self.stopped.send_replace(now.as_nanos());
    }

    /// Changes when a thread notices a stop.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.stopped.subscribe()
    }

    /// Control has answered an announcement made at `begun`, and what it wanted given up is.
    pub(crate) fn answered(&self, control: usize, begun: Time) {
        self.answered[control].fetch_max(begun.as_nanos(), Ordering::Release);
    }

    /// Whether all have answered since. False where there is nobody to ask.
    fn is_answered_since(&self, stopped: Time) -> bool {
        let since = |answered: &AtomicU64| answered.load(Ordering::Acquire) >= stopped.as_nanos();
        !self.answered.is_empty() && self.answered.iter().all(since)
    }
}

/// A thread's own fence.
#[derive(Debug)]
pub(crate) struct Fence {
    timing: Timing,
    word: Arc<Word>,
    /// When the thread was seen to run last; none: it waits for something else than time.
    seen: Option<Time>,
    /// When it noticed that it had been stopped; none: it carries.
    stopped: Option<Time>,
}

impl Fence {
    pub(crate) fn new(timing: Timing, word: Arc<Word>) -> Fence {
        Fence { timing, word, seen: None, stopped: None }
    }

    /// Once a turn, which begins now. True: nothing of it is to be carried. `more` says that packets wait that
    /// came before.
    #[inline]
    pub(crate) fn holds(&mut self, now: Time, more: bool) -> bool {
        let seen = self.seen.replace(now).unwrap_or(now);
        if now.since(seen) > self.timing.after && self.timing.after > Duration::ZERO {
            self.notice(now);
        }
        match self.stopped {
            None => false,
            Some(stopped) => self.still_holds(now, stopped, more),
        }
    }

    /// The thread is about to wait for as long as it takes.
    pub(crate) fn rest(&mut self) {
        self.seen = None;
    }

    /// When a turn is due at the latest, so that what is held back can go on.
    pub(crate) fn wake_at(&self) -> Time {
        match self.stopped {
            Some(_) => self.seen.map_or(Time::MAX, |seen| seen + Duration::from_millis(1)),
            None => Time::MAX,
        }
    }

    /// Since when nothing is carried.
    pub(crate) fn is_up(&self) -> bool {
        self.stopped.is_some()
    }

    #[cold]
    fn notice(&mut self, now: Time) {
        self.stopped = Some(now);
        self.word.stopped(now);
    }

    #[cold]
    fn still_holds(&mut self, now: Time, stopped: Time, more: bool) -> bool {
        let since = now.since(stopped);
        let known = self.word.is_answered_since(stopped) || since >= self.timing.hold;
        // A socket that is never read empty must not keep the fence up for ever.
        let read = (since >= HOLD_MIN && !more) || since >= self.timing.hold.max(HOLD_MIN);
        if known && read {
            self.stopped = None;
        }
        self.stopped.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { after: Duration::from_secs(1), hold: Duration::from_secs(1) };

    fn at(millis: u64) -> Time {
        Time::from_millis(100_000 + millis)
    }

    fn fence(controls: usize) -> (Fence, Arc<Word>) {
        let word = Word::new(controls);
        (Fence::new(TIMING, Arc::clone(&word)), word)
    }

    /// The first turn of each ten milliseconds that is carried.
    fn carries_from(fence: &mut Fence, from: u64) -> u64 {
        let turn = |turn: &u64| !fence.holds(at(from + 10 * turn), false);
        from + 10 * (0..1_000).find(turn).expect("it does not hold for ever")
    }

    #[test]
    fn who_runs_all_the_time_holds_nothing_back() {
        let (mut fence, word) = fence(1);
        for turn in 0..100 {
            assert!(!fence.holds(at(turn * 1_000), true), "a second is no stop");
        }
        assert!(!fence.is_up() && !word.watch().has_changed().expect("it lives"));
    }

    #[test]
    fn a_stop_holds_until_control_answers_what_was_said_since() {
        let (mut fence, word) = fence(2);
        let watch = word.watch();
        assert!(!fence.holds(at(0), false));
        word.answered(0, at(1));
        word.answered(1, at(1));
        assert!(fence.holds(at(5_000), false), "what was said before the stop does not count");
        assert!(watch.has_changed().expect("it lives"), "an announcement is made at once");
        word.answered(0, at(5_001));
        assert!(fence.holds(at(5_060), false), "one of two");
        word.answered(1, at(5_002));
        word.answered(1, at(1));
        assert!(!fence.holds(at(5_070), false), "both, whatever comes late");
        assert_eq!(fence.wake_at(), Time::MAX);
        assert!(!fence.holds(at(5_080), true));
    }

    #[test]
    fn what_came_during_the_stop_is_dropped_even_when_control_is_quick() {
        let (mut fence, word) = fence(1);
        assert!(!fence.holds(at(0), false) && fence.holds(at(5_000), true));
        word.answered(0, at(5_000));
        assert!(fence.holds(at(5_049), false), "the sockets may not be empty yet");
        assert!(fence.holds(at(5_060), true), "they are not");
        assert!(!fence.holds(at(5_070), false));
    }

    #[test]
    fn media_goes_on_without_control() {
        for controls in [0, 1, 2] {
            let (mut fence, word) = fence(controls);
            assert!(!fence.holds(at(0), false));
            assert_eq!(carries_from(&mut fence, 5_000), 6_000, "{controls}");
            drop(word);
        }
        // Even under a flood.
        let (mut fence, _word) = fence(1);
        assert!(!fence.holds(at(0), true));
        assert!(fence.holds(at(5_000), true) && fence.holds(at(5_999), true));
        assert!(!fence.holds(at(6_000), true));
    }

    #[test]
    fn a_second_stop_begins_anew() {
        let (mut fence, word) = fence(1);
        assert!(!fence.holds(at(0), false) && fence.holds(at(5_000), false));
        word.answered(0, at(5_001));
        assert!(fence.holds(at(9_000), false), "the answer may be older than what happened meanwhile");
        assert!(fence.holds(at(9_900), false));
        word.answered(0, at(9_901));
        assert!(!fence.holds(at(9_910), false));
    }

    #[test]
    fn a_wait_for_something_else_than_time_is_no_stop() {
        let (mut fence, _word) = fence(1);
        assert!(!fence.holds(at(0), false));
        fence.rest();
        assert!(!fence.holds(at(60_000), false));
        let off = Timing { after: Duration::ZERO, ..TIMING };
        let mut fence = Fence::new(off, Word::new(1));
        assert!(!fence.holds(at(0), false) && !fence.holds(at(60_000), false), "switched off");
    }

    #[test]
    fn while_it_holds_turns_come_often() {
        let (mut fence, _word) = fence(0);
        fence.holds(at(0), false);
        fence.holds(at(5_000), false);
        assert_eq!(fence.wake_at(), at(5_001));
    }
}
