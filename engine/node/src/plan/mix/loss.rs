//! What one receiver of a mix loses, from its reports: when error correction begins, and when it ends. Pure.
//!
//! Correction costs bits and some three times the work, so one bad report begins nothing; and whoever has
//! lost may lose again, so it ends late.

use motet_mixer::audio::limits::LOSS_STEPS_PERCENT;
use motet_rtp::Time;
use std::time::Duration;

/// Two reports in a row of at least this much, in percent, are a loss.
const LOSSY_PERCENT: f32 = 2.0;
/// A step is kept while something reported is at least this much, in percent.
const KEPT_FROM_PERCENT: [f32; LOSS_STEPS_PERCENT.len()] = [0.0, 1.0, 4.0, 8.0];
/// After so long without such a report, a step is left.
const CALM_AFTER: Duration = Duration::from_secs(30);

/// What is known of the loss on the way to one receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossWatch {
    /// Which of the steps.
    step: usize,
    /// The last report, as it was taken.
    last: Option<(f32, i64)>,
    /// When the step was last needed, and the most that was reported since, in percent.
    needed_at: Time,
    most_percent: f32,
}

impl LossWatch {
    /// What the receiver is taken to lose, in percent: one of
    /// [`LOSS_STEPS_PERCENT`](motet_mixer::audio::limits::LOSS_STEPS_PERCENT).
    pub fn percent(&self) -> u8 {
        LOSS_STEPS_PERCENT[self.step]
    }

    /// Looks at the receiver's last report: the fraction lost, 0 to 1, and the packets lost so far (RFC 3550 section
    /// 6.4.1). It may be looked at any number of times. True: [`percent`](Self::percent) is another one now.
    pub fn look(&mut self, now: Time, fraction_lost: f32, lost: i64) -> bool {
        let before = self.step;
        let percent = 100.0 * fraction_lost;
        let last = self.last.replace((percent, lost));
        // Two reports of a loss differ in what was lost so far.
        if last != Some((percent, lost)) {
            self.take_report(now, percent, last.map_or(0.0, |(percent, _)| percent));
        }
        if self.step > 0 && now.since(self.needed_at) >= CALM_AFTER {
            self.step = last_where(|at| KEPT_FROM_PERCENT[at] <= self.most_percent);
            self.need(now);
        }
        self.step != before
    }

    fn take_report(&mut self, now: Time, percent: f32, last_percent: f32) {
        let sure = percent.min(last_percent);
        if sure >= LOSSY_PERCENT {
            // The first that is enough: the one after the last that is not.
            let too_little = last_where(|at| f32::from(LOSS_STEPS_PERCENT[at]) < sure);
            self.step = self.step.max((too_little + 1).min(LOSS_STEPS_PERCENT.len() - 1));
        }
        if percent >= KEPT_FROM_PERCENT[self.step] {
            self.need(now);
        } else {
            self.most_percent = self.most_percent.max(percent);
        }
    }

    fn need(&mut self, now: Time) {
        (self.needed_at, self.most_percent) = (now, 0.0);
    }
}

/// The last step for which something holds; it holds for the first ones.
fn last_where(holds: impl Fn(usize) -> bool) -> usize {
    (0..LOSS_STEPS_PERCENT.len()).rev().find(|at| holds(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver that reports every five seconds, looked at every second.
    #[derive(Default)]
    struct Receiver {
        watch: LossWatch,
        now_s: u64,
        lost: i64,
        percent: f32,
        changes: usize,
    }

    impl Receiver {
        fn look(&mut self) {
            let now = Time::from_millis(1_000 * (1_000 + self.now_s));
            self.changes += usize::from(self.watch.look(now, self.percent / 100.0, self.lost));
        }

        /// What it is taken to lose a moment after each of these reports, in percent.
        fn report(&mut self, percents: &[f32]) -> Vec<u8> {
            let report = |percent: &f32| {
                self.percent = *percent;
                self.lost += *percent as i64;
                for _ in 0..5 {
                    self.now_s += 1;
                    self.look();
                }
                self.watch.percent()
            };
            percents.iter().map(report).collect()
        }
    }

    #[test]
    fn two_reports_of_a_loss_are_one_and_a_single_one_is_not() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.report(&[0.0, 30.0, 0.0, 30.0, 1.9, 30.0, 0.0]), [0; 7]);
        assert_eq!(receiver.report(&[2.0, 2.0]), [0, 5], "and at once");
        assert_eq!(receiver.report(&[9.0, 6.0, 50.0, 60.0]), [5, 10, 10, 20]);
        assert_eq!(receiver.changes, 3);
    }

    #[test]
    fn a_report_that_is_looked_at_again_is_no_second_one() {
        let mut receiver = Receiver { percent: 10.0, lost: 7, ..Receiver::default() };
        (0..100).for_each(|_| receiver.look());
        assert_eq!(receiver.watch.percent(), 0);
        receiver.lost += 3;
        receiver.look();
        assert_eq!(receiver.watch.percent(), 10, "as much, but more has been lost");
    }

    #[test]
    fn what_is_over_ends_after_thirty_seconds() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.report(&[3.0, 3.0, 1.0])[2], 5);
        let calm = receiver.report(&[0.9; 8]);
        assert_eq!(calm, [5, 5, 5, 5, 5, 0, 0, 0], "below 1 %");
        receiver.report(&[3.0, 3.0]);
        for _ in 0..20 {
            assert_eq!(receiver.report(&[0.0, 0.0, 0.0, 1.0]), [5; 4], "it still loses now and then");
        }
        assert_eq!(receiver.report(&[0.0; 7])[6], 0);
    }

    #[test]
    fn who_falls_silent_after_a_loss_is_not_taken_to_lose_for_ever() {
        let mut receiver = Receiver::default();
        receiver.report(&[10.0, 10.0]);
        let (now_s, lost) = (receiver.now_s, receiver.lost);
        for second in 1..60 {
            receiver.now_s = now_s + second;
            receiver.look();
        }
        assert_eq!((receiver.watch.percent(), receiver.lost), (0, lost));
    }

    #[test]
    fn less_loss_is_a_lower_step_in_the_end_and_no_swinging() {
        let mut receiver = Receiver::default();
        receiver.report(&[20.0, 20.0]);
        assert_eq!(receiver.report(&[5.0; 8]), [20, 20, 20, 20, 20, 10, 10, 10]);
        assert_eq!(receiver.report(&[4.5; 30]), [10; 30]);
        assert_eq!(receiver.report(&[2.5; 8])[7], 5);
        let changes = receiver.changes;
        // Around each border, in turns.
        receiver.report(&[1.0, 4.9, 3.0, 5.0, 1.5].repeat(20));
        assert_eq!((receiver.watch.percent(), receiver.changes), (5, changes));
    }
}
