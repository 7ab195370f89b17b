//! Whether the node drains, and when it ends by that. Pure: the time comes in, no clock is read.
//!
//! A draining node takes no new conferences. A drain with a deadline ends the node, as soon as nothing runs
//! on it and at the deadline at the latest; one without a deadline only keeps new conferences away. A signal
//! is a drain with a deadline, a second one ends the node at once. Cancelling undoes all of it.

use motet_rtp::Time;
use std::time::Duration;

/// Why a draining node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing runs on it any more.
    Empty,
    /// The deadline is over.
    Deadline,
    /// A second signal came.
    Forced,
}

/// What the node was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drain {
    draining: bool,
    ends_at: Option<Time>,
    signals: u32,
}

impl Drain {
    /// Drains from now on, for so long at most; None: without end. Replaces an earlier deadline.
    pub(crate) fn begin(&mut self, now: Time, deadline: Option<Duration>) {
        self.draining = true;
        self.ends_at = deadline.map(|deadline| now + deadline);
    }

    /// A signal to end came. The first begins a drain of this length, and shortens one that would take
    /// longer; the second ends the node.
    pub(crate) fn on_signal(&mut self, now: Time, deadline: Duration) {
        self.signals += 1;
        if self.signals == 1 {
            let ends_at = now + deadline;
            self.draining = true;
            self.ends_at = Some(self.ends_at.map_or(ends_at, |known| known.min(ends_at)));
        }
    }

    /// Takes new conferences again, and does not end.
    pub(crate) fn cancel(&mut self) {
        *self = Drain::default();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// How long until the node ends whatever runs on it. None: it does not.
    pub(crate) fn left(&self, now: Time) -> Option<Duration> {
        self.ends_at.map(|ends_at| ends_at.since(now))
    }

    /// Whether the node is to end now. `conferences`: how many run; None: not known just now.
    pub(crate) fn end(&self, now: Time, conferences: Option<usize>) -> Option<End> {
        if self.signals >= 2 {
            return Some(End::Forced);
        }
        let ends_at = self.ends_at?;
        match conferences {
            Some(0) => Some(End::Empty),
            _ if now >= ends_at => Some(End::Deadline),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: u64) -> Time {
        Time::ZERO + MINUTE * u32::try_from(minutes).expect("a few")
    }

    #[test]
    fn without_a_deadline_it_only_drains() {
        let mut drain = Drain::default();
        assert_eq!((drain.is_draining(), drain.end(at(0), Some(0))), (false, None));
        drain.begin(at(0), None);
        assert!(drain.is_draining());
        assert_eq!((drain.end(at(9_999), Some(0)), drain.left(at(0))), (None, None));
        drain.cancel();
        assert!(!drain.is_draining());
    }

    #[test]
    fn it_ends_empty_or_at_the_deadline() {
        let mut drain = Drain::default();
        drain.begin(at(1), Some(30 * MINUTE));
        assert_eq!(drain.left(at(11)), Some(20 * MINUTE));
        assert_eq!(drain.end(at(2), Some(1)), None);
        assert_eq!(drain.end(at(2), Some(0)), Some(End::Empty));
        assert_eq!(drain.end(at(2), None), None, "what is not known is not empty");
        assert_eq!(drain.end(at(30), Some(1)), None);
        assert_eq!(drain.end(at(31), Some(1)), Some(End::Deadline));
        assert_eq!(drain.end(at(31), None), Some(End::Deadline), "not even a stuck worker holds it up");
    }

    #[test]
    fn a_later_drain_replaces_the_deadline_and_a_cancel_removes_it() {
        let mut drain = Drain::default();
        drain.begin(at(0), Some(MINUTE));
        drain.begin(at(0), Some(10 * MINUTE));
        assert_eq!(drain.end(at(5), Some(1)), None);
        drain.begin(at(5), None);
        assert_eq!(drain.end(at(50), Some(1)), None);
        drain.begin(at(50), Some(MINUTE));
        drain.cancel();
        assert_eq!(drain.end(at(99), Some(0)), None);
    }

    #[test]
    fn a_second_signal_forces() {
        let mut drain = Drain::default();
        drain.on_signal(at(0), 30 * MINUTE);
        assert_eq!((drain.is_draining(), drain.end(at(1), Some(1))), (true, None));
        drain.on_signal(at(1), 30 * MINUTE);
        assert_eq!(drain.end(at(1), Some(1)), Some(End::Forced));
    }

    #[test]
    fn a_signal_shortens_a_drain_and_never_lengthens_it() {
        let mut drain = Drain::default();
        drain.begin(at(0), Some(60 * MINUTE));
        drain.on_signal(at(0), 30 * MINUTE);
        assert_eq!(drain.left(at(0)), Some(30 * MINUTE));
        drain.cancel();
        drain.begin(at(0), Some(10 * MINUTE));
        drain.on_signal(at(0), 30 * MINUTE);
        assert_eq!(drain.left(at(0)), Some(10 * MINUTE));
    }

    #[test]
    fn a_cancel_forgets_the_signals() {
        let mut drain = Drain::default();
        drain.on_signal(at(0), MINUTE);
        drain.cancel();
        drain.on_signal(at(1), MINUTE);
        assert_eq!(drain.end(at(1), Some(1)), None, "the first after a cancel drains again");
    }
}
