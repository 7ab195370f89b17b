//! A source's statistics, written down and taken up again.

use super::{Reception, ticks_per_nano};
use crate::seq::{SeqNo, WireSeq};
use serde::{Deserialize, Serialize};

/// All of a [`Reception`], to be taken up elsewhere. Unknown fields are refused when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceptionSnapshot {
    /// Ticks a second of the timestamps.
    pub clock_hz: u32,
    /// Packets in order before the source is believed.
    pub min_sequential: u16,
    /// Of them, those still wanted; meaningful once `started`.
    pub probation: u16,
    /// A packet came.
    pub started: bool,
    /// First number that counted.
    pub base: SeqNo,
    /// Highest number.
    pub highest: SeqNo,
    /// Where a packet that jumped expects its follower.
    pub after_jump: Option<WireSeq>,
    /// Bit n: the packet n behind the highest was here.
    pub recent: u64,
    /// Packets that came.
    pub received: u64,
    /// Packets expected at the last report.
    pub expected_prior: u64,
    /// Packets that had come at the last report.
    pub received_prior: u64,
    /// Arrival time less timestamp of the last packet, in ticks modulo 2^32. Means something on the same
    /// clock only.
    pub transit: Option<u32>,
    /// Interarrival jitter in sixteenths of a tick.
    pub jitter_16: u64,
}

impl Reception {
    /// Writes the statistics down.
    pub const fn snapshot(&self) -> ReceptionSnapshot {
        // Every field by name, so that a new one cannot be forgotten here.
        let Reception {
            clock_hz,
            ticks_per_nano: _,
            min_sequential,
            probation,
            started,
            base,
            highest,
            after_jump,
            recent,
            received,
            expected_prior,
            received_prior,
            transit,
            jitter_16,
        } = *self;
        ReceptionSnapshot {
            clock_hz,
            min_sequential,
            probation,
            started,
            base,
            highest,
            after_jump,
            recent,
            received,
            expected_prior,
            received_prior,
            transit,
            jitter_16,
        }
    }

    /// Takes statistics up. None: `clock_hz` is 0 or not below 10^9, or the highest number is below the first.
    pub const fn restore(from: &ReceptionSnapshot) -> Option<Reception> {
        let ReceptionSnapshot {
            clock_hz,
            min_sequential,
            probation,
            started,
            base,
            highest,
            after_jump,
            recent,
            received,
            expected_prior,
            received_prior,
            transit,
            jitter_16,
        } = *from;
        let counts = started && probation == 0;
        if clock_hz == 0 || clock_hz >= 1_000_000_000 || (counts && highest.0 < base.0) {
            return None;
        }
        Some(Reception {
            clock_hz,
            ticks_per_nano: ticks_per_nano(clock_hz),
            min_sequential,
            probation,
            started,
            base,
            highest,
            after_jump,
            recent,
            received,
            expected_prior,
            received_prior,
            transit,
            jitter_16,
        })
    }
}
