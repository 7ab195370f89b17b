//! Byte streams of NAL units (Annex B of ITU-T H.264 and H.265).

/// What is written before each NAL unit.
pub(super) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The NAL units of a byte stream, without start codes and the zeros around them. What comes before the first start
/// code is none.
pub fn nal_units(stream: &[u8]) -> NalUnits<'_> {
    let first = find_start(stream).map(|at| &stream[at + 3..]);
    NalUnits { rest: first }
}

/// See [`nal_units`].
#[derive(Clone, Debug)]
pub struct NalUnits<'a> {
    /// From the byte after a start code on.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let end = find_start(rest);
            self.rest = end.map(|at| &rest[at + 3..]);
            let unit = &rest[..end.unwrap_or(rest.len())];
            // A NAL unit does not end with a zero (H.264 7.4.1): zeros belong to the next start code, or fill up.
            let bytes = unit.len() - unit.iter().rev().take_while(|byte| **byte == 0).count();
            if bytes > 0 {
                return Some(&unit[..bytes]);
            }
        }
    }
}

/// Where the next three bytes 0, 0, 1 are.
fn find_start(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    // The third byte says how far to go: it is 1 at the end of a start code, and above that in none of its places.
    while let Some(byte) = bytes.get(at) {
        match byte {
            0 => at += 1,
            1 if bytes[at - 2..at] == [0, 0] => return Some(at - 2),
            _ => at += 3,
        }
    }
    None
}
