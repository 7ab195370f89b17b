//! What the kernel says of a thread's time.

use std::time::Duration;

/// How long a thread of this process ran, and how long it could have run and had to wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTimes {
    pub(crate) on_cpu: Duration,
    pub(crate) waiting: Duration,
}

/// Reads a thread's schedstat: nanoseconds on a processor, nanoseconds in a run queue (proc(5) has none of
/// it; Documentation/scheduler/sched-stats.rst of the kernel does). Zero where it cannot be read.
pub(crate) fn cpu_times(thread: u32) -> CpuTimes {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let mut fields = text.split_whitespace().map(|field| Duration::from_nanos(field.parse().unwrap_or(0)));
    let mut next = || fields.next().unwrap_or_default();
    CpuTimes { on_cpu: next(), waiting: next() }
}
