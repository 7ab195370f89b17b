//! What H.264 (RFC 6184 section 5) and H.265 (RFC 7798 section 4) have in common: NAL units, alone, several in a
//! packet, or in fragments.

use super::PayloadDrop;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NalCodec {
    H264,
    H265,
}

/// The most bytes of a NAL unit's header, and of what precedes the data of a fragment.
pub(super) const HEADER_BYTES_MAX: usize = 2;
pub(super) const FRAGMENT_HEADER_BYTES_MAX: usize = 3;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;
const START: u8 = 0x80;
const END: u8 = 0x40;
const FORBIDDEN: u8 = 0x80;

/// A payload, by kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum NalPayload<'a> {
    Single(&'a [u8]),
    /// NAL units, each behind its length in two bytes.
    Aggregate(&'a [u8]),
    Fragment(Fragment<'a>),
}

/// A part of a NAL unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) start: bool,
    pub(super) end: bool,
    /// The NAL unit's own header, as long as its codec's are.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    pub(super) data: &'a [u8],
}

impl Fragment<'_> {
    pub(super) fn header(&self) -> &[u8] {
        &self.header[..self.header_bytes]
    }
}

impl NalCodec {
    pub(super) const fn header_bytes(self) -> usize {
        match self {
            NalCodec::H264 => 1,
            NalCodec::H265 => 2,
        }
    }

    pub(super) const fn kind(self, first_byte: u8) -> u8 {
        match self {
            NalCodec::H264 => first_byte & 0x1f,
            NalCodec::H265 => (first_byte >> 1) & 0x3f,
        }
    }

    /// Whether a decoder can begin with a picture of such slices (H.264 table 7-1, H.265 table 7-1).
    pub(super) const fn is_key(self, kind: u8) -> bool {
        match self {
            NalCodec::H264 => kind == 5,
            NalCodec::H265 => kind >= 16 && kind <= 21,
        }
    }

    pub(super) const fn is_parameter_set(self, kind: u8) -> bool {
        match self {
            NalCodec::H264 => kind == 7 || kind == 8,
            NalCodec::H265 => kind >= 32 && kind <= 34,
        }
    }

    /// Of a slice, whether it is the first of its picture; none: it is no slice. `data` is what follows the header.
    pub(super) fn begins_picture(self, kind: u8, data: &[u8]) -> Option<bool> {
        let slice = match self {
            NalCodec::H264 => matches!(kind, 1 | 2 | 5),
            NalCodec::H265 => kind <= 31,
        };
        // first_mb_in_slice is 0, written as one bit 1; first_slice_segment_in_pic_flag.
        slice.then(|| data.first().is_some_and(|byte| byte & 0x80 != 0))
    }

    pub(super) fn read<'a>(self, payload: &'a [u8]) -> Result<NalPayload<'a>, PayloadDrop> {
        let Some((header, rest)) = payload.split_at_checked(self.header_bytes()) else {
            return Err(PayloadDrop::Empty);
        };
        if rest.is_empty() {
            return Err(PayloadDrop::Empty);
        }
        if header[0] & FORBIDDEN != 0 {
            return Err(PayloadDrop::ForbiddenBit);
        }
        match (self, self.kind(header[0])) {
            (NalCodec::H264, STAP_A) | (NalCodec::H265, AGGREGATION) => Ok(NalPayload::Aggregate(rest)),
            (NalCodec::H264, FU_A) | (NalCodec::H265, FRAGMENTATION) => {
                let (fragment, data) = (rest[0], &rest[1..]);
                if data.is_empty() {
                    return Err(PayloadDrop::Empty);
                }
                let header = self.fragmented(header, fragment)?;
                let (start, end) = (fragment & START != 0, fragment & END != 0);
                let header_bytes = self.header_bytes();
                Ok(NalPayload::Fragment(Fragment { start, end, header, header_bytes, data }))
            }
            (_, kind) if self.is_unit(kind) => Ok(NalPayload::Single(payload)),
            _ => Err(PayloadDrop::UnsupportedType),
        }
    }

    /// Whether receivers take this NAL unit for one. With nothing but a header it says nothing; with a type from 24
    /// on (48 with H.265) it would be read as a packet of several, or of a part.
    pub(super) fn may_be_sent(self, nal: &[u8]) -> bool {
        nal.len() > self.header_bytes() && nal[0] & FORBIDDEN == 0 && self.is_unit(self.kind(nal[0]))
    }

    /// Whether this is the type of a NAL unit, and not of a packet.
    const fn is_unit(self, kind: u8) -> bool {
        match self {
            NalCodec::H264 => kind >= 1 && kind <= 23,
            NalCodec::H265 => kind <= 47,
        }
    }

    /// The header of the NAL unit that a fragment is of.
    fn fragmented(self, header: &[u8], fragment: u8) -> Result<[u8; HEADER_BYTES_MAX], PayloadDrop> {
        let (kind, header) = match self {
            NalCodec::H264 => (fragment & 0x1f, [(header[0] & 0xe0) | (fragment & 0x1f), 0]),
            NalCodec::H265 => {
                let kind = fragment & 0x3f;
                (kind, [(header[0] & 0x81) | (kind << 1), header[1]])
            }
        };
        if self.is_unit(kind) { Ok(header) } else { Err(PayloadDrop::UnsupportedType) }
    }

    /// Writes what comes before the data of a fragment of the NAL unit with this header; gives its bytes.
    pub(super) fn write_fragment_header(
        self,
        header: &[u8],
        start: bool,
        end: bool,
        out: &mut [u8],
    ) -> usize {
        let marks = (u8::from(start) << 7) | (u8::from(end) << 6);
        let kind = self.kind(header[0]);
        match self {
            NalCodec::H264 => {
                out[..2].copy_from_slice(&[(header[0] & 0xe0) | FU_A, marks | kind]);
                2
            }
            NalCodec::H265 => {
                let first = (header[0] & 0x81) | (FRAGMENTATION << 1);
                out[..3].copy_from_slice(&[first, header[1], marks | kind]);
                3
            }
        }
    }

    /// The header of a packet of several NAL units, begun with the first one's.
    pub(super) fn aggregate_header(self, first: &[u8]) -> [u8; HEADER_BYTES_MAX] {
        match self {
            NalCodec::H264 => [(first[0] & 0xe0) | STAP_A, 0],
            NalCodec::H265 => [(first[0] & 0x81) | (AGGREGATION << 1), first[1]],
        }
    }

    /// Takes another NAL unit into account: the highest importance (RFC 6184 section 5.7), the lowest layer and
    /// temporal layer (RFC 7798 section 4.4.2).
    pub(super) fn join_header(self, aggregate: &mut [u8], next: &[u8]) {
        match self {
            NalCodec::H264 => {
                let importance = (aggregate[0] & 0x60).max(next[0] & 0x60);
                aggregate[0] = importance | STAP_A;
            }
            NalCodec::H265 => {
                let parts = |header: &[u8]| {
                    let layer = (u16::from(header[0] & 1) << 5) | u16::from(header[1] >> 3);
                    (layer, header[1] & 7)
                };
                let ((layer, temporal), (next_layer, next_temporal)) = (parts(aggregate), parts(next));
                let (layer, temporal) = (layer.min(next_layer), temporal.min(next_temporal));
                aggregate[0] = (AGGREGATION << 1) | (layer >> 5) as u8;
                aggregate[1] = ((layer as u8) << 3) | temporal;
            }
        }
    }
}

/// See [`super::PayloadFormat::begins_key_frame`].
pub(super) fn begins_key_frame(codec: NalCodec, payload: &[u8]) -> bool {
    let begins = |header: &[u8], data: &[u8]| {
        let kind = codec.kind(header[0]);
        let is_first = || codec.begins_picture(kind, data) == Some(true);
        codec.is_parameter_set(kind) || (codec.is_key(kind) && is_first())
    };
    let of_unit = |unit: &[u8]| begins(unit, &unit[codec.header_bytes()..]);
    match codec.read(payload) {
        Ok(NalPayload::Single(unit)) => of_unit(unit),
        Ok(NalPayload::Aggregate(units)) => {
            aggregated(codec, units).is_ok_and(|mut units| units.any(of_unit))
        }
        Ok(NalPayload::Fragment(part)) => part.start && begins(part.header(), part.data),
        Err(_) => false,
    }
}

/// The NAL units of a packet of several. Nothing comes of one whose lengths do not fit.
pub(super) fn aggregated(
    codec: NalCodec,
    mut rest: &[u8],
) -> Result<impl Iterator<Item = &[u8]>, PayloadDrop> {
    let all = rest;
    while !rest.is_empty() {
        let (unit, after) = split_unit(rest).ok_or(PayloadDrop::Truncated)?;
        if unit.len() <= codec.header_bytes() {
            return Err(PayloadDrop::Empty);
        }
        if unit[0] & FORBIDDEN != 0 {
            return Err(PayloadDrop::ForbiddenBit);
        }
        if !codec.is_unit(codec.kind(unit[0])) {
            return Err(PayloadDrop::UnsupportedType);
        }
        rest = after;
    }
    let mut rest = all;
    Ok(std::iter::from_fn(move || {
        let (unit, after) = split_unit(rest)?;
        rest = after;
        Some(unit)
    }))
}

fn split_unit(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}
