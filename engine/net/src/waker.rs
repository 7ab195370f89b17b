//! The handle that ends a worker's wait.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null;
use std::sync::Arc;
use std::time::Duration;

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

    /// Sleeps until it is woken, or was since [`Waker::reset`], or for so long. A signal may end it earlier.
    pub(crate) fn rest(&self, time: Duration) {
        let mut event = libc::pollfd { fd: self.event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let time = libc::timespec {
            tv_sec: time.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: one live entry, a live timespec, and no signal mask (ppoll(2)). Whether it ended by the event, the
        // time or a signal makes no difference to the caller.
        let _ = unsafe { libc::ppoll(&raw mut event, 1, &raw const time, null()) };
    }

    /// Takes back what [`Waker::wake`] did.
    pub(crate) fn reset(&self) {
        let mut count = 0u64;
        // SAFETY: `count` is live, writable and 8 bytes long, which is what eventfd(2) asks for.
        let _ = unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}
