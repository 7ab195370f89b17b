//! What time it is for people, when the clock of the machine jumps.
//!
//! Conferences begin and end by the machine's clock, which somebody may set wrong, and right again. A jump is
//! believed when it has lasted for a minute; until then time goes on as it did. At the start of the process
//! the clock is believed as it is. Small corrections, as a time service makes them, are followed at once.
//! Whatever the clock says, nothing begins twice: a reservation keeps in the store what comes next.

use super::model::Now;

/// A difference up to this is no jump, in milliseconds.
const CORRECTION_MS: i64 = 2_000;
/// A jump is believed when it has lasted so long, in milliseconds.
const DOUBT_MS: u64 = 60_000;

/// The machine's clock, and what is thought of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// Unix time less steady time, as believed; none: not seen yet.
    believed_ms: Option<i64>,
    /// Another difference, and since when it is seen.
    doubted: Option<(i64, u64)>,
}

impl Clock {
    /// The time to go by.
    pub(super) fn judge(&mut self, now: Now) -> Now {
        let seen_ms = now.unix_ms.saturating_sub(now.steady_ms as i64);
        let believed_ms = *self.believed_ms.get_or_insert(seen_ms);
        let near = |other: i64| seen_ms.saturating_sub(other).saturating_abs() <= CORRECTION_MS;
        if near(believed_ms) {
            (self.believed_ms, self.doubted) = (Some(seen_ms), None);
            return now;
        }
        let since_ms = match self.doubted {
            Some((doubted_ms, since_ms)) if near(doubted_ms) => since_ms,
            _ => now.steady_ms,
        };
        if now.steady_ms.saturating_sub(since_ms) >= DOUBT_MS {
            (self.believed_ms, self.doubted) = (Some(seen_ms), None);
            return now;
        }
        self.doubted = Some((seen_ms, since_ms));
        Now { unix_ms: believed_ms.saturating_add(now.steady_ms as i64), ..now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_jump_is_believed_when_it_lasts() {
        for jump in [HOUR, -HOUR] {
            let mut clock = Clock::default();
            let at = |steady_ms: u64, jumped: i64| Now { steady_ms, unix_ms: steady_ms as i64 + jumped };
            let mut told = |steady_ms, jumped| clock.judge(at(steady_ms, jumped)).unix_ms;
            assert_eq!(told(1_000, 0), 1_000);
            assert_eq!(told(2_000, 1_500), 3_500, "a correction");
            assert_eq!(told(3_000, jump), 4_500, "a jump");
            assert_eq!(told(62_999, jump), 64_499);
            assert_eq!(told(63_000, 1_500), 64_500, "it was undone");
            assert_eq!(told(64_000, jump), 65_500, "another one");
            assert_eq!(told(123_999, jump + 1_000), 125_499);
            assert_eq!(told(124_000, jump), 124_000 + jump, "it has lasted");
            assert_eq!(told(125_000, jump), 125_000 + jump);
        }
    }

    #[test]
    fn no_clock_is_too_wild() {
        let mut clock = Clock::default();
        for unix_ms in [0, i64::MAX, i64::MIN, -1, i64::MAX] {
            for steady_ms in [0, 1 << 40] {
                clock.judge(Now { steady_ms, unix_ms });
            }
        }
    }
}
