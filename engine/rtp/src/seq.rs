//! Sequence numbers: 16 bits on the wire, 64 bits once extended (RFC 3550 section 5.1 and appendix A.1).

use serde::{Deserialize, Serialize};

/// A sequence number as a packet carries it. It wraps, so it has no order: ask for a
/// [`distance`](WireSeq::distance), or extend it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WireSeq(pub u16);

impl WireSeq {
    /// How far `self` is ahead of `reference`, the short way round: -32768 to 32767.
    #[inline]
    pub const fn distance(self, reference: WireSeq) -> i16 {
        self.0.wrapping_sub(reference.0) as i16
    }

    /// Whether `self` comes after `reference`, the short way round.
    #[inline]
    pub const fn is_after(self, reference: WireSeq) -> bool {
        self.distance(reference) > 0
    }

    /// `packets` further on.
    #[inline]
    pub const fn plus(self, packets: u16) -> WireSeq {
        WireSeq(self.0.wrapping_add(packets))
    }

    /// `packets` back.
    #[inline]
    pub const fn minus(self, packets: u16) -> WireSeq {
        WireSeq(self.0.wrapping_sub(packets))
    }

    /// The next one.
    #[inline]
    pub const fn next(self) -> WireSeq {
        self.plus(1)
    }
}

/// An extended sequence number: wraps are counted, so it is ordered and never repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// What goes on the wire.
    #[inline]
    pub const fn wire(self) -> WireSeq {
        WireSeq(self.0 as u16)
    }

    /// The number nearest to `self` that reads `wire` on the wire.
    ///
    /// When that would lie below zero, the first one above zero.
    #[inline]
    pub const fn nearest(self, wire: WireSeq) -> SeqNo {
        let near = self.0.wrapping_add_signed(wire.distance(self.wire()) as i64);
        // Only numbers in the first half-cycle can step below zero; they land at the top of u64.
        SeqNo(if near > u64::MAX - 0x8000 && self.0 < 0x8000 { wire.0 as u64 } else { near })
    }

    /// How far `self` is ahead of `earlier`; negative when it is behind.
    #[inline]
    pub const fn distance(self, earlier: SeqNo) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }
}

/// Extends the sequence numbers of one source.
///
/// Each is taken to lie nearest to the highest seen: up to 32767 ahead or 32768 behind. Numbers start in
/// the second cycle (65536 and up), so that packets from before the first one do not go below zero. It
/// takes every number as true; [`Reception`](crate::Reception) is what doubts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeqExtender {
    highest: Option<SeqNo>,
}

impl SeqExtender {
    /// An extender that has seen nothing.
    pub const fn new() -> Self {
        SeqExtender { highest: None }
    }

    /// An extender that goes on from the highest number of another one.
    pub const fn from_highest(highest: Option<SeqNo>) -> Self {
        SeqExtender { highest }
    }

    /// Extends `wire`.
    #[inline]
    pub fn extend(&mut self, wire: WireSeq) -> SeqNo {
        let Some(highest) = self.highest else {
            let first = SeqNo(0x1_0000 + u64::from(wire.0));
            self.highest = Some(first);
            return first;
        };
        let extended = highest.nearest(wire);
        self.highest = Some(highest.max(extended));
        extended
    }

    /// The highest number so far; `None` before the first.
    pub const fn highest(&self) -> Option<SeqNo> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::{SeqExtender, SeqNo, WireSeq};
    use proptest::prelude::*;

    #[test]
    fn distance_takes_the_short_way_round() {
        assert_eq!(WireSeq(2).distance(WireSeq(65_534)), 4);
        assert_eq!(WireSeq(65_534).distance(WireSeq(2)), -4);
        assert_eq!(WireSeq(0x7fff).distance(WireSeq(0)), 0x7fff);
        assert_eq!(WireSeq(0x8000).distance(WireSeq(0)), -0x8000);
        assert!(WireSeq(0).is_after(WireSeq(65_535)));
        assert!(!WireSeq(9).is_after(WireSeq(9)));
    }

    #[test]
    fn a_late_packet_before_the_first_stays_above_zero() {
        let mut extender = SeqExtender::new();
        let first = extender.extend(WireSeq(0));
        let before = extender.extend(WireSeq(65_535));
        assert_eq!(before.distance(first), -1);
        assert_eq!(extender.highest(), Some(first));
    }

    #[test]
    fn nearest_does_not_go_below_zero() {
        assert_eq!(SeqNo(3).nearest(WireSeq(65_535)), SeqNo(65_535));
        assert_eq!(SeqNo(3).nearest(WireSeq(1)), SeqNo(1));
    }

    proptest! {
        /// The naive model knows the true 64-bit numbers; the extender sees only their low halves.
        #[test]
        fn extension_recovers_the_true_numbers(
            start in 0_u64..0x1_0000,
            steps in prop::collection::vec(-30_000_i64..30_000, 1..200),
        ) {
            let mut extender = SeqExtender::new();
            let base = 0x1_0000 + start;
            let mut highest = base;
            prop_assert_eq!(extender.extend(WireSeq(base as u16)), SeqNo(base));
            for step in steps {
                let truth = highest.saturating_add_signed(step);
                prop_assert_eq!(extender.extend(WireSeq(truth as u16)), SeqNo(truth));
                highest = highest.max(truth);
            }
        }

        #[test]
        fn nearest_is_nearest(reference in 0x8000_u64..u64::MAX - 0x1_0000, wire: u16) {
            let near = SeqNo(reference).nearest(WireSeq(wire));
            prop_assert_eq!(near.wire(), WireSeq(wire));
            prop_assert!(near.distance(SeqNo(reference)).unsigned_abs() <= 0x8000);
        }
    }
}
