//! Which of the last numbers were here.

use crate::seq::SeqNo;

/// How many numbers are remembered, up to the highest.
pub(super) const SEEN: u64 = 512;

/// A bit for each of the last [`SEEN`] numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    bits: [u64; (SEEN / 64) as usize],
    highest: SeqNo,
}

impl Seen {
    /// Remembers `first` only.
    pub(super) fn new(first: SeqNo) -> Seen {
        let mut seen = Seen { highest: first, ..Seen::default() };
        seen.mark(first);
        seen
    }

    pub(super) const fn highest(&self) -> SeqNo {
        self.highest
    }

    /// Whether `sequence` was here; false for what is too old to be remembered.
    pub(super) fn has(&self, sequence: SeqNo) -> bool {
        let (word, bit) = place(sequence);
        self.remembers(sequence) && self.bits[word] & bit != 0
    }

    /// Notes `sequence`, unless it is too old.
    pub(super) fn mark(&mut self, sequence: SeqNo) {
        if sequence > self.highest {
            if sequence.distance(self.highest) >= SEEN as i64 {
                self.bits = [0; (SEEN / 64) as usize];
            } else {
                (self.highest.0 + 1..sequence.0).for_each(|skipped| self.clear(SeqNo(skipped)));
            }
            self.highest = sequence;
        }
        if self.remembers(sequence) {
            let (word, bit) = place(sequence);
            self.bits[word] |= bit;
        }
    }

    /// How many of the numbers between the two, both not among them, were never here.
    pub(super) fn missing_between(&self, after: SeqNo, before: SeqNo) -> u64 {
        let first = (after.0 + 1).max((self.highest.0 + 1).saturating_sub(SEEN));
        let forgotten = first.saturating_sub(after.0 + 1).min(before.0.saturating_sub(after.0 + 1));
        forgotten + (first..before.0).filter(|sequence| !self.has(SeqNo(*sequence))).count() as u64
    }

    fn remembers(&self, sequence: SeqNo) -> bool {
        sequence <= self.highest && self.highest.distance(sequence) < SEEN as i64
    }

    fn clear(&mut self, sequence: SeqNo) {
        let (word, bit) = place(sequence);
        self.bits[word] &= !bit;
    }
}

fn place(sequence: SeqNo) -> (usize, u64) {
    let slot = sequence.0 % SEEN;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// The naive model remembers every number.
        #[test]
        fn it_remembers_what_was_here(steps in prop::collection::vec(-700_i64..700, 1..200)) {
            let mut seen = Seen::new(SeqNo(100_000));
            let mut model = BTreeSet::from([100_000_u64]);
            for step in steps {
                let sequence = seen.highest().0.saturating_add_signed(step);
                let old = seen.highest().0.saturating_sub(sequence) >= SEEN;
                prop_assert_eq!(seen.has(SeqNo(sequence)), !old && model.contains(&sequence));
                seen.mark(SeqNo(sequence));
                if !old {
                    model.insert(sequence);
                }
                let highest = seen.highest();
                let after = SeqNo(highest.0 - 300);
                let missing = (after.0 + 1..highest.0).filter(|number| !model.contains(number)).count();
                prop_assert_eq!(seen.missing_between(after, highest), missing as u64);
            }
        }
    }

    #[test]
    fn what_is_forgotten_counts_as_missing() {
        let mut seen = Seen::new(SeqNo(100_000));
        seen.mark(SeqNo(102_000));
        assert_eq!(seen.missing_between(SeqNo(100_000), SeqNo(102_000)), 1999);
        assert_eq!(seen.missing_between(SeqNo(102_000), SeqNo(102_001)), 0);
        assert_eq!(seen.missing_between(SeqNo(100_000), SeqNo(100_010)), 9);
    }
}
