//! When in a round a conference is mixed: earlier, where everybody's packets are there sooner.
//!
//! A tick comes at any time between two packets of a source, and what came waits for it. Where the packets of all who
//! send, heard or not, wait, the tick may come sooner by what the least of them waits longer than is aimed at: all are
//! heard sooner, and nobody's packets come too late for it. Receivers get one packet sooner, once.

use super::schedule::{SLOTS, STEP, Schedule};

/// Looks that a judgement needs: two seconds.
const LOOKS: u32 = 20;
/// What is worth a move.
const WORTH_US: i64 = 2_000;
/// What is left of it: packets come a little later at times.
const KEPT_US: i64 = 500;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phase {
    looks: u32,
    /// The least since the last judgement.
    spare_us: Option<i64>,
    /// Slots that it is to be moved ahead.
    wanted: usize,
    /// Slots that it was moved ahead, in all: less than a round, or one whose clock is fast would pull all along.
    moved: usize,
}

impl Phase {
    /// How much sooner all ticks since the last look could have been; none: nothing came.
    pub(crate) fn look(&mut self, spare_us: Option<i64>) {
        self.spare_us = self.spare_us.into_iter().chain(spare_us).min();
        self.looks += 1;
        if self.looks < LOOKS {
            return;
        }
        let spare_us = self.spare_us.filter(|spare_us| *spare_us >= WORTH_US).unwrap_or_default();
        let steps = (spare_us - KEPT_US).max(0) / STEP.as_micros() as i64;
        self.wanted = (steps as usize).min(SLOTS - 1 - self.moved);
        (self.looks, self.spare_us) = (0, None);
    }

    /// After its tick: moves it ahead, if it is to be and can be.
    pub(crate) fn follow(&mut self, slot: &mut usize, schedule: &mut Schedule) {
        let steps = std::mem::take(&mut self.wanted);
        if steps == 0 {
            return;
        }
        let Some(ahead) = schedule.earlier(*slot, steps) else { return };
        *slot = ahead;
        self.moved += steps;
        // What was seen before counts no more.
        (self.looks, self.spare_us) = (0, None);
    }
}
