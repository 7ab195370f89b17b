//! Payload formats of pictures: packets to access units and back.
//!
//! H.264 (RFC 6184: single NAL units, STAP-A and FU-A, packetization modes 0 and 1), H.265 (RFC 7798: single NAL
//! units, aggregation packets and fragments, without decoding order numbers) and VP8 (RFC 7741).
//!
//! A [`Depacketizer`] puts one source's packets in order, joins them to access units and says what is missing. A
//! [`Packetizer`] cuts an access unit into payloads. Access units of H.264 and H.265 are byte streams (Annex B of
//! either standard), as encoders write and decoders read them; those of VP8 are frames.
//!
//! Not here: what pictures show, and interleaved modes (STAP-B, MTAP, FU-B, `sprop-max-don-diff` above 0), which
//! no conferencing terminal sends.

mod annexb;
mod assembler;
mod depacketizer;
mod nal;
mod packetizer;
mod sets;
mod unit;
mod vp8;

pub use annexb::nal_units;
pub use depacketizer::{Depacketizer, DepacketizerStats, PicturePacket};
pub use packetizer::{H264Mode, PacketizeError, Packetizer, Payload};
pub use sets::parameter_sets;

use crate::WireTimestamp;

/// Bytes of one payload that a depacketizer takes at most.
pub const PAYLOAD_BYTES_MAX: usize = 2048;
/// Bytes of an access unit at most: a key frame of 8192×8192 at a low quality still fits.
pub const UNIT_BYTES_MAX: usize = 4 << 20;
/// Packets that wait for one before them at most, and the number of the packet furthest ahead of it.
pub const PACKETS_WAITING_MAX: usize = 512;

/// How pictures are put into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadFormat {
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// RFC 7741.
    Vp8,
}

impl PayloadFormat {
    /// By the encoding name of SDP, in any case.
    pub fn parse(name: &str) -> Option<PayloadFormat> {
        let known =
            [("H264", PayloadFormat::H264), ("H265", PayloadFormat::H265), ("VP8", PayloadFormat::Vp8)];
        known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, format)| format)
    }

    /// Whether a picture that a decoder can begin with begins in this packet, or parameter sets, which come before such
    /// a picture.
    pub fn begins_key_frame(self, payload: &[u8]) -> bool {
        match self {
            PayloadFormat::H264 => nal::begins_key_frame(nal::NalCodec::H264, payload),
            PayloadFormat::H265 => nal::begins_key_frame(nal::NalCodec::H265, payload),
            PayloadFormat::Vp8 => vp8::read(payload).is_ok_and(|read| read.start && vp8::is_key(read.data)),
        }
    }
}

/// What belongs to one moment: as a rule one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessUnit<'a> {
    /// H.264 and H.265: NAL units behind start codes of four bytes. VP8: the frame.
    pub bytes: &'a [u8],
    /// When it was taken, in ticks of 90 kHz.
    pub timestamp: WireTimestamp,
    /// A decoder can begin with it: an IDR picture (H.264), an IRAP picture (H.265), a key frame (VP8).
    pub key_frame: bool,
    /// Parts of it are missing. What is there is whole: NAL units that lack a fragment are left out, and a VP8
    /// frame ends where the first packet is missing.
    pub damaged: bool,
    /// Packets that were lost or refused since the unit before, those of this unit included; those between two
    /// units without a marker count for both. Above 0, pictures that this one refers to may be missing.
    pub missing: u32,
}

/// Why a packet, or a part of it, is not in any access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum PayloadDrop {
    /// Nothing, or nothing after the payload's own header.
    Empty,
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    TooLong,
    /// The forbidden bit of a NAL unit is set: it is known to be damaged.
    ForbiddenBit,
    /// A length within the payload leads beyond its end.
    Truncated,
    /// A kind of packet that this mode does not have.
    UnsupportedType,
    /// A fragment whose beginning is missing.
    NoStart,
    /// The access unit would be longer than [`UNIT_BYTES_MAX`].
    UnitTooLong,
    /// It came after it was given up.
    Late,
    /// It is there already.
    Duplicate,
    /// Its number does not continue the stream.
    Jump,
    /// It waited when the stream began anew.
    Flushed,
}

impl PayloadDrop {
    /// Every reason, for counters.
    pub const ALL: [PayloadDrop; 11] = [
        PayloadDrop::Empty,
        PayloadDrop::TooLong,
        PayloadDrop::ForbiddenBit,
        PayloadDrop::Truncated,
        PayloadDrop::UnsupportedType,
        PayloadDrop::NoStart,
        PayloadDrop::UnitTooLong,
        PayloadDrop::Late,
        PayloadDrop::Duplicate,
        PayloadDrop::Jump,
        PayloadDrop::Flushed,
    ];

    /// A stable word for counters.
    pub const fn reason(self) -> &'static str {
        match self {
            PayloadDrop::Empty => "payload_empty",
            PayloadDrop::TooLong => "payload_too_long",
            PayloadDrop::ForbiddenBit => "payload_forbidden_bit",
            PayloadDrop::Truncated => "payload_truncated",
            PayloadDrop::UnsupportedType => "payload_unsupported_type",
            PayloadDrop::NoStart => "payload_no_start",
            PayloadDrop::UnitTooLong => "payload_unit_too_long",
            PayloadDrop::Late => "payload_late",
            PayloadDrop::Duplicate => "payload_duplicate",
            PayloadDrop::Jump => "payload_jump",
            PayloadDrop::Flushed => "payload_flushed",
        }
    }
}
