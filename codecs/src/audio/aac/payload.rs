//! The RTP payload of RFC 3640: headers that tell the sizes of access units, then the units.

use crate::audio::bits::Bits;
use crate::audio::fmtp;

/// How long the fields of a header are, in bits, as SDP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitHeaders {
    size: u32,
    index: u32,
    index_delta: u32,
}

/// Mode AAC-hbr (RFC 3640 section 3.3.6).
pub(super) const HIGH_RATE: UnitHeaders = UnitHeaders { size: 13, index: 3, index_delta: 3 };

/// Fields that a header may have by RFC 3640 and has not in AAC's modes.
const OTHER_FIELDS: [&str; 6] = [
    "CTSDeltaLength",
    "DTSDeltaLength",
    "randomAccessIndication",
    "streamStateIndication",
    "auxiliaryDataSizeLength",
    "constantSize",
];

impl UnitHeaders {
    /// Reads SDP's parameters.
    ///
    /// # Errors
    /// The parameter and what is wrong with it.
    pub(super) fn parse(parameters: &str) -> Result<Self, (&'static str, &'static str)> {
        let field = |name, least, most| match fmtp::number::<u32>(parameters, name) {
            Ok(bits) if (least..=most).contains(&bits.unwrap_or(0)) => Ok(bits.unwrap_or(0)),
            _ => Err((name, "it is a number of bits, as in AAC-hbr (13, 3, 3) and AAC-lbr (6, 2, 2)")),
        };
        let headers = UnitHeaders {
            size: field("sizelength", 1, 16)?,
            index: field("indexlength", 0, 8)?,
            index_delta: field("indexdeltalength", 0, 8)?,
        };
        for name in OTHER_FIELDS {
            if !matches!(fmtp::number::<u32>(parameters, name), Ok(None | Some(0))) {
                return Err((name, "the modes of AAC do not have it"));
            }
        }
        Ok(headers)
    }

    /// The access units of a payload, each of one byte or more, and how many there are.
    ///
    /// # Errors
    /// What is wrong with the payload.
    pub(super) fn units<'a>(&self, payload: &'a [u8]) -> Result<(Units<'a>, usize), &'static str> {
        let Some(([high, low], rest)) = payload.split_first_chunk() else {
            return Err("it is shorter than the length of its headers");
        };
        let bits = usize::from(u16::from_be_bytes([*high, *low]));
        let headers = Bits::first(rest, bits).ok_or("it is shorter than its headers")?;
        let units = Units { lengths: *self, headers, data: &rest[bits.div_ceil(8)..], first: true };
        let mut check = units.clone();
        let mut count = 0;
        while let Some(unit) = check.parse()? {
            if unit.is_empty() {
                return Err("one of its units is empty");
            }
            count += 1;
        }
        if count == 0 {
            return Err("it has no units");
        }
        Ok((units, count))
    }
}

/// The access units of a payload.
#[derive(Clone, Debug)]
pub(super) struct Units<'a> {
    lengths: UnitHeaders,
    headers: Bits<'a>,
    data: &'a [u8],
    first: bool,
}

impl<'a> Units<'a> {
    fn parse(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        let index_bits = if self.first { self.lengths.index } else { self.lengths.index_delta };
        // What is left of the headers' length without making a header is padding of it.
        if self.headers.left() < (self.lengths.size + index_bits) as usize {
            return Ok(None);
        }
        let size = self.headers.read(self.lengths.size).unwrap_or(0);
        // A first index is 0 without interleaving, and so is every difference (RFC 3640 section 3.2.1).
        if self.headers.read(index_bits).unwrap_or(0) != 0 {
            return Err("its units are interleaved, which is not supported");
        }
        let Some((unit, data)) = self.data.split_at_checked(size as usize) else {
            return Err("it has a fragment of a unit, which is not supported, or was cut");
        };
        self.data = data;
        self.first = false;
        Ok(Some(unit))
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.parse().unwrap_or(None)
    }
}

/// Bytes before a payload's one unit, in mode AAC-hbr.
pub(super) const HEADER_BYTES: usize = 4;

/// Writes the headers of a payload with one unit in mode AAC-hbr. `unit_bytes` is less than 8192.
pub(super) fn write_header(unit_bytes: usize, payload: &mut [u8; HEADER_BYTES]) {
    assert!(unit_bytes < 1 << HIGH_RATE.size, "a unit of {unit_bytes} bytes is larger than any frame");
    let header = (unit_bytes as u16) << HIGH_RATE.index;
    payload[..2].copy_from_slice(&16_u16.to_be_bytes());
    payload[2..].copy_from_slice(&header.to_be_bytes());
}
