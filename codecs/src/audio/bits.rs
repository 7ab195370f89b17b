//! Reading fields of some bits, most significant first.

/// Bits that are left to read.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit, and one behind the last.
    at: usize,
    end: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0, end: bytes.len() * 8 }
    }

    /// The first `bits` of bytes that have so many.
    pub(super) fn first(bytes: &'a [u8], bits: usize) -> Option<Self> {
        (bits <= bytes.len() * 8).then_some(Bits { bytes, at: 0, end: bits })
    }

    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    /// A field of up to 32 bits. None when fewer are left, which then stay.
    pub(super) fn read(&mut self, bits: u32) -> Option<u32> {
        assert!(bits <= 32, "a field of at most 32 bits");
        if self.left() < bits as usize {
            return None;
        }
        let mut value = 0_u64;
        for _ in 0..bits {
            let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
            value = value << 1 | u64::from(bit);
            self.at += 1;
        }
        Some(value as u32)
    }
}
