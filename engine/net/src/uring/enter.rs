//! The one system call: it submits, waits, and has the kernel do what it left for this thread.

use super::UringIo;
use super::wait::{ignore_harmless, timespec};
use io_uring::types;
use std::io;
use std::time::Duration;

/// Requests are cancelled at once; the bound only guards against a kernel that cannot.
const CANCEL_WAIT_MAX: Duration = Duration::from_secs(1);
/// IORING_ENTER_GETEVENTS: wait, and run deferred work (io_uring_enter(2)).
const ENTER_GETEVENTS: u32 = 1;
/// IORING_ENTER_EXT_ARG: the argument is a `struct io_uring_getevents_arg` (io_uring_enter(2)).
const ENTER_EXT_ARG: u32 = 8;

impl UringIo {
    /// Submits everything and waits: for the sends, and for `extra` completions more until the timeout.
    /// Takes all completions.
    pub(super) fn enter(&mut self, extra: usize, timeout: Option<Duration>) -> io::Result<()> {
        let want = self.state.outbound.lent() + extra;
        let result = self.enter_once(want, timeout);
        self.reap();
        ignore_harmless(result)?;
        // Usually nothing is left. Otherwise the kernel took only some of the submissions, or a send did
        // not complete at once.
        while self.state.outbound.lent() > 0 || !self.ring.submission().is_empty() {
            let want = self.state.outbound.lent();
            let result = self.enter_once(want, None);
            self.reap();
            ignore_harmless(result)?;
        }
        Ok(())
    }

    pub(super) fn enter_once(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<usize> {
        let to_submit = self.ring.submission().len() as u32;
        let timespec = timeout.map(timespec);
        // What is sent is not waited for any longer than it takes.
        let gather_us = if want > self.state.outbound.lent() { self.gather_us } else { 0 };
        let mut args = types::SubmitArgs::new().min_wait_usec(gather_us);
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        self.state.stats.system_calls += 1;
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        // SAFETY: `args` has the layout of io_uring_getevents_arg and lives during the call, as does the
        // timespec; what the submissions refer to is vouched for where they were pushed
        // (io_uring_enter(2)).
        unsafe { self.ring.submitter().enter(to_submit, want as u32, flags, Some(&args)) }
    }

    /// Takes all completions that are there.
    pub(super) fn reap(&mut self) {
        let Self { ring, state, .. } = self;
        for completion in ring.completion() {
            state.on_completion(&completion);
        }
    }

    /// [`UringIo::enter`], and forgets the chunk when all of it was sent.
    pub(super) fn transfer(&mut self, extra: usize, timeout: Option<Duration>) -> io::Result<()> {
        let result = self.enter(extra, timeout);
        if self.state.outbound.lent() == 0 {
            self.state.finish_chunk();
        }
        result
    }

    /// Makes the submission queue empty, which it is unless the last turn failed.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.ring.submission().is_empty() && self.state.outbound.lent() == 0 {
            return Ok(());
        }
        let loaded = self.state.outbound.lent() > 0;
        self.enter(0, Some(Duration::ZERO))?;
        if loaded {
            self.state.finish_chunk();
        }
        Ok(())
    }

    /// Ends all requests, so that the kernel writes to no buffer any more.
    pub(super) fn end_requests(&mut self) {
        if self.enabled {
            let _ = self
                .ring
                .submitter()
                .register_sync_cancel(Some(timespec(CANCEL_WAIT_MAX)), types::CancelBuilder::any());
        }
    }
}
