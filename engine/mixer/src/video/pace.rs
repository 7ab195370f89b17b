//! When one source's picture is encoded alone: as it comes, and not too often.

use motet_rtp::Time;
use std::time::Duration;

/// A source whose picture is waited for is looked at so often.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// See above.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Which of the source's pictures was made last; 0: none.
    made: u64,
    /// When the next one may come by the rate.
    next: Time,
}

impl Pace {
    pub(super) fn new(now: Time) -> Pace {
        Pace { made: 0, next: now }
    }

    /// Whether the source's picture `version` is to be made now; 0: it has none. One that was made is made again only
    /// for who wants a key frame.
    pub(super) fn makes(&mut self, now: Time, version: u64, wants_key: bool, interval: Duration) -> bool {
        let is_new = version > 0 && (version != self.made || wants_key);
        // Cameras are not on time: half a picture early is none too many.
        if !is_new || self.next > now + interval / 2 {
            return false;
        }
        self.made = version;
        self.next = (self.next + interval).max(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the pictures that come at these milliseconds are made at most 25 times a second.
    fn made(at: impl Iterator<Item = u64>) -> usize {
        let mut pace = Pace::new(Time::ZERO);
        let interval = Duration::from_millis(40);
        let mut version = 0;
        at.filter(|ms| {
            version += 1;
            pace.makes(Time::ZERO + Duration::from_millis(*ms), version, false, interval)
        })
        .count()
    }

    #[test]
    fn pictures_of_the_rate_are_all_made_though_they_come_early_and_late() {
        assert_eq!(made((0..250).map(|number| number * 40 + [0, 12, 3, 18][number as usize % 4])), 250);
    }

    #[test]
    fn of_more_pictures_the_rate_is_made() {
        let made = made((0..500).map(|number| number * 20));
        assert!((249..=252).contains(&made), "{made} in 10 s");
    }

    #[test]
    fn the_same_picture_is_made_again_only_for_a_key_frame() {
        let mut pace = Pace::new(Time::ZERO);
        let (second, interval) = (Duration::from_secs(1), Duration::from_millis(40));
        assert!(!pace.makes(Time::ZERO, 0, true, interval), "there is none");
        assert!(pace.makes(Time::ZERO, 1, true, interval));
        assert!(!pace.makes(Time::ZERO + second, 1, false, interval));
        assert!(pace.makes(Time::ZERO + second, 1, true, interval));
    }
}
