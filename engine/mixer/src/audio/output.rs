//! One output: what its receiver hears, and the RTP stream that carries it.

use super::{Gain, OutputId, OutputSettings, SourceId};
use motet_rtp::rtp::{FIXED_HEADER_BYTES, rewrite_header};
use motet_rtp::{WireSeq, WireTimestamp};

/// No feed yet.
pub(crate) const NO_FEED: u32 = u32::MAX;
/// The first byte of every packet: version 2, nothing else (RFC 3550 section 5.1).
const FIRST_BYTE: u8 = 0x80;

pub(crate) struct Output {
    pub group: u32,
    /// The place of the room that it hears as well.
    pub background: Option<u32>,
    pub settings: OutputSettings,
    /// Its own voice, by number, and by place while it is there.
    pub own: Option<SourceId>,
    pub own_place: Option<u32>,
    /// Sources that it hears at a gain of its own, by place, in order.
    pub pairs: Vec<(u32, Gain)>,
    /// Prompts for some that it hears, in order.
    pub prompts: Vec<u32>,
    pub events_payload_type: Option<u8>,
    /// What its receiver loses, one of the steps; 0 where the codec has no use for it.
    pub loss_percent: u8,
    /// Where its wire is.
    pub wire: u32,
    /// It waits to be given another feed.
    pub dirty: bool,
}

/// The RTP stream of an output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub output: OutputId,
    /// The output's place.
    pub place: u32,
    pub feed: u32,
    pub format: u32,
    pub ssrc: u32,
    /// Its timestamps are those of the format, and this.
    pub timestamp_offset: u32,
    pub sequence: u16,
    pub payload_type: u8,
    /// The next packet is the first after a silence (RFC 3551 section 4.1).
    pub marker: bool,
}

impl Wire {
    /// The header of the next packet, of sound.
    #[inline]
    pub(crate) fn next(&mut self, timestamp: u32) -> [u8; FIXED_HEADER_BYTES] {
        let marker = std::mem::replace(&mut self.marker, false);
        self.header(marker, self.payload_type, timestamp)
    }

    /// The header of the next packet, at a timestamp of the format.
    #[inline]
    pub(crate) fn header(
        &mut self,
        marker: bool,
        payload_type: u8,
        timestamp: u32,
    ) -> [u8; FIXED_HEADER_BYTES] {
        let sequence = WireSeq(self.sequence);
        self.sequence = self.sequence.wrapping_add(1);
        let timestamp = WireTimestamp(timestamp.wrapping_add(self.timestamp_offset));
        rewrite_header(FIRST_BYTE, marker, payload_type, sequence, timestamp, self.ssrc)
    }
}
