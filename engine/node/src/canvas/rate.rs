//! How often canvases are made when there is too much to do. Pure.
//!
//! Each picture is still whole; only fewer come. When it is made is decided as for mixing (`mixing/overload.rs`): a
//! thread that is busy or misses pictures takes a step at once, and takes it back when there has been room for a
//! while, for longer each time that it turned out to be too early.

use crate::mixing::overload::{Overload, Window};
use motet_rtp::Time;

/// Of so many pictures one is made, at each level.
const DIVISORS: [u32; 7] = [1, 2, 3, 4, 6, 10, 15];

/// The rate of a thread's canvases.
#[derive(Debug)]
pub(crate) struct Rate(Overload);

impl Rate {
    pub(crate) fn new() -> Rate {
        Rate(Overload::with_levels(DIVISORS.len()))
    }

    /// 0: as asked for.
    pub(crate) fn level(&self) -> usize {
        self.0.level()
    }

    /// Of so many pictures one is made; at least 1.
    pub(crate) fn divisor(&self) -> u32 {
        DIVISORS[self.0.level()]
    }

    /// Looks at what happened; a few times a second. True: the rate is another one now.
    pub(crate) fn look(&mut self, now: Time, window: Window) -> bool {
        self.0.look(now, window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn pictures_come_less_often_until_they_come_in_time_and_more_often_when_there_is_room() {
        let (mut rate, mut now) = (Rate::new(), Time::from_millis(1_000));
        // At full rate there is two and a half times too much to do.
        let mut run = |seconds: u32, load: f64| {
            let mut seen = vec![rate.divisor()];
            for _ in 0..seconds * 2 {
                now += Duration::from_millis(500);
                let busy = (load / f64::from(rate.divisor())).min(1.0);
                let late = if busy >= 1.0 { 5 } else { 0 };
                if rate.look(now, Window { busy_share: busy, own_share: busy, late }) {
                    seen.push(rate.divisor());
                }
            }
            seen
        };
        assert_eq!(run(4, 2.5), [1, 2, 3], "and 0.83 of the time is enough for that");
        assert_eq!(run(30, 0.2), [3, 2, 1]);
        assert_eq!(run(60, 1_000.0).last(), Some(&15), "there is always a picture");
    }
}
