//! Receiver reports and report blocks (RFC 3550 section 6.4.2).

use super::{Raw, RtcpError, finish, packet_type, put_u32, start, words};

/// What one receiver says about one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: u32,
    /// Packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; 24 bits, negative when duplicates came.
    pub cumulative_lost: i32,
    /// Wraps in the upper half, highest sequence number in the lower.
    pub highest_sequence: u32,
    /// Interarrival jitter, in ticks.
    pub jitter: u32,
    /// Middle of the NTP time in the last sender report; 0 when there was none.
    pub last_sr: u32,
    /// Time since that report came, in 1/65536 s; 0 when there was none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Bytes of a block on the wire.
    pub const BYTES: usize = 24;

    fn read(bytes: &[u8; Self::BYTES]) -> ReportBlock {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |index: usize| u32::from_be_bytes(words[index]);
        ReportBlock {
            ssrc: word(0),
            fraction_lost: bytes[4],
            // Shifted up and down to spread the sign bit of the lower 24.
            cumulative_lost: (word(1) << 8) as i32 >> 8,
            highest_sequence: word(2),
            jitter: word(3),
            last_sr: word(4),
            delay_since_last_sr: word(5),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32;
        put_u32(out, self.ssrc);
        put_u32(out, u32::from(self.fraction_lost) << 24 | (lost & 0xff_ffff));
        put_u32(out, self.highest_sequence);
        put_u32(out, self.jitter);
        put_u32(out, self.last_sr);
        put_u32(out, self.delay_since_last_sr);
    }
}

/// Report blocks at the start of `body`, and what follows them.
pub(super) fn split_blocks(body: &[u8], count: u8) -> Result<(&[u8], &[u8]), RtcpError> {
    body.split_at_checked(usize::from(count) * ReportBlock::BYTES).ok_or(RtcpError::BodyTruncated)
}

pub(super) fn read_blocks<'a>(
    bytes: &'a [u8],
) -> impl ExactSizeIterator<Item = ReportBlock> + Clone + use<'a> {
    bytes.as_chunks().0.iter().map(ReportBlock::read)
}

pub(super) fn write_blocks(out: &mut Vec<u8>, blocks: &[ReportBlock]) {
    for block in blocks {
        block.write(out);
    }
}

/// A receiver report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: u32,
    blocks: &'a [u8],
    extension: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, RtcpError> {
        let (ssrc, rest) = raw.take()?;
        let (blocks, extension) = split_blocks(rest, raw.count)?;
        Ok(ReceiverReport { ssrc: u32::from_be_bytes(*ssrc), blocks, extension })
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

/// Appends a receiver report to `out`.
///
/// # Panics
/// With more than 31 blocks: put the rest into further receiver reports of the same compound.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: u32, blocks: &[ReportBlock]) {
    let at = start(out, packet_type::RECEIVER_REPORT, blocks.len());
    put_u32(out, ssrc);
    write_blocks(out, blocks);
    finish(out, at);
}
