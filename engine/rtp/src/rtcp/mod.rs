//! RTCP: compound packets as checked views, and writers (RFC 3550 section 6, RFC 4585, RFC 5104).
//!
//! [`Compound`] checks everything once, inner lengths too, so that walking it yields packets and no
//! errors. Writers append one packet each to a caller's `Vec<u8>`; a compound is what several of them
//! leave there. Reports come first, then SDES, then the rest (RFC 3550 section 6.1).
//!
//! Not here: when to send (RFC 3550 section 6.2), extended reports and transport-wide feedback, which
//! appear as [`Packet::Unknown`].

mod bye;
mod feedback;
mod rr;
mod sdes;
mod sr;

pub use bye::{App, Bye, write_bye};
pub use feedback::{Fir, FirEntry, Nack, Pli, Remb, write_fir, write_nack, write_pli};
pub use rr::{ReceiverReport, ReportBlock, write_receiver_report};
pub use sdes::{Chunk, Item, Sdes, write_sdes_cname};
pub use sr::{SenderInfo, SenderReport, write_sender_report};

/// Report blocks, SDES chunks or BYE sources that one packet can hold: its count has 5 bits.
pub const COUNT_MAX: usize = 31;

/// Bytes of an RTCP packet's common header, without an SSRC.
const HEADER_BYTES: usize = 4;

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const GOODBYE: u8 = 203;
    pub const APPLICATION: u8 = 204;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtcpError {
    /// Fewer bytes than a header.
    TooShort,
    /// A version other than 2.
    BadVersion,
    /// A packet's length runs past the end.
    BadLength,
    /// Padding before the last packet, of none or of more than there is, or not of whole words.
    BadPadding,
    /// A compound that starts with neither a sender nor a receiver report.
    NoReport,
    /// A packet is shorter than its own counts and kind ask for.
    BodyTruncated,
}

impl RtcpError {
    /// Every reason, for counters.
    pub const ALL: [RtcpError; 6] = [
        RtcpError::TooShort,
        RtcpError::BadVersion,
        RtcpError::BadLength,
        RtcpError::BadPadding,
        RtcpError::NoReport,
        RtcpError::BodyTruncated,
    ];

    /// A stable word for counters.
    pub const fn reason(self) -> &'static str {
        match self {
            RtcpError::TooShort => "rtcp_too_short",
            RtcpError::BadVersion => "rtcp_bad_version",
            RtcpError::BadLength => "rtcp_bad_length",
            RtcpError::BadPadding => "rtcp_bad_padding",
            RtcpError::NoReport => "rtcp_no_report",
            RtcpError::BodyTruncated => "rtcp_body_truncated",
        }
    }
}

impl std::fmt::Display for RtcpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RtcpError {}

/// A datagram of RTCP packets, checked once.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks a compound as RFC 3550 appendix A.2 does: version 2 throughout, a report first, padding on
    /// the last packet only, lengths that add up; and every packet's inner lengths.
    ///
    /// # Errors
    /// When any of it fails: a compound is taken whole or not at all.
    pub fn new(bytes: &'a [u8]) -> Result<Compound<'a>, RtcpError> {
        let compound = Compound::reduced(bytes)?;
        match bytes {
            [_, packet_type::SENDER_REPORT | packet_type::RECEIVER_REPORT, ..] => Ok(compound),
            _ => Err(RtcpError::NoReport),
        }
    }

    /// Like [`new`](Self::new), but any packet may come first: reduced-size RTCP (RFC 5506).
    ///
    /// # Errors
    /// As for [`new`](Self::new), except [`RtcpError::NoReport`].
    pub fn reduced(bytes: &'a [u8]) -> Result<Compound<'a>, RtcpError> {
        let mut rest = bytes;
        loop {
            let (raw, after) = Raw::split(rest)?;
            Packet::parse(raw)?;
            if after.is_empty() {
                return Ok(Compound { bytes });
            }
            rest = after;
        }
    }

    /// The packets, in order; at least one.
    pub const fn packets(&self) -> Packets<'a> {
        Packets { rest: self.bytes }
    }

    /// The whole compound.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> IntoIterator for Compound<'a> {
    type Item = Packet<'a>;
    type IntoIter = Packets<'a>;

    fn into_iter(self) -> Packets<'a> {
        self.packets()
    }
}

/// The packets of a [`Compound`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        // The compound was checked, so errors are ends only.
        let (raw, rest) = Raw::split(self.rest).ok()?;
        self.rest = rest;
        Packet::parse(raw).ok()
    }
}

impl std::iter::FusedIterator for Packets<'_> {}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// SR (RFC 3550 section 6.4.1).
    SenderReport(SenderReport<'a>),
    /// RR (RFC 3550 section 6.4.2).
    ReceiverReport(ReceiverReport<'a>),
    /// SDES (RFC 3550 section 6.5).
    Sdes(Sdes<'a>),
    /// BYE (RFC 3550 section 6.6).
    Bye(Bye<'a>),
    /// APP (RFC 3550 section 6.7).
    App(App<'a>),
    /// Picture loss (RFC 4585 section 6.3.1).
    Pli(Pli),
    /// Full intra request (RFC 5104 section 4.3.1).
    Fir(Fir<'a>),
    /// Generic NACK (RFC 4585 section 6.2.1).
    Nack(Nack<'a>),
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
    Remb(Remb<'a>),
    /// Anything else that is well formed.
    Unknown(Unknown<'a>),
}

impl<'a> Packet<'a> {
    fn parse(raw: Raw<'a>) -> Result<Packet<'a>, RtcpError> {
        use packet_type as kind;
        match (raw.packet_type, raw.count) {
            (kind::SENDER_REPORT, _) => SenderReport::parse(raw).map(Packet::SenderReport),
            (kind::RECEIVER_REPORT, _) => ReceiverReport::parse(raw).map(Packet::ReceiverReport),
            (kind::SOURCE_DESCRIPTION, _) => Sdes::parse(raw).map(Packet::Sdes),
            (kind::GOODBYE, _) => Bye::parse(raw).map(Packet::Bye),
            (kind::APPLICATION, _) => App::parse(raw).map(Packet::App),
            (kind::TRANSPORT_FEEDBACK | kind::PAYLOAD_FEEDBACK, _) => feedback::parse(raw),
            _ => Ok(Packet::Unknown(Unknown::from(raw))),
        }
    }
}

/// A packet of a kind that is not read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// The packet type.
    pub packet_type: u8,
    /// The five bits that hold a count, a subtype or a feedback format.
    pub count: u8,
    /// What follows the first four bytes, without padding.
    pub body: &'a [u8],
}

impl<'a> From<Raw<'a>> for Unknown<'a> {
    fn from(raw: Raw<'a>) -> Self {
        Unknown { packet_type: raw.packet_type, count: raw.count, body: raw.body }
    }
}

/// A packet whose outer length and padding are checked.
#[derive(Clone, Copy)]
struct Raw<'a> {
    packet_type: u8,
    count: u8,
    body: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Splits the first packet off `bytes`.
    fn split(bytes: &'a [u8]) -> Result<(Raw<'a>, &'a [u8]), RtcpError> {
        let [first, packet_type, high, low, ..] = *bytes else {
            return Err(RtcpError::TooShort);
        };
        if first >> 6 != 2 {
            return Err(RtcpError::BadVersion);
        }
        let packet_bytes = HEADER_BYTES + 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((packet, rest)) = bytes.split_at_checked(packet_bytes) else {
            return Err(RtcpError::BadLength);
        };
        let mut body = &packet[HEADER_BYTES..];
        if first & 0b0010_0000 != 0 {
            body = without_padding(body, rest)?;
        }
        Ok((Raw { packet_type, count: first & 0b0001_1111, body }, rest))
    }

    /// The first `N` bytes of the body, and the rest of it.
    fn take<const N: usize>(&self) -> Result<(&'a [u8; N], &'a [u8]), RtcpError> {
        self.body.split_first_chunk().ok_or(RtcpError::BodyTruncated)
    }
}

/// RFC 3550 section 6.4.1: padding is for the last packet only, in multiples of four.
fn without_padding<'a>(body: &'a [u8], rest: &[u8]) -> Result<&'a [u8], RtcpError> {
    let count = usize::from(*body.last().ok_or(RtcpError::BadPadding)?);
    if !rest.is_empty() || count == 0 || count % 4 != 0 || count > body.len() {
        return Err(RtcpError::BadPadding);
    }
    Ok(&body[..body.len() - count])
}

/// Starts a packet at the end of `out`; [`finish`] sets its length.
fn start(out: &mut Vec<u8>, packet_type: u8, count: usize) -> usize {
    assert!(count <= COUNT_MAX, "an RTCP packet counts to {COUNT_MAX}: split {count} over several packets");
    let start = out.len();
    out.extend_from_slice(&[2 << 6 | count as u8, packet_type, 0, 0]);
    start
}

/// Pads the packet that begins at `start` to whole words with zeros and sets its length.
fn finish(out: &mut Vec<u8>, start: usize) {
    let packet_bytes = (out.len() - start).next_multiple_of(4);
    out.resize(start + packet_bytes, 0);
    let words = u16::try_from(packet_bytes / 4 - 1);
    let words = words.expect("an RTCP packet is at most 65536 words: split it over several packets");
    out[start + 2..start + HEADER_BYTES].copy_from_slice(&words.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// The big-endian 32-bit words of `bytes`; a rest of fewer than four bytes is left out.
fn words<'a>(bytes: &'a [u8]) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
}
