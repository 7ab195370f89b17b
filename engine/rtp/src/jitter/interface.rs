//! What goes into a jitter buffer and what comes out.

use crate::{MediaTime, WireSeq, WireTimestamp};

/// Bounds of the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterConfig {
    /// What packets wait at least, in microseconds on top of the fastest packet's transit time.
    pub delay_us_min: u32,
    /// What packets wait at most, in the same terms.
    pub delay_us_max: u32,
}

/// A packet that comes.
#[derive(Clone, Copy, Debug)]
pub struct JitterPacket<'a> {
    /// The synchronization source.
    pub ssrc: u32,
    /// The sequence number.
    pub sequence: WireSeq,
    /// The timestamp.
    pub timestamp: WireTimestamp,
    /// Ticks a second of timestamps of this payload type; 1 to 10^9.
    pub clock_hz: u32,
    /// How much sound the payload holds, in ticks; 0 is allowed.
    pub duration_ticks: u32,
    /// The payload type.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// The level, in dB below full scale (RFC 6464).
    pub level: Option<u8>,
    /// The payload.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JitterVerdict {
    /// It waits.
    Queued,
    /// It waits, as the first of a new timeline; what waited before is gone.
    Restarted,
    /// One after it was taken already.
    Late,
    /// It was here before.
    Duplicate,
    /// It does not continue the stream. If the next one continues it, the stream begins anew with that.
    Jump,
    /// The payload is longer than [`PAYLOAD_BYTES_MAX`](super::PAYLOAD_BYTES_MAX).
    TooLong,
}

/// The packet that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Where its sound begins.
    pub media: MediaTime,
    /// From the end of the sound taken last to here, in ticks; negative when they overlap. 0 for the first.
    pub gap_ticks: i64,
    /// Packets between the last taken and this one that never came. With 0, a gap is silence.
    pub missing: u64,
    /// How much sound it holds, in ticks.
    pub duration_ticks: u32,
    /// The payload type.
    pub payload_type: u8,
    /// The level, in dB below full scale.
    pub level: Option<u8>,
    /// The payload.
    pub payload: &'a [u8],
}

/// A packet taken. Its memory is used again: keep one and pass it to each call.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// The payload.
    pub payload: Vec<u8>,
    /// The payload type.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// The level, in dB below full scale.
    pub level: Option<u8>,
    /// Where its sound begins.
    pub media: MediaTime,
    /// How much sound it holds, in ticks.
    pub duration_ticks: u32,
    /// The first of a new timeline.
    pub restart: bool,
}

/// What was counted since the buffer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Packets passed in, whatever became of them.
    pub received: u64,
    /// Packets that came after a later one was taken.
    pub late: u64,
    /// Packets that had not come when a later one was taken, and have not come since.
    pub lost: u64,
    /// Packets that came again.
    pub duplicate: u64,
    /// Packets that came after one with a higher number, and in time.
    pub reordered: u64,
    /// Packets dropped since the sender is ahead of its clock, or too many wait.
    pub overflow: u64,
    /// Packets that did not continue the stream.
    pub jumps: u64,
    /// Packets whose payload is too long.
    pub too_long: u64,
    /// Packets that waited when the stream began anew.
    pub flushed: u64,
    /// Times that the stream began anew.
    pub restarts: u64,
}
