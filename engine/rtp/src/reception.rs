//! What is received from one source: validity, loss and jitter (RFC 3550 section 6.4.1, appendices A.1,
//! A.3 and A.8).
//!
//! Not here: which packet was lost (that is for retransmission), and when to send a report.

use crate::rtcp::ReportBlock;
use crate::seq::{SeqNo, WireSeq};
use crate::time::{Ntp, Time};
use crate::timestamp::WireTimestamp;

mod snapshot;

pub use snapshot::ReceptionSnapshot;

/// Packets in order before a source is believed, as RFC 3550 appendix A.1 has it.
pub const MIN_SEQUENTIAL: u16 = 2;
/// A step ahead of at least this many packets is not believed at first (RFC 3550 appendix A.1).
pub const MAX_DROPOUT: u16 = 3000;
/// A packet fewer than this behind the highest is late; further behind it is a jump
/// (RFC 3550 appendix A.1).
pub const MAX_MISORDER: u16 = 100;

/// Bounds of the cumulative loss: 24 bits, signed (RFC 3550 section 6.4.1).
const LOST_MIN: i64 = -0x80_0000;
const LOST_MAX: i64 = 0x7f_ffff;

/// What a packet is to its source's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The source is new and has not sent enough packets in order; not counted.
    Probation,
    /// Ahead of everything before. `skipped` packets between it and the last highest are missing so far.
    InOrder {
        /// Sequence numbers passed over, 0 without loss.
        skipped: u16,
    },
    /// Behind the highest and new, or too far behind to tell from a duplicate.
    Late,
    /// Has been here before, among the last 64. Counted as received, as RFC 3550 appendix A.3 has it.
    Duplicate,
    /// Far from the highest; not counted unless the next packet follows it.
    Jump,
    /// The second packet in order after a jump: the source restarted, and counting with it.
    Restarted,
}

impl Verdict {
    /// Whether the packet was counted as received.
    pub const fn is_counted(self) -> bool {
        !matches!(self, Verdict::Probation | Verdict::Jump)
    }
}

/// Statistics of one source.
///
/// Call [`on_packet`](Self::on_packet) for every packet and [`report_block`](Self::report_block) once per
/// report. A restart of the source begins the counts afresh, except for jitter.
#[derive(Clone, Debug)]
pub struct Reception {
    clock_hz: u32,
    /// `clock_hz` times 2^64 / 10^9: turns nanoseconds into ticks with one multiplication.
    ticks_per_nano: u64,
    min_sequential: u16,
    /// Packets in order still wanted; meaningful once `started`.
    probation: u16,
    started: bool,
    base: SeqNo,
    highest: SeqNo,
    /// Where a packet that jumped expects its follower.
    after_jump: Option<WireSeq>,
    /// Bit n: the packet n behind the highest was here.
    recent: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Arrival time less timestamp, in ticks, modulo 2^32.
    transit: Option<u32>,
    /// In sixteenths of a tick.
    jitter_16: u64,
}

impl Reception {
    /// Statistics for a source whose timestamps count `clock_hz` ticks a second, believed after
    /// [`MIN_SEQUENTIAL`] packets in order.
    ///
    /// # Panics
    /// When `clock_hz` is 0 or not below 10^9: check what comes from outside first.
    pub const fn new(clock_hz: u32) -> Self {
        Self::with_probation(clock_hz, MIN_SEQUENTIAL)
    }

    /// Like [`new`](Self::new), with another number of packets in order; 0 and 1 believe the first.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub const fn with_probation(clock_hz: u32, min_sequential: u16) -> Self {
        Reception {
            clock_hz,
            ticks_per_nano: ticks_per_nano(clock_hz),
            min_sequential,
            probation: 0,
            started: false,
            base: SeqNo(0),
            highest: SeqNo(0),
            after_jump: None,
            recent: 0,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            jitter_16: 0,
        }
    }

    /// Counts a packet.
    #[inline]
    pub fn on_packet(&mut self, now: Time, sequence: WireSeq, timestamp: WireTimestamp) -> Verdict {
        let verdict = if self.is_valid() { self.judge(sequence) } else { self.probe(sequence) };
        match verdict {
            Verdict::Probation | Verdict::Jump => return verdict,
            // The clock of a restarted source has nothing to do with the old one.
            Verdict::Restarted => self.transit = None,
            Verdict::InOrder { .. } | Verdict::Late | Verdict::Duplicate => {}
        }
        self.measure(now, timestamp);
        verdict
    }

    /// The report on this source, whose SSRC is `ssrc`. `last_sr` is the NTP time in its last sender
    /// report and when that came. Starts the next interval of the fraction lost.
    ///
    /// A source that is not [valid](Self::is_valid) has nothing to report but zeros: leave it out.
    pub fn report_block(&mut self, ssrc: u32, last_sr: Option<(Ntp, Time)>, now: Time) -> ReportBlock {
        let expected = self.expected();
        let expected_interval = expected.wrapping_sub(self.expected_prior);
        let received_interval = self.received.wrapping_sub(self.received_prior);
        self.expected_prior = expected;
        self.received_prior = self.received;
        // More received than expected, through duplicates, counts as no loss (RFC 3550 appendix A.3).
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        let (last_sr, delay_since_last_sr) = match last_sr {
            Some((ntp, at)) => (ntp.middle(), units_65536(now, at)),
            None => (0, 0),
        };
        ReportBlock {
            ssrc,
            // All lost cannot happen: a new highest came, or nothing was expected.
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: self.lost().clamp(LOST_MIN, LOST_MAX) as i32,
            highest_sequence: self.highest.0 as u32,
            jitter: self.jitter(),
            last_sr,
            delay_since_last_sr,
        }
    }

    /// Whether enough packets came in order for the source to be believed.
    #[inline]
    pub const fn is_valid(&self) -> bool {
        self.started && self.probation == 0
    }

    /// Packets expected less packets received; negative when duplicates came.
    pub const fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Packets that should have come since the source was believed.
    pub const fn expected(&self) -> u64 {
        if self.is_valid() { self.highest.0 - self.base.0 + 1 } else { 0 }
    }

    /// Packets that came, late and duplicate ones included.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Interarrival jitter, in ticks.
    pub const fn jitter(&self) -> u32 {
        let ticks = self.jitter_16 >> 4;
        if ticks > u32::MAX as u64 { u32::MAX } else { ticks as u32 }
    }

    /// The highest sequence number, wraps counted from the first packet that counted.
    pub const fn highest(&self) -> SeqNo {
        self.highest
    }

    /// Ticks a second of the source's timestamps.
    pub const fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// Changes the clock, as when the payload type changes. Jitter starts afresh, since its unit changed.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub const fn set_clock_hz(&mut self, clock_hz: u32) {
        if clock_hz != self.clock_hz {
            self.clock_hz = clock_hz;
            self.ticks_per_nano = ticks_per_nano(clock_hz);
            self.transit = None;
            self.jitter_16 = 0;
        }
    }

    /// RFC 3550 appendix A.1, `update_seq` of a source on probation.
    fn probe(&mut self, sequence: WireSeq) -> Verdict {
        let follows = self.started && sequence == self.highest.wire().next();
        self.probation = if follows { self.probation } else { self.min_sequential.max(1) } - 1;
        self.started = true;
        self.highest = SeqNo(u64::from(sequence.0));
        if self.probation > 0 {
            return Verdict::Probation;
        }
        self.start_at(sequence);
        Verdict::InOrder { skipped: 0 }
    }

    /// RFC 3550 appendix A.1, `update_seq` of a believed source.
    #[inline]
    fn judge(&mut self, sequence: WireSeq) -> Verdict {
        let ahead = sequence.0.wrapping_sub(self.highest.wire().0);
        let behind = ahead.wrapping_neg();
        if ahead != 0 && ahead < MAX_DROPOUT {
            self.highest.0 += u64::from(ahead);
            self.recent = self.recent.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.received += 1;
            return Verdict::InOrder { skipped: ahead - 1 };
        }
        if behind >= MAX_MISORDER {
            if self.after_jump != Some(sequence) {
                self.after_jump = Some(sequence.next());
                return Verdict::Jump;
            }
            self.start_at(sequence);
            return Verdict::Restarted;
        }
        self.received += 1;
        let bit = 1_u64.checked_shl(u32::from(behind)).unwrap_or(0);
        if self.recent & bit != 0 {
            return Verdict::Duplicate;
        }
        self.recent |= bit;
        Verdict::Late
    }

    /// RFC 3550 appendix A.1, `init_seq`, with the packet itself counted.
    fn start_at(&mut self, sequence: WireSeq) {
        self.base = SeqNo(u64::from(sequence.0));
        self.highest = self.base;
        self.after_jump = None;
        self.recent = 1;
        self.received = 1;
        self.expected_prior = 0;
        self.received_prior = 0;
    }

    /// RFC 3550 appendix A.8.
    #[inline]
    fn measure(&mut self, now: Time, timestamp: WireTimestamp) {
        let arrival = ((u128::from(now.as_nanos()) * u128::from(self.ticks_per_nano)) >> 64) as u32;
        let transit = arrival.wrapping_sub(timestamp.0);
        if let Some(before) = self.transit {
            let difference = u64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
            self.jitter_16 = self.jitter_16 + difference - ((self.jitter_16 + 8) >> 4);
        }
        self.transit = Some(transit);
    }
}

const fn ticks_per_nano(clock_hz: u32) -> u64 {
    assert!(clock_hz > 0 && clock_hz < 1_000_000_000, "an RTP clock ticks less than once a nanosecond");
    // Rounded up, so that a moment that is a whole number of ticks does not come out as one less.
    ((clock_hz as u128) << 64).div_ceil(1_000_000_000) as u64
}

/// Time from `at` to `now` in units of 1/65536 s, the unit of DLSR; about 18 hours at most.
fn units_65536(now: Time, at: Time) -> u32 {
    u32::try_from((now.since(at).as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
