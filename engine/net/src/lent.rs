//! Buffers of the caller's that a turn's datagrams may lie in, beside those that were received.

use crate::{DatagramsIndex, Slice};
use std::collections::VecDeque;

/// Numbers of lent buffers have this bit; a turn has never so many of either kind.
const LENT: u32 = 1 << 31;

impl DatagramsIndex {
    /// It names a buffer that was lent by [`crate::Io::lend`].
    #[inline]
    pub fn is_lent(self) -> bool {
        self.0 & LENT != 0
    }
}

/// Lent buffers of the current turn, and those that may be taken back.
#[derive(Default)]
pub(crate) struct LentBuffers {
    current: Vec<Vec<u8>>,
    returned: VecDeque<Vec<u8>>,
}

impl LentBuffers {
    pub(crate) fn lend(&mut self, bytes: Vec<u8>) -> DatagramsIndex {
        let index = self.current.len() as u32;
        self.current.push(bytes);
        DatagramsIndex(LENT | index)
    }

    /// Panics when the buffer was not lent in this turn.
    #[inline]
    pub(crate) fn bytes(&self, index: DatagramsIndex) -> &[u8] {
        &self.current[(index.0 & !LENT) as usize]
    }

    /// A part of a lent buffer; panics when it is not within it. What it points to stays where it is until
    /// the end of the turn.
    #[inline]
    pub(crate) fn slice(&self, slice: Slice) -> &[u8] {
        &self.bytes(slice.datagrams)[slice.offset as usize..][..slice.len as usize]
    }

    /// Writes over a part of a lent buffer, while the kernel reads none of it; panics when it is not within it.
    pub(crate) fn write(&mut self, index: DatagramsIndex, offset: u32, bytes: &[u8]) {
        let buffer = &mut self.current[(index.0 & !LENT) as usize];
        buffer[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// After all sends of a turn have completed.
    pub(crate) fn end_turn(&mut self) {
        self.returned.extend(self.current.drain(..));
    }

    /// The next buffer that nothing refers to any more, in the order in which they were lent.
    pub(crate) fn take_back(&mut self) -> Option<Vec<u8>> {
        self.returned.pop_front()
    }
}
