//! Receive buffers and the ring through which they are lent to the kernel.
//!
//! A buffer is either the kernel's, which may write to it at any time, or held: only a [`Held`] can be
//! read, and only a completion makes one. Buffers come back in the order of a stack and no more of them
//! than needed are lent, so that the kernel fills memory that is still in the processor's cache.

use crate::layout::{BUFFER_BYTES, BUFFER_STRIDE, PAYLOAD_OFFSET};
use crate::region::Region;
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers lent at start; doubled whenever the kernel runs out.
const LENT_AT_START: u16 = 32;

/// A buffer that the kernel has filled and given up.
#[derive(Debug)]
pub(super) struct Held(u16);

/// All receive buffers of a ring.
pub(super) struct Buffers {
    ring: Region,
    data: Region,
    count: u16,
    /// Next entry of the ring to write, modulo 2^16 as the kernel counts.
    tail: u16,
    /// Buffers not lent; the last one given back is the first to be lent.
    free: Vec<u16>,
    lent: u16,
    lent_max: u16,
    /// Which buffers the kernel has, to catch a buffer given up twice.
    with_kernel: Vec<bool>,
}

impl Buffers {
    /// `count` buffers, a power of two up to 32,768; none of them lent yet.
    pub(super) fn new(count: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} buffers");
        Ok(Self {
            ring: Region::new(usize::from(count) * size_of::<BufRingEntry>())?,
            data: Region::new(usize::from(count) * BUFFER_STRIDE)?,
            count,
            tail: 0,
            free: (0..count).rev().collect(),
            lent: 0,
            lent_max: LENT_AT_START.min(count),
            with_kernel: vec![false; count.into()],
        })
    }

    /// Address of the ring, to be registered.
    pub(super) fn ring_address(&self) -> u64 {
        self.ring.pointer(0) as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Takes over the buffer that a completion names.
    pub(super) fn take(&mut self, buffer: u16) -> Held {
        let with_kernel = &mut self.with_kernel[usize::from(buffer)];
        assert!(*with_kernel, "the kernel gave up buffer {buffer} twice");
        *with_kernel = false;
        self.lent -= 1;
        Held(buffer)
    }

    /// Puts a buffer where [`Buffers::lend`] finds it.
    pub(super) fn give_back(&mut self, held: Held) {
        self.free.push(held.0);
    }

    /// The kernel ran out of buffers: lend it more from now on.
    pub(super) fn ran_out(&mut self) {
        self.lent_max = self.lent_max.saturating_mul(2).min(self.count);
    }

    /// Lends free buffers to the kernel. A store, no system call.
    pub(super) fn lend(&mut self) {
        let before = self.tail;
        while self.lent < self.lent_max {
            let Some(buffer) = self.free.pop() else { break };
            self.write_entry(buffer);
            self.with_kernel[usize::from(buffer)] = true;
            self.lent += 1;
        }
        if self.tail != before {
            let base = self.ring.pointer(0).cast::<BufRingEntry>().cast_const();
            // SAFETY: `base` is the first entry of the ring, aligned and zeroed at first. The kernel only
            // reads the tail; the release store makes the entries visible before it
            // (io_uring_register_buf_ring(3)).
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) }
                .store(self.tail, Ordering::Release);
        }
    }

    /// Writes the entry at the tail, which the kernel does not read before the tail has moved.
    fn write_entry(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        let address = self.data.pointer(usize::from(buffer) * BUFFER_STRIDE) as u64;
        let entry = self.ring.pointer(index * size_of::<BufRingEntry>()).cast::<BufRingEntry>();
        // SAFETY: `entry` is within the ring, aligned, initialised (zeroed memory is a valid entry), and
        // not read by the kernel: at most `count` buffers are lent, so this place of the ring is free.
        // The setters leave the tail, which shares the first entry, alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// The first `len` bytes of a held buffer.
    pub(super) fn bytes(&self, held: &Held, len: usize) -> &[u8] {
        let len = len.min(BUFFER_BYTES);
        // SAFETY: a `Held` exists only for a buffer that the kernel has given up by a completion; it writes
        // there again only after `lend`, for which the `Held` must be given back first.
        unsafe { self.data.bytes(usize::from(held.0) * BUFFER_STRIDE, len) }
    }

    /// The payload of a held buffer.
    pub(super) fn payload(&self, held: &Held, len: usize) -> &[u8] {
        &self.bytes(held, PAYLOAD_OFFSET + len)[PAYLOAD_OFFSET..]
    }

    /// Writes over the payload of a held buffer.
    ///
    /// # Safety
    ///
    /// No send that refers to the buffer is with the kernel.
    pub(super) unsafe fn write(&mut self, held: &Held, offset: usize, bytes: &[u8]) {
        let at = usize::from(held.0) * BUFFER_STRIDE + PAYLOAD_OFFSET + offset;
        // SAFETY: the kernel does not write to a held buffer, see `bytes`; the caller vouches that it does
        // not read there either.
        unsafe { self.data.write(at, bytes) }
    }

    /// Address of a byte of the payload of a held buffer.
    pub(super) fn payload_pointer(&self, held: &Held, offset: usize) -> *const u8 {
        self.data.pointer(usize::from(held.0) * BUFFER_STRIDE + PAYLOAD_OFFSET + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids in the ring, in the order in which the kernel would use them.
    fn lent_ids(buffers: &Buffers) -> Vec<u16> {
        let entries = buffers.ring.pointer(0).cast::<BufRingEntry>();
        // SAFETY: no kernel has this ring, and the index is within it.
        let id = |at: u16| unsafe { (*entries.add(usize::from(at & (buffers.count - 1)))).bid() };
        (0..buffers.lent).map(|n| id(buffers.tail.wrapping_sub(buffers.lent).wrapping_add(n))).collect()
    }

    #[test]
    fn buffers_used_last_are_lent_first() {
        let mut buffers = Buffers::new(64).expect("memory");
        buffers.lend();
        assert_eq!(lent_ids(&buffers), (0..32).collect::<Vec<_>>());
        let (first, second) = (buffers.take(0), buffers.take(1));
        buffers.give_back(first);
        buffers.give_back(second);
        buffers.lend();
        assert_eq!(lent_ids(&buffers)[30..], [1, 0]);
    }

    #[test]
    fn all_are_lent_after_running_out() {
        let mut buffers = Buffers::new(64).expect("memory");
        buffers.lend();
        buffers.ran_out();
        buffers.ran_out();
        buffers.lend();
        let mut ids = lent_ids(&buffers);
        ids.sort_unstable();
        assert_eq!(ids, (0..64).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "gave up buffer 3 twice")]
    fn a_buffer_cannot_be_taken_twice() {
        let mut buffers = Buffers::new(8).expect("memory");
        buffers.lend();
        buffers.take(3);
        buffers.take(3);
    }
}
