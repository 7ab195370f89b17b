//! How a ring waits.

use io_uring::types;
use std::io;
use std::time::Duration;

/// Completions that end a wait for many.
const GATHERED_MAX: usize = 64;
/// Completions that a wait is for, which lasts `gather_us` at least.
pub(super) fn completions(timeout: Option<Duration>, gather_us: u32) -> usize {
    match timeout {
        Some(Duration::ZERO) => 0,
        _ if gather_us > 0 => GATHERED_MAX,
        _ => 1,
    }
}

/// A wait that ended by its timeout or a signal is none the worse, nor is a full completion queue, which
/// has just been emptied.
pub(super) fn ignore_harmless(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}

pub(super) fn timespec(duration: Duration) -> types::Timespec {
    let seconds = duration.as_secs().min(i32::MAX as u64);
    types::Timespec::new().sec(seconds).nsec(duration.subsec_nanos())
}
