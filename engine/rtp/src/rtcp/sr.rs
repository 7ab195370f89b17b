//! Sender reports (RFC 3550 section 6.4.1).

use super::rr::{ReportBlock, read_blocks, split_blocks, write_blocks};
use super::{Raw, RtcpError, finish, packet_type, put_u32, start, words};
use crate::time::Ntp;
use crate::timestamp::WireTimestamp;

/// What a sender says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When the report was made.
    pub ntp: Ntp,
    /// The same moment on the clock of the sender's RTP timestamps.
    pub rtp_timestamp: WireTimestamp,
    /// Packets sent since the beginning, modulo 2^32.
    pub packets: u32,
    /// Bytes of payload sent since the beginning, without headers and padding, modulo 2^32.
    pub octets: u32,
}

/// A sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// Who reports.
    pub ssrc: u32,
    /// What it has sent.
    pub info: SenderInfo,
    blocks: &'a [u8],
    extension: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, RtcpError> {
        let (fixed, rest) = raw.take::<24>()?;
        let (fields, _) = fixed.as_chunks::<4>();
        let [ssrc, ntp_seconds, ntp_fraction, rtp_timestamp, packets, octets] =
            [0, 1, 2, 3, 4, 5].map(|index: usize| u32::from_be_bytes(fields[index]));
        let (blocks, extension) = split_blocks(rest, raw.count)?;
        let info = SenderInfo {
            ntp: Ntp(u64::from(ntp_seconds) << 32 | u64::from(ntp_fraction)),
            rtp_timestamp: WireTimestamp(rtp_timestamp),
            packets,
            octets,
        };
        Ok(SenderReport { ssrc, info, blocks, extension })
    }

    /// The report blocks, at most 31.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = ReportBlock> + Clone + use<'a> {
        read_blocks(self.blocks)
    }

    /// The profile-specific extension after the blocks, usually none.
    pub fn extension(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        words(self.extension)
    }
}

/// Appends a sender report to `out`.
///
/// # Panics
/// With more than 31 blocks: put the rest into receiver reports of the same compound.
pub fn write_sender_report(out: &mut Vec<u8>, ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock]) {
    let at = start(out, packet_type::SENDER_REPORT, blocks.len());
    put_u32(out, ssrc);
    out.extend_from_slice(&info.ntp.0.to_be_bytes());
    put_u32(out, info.rtp_timestamp.0);
    put_u32(out, info.packets);
    put_u32(out, info.octets);
    write_blocks(out, blocks);
    finish(out, at);
}
