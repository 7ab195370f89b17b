//! Feedback: generic NACK and picture loss (RFC 4585), full intra request (RFC 5104), and REMB
//! (draft-alvestrand-rmcat-remb-03).

use super::{Packet, Raw, RtcpError, Unknown, finish, packet_type, put_u32, start, words};
use crate::seq::WireSeq;

/// Feedback formats, where a report has its count (RFC 4585 sections 6.2 and 6.3, RFC 5104 section 4.3).
mod format {
    pub const NACK: u8 = 1;
    pub const PLI: u8 = 1;
    pub const FIR: u8 = 4;
    pub const APPLICATION_LAYER: u8 = 15;
}

/// Reads a transport or payload feedback packet; formats that are not read here are unknown packets.
pub(super) fn parse(raw: Raw<'_>) -> Result<Packet<'_>, RtcpError> {
    let (ssrcs, control) = raw.take::<8>()?;
    let [s0, s1, s2, s3, m0, m1, m2, m3] = *ssrcs;
    let sender_ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
    let media_ssrc = u32::from_be_bytes([m0, m1, m2, m3]);
    match (raw.packet_type, raw.count) {
        (packet_type::TRANSPORT_FEEDBACK, format::NACK) => {
            check_entries(control, 4)?;
            Ok(Packet::Nack(Nack { sender_ssrc, media_ssrc, entries: control }))
        }
        (packet_type::PAYLOAD_FEEDBACK, format::PLI) => Ok(Packet::Pli(Pli { sender_ssrc, media_ssrc })),
        (packet_type::PAYLOAD_FEEDBACK, format::FIR) => {
            check_entries(control, FirEntry::BYTES)?;
            Ok(Packet::Fir(Fir { sender_ssrc, entries: control }))
        }
        (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION_LAYER) => match Remb::parse(sender_ssrc, control)
        {
            Some(remb) => remb.map(Packet::Remb),
            None => Ok(Packet::Unknown(Unknown::from(raw))),
        },
        _ => Ok(Packet::Unknown(Unknown::from(raw))),
    }
}

/// RFC 4585 section 6.2.1 and RFC 5104 section 4.3.1.1: at least one entry, and whole ones.
fn check_entries(control: &[u8], entry_bytes: usize) -> Result<(), RtcpError> {
    if control.is_empty() || !control.len().is_multiple_of(entry_bytes) {
        return Err(RtcpError::BodyTruncated);
    }
    Ok(())
}

/// A receiver lost a picture and wants one that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: u32,
    /// Of whom.
    pub media_ssrc: u32,
}

/// Appends a picture loss indication to `out`.
pub fn write_pli(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
    let at = start(out, packet_type::PAYLOAD_FEEDBACK, usize::from(format::PLI));
    put_u32(out, sender_ssrc);
    put_u32(out, media_ssrc);
    finish(out, at);
}

/// A key frame is asked for, of one sender or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Fir<'a> {
    /// Of whom; at least one.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + use<'a> {
        self.entries.as_chunks::<{ FirEntry::BYTES }>().0.iter().map(|entry| {
            let [s0, s1, s2, s3, sequence, ..] = *entry;
            FirEntry { ssrc: u32::from_be_bytes([s0, s1, s2, s3]), sequence }
        })
    }
}

/// One sender that a [`Fir`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// Of whom.
    pub ssrc: u32,
    /// Counts the requests; a repetition keeps its number.
    pub sequence: u8,
}

impl FirEntry {
    const BYTES: usize = 8;
}

/// Appends a full intra request to `out`.
///
/// # Panics
/// Without entries.
pub fn write_fir(out: &mut Vec<u8>, sender_ssrc: u32, entries: &[FirEntry]) {
    assert!(!entries.is_empty(), "a FIR asks someone");
    let at = start(out, packet_type::PAYLOAD_FEEDBACK, usize::from(format::FIR));
    put_u32(out, sender_ssrc);
    // RFC 5104 section 4.3.1.2: the media source is in the entries, so the field for it is 0.
    put_u32(out, 0);
    for entry in entries {
        put_u32(out, entry.ssrc);
        out.extend_from_slice(&[entry.sequence, 0, 0, 0]);
    }
    finish(out, at);
}

/// Packets that a receiver misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// Of whom.
    pub media_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    /// Numbers of the missing packets, as they come in the message; at least one. A number may repeat.
    pub fn sequences(&self) -> impl Iterator<Item = WireSeq> + use<'a> {
        words(self.entries).flat_map(|entry| {
            let first = WireSeq((entry >> 16) as u16);
            let followers = (1..=16).filter(move |n| entry >> (n - 1) & 1 != 0);
            std::iter::once(first).chain(followers.map(move |n| first.plus(n)))
        })
    }
}

/// Appends a generic NACK to `out`. Ascending numbers make the shortest message.
///
/// # Panics
/// Without sequence numbers, or when they need more entries than one packet holds (65533).
pub fn write_nack(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, missing: &[WireSeq]) {
    assert!(!missing.is_empty(), "a NACK misses something");
    let at = start(out, packet_type::TRANSPORT_FEEDBACK, usize::from(format::NACK));
    put_u32(out, sender_ssrc);
    put_u32(out, media_ssrc);
    let mut rest = missing;
    while let [first, after @ ..] = rest {
        rest = after;
        let mut followers = 0_u16;
        while let [next, after @ ..] = rest
            && let Some(bit) = next.distance(*first).checked_sub(1)
            && (0..16).contains(&bit)
            // Bits are read from the lowest, so a number out of order needs an entry of its own.
            && followers >> bit == 0
        {
            followers |= 1 << bit;
            rest = after;
        }
        put_u32(out, u32::from(first.0) << 16 | u32::from(followers));
    }
    finish(out, at);
}

/// A receiver's estimate of what may be sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// Bits a second, all the named sources together.
    pub bitrate_bps: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    /// `None` when this application-layer feedback is not REMB.
    fn parse(sender_ssrc: u32, control: &'a [u8]) -> Option<Result<Remb<'a>, RtcpError>> {
        let rest = control.strip_prefix(b"REMB")?;
        let ([count, bits @ ..], rest) = rest.split_first_chunk::<4>()?;
        let [high, middle, low] = *bits;
        let mantissa = u64::from(u32::from_be_bytes([0, high & 0b11, middle, low]));
        // An exponent of up to 63 may shift the mantissa out at the top: more than anyone has.
        let bitrate = u128::from(mantissa) << (high >> 2);
        let ssrcs = rest.get(..4 * usize::from(*count)).ok_or(RtcpError::BodyTruncated);
        Some(ssrcs.map(|ssrcs| Remb {
            sender_ssrc,
            bitrate_bps: u64::try_from(bitrate).unwrap_or(u64::MAX),
            ssrcs,
        }))
    }

    /// The sources that the estimate is for.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        words(self.ssrcs)
    }
}
