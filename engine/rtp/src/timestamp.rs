//! RTP timestamps: 32 bits on the wire, 64 bits once extended (RFC 3550 section 5.1).

use serde::{Deserialize, Serialize};

/// A timestamp as a packet carries it, in ticks of the payload's clock. It wraps, so it has no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WireTimestamp(pub u32);

impl WireTimestamp {
    /// How many ticks `self` is ahead of `reference`, the short way round.
    #[inline]
    pub const fn distance(self, reference: WireTimestamp) -> i32 {
        self.0.wrapping_sub(reference.0) as i32
    }

    /// Whether `self` comes after `reference`, the short way round.
    #[inline]
    pub const fn is_after(self, reference: WireTimestamp) -> bool {
        self.distance(reference) > 0
    }

    /// `ticks` further on.
    #[inline]
    pub const fn plus(self, ticks: u32) -> WireTimestamp {
        WireTimestamp(self.0.wrapping_add(ticks))
    }

    /// `ticks` back.
    #[inline]
    pub const fn minus(self, ticks: u32) -> WireTimestamp {
        WireTimestamp(self.0.wrapping_sub(ticks))
    }
}

/// An extended timestamp, in ticks of the payload's clock: wraps are counted, so it is ordered.
///
/// Signed, since media from before the first packet seen may still arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// What goes on the wire.
    #[inline]
    pub const fn wire(self) -> WireTimestamp {
        WireTimestamp(self.0 as u32)
    }

    /// The time nearest to `self` that reads `wire` on the wire.
    #[inline]
    pub const fn nearest(self, wire: WireTimestamp) -> MediaTime {
        MediaTime(self.0.wrapping_add(wire.distance(self.wire()) as i64))
    }

    /// Ticks since `earlier`; negative when `self` is before it.
    #[inline]
    pub const fn distance(self, earlier: MediaTime) -> i64 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// Extends the timestamps of one source.
///
/// Each is taken to lie nearest to the one before, not to the highest: pictures are sent in decoding
/// order, so their timestamps go back and forth.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimestampExtender {
    last: Option<MediaTime>,
}

impl TimestampExtender {
    /// An extender that has seen nothing.
    pub const fn new() -> Self {
        TimestampExtender { last: None }
    }

    /// Extends `wire`. The first is taken as it is.
    #[inline]
    pub fn extend(&mut self, wire: WireTimestamp) -> MediaTime {
        let extended = match self.last {
            Some(last) => last.nearest(wire),
            None => MediaTime(i64::from(wire.0)),
        };
        self.last = Some(extended);
        extended
    }

    /// The last one extended; `None` before the first.
    pub const fn last(&self) -> Option<MediaTime> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::{MediaTime, TimestampExtender, WireTimestamp};
    use proptest::prelude::*;

    #[test]
    fn distance_takes_the_short_way_round() {
        assert_eq!(WireTimestamp(5).distance(WireTimestamp(u32::MAX)), 6);
        assert_eq!(WireTimestamp(u32::MAX).distance(WireTimestamp(5)), -6);
        assert!(WireTimestamp(0).is_after(WireTimestamp(u32::MAX)));
        assert!(!WireTimestamp(0x8000_0000).is_after(WireTimestamp(0)));
    }

    #[test]
    fn time_before_the_first_packet_is_negative() {
        let mut extender = TimestampExtender::new();
        assert_eq!(extender.extend(WireTimestamp(10)), MediaTime(10));
        assert_eq!(extender.extend(WireTimestamp(10_u32.wrapping_sub(960))), MediaTime(-950));
    }

    proptest! {
        #[test]
        fn extension_recovers_the_true_times(
            start: u32,
            steps in prop::collection::vec(-2_000_000_000_i64..2_000_000_000, 1..100),
        ) {
            let mut extender = TimestampExtender::new();
            let mut truth = i64::from(start);
            prop_assert_eq!(extender.extend(WireTimestamp(start)), MediaTime(truth));
            for step in steps {
                truth += step;
                prop_assert_eq!(extender.extend(WireTimestamp(truth as u32)), MediaTime(truth));
            }
        }
    }
}
