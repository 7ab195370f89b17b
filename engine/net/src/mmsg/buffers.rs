//! Buffers into which recvmmsg(2) receives.

use crate::layout::{
    BUFFER_STRIDE, CONTROL_BYTES, CONTROL_OFFSET, Lengths, NAME_BYTES, NAME_OFFSET, PAYLOAD_BYTES,
    PAYLOAD_OFFSET, Received,
};
use crate::region::Region;
use std::io;

/// Buffers of a turn with the headers through which recvmmsg fills them.
pub(super) struct ReceiveBuffers {
    region: Region,
    headers: Vec<libc::mmsghdr>,
    /// Only the kernel reads these, through `headers`.
    _iovecs: Box<[libc::iovec]>,
}

// SAFETY: all pointers inside lead to the region and the boxed iovecs, which belong to this value alone.
unsafe impl Send for ReceiveBuffers {}

impl ReceiveBuffers {
    pub(super) fn new(count: usize) -> io::Result<Self> {
        let region = Region::new(count * BUFFER_STRIDE)?;
        let iovec = |buffer: usize| libc::iovec {
            iov_base: region.pointer(buffer * BUFFER_STRIDE + PAYLOAD_OFFSET).cast(),
            iov_len: PAYLOAD_BYTES,
        };
        let mut iovecs: Box<[libc::iovec]> = (0..count).map(iovec).collect();
        let base = iovecs.as_mut_ptr();
        let header = |buffer: usize| {
            // SAFETY: all zeroes is a valid mmsghdr: null pointers and lengths of 0.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = region.pointer(buffer * BUFFER_STRIDE + NAME_OFFSET).cast();
            header.msg_hdr.msg_control = region.pointer(buffer * BUFFER_STRIDE + CONTROL_OFFSET).cast();
            header.msg_hdr.msg_iov = base.wrapping_add(buffer);
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let headers = (0..count).map(header).collect();
        Ok(Self { region, headers, _iovecs: iovecs })
    }

    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// Writes over the payload of a buffer.
    pub(super) fn write(&mut self, buffer: usize, offset: usize, bytes: &[u8]) {
        // SAFETY: the kernel reads and writes buffers during calls only.
        unsafe { self.region.write(buffer * BUFFER_STRIDE + PAYLOAD_OFFSET + offset, bytes) }
    }

    pub(super) fn receive(&mut self, descriptor: i32, first: usize, count: usize) -> io::Result<usize> {
        let headers = &mut self.headers[first..first + count];
        for header in headers.iter_mut() {
            header.msg_hdr.msg_namelen = NAME_BYTES as u32;
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
        }
        let (pointer, flags) = (headers.as_mut_ptr(), libc::MSG_DONTWAIT);
        // SAFETY: the headers point into the region and to iovecs, which are alive, and no slice of these
        // buffers exists: they are handed out through `&self` only. The call keeps nothing (recvmmsg(2)).
        let taken =
            unsafe { libc::recvmmsg(descriptor, pointer, count as u32, flags as _, std::ptr::null_mut()) };
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
    }

    pub(super) fn parse(&self, buffer: usize) -> Option<Received> {
        let header = &self.headers[buffer];
        let lengths = Lengths {
            name: header.msg_hdr.msg_namelen as usize,
            control: header.msg_hdr.msg_controllen,
            payload: header.msg_len as usize,
            flags: header.msg_hdr.msg_flags,
        };
        // SAFETY: the kernel writes to buffers during `receive` only.
        Received::parse(unsafe { self.region.bytes(buffer * BUFFER_STRIDE, PAYLOAD_OFFSET) }, lengths)
    }

    pub(super) fn payload(&self, buffer: usize, len: usize) -> &[u8] {
        // SAFETY: the kernel writes to buffers during `receive` only, which takes `&mut self`.
        unsafe { self.region.bytes(buffer * BUFFER_STRIDE + PAYLOAD_OFFSET, len) }
    }
}
