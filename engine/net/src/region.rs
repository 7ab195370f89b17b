//! Memory shared with the kernel.

use std::io;
use std::ptr::{NonNull, null_mut};

/// Anonymous, zeroed, page-aligned memory. Never touched through references held over a system call, so
/// that the kernel may write to it; pages come into being when first touched.
pub(crate) struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone and is reached through it only.
unsafe impl Send for Region {}

impl Region {
    /// Errors: the machine is out of memory.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing (mmap(2)).
        let base = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap does not return null without MAP_FIXED");
        Ok(Self { base, bytes })
    }

    /// Address of the byte at `offset`, which must be within the region.
    pub(crate) fn pointer(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.bytes, "offset {offset} is outside of {} bytes", self.bytes);
        // SAFETY: just checked to be within the one mapping.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Bytes of the region as a slice.
    ///
    /// # Safety
    ///
    /// The kernel must not write to these bytes while the slice lives.
    pub(crate) unsafe fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset + len <= self.bytes, "{len} bytes at {offset} are outside of {} bytes", self.bytes);
        // SAFETY: within the mapping (checked), which is zeroed and lives as long as `self`; the caller
        // vouches for the kernel.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), len) }
    }

    /// Writes bytes of the region.
    ///
    /// # Safety
    ///
    /// The kernel must neither write nor read these bytes meanwhile.
    pub(crate) unsafe fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.bytes, "beyond the {} bytes of the region", self.bytes);
        // SAFETY: within the mapping (checked), to which `&mut self` leaves no reference; the caller vouches
        // for the kernel.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.as_ptr().add(offset), bytes.len()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and no reference into it can outlive `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
