//! When another process takes the place of one that ended, and who is left out of it. Pure.
//!
//! It is started at once, and later and later while those before it do not last. A conference for which it worked each
//! time that it ended has no canvas for a while: one bad stream does not take all canvases down for ever.

use crate::model::Id;
use motet_rtp::Time;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// A process that has lasted for so long was a good one.
const LASTS: Duration = Duration::from_secs(10);
/// How long the next one is waited for, by how many before it did not last.
const WAITS_S: [u64; 6] = [0, 1, 2, 4, 8, 10];
/// Within this time a conference is found to be the cause.
const WINDOW: Duration = Duration::from_secs(10);
/// And it is when the process ended over it so often.
const ENDS_MAX: usize = 3;
/// It is left out for so long.
const OUT: Duration = Duration::from_secs(60);

/// What is known of those that ended.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// How many did not last, one after another.
    failures: usize,
    due: Time,
    /// When the process ended over each conference.
    ends: BTreeMap<Id, VecDeque<Time>>,
    /// Until when conferences are left out.
    out: HashMap<Id, Time>,
}

impl Restarts {
    /// A process has ended, or could not be started; `over` is whom it worked for then. Gives who is left out from now
    /// on.
    pub(super) fn ended(&mut self, now: Time, over: Option<Id>) -> Option<Id> {
        self.failures = if now.since(self.due) > LASTS { 0 } else { self.failures + 1 };
        let wait = WAITS_S[self.failures.min(WAITS_S.len() - 1)];
        self.due = now + Duration::from_secs(wait);
        self.ends.retain(|_, ends| ends.back().is_some_and(|last| now.since(*last) <= WINDOW));
        let id = over?;
        let ends = self.ends.entry(id.clone()).or_default();
        ends.push_back(now);
        ends.retain(|end| now.since(*end) <= WINDOW);
        if ends.len() < ENDS_MAX {
            return None;
        }
        self.ends.remove(&id);
        self.out.insert(id.clone(), now + OUT);
        Some(id)
    }

    /// Whether the next one is to be started.
    pub(super) fn is_due(&self, now: Time) -> bool {
        now >= self.due
    }

    /// Whether a conference is made, and not left out.
    pub(super) fn makes(&self, id: &Id) -> bool {
        !self.out.contains_key(id)
    }

    /// Those who are no longer left out.
    pub(super) fn pardoned(&mut self, now: Time) -> Vec<Id> {
        self.out.extract_if(|_, until| now >= *until).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(100_000 + seconds * 1_000)
    }

    #[test]
    fn the_first_takes_its_place_at_once_and_those_after_it_later_and_later() {
        let (mut restarts, mut now, mut waits) = (Restarts::default(), 0, Vec::new());
        for _ in 0..8 {
            restarts.ended(at(now), None);
            let wait = (0..).find(|wait| restarts.is_due(at(now + wait))).expect("for ever");
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 10, 10, 10]);
        // One that lasts makes it good.
        now += 11;
        restarts.ended(at(now), None);
        assert!(restarts.is_due(at(now)));
    }

    #[test]
    fn who_is_worked_for_at_three_ends_within_ten_seconds_is_left_out_for_a_minute() {
        let (mut restarts, id) = (Restarts::default(), Id::from("bad"));
        let mut ended = |seconds, name: Option<&str>| restarts.ended(at(seconds), name.map(Id::from));
        assert_eq!(ended(0, Some("bad")), None);
        assert_eq!(ended(1, Some("other")), None);
        assert_eq!(ended(2, None), None);
        assert_eq!(ended(9, Some("bad")), None);
        assert_eq!(ended(11, Some("bad")), None, "the first is too long ago");
        assert_eq!(ended(12, Some("bad")), Some(id.clone()));
        assert!(!restarts.makes(&id) && restarts.makes(&Id::from("other")));
        assert!(restarts.pardoned(at(71)).is_empty());
        assert_eq!(restarts.pardoned(at(72)), std::slice::from_ref(&id));
        assert!(restarts.makes(&id));
        // It begins anew.
        assert_eq!(restarts.ended(at(73), Some(id.clone())), None);
    }
}
