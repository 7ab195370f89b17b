//! RTP packets (RFC 3550 section 5): a checked view, the fixed header alone, and writers.
//!
//! The view is our own rather than `rtp_rs::RtpReader`: the packet path needs the header length and the
//! padding once, where the reader works them out again in every accessor, and refusals are counted by
//! reason, where the reader does not tell a short CSRC list from a short extension. Both accept exactly
//! the same packets with the same fields: [`crate::testing::fuzz_rtp`] holds the one against the other.
//!
//! Not here: what the payload means, and SRTP, whose tag is part of the payload as far as this file sees.

use crate::ext::Extension;
use crate::seq::WireSeq;
use crate::timestamp::WireTimestamp;

/// Bytes of the fixed header (RFC 3550 section 5.1).
pub const FIXED_HEADER_BYTES: usize = 12;

const VERSION: u8 = 2 << 6;
const VERSION_MASK: u8 = 0b1100_0000;
const PADDING_BIT: u8 = 0b0010_0000;
const EXTENSION_BIT: u8 = 0b0001_0000;
const CSRC_COUNT_MASK: u8 = 0b0000_1111;
const MARKER_BIT: u8 = 0b1000_0000;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtpError {
    /// Fewer than 12 bytes.
    TooShort,
    /// The version is not 2.
    BadVersion,
    /// The packet ends within its CSRC list.
    CsrcTruncated,
    /// The packet ends within its header extension.
    ExtensionTruncated,
    /// The padding is said to be none, or more than there is after the header.
    BadPadding,
}

impl RtpError {
    /// Every reason, for counters.
    pub const ALL: [RtpError; 5] = [
        RtpError::TooShort,
        RtpError::BadVersion,
        RtpError::CsrcTruncated,
        RtpError::ExtensionTruncated,
        RtpError::BadPadding,
    ];

    /// A stable word for counters.
    pub const fn reason(self) -> &'static str {
        match self {
            RtpError::TooShort => "rtp_too_short",
            RtpError::BadVersion => "rtp_bad_version",
            RtpError::CsrcTruncated => "rtp_csrc_truncated",
            RtpError::ExtensionTruncated => "rtp_extension_truncated",
            RtpError::BadPadding => "rtp_bad_padding",
        }
    }
}

impl std::fmt::Display for RtpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RtpError {}

/// The fixed header by value, from a packet whose lengths were all checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// Version, padding, extension and CSRC count, as they stand in the packet.
    pub first_byte: u8,
    /// The marker bit.
    pub marker: bool,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// Bytes of padding at the end, its count included; 0 without padding.
    pub padding_bytes: u8,
    /// The sequence number.
    pub sequence: WireSeq,
    /// The timestamp.
    pub timestamp: WireTimestamp,
    /// The synchronization source.
    pub ssrc: u32,
    /// Bytes before the payload: fixed header, CSRC list and extension.
    pub header_bytes: u32,
}

impl FixedHeader {
    /// Reads a packet's fixed header and checks that CSRC list, extension and padding lie within it.
    ///
    /// # Errors
    /// When the bytes are not an RTP packet.
    #[inline]
    pub fn read(bytes: &[u8]) -> Result<FixedHeader, RtpError> {
        let Some(fixed) = bytes.first_chunk::<FIXED_HEADER_BYTES>() else {
            return Err(RtpError::TooShort);
        };
        // Nearly every packet is plain: no padding, no extension, no CSRC.
        let (header_bytes, padding_bytes) =
            if fixed[0] == VERSION { (FIXED_HEADER_BYTES as u32, 0) } else { layout(bytes, fixed[0])? };
        Ok(FixedHeader {
            first_byte: fixed[0],
            marker: fixed[1] & MARKER_BIT != 0,
            payload_type: fixed[1] & !MARKER_BIT,
            padding_bytes,
            sequence: WireSeq(u16::from_be_bytes([fixed[2], fixed[3]])),
            timestamp: WireTimestamp(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            header_bytes,
        })
    }

    /// Bytes of payload in a packet of `packet_bytes`: what a sender report counts
    /// (RFC 3550 section 6.4.1).
    #[inline]
    pub const fn payload_bytes(&self, packet_bytes: usize) -> usize {
        packet_bytes.saturating_sub(self.header_bytes as usize + self.padding_bytes as usize)
    }
}

/// Header and padding bytes of a packet that is not plain.
fn layout(bytes: &[u8], first_byte: u8) -> Result<(u32, u8), RtpError> {
    if first_byte & VERSION_MASK != VERSION {
        return Err(RtpError::BadVersion);
    }
    let mut header_bytes = FIXED_HEADER_BYTES + 4 * usize::from(first_byte & CSRC_COUNT_MASK);
    let Some(after_csrcs) = bytes.get(header_bytes..) else {
        return Err(RtpError::CsrcTruncated);
    };
    if first_byte & EXTENSION_BIT != 0 {
        let [_, _, words_high, words_low, data @ ..] = after_csrcs else {
            return Err(RtpError::ExtensionTruncated);
        };
        let data_bytes = 4 * usize::from(u16::from_be_bytes([*words_high, *words_low]));
        if data_bytes > data.len() {
            return Err(RtpError::ExtensionTruncated);
        }
        header_bytes += 4 + data_bytes;
    }
    if first_byte & PADDING_BIT == 0 {
        return Ok((header_bytes as u32, 0));
    }
    // RFC 3550 section 5.1: the last byte counts the padding, itself included.
    match bytes[header_bytes..] {
        [.., count] if count != 0 && usize::from(count) <= bytes.len() - header_bytes => {
            Ok((header_bytes as u32, count))
        }
        _ => Err(RtpError::BadPadding),
    }
}

/// A whole RTP packet, checked once.
#[derive(Clone, Copy, Debug)]
pub struct RtpView<'a> {
    bytes: &'a [u8],
    fixed: FixedHeader,
}

impl<'a> RtpView<'a> {
    /// Checks `bytes`.
    ///
    /// # Errors
    /// When the bytes are not an RTP packet.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<RtpView<'a>, RtpError> {
        Ok(RtpView { bytes, fixed: FixedHeader::read(bytes)? })
    }

    /// The fixed header by value.
    pub const fn fixed_header(&self) -> FixedHeader {
        self.fixed
    }

    /// The marker bit.
    pub const fn marker(&self) -> bool {
        self.fixed.marker
    }

    /// The payload type, 0 to 127.
    pub const fn payload_type(&self) -> u8 {
        self.fixed.payload_type
    }

    /// The sequence number.
    pub const fn sequence(&self) -> WireSeq {
        self.fixed.sequence
    }

    /// The timestamp.
    pub const fn timestamp(&self) -> WireTimestamp {
        self.fixed.timestamp
    }

    /// The synchronization source.
    pub const fn ssrc(&self) -> u32 {
        self.fixed.ssrc
    }

    /// The contributing sources, at most 15.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let (csrcs, _) = self.bytes[FIXED_HEADER_BYTES..self.csrc_end()].as_chunks::<4>();
        csrcs.iter().map(|csrc| u32::from_be_bytes(*csrc))
    }

    /// The header extension, if there is one.
    pub fn extension(&self) -> Option<Extension<'a>> {
        if self.fixed.first_byte & EXTENSION_BIT == 0 {
            return None;
        }
        match &self.bytes[self.csrc_end()..self.header_bytes()] {
            [high, low, _, _, data @ ..] => {
                Some(Extension { profile: u16::from_be_bytes([*high, *low]), data })
            }
            _ => None,
        }
    }

    /// Bytes before the payload: fixed header, CSRC list and extension.
    pub const fn header_bytes(&self) -> usize {
        self.fixed.header_bytes as usize
    }

    /// The payload, without padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_bytes()..self.bytes.len() - self.padding_bytes()]
    }

    /// Bytes of padding at the end, its count included; 0 without padding.
    pub const fn padding_bytes(&self) -> usize {
        self.fixed.padding_bytes as usize
    }

    /// The whole packet.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    const fn csrc_end(&self) -> usize {
        FIXED_HEADER_BYTES + 4 * (self.fixed.first_byte & CSRC_COUNT_MASK) as usize
    }
}

/// The fixed header under which a received packet goes on.
///
/// `first_byte` is the received packet's: CSRC list, extension and padding stay where they are, so its
/// bits stay true. `payload_type` above 127 loses its top bit, which is the marker's.
#[inline]
pub fn rewrite_header(
    first_byte: u8,
    marker: bool,
    payload_type: u8,
    sequence: WireSeq,
    timestamp: WireTimestamp,
    ssrc: u32,
) -> [u8; FIXED_HEADER_BYTES] {
    debug_assert!(payload_type < 128, "payload type {payload_type} is more than 7 bits");
    let second_byte = (u8::from(marker) << 7) | (payload_type & !MARKER_BIT);
    let [s0, s1] = sequence.0.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp.0.to_be_bytes();
    let [c0, c1, c2, c3] = ssrc.to_be_bytes();
    [first_byte, second_byte, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
}

/// Writes whole packets, for tests, generators and processors.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a builder writes nothing until `write`"]
pub struct RtpBuilder<'a> {
    marker: bool,
    payload_type: u8,
    sequence: WireSeq,
    timestamp: WireTimestamp,
    ssrc: u32,
    csrcs: &'a [u32],
    extension: Option<Extension<'a>>,
    payload: &'a [u8],
    padding_bytes: u8,
}

impl<'a> RtpBuilder<'a> {
    /// A packet of `ssrc` with everything else zero or absent.
    pub fn new(ssrc: u32) -> Self {
        RtpBuilder { ssrc, ..RtpBuilder::default() }
    }

    /// Sets the marker bit.
    pub const fn marker(mut self, marker: bool) -> Self {
        self.marker = marker;
        self
    }

    /// Sets the payload type.
    ///
    /// # Panics
    /// Above 127.
    pub const fn payload_type(mut self, payload_type: u8) -> Self {
        assert!(payload_type < 128, "an RTP payload type has 7 bits");
        self.payload_type = payload_type;
        self
    }

    /// Sets the sequence number.
    pub const fn sequence(mut self, sequence: WireSeq) -> Self {
        self.sequence = sequence;
        self
    }

    /// Sets the timestamp.
    pub const fn timestamp(mut self, timestamp: WireTimestamp) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// Sets the contributing sources.
    ///
    /// # Panics
    /// With more than 15.
    pub const fn csrcs(mut self, csrcs: &'a [u32]) -> Self {
        assert!(csrcs.len() <= 15, "an RTP packet has at most 15 CSRCs");
        self.csrcs = csrcs;
        self
    }

    /// Sets the header extension; its data comes from [`write_elements`](crate::ext::write_elements) or
    /// elsewhere.
    ///
    /// # Panics
    /// When the data is not whole 32-bit words, or more than 65535 of them.
    pub const fn extension(mut self, extension: Extension<'a>) -> Self {
        assert!(extension.data.len().is_multiple_of(4), "a header extension is whole 32-bit words");
        assert!(extension.data.len() / 4 <= u16::MAX as usize, "a header extension has a 16-bit length");
        self.extension = Some(extension);
        self
    }

    /// Sets the payload.
    pub const fn payload(mut self, payload: &'a [u8]) -> Self {
        self.payload = payload;
        self
    }

    /// Sets the bytes of padding, its count included; 0 for none.
    pub const fn padding_bytes(mut self, padding_bytes: u8) -> Self {
        self.padding_bytes = padding_bytes;
        self
    }

    /// Appends the packet to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut first_byte = VERSION | self.csrcs.len() as u8;
        if self.extension.is_some() {
            first_byte |= EXTENSION_BIT;
        }
        if self.padding_bytes > 0 {
            first_byte |= PADDING_BIT;
        }
        out.extend_from_slice(&rewrite_header(
            first_byte,
            self.marker,
            self.payload_type,
            self.sequence,
            self.timestamp,
            self.ssrc,
        ));
        for csrc in self.csrcs {
            out.extend_from_slice(&csrc.to_be_bytes());
        }
        if let Some(extension) = self.extension {
            out.extend_from_slice(&extension.profile.to_be_bytes());
            out.extend_from_slice(&((extension.data.len() / 4) as u16).to_be_bytes());
            out.extend_from_slice(extension.data);
        }
        out.extend_from_slice(self.payload);
        if let Some(zeros) = self.padding_bytes.checked_sub(1) {
            out.resize(out.len() + usize::from(zeros), 0);
            out.push(self.padding_bytes);
        }
    }

    /// The packet in a vector of its own.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}
