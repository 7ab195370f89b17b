//! Who is shown as the speaker, and who holds a lecture. Pure.
//!
//! The mixer of sound says who talks most and who talks at all. Somebody is shown when they have talked most for as long
//! as is asked for, and the one before has been shown for as long as is asked for. Who goes on for long holds a lecture,
//! until somebody else is shown or nothing was said for as long.

use crate::model::Id;
use motet_rtp::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// A shorter silence is a breath.
const BREATH: Duration = Duration::from_secs(3);

/// When another one is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceSettings {
    /// Somebody talks most for so long before being shown.
    pub after: Duration,
    /// Who is shown stays so for at least so long.
    pub hold: Duration,
    /// Who has talked for so long holds a lecture; none: there are none.
    pub lecture_after: Option<Duration>,
}

/// See the module above.
#[derive(Debug, Default)]
pub(super) struct Voice {
    settings: VoiceSettings,
    talking: BTreeSet<Id>,
    /// Who is shown, and since when.
    shown: Option<(Id, Time)>,
    /// Who talks most and is not shown yet, and since when; no time while silent.
    rising: Option<(Id, Option<Time>)>,
    /// Since when who is shown has talked, and when that was heard last.
    talks_since: Option<Time>,
    heard: Option<Time>,
    lectures: bool,
}

impl Voice {
    pub(super) fn set(&mut self, settings: VoiceSettings) {
        self.settings = settings;
    }

    /// Another one talks most; none: who did has left.
    pub(super) fn active(&mut self, now: Time, leg: Option<Id>) {
        let is_shown = |leg: &Id| self.shown.as_ref().is_some_and(|(shown, _)| shown == leg);
        match leg {
            // It is told more than once.
            Some(leg) if self.rising.as_ref().is_some_and(|(rising, _)| *rising == leg) => {}
            Some(leg) if !is_shown(&leg) => self.rising = Some((leg, Some(now))),
            Some(_) => self.rising = None,
            None => (self.rising, self.shown, self.lectures) = (None, None, false),
        }
    }

    /// Somebody begins to talk, or stops.
    pub(super) fn talks(&mut self, now: Time, leg: Id, talks: bool) {
        if let Some((rising, since)) = &mut self.rising
            && *rising == leg
        {
            *since = talks.then_some(now);
        }
        if self.shown.as_ref().is_some_and(|(shown, _)| *shown == leg) {
            let breath = self.heard.is_some_and(|heard| now.since(heard) < BREATH);
            if talks && !breath {
                self.talks_since = Some(now);
            }
            self.heard = Some(now);
        }
        if talks {
            self.talking.insert(leg)
        } else {
            self.talking.remove(&leg)
        };
    }

    /// Looks at the time. True: somebody else is shown, or a lecture begins or ends.
    pub(super) fn look(&mut self, now: Time) -> bool {
        let VoiceSettings { after, hold, lecture_after } = self.settings;
        let before = (self.shown.clone(), self.lectures);
        let held = self.shown.as_ref().is_none_or(|(_, since)| now.since(*since) >= hold);
        // Who is silent by now has said too little, if anything was to be waited for.
        let risen = |since: &Option<Time>| since.map_or(after.is_zero(), |since| now.since(since) >= after);
        if let Some((leg, since)) = self.rising.take_if(|(_, since)| held && risen(since)) {
            self.shown = Some((leg, now));
            (self.talks_since, self.heard, self.lectures) = (Some(since.unwrap_or(now)), Some(now), false);
        }
        if let Some((shown, _)) = &self.shown
            && self.talking.contains(shown)
        {
            self.heard = Some(now);
        }
        let silent = self.heard.map_or(Duration::MAX, |heard| now.since(heard));
        self.lectures = match (lecture_after, self.talks_since) {
            (Some(long), Some(_)) if self.lectures => silent < long.max(BREATH),
            (Some(long), Some(since)) => silent < BREATH && now.since(since) >= long && self.shown.is_some(),
            _ => false,
        };
        (&self.shown, self.lectures) != (&before.0, before.1)
    }

    /// Who is shown as the speaker.
    pub(super) fn speaker(&self) -> Option<&Id> {
        self.shown.as_ref().map(|(leg, _)| leg)
    }

    /// Who holds a lecture.
    pub(super) fn lecturer(&self) -> Option<&Id> {
        self.speaker().filter(|_| self.lectures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(1_000_000 + seconds * 1_000)
    }

    fn id(name: &str) -> Id {
        Id::from(name)
    }

    fn speaker(voice: &Voice) -> Option<&str> {
        voice.speaker().map(Id::as_str)
    }

    fn talks_most(voice: &mut Voice, seconds: u64, name: &str) {
        voice.talks(at(seconds), id(name), true);
        voice.active(at(seconds), Some(id(name)));
    }

    #[test]
    fn at_once_unless_told() {
        let mut voice = Voice::default();
        talks_most(&mut voice, 0, "a");
        assert!(voice.look(at(0)));
        talks_most(&mut voice, 1, "b");
        assert!(voice.look(at(1)) && speaker(&voice) == Some("b"));
        assert!(!voice.look(at(9)));
        voice.active(at(10), None);
        assert_eq!((speaker(&voice), voice.lecturer()), (None, None));
    }

    #[test]
    fn somebody_talks_for_a_while_before_being_shown_and_stays_for_a_while() {
        let mut voice = Voice::default();
        voice.set(VoiceSettings { after: seconds(2), hold: seconds(10), lecture_after: None });
        talks_most(&mut voice, 0, "a");
        assert!(!voice.look(at(1)) && voice.look(at(2)));
        // A word is not enough.
        talks_most(&mut voice, 13, "b");
        voice.talks(at(14), id("b"), false);
        assert!(!voice.look(at(20)));
        voice.talks(at(20), id("b"), true);
        assert!(!voice.look(at(21)) && voice.look(at(22)));
        assert_eq!(speaker(&voice), Some("b"));
        // And not before the one who is shown was seen for long enough.
        talks_most(&mut voice, 23, "c");
        assert!(!voice.look(at(31)) && voice.look(at(32)));
        // Who comes back in time is still there.
        talks_most(&mut voice, 33, "d");
        talks_most(&mut voice, 35, "c");
        assert!(!voice.look(at(60)) && speaker(&voice) == Some("c"));
    }

    #[test]
    fn who_goes_on_for_long_holds_a_lecture_until_others_speak_or_all_are_silent() {
        let mut voice = Voice::default();
        voice.set(VoiceSettings { lecture_after: Some(seconds(30)), ..VoiceSettings::default() });
        talks_most(&mut voice, 0, "a");
        voice.look(at(0));
        voice.talks(at(10), id("a"), false);
        voice.look(at(11));
        // After a breath the time goes on.
        voice.talks(at(12), id("a"), true);
        assert!(!voice.look(at(29)) && voice.look(at(30)));
        assert_eq!(voice.lecturer(), Some(&id("a")));
        talks_most(&mut voice, 40, "b");
        assert!(voice.look(at(40)) && voice.lecturer().is_none());
        // After a longer silence it begins anew.
        voice.talks(at(45), id("b"), false);
        voice.look(at(45));
        voice.talks(at(60), id("b"), true);
        assert!(!voice.look(at(80)) && voice.look(at(90)) && voice.lecturer().is_some());
        voice.talks(at(100), id("b"), false);
        voice.look(at(100));
        assert!(!voice.look(at(129)) && voice.look(at(130)) && voice.lecturer().is_none());
    }
}
