//! The handle that ends a worker's wait.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Ends a worker's wait from another thread. Cheap to clone; waking twice is waking once.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waker {
    /// Makes the current wait of [`crate::Io::turn`], or the next one, return at once.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: `one` is live and 8 bytes long, which is what eventfd(2) asks for; `self` owns the
        // descriptor. The only error possible is EAGAIN, a full counter, which is awake already.
        let _ = unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let event = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: eventfd(2) has just returned this descriptor and nobody else has it.
        Ok(Self { event: Arc::new(unsafe { OwnedFd::from_raw_fd(event) }) })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Takes back what [`Waker::wake`] did.
    pub(crate) fn reset(&self) {
        let mut count = 0u64;
        // SAFETY: `count` is live, writable and 8 bytes long, which is what eventfd(2) asks for.
        let _ = unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}
