//! Access units to the payloads of packets.

use super::annexb::{NalUnits, nal_units};
use super::nal::{FRAGMENT_HEADER_BYTES_MAX, NalCodec};
use super::vp8;

/// What H.264 packets may hold (RFC 6184 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum H264Mode {
    /// `packetization-mode=0`: one NAL unit in each packet. The encoder must keep slices short.
    SingleNal,
    /// `packetization-mode=1`: several small ones in one, a large one in several.
    NonInterleaved,
}

/// Why nothing can be made of an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketizeError {
    /// Payloads are to be shorter than any fragment's headers.
    PayloadBytesMax {
        /// What was asked for.
        given: usize,
        /// The least that will do.
        least: usize,
    },
    /// There is nothing in it that may be sent.
    Empty,
    /// A NAL unit does not fit, and may not be cut with `packetization-mode=0`.
    NalTooLong {
        /// Bytes of the NAL unit.
        bytes: usize,
    },
}

impl std::fmt::Display for PacketizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PacketizeError::PayloadBytesMax { given, least } => {
                write!(f, "payloads of {given} bytes are too short: at least {least}")
            }
            PacketizeError::Empty => {
                f.write_str("the access unit has no start code, or nothing to send behind one")
            }
            PacketizeError::NalTooLong { bytes } => {
                write!(f, "a NAL unit of {bytes} bytes does not fit a packet: limit the encoder's slices")
            }
        }
    }
}

impl std::error::Error for PacketizeError {}

/// A payload that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its bytes.
    pub bytes: usize,
    /// The last one of the access unit: its packet has the marker bit.
    pub marker: bool,
}

/// The payloads of one access unit, one after another.
#[derive(Clone, Debug)]
pub struct Packetizer<'a> {
    bytes_max: usize,
    source: Source<'a>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Nal { codec: NalCodec, aggregates: bool, rest: NalUnits<'a>, now: Option<Now<'a>> },
    Vp8 { rest: &'a [u8], start: bool, picture_id: u16 },
}

/// The NAL unit to be sent.
#[derive(Clone, Copy, Debug)]
struct Now<'a> {
    nal: &'a [u8],
    /// Bytes of it that fragments have taken, the header included; 0: none.
    taken: usize,
}

/// What payloads hold at least.
const PAYLOAD_BYTES_LEAST: usize = 32;

impl<'a> Packetizer<'a> {
    /// Of an access unit of H.264, a byte stream; payloads have at most `bytes_max` bytes. Left out are NAL units
    /// that are nothing but a header, or have the forbidden bit, or a type that means a packet of another kind.
    ///
    /// # Errors
    /// See [`PacketizeError`].
    pub fn h264(unit: &'a [u8], mode: H264Mode, bytes_max: usize) -> Result<Self, PacketizeError> {
        if mode == H264Mode::SingleNal
            && let Some(nal) =
                nal_units(unit).find(|nal| NalCodec::H264.may_be_sent(nal) && nal.len() > bytes_max)
        {
            return Err(PacketizeError::NalTooLong { bytes: nal.len() });
        }
        Self::nal(NalCodec::H264, unit, mode == H264Mode::NonInterleaved, bytes_max)
    }

    /// Of an access unit of H.265, a byte stream; payloads have at most `bytes_max` bytes. Left out is what
    /// [`Packetizer::h264`] leaves out.
    ///
    /// # Errors
    /// See [`PacketizeError`].
    pub fn h265(unit: &'a [u8], bytes_max: usize) -> Result<Self, PacketizeError> {
        Self::nal(NalCodec::H265, unit, true, bytes_max)
    }

    /// Of a frame of VP8. `picture_id` goes up by one with each frame and has 15 bits; payloads have at most
    /// `bytes_max` bytes.
    ///
    /// # Errors
    /// See [`PacketizeError`].
    pub fn vp8(frame: &'a [u8], picture_id: u16, bytes_max: usize) -> Result<Self, PacketizeError> {
        let bytes_max = check_bytes_max(bytes_max)?;
        if frame.is_empty() {
            return Err(PacketizeError::Empty);
        }
        Ok(Packetizer { bytes_max, source: Source::Vp8 { rest: frame, start: true, picture_id } })
    }

    fn nal(
        codec: NalCodec,
        unit: &'a [u8],
        aggregates: bool,
        bytes_max: usize,
    ) -> Result<Self, PacketizeError> {
        let bytes_max = check_bytes_max(bytes_max)?;
        let mut rest = nal_units(unit);
        let first = next_nal(&mut rest, codec).ok_or(PacketizeError::Empty)?;
        let now = Some(Now { nal: first, taken: 0 });
        Ok(Packetizer { bytes_max, source: Source::Nal { codec, aggregates, rest, now } })
    }

    /// Writes the next payload to the start of `out`; none: that was all.
    ///
    /// # Panics
    /// When `out` is shorter than payloads may be.
    pub fn next_payload(&mut self, out: &mut [u8]) -> Option<Payload> {
        let out = &mut out[..self.bytes_max];
        match &mut self.source {
            Source::Vp8 { rest, start, picture_id } => {
                let first = !rest.is_empty();
                let (header, room) = out.split_at_mut(vp8::DESCRIPTOR_BYTES);
                let (data, after) = rest.split_at(rest.len().min(room.len()));
                header.copy_from_slice(&vp8::descriptor(*start, *picture_id));
                room[..data.len()].copy_from_slice(data);
                (*rest, *start) = (after, false);
                let bytes = header.len() + data.len();
                first.then_some(Payload { bytes, marker: after.is_empty() })
            }
            Source::Nal { codec, aggregates, rest, now } => {
                let unit = now.as_mut()?;
                let bytes = if unit.nal.len() > out.len() {
                    let bytes = write_fragment(*codec, unit, out);
                    if unit.taken == unit.nal.len() {
                        *now = next_now(rest, *codec);
                    }
                    bytes
                } else {
                    let first = unit.nal;
                    *now = next_now(rest, *codec);
                    match now {
                        Some(next)
                            if *aggregates && aggregate_bytes(*codec, first, next.nal) <= out.len() =>
                        {
                            write_aggregate(*codec, first, (now, rest), out)
                        }
                        _ => {
                            out[..first.len()].copy_from_slice(first);
                            first.len()
                        }
                    }
                };
                Some(Payload { bytes, marker: now.is_none() })
            }
        }
    }
}

/// How long payloads become.
fn check_bytes_max(given: usize) -> Result<usize, PacketizeError> {
    const { assert!(PAYLOAD_BYTES_LEAST > FRAGMENT_HEADER_BYTES_MAX + vp8::DESCRIPTOR_BYTES) };
    let least = PAYLOAD_BYTES_LEAST;
    // An IP packet is no longer, and lengths within payloads have 16 bits.
    let given = given.min(usize::from(u16::MAX));
    if given < least { Err(PacketizeError::PayloadBytesMax { given, least }) } else { Ok(given) }
}

/// The next NAL unit that receivers would read as one.
fn next_nal<'a>(rest: &mut NalUnits<'a>, codec: NalCodec) -> Option<&'a [u8]> {
    rest.find(|nal| codec.may_be_sent(nal))
}

fn next_now<'a>(rest: &mut NalUnits<'a>, codec: NalCodec) -> Option<Now<'a>> {
    next_nal(rest, codec).map(|nal| Now { nal, taken: 0 })
}

fn write_fragment(codec: NalCodec, unit: &mut Now<'_>, out: &mut [u8]) -> usize {
    let start = unit.taken == 0;
    if start {
        unit.taken = codec.header_bytes();
    }
    // The header's length is that of every fragment of the codec.
    let header_bytes = codec.header_bytes() + 1;
    let data = &unit.nal[unit.taken..];
    let data = &data[..data.len().min(out.len() - header_bytes)];
    unit.taken += data.len();
    let end = unit.taken == unit.nal.len();
    let written = codec.write_fragment_header(unit.nal, start, end, out);
    debug_assert_eq!(written, header_bytes);
    out[written..written + data.len()].copy_from_slice(data);
    written + data.len()
}

/// Bytes of a packet of two NAL units.
fn aggregate_bytes(codec: NalCodec, first: &[u8], second: &[u8]) -> usize {
    codec.header_bytes() + 2 + first.len() + 2 + second.len()
}

/// Writes `first` and what follows as far as it fits.
fn write_aggregate<'a>(
    codec: NalCodec,
    first: &[u8],
    (now, rest): (&mut Option<Now<'a>>, &mut NalUnits<'a>),
    out: &mut [u8],
) -> usize {
    let header_bytes = codec.header_bytes();
    let mut header = codec.aggregate_header(first);
    let mut at = header_bytes;
    write_unit(first, &mut at, out);
    while let Some(next) = now.filter(|next| at + 2 + next.nal.len() <= out.len()) {
        codec.join_header(&mut header, next.nal);
        write_unit(next.nal, &mut at, out);
        *now = next_now(rest, codec);
    }
    out[..header_bytes].copy_from_slice(&header[..header_bytes]);
    at
}

/// Writes a NAL unit behind its length.
fn write_unit(nal: &[u8], at: &mut usize, out: &mut [u8]) {
    let out = &mut out[*at..*at + 2 + nal.len()];
    out[..2].copy_from_slice(&(nal.len() as u16).to_be_bytes());
    out[2..].copy_from_slice(nal);
    *at += out.len();
}
