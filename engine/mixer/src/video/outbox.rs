//! What a tick makes.

use super::{OutputId, SourceId};
use motet_rtp::rtp::FIXED_HEADER_BYTES;

/// A packet for one receiver. The payload may be that of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoPacket<'a> {
    /// Whose.
    pub output: OutputId,
    /// RTP's fixed header.
    pub header: &'a [u8; FIXED_HEADER_BYTES],
    /// What follows it.
    pub payload: &'a [u8],
}

/// Holds what one tick made; reused from tick to tick.
#[derive(Debug, Default)]
pub struct VideoOutbox {
    pub(super) payloads: Vec<u8>,
    pub(super) packets: Vec<(OutputId, [u8; FIXED_HEADER_BYTES], usize, usize)>,
    pub(super) key_frames_wanted: Vec<SourceId>,
}

impl VideoOutbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets to send. Those of one output are in their order, and together.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = VideoPacket<'_>> {
        self.packets.iter().map(|(output, header, start, bytes)| VideoPacket {
            output: *output,
            header,
            payload: &self.payloads[*start..start + bytes],
        })
    }

    /// Sources that are to be asked for a key frame (RFC 4585 section 6.3.1).
    pub fn key_frames_wanted(&self) -> &[SourceId] {
        &self.key_frames_wanted
    }

    pub(super) fn clear(&mut self) {
        self.payloads.clear();
        self.packets.clear();
        self.key_frames_wanted.clear();
    }
}
