//! Turns that nobody is in a hurry for.

use super::UringIo;
use super::wait::ignore_harmless;
use std::io;
use std::time::{Duration, Instant};

/// Looks after a rest at most; the kernel does the work of 20 packets in each (since Linux 6.13, `io_run_local_work` in
/// io_uring/io_uring.c). Not all at once: whoever asks for more than there are sleeps, however short the time.
const LOOKS_MAX: usize = 16;

impl UringIo {
    /// Sends what was loaded and sleeps, where that was asked for and it keeps up with what comes; says whether it did.
    ///
    /// The ring itself would end a wait for any one completion after a time, or for many at once, and a use of the waker
    /// is one like a packet; so the sleep is outside of it. What arrives meanwhile is not even looked at by the kernel
    /// (IORING_SETUP_DEFER_TASKRUN).
    pub(super) fn rest_now(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let Some(until) = self.rest.take() else { return Ok(false) };
        let now = Instant::now();
        let until = timeout.map_or(until, |timeout| until.min(now + timeout));
        if until <= now || std::mem::take(&mut self.behind) {
            return Ok(false);
        }
        if !self.ring.submission().is_empty() {
            self.state.stats.system_calls += 1;
            ignore_harmless(self.ring.submit())?;
            // Sends complete while they are submitted.
            self.reap();
        }
        if !self.state.woken {
            self.state.stats.system_calls += 1;
            // Others may have had the processor meanwhile.
            self.state.waker.rest(until.saturating_duration_since(Instant::now()));
        }
        Ok(true)
    }

    /// Takes what came during a rest.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let mut looks = 1;
        while self.ring.submission().taskrun() && looks < LOOKS_MAX {
            // There is one, so that this does not wait.
            ignore_harmless(self.enter_once(1, Some(Duration::ZERO)))?;
            looks += 1;
        }
        self.behind = looks == LOOKS_MAX;
        self.transfer(0, Some(Duration::ZERO))
    }
}
