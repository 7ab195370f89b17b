//! Processes under test: pinned from their first instruction, ended when dropped.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end when asked, before it is killed.
const END_MAX: Duration = Duration::from_secs(3);

/// A process on one core. Dropping it ends it.
#[derive(Debug)]
pub struct Pinned {
    child: Child,
}

impl Pinned {
    /// Starts a process on a core. Its standard input stays open until it is dropped.
    pub fn start(mut command: Command, core: usize) -> anyhow::Result<Pinned> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Pinned::spawn(&mut command, core)
    }

    /// Starts a process on a core, with standard input and output as they were set.
    pub fn spawn(command: &mut Command, core: usize) -> anyhow::Result<Pinned> {
        let program = command.get_program().to_string_lossy().into_owned();
        // A process inherits the cores of the thread that starts it, so that all of its threads are
        // pinned, also those that it starts at once.
        let before = sched_getaffinity(None)?;
        pin(core)?;
        let child = command.spawn();
        sched_setaffinity(None, &before)?;
        Ok(Pinned { child: child.with_context(|| format!("cannot start {program}"))? })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line that it prints.
    pub fn first_line(&mut self) -> anyhow::Result<String> {
        let stdout: ChildStdout = self.child.stdout.take().context("the first line was read before")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        reader.read_line(&mut line)?;
        // Kept open, or the process would fail at its next word.
        self.child.stdout = Some(reader.into_inner());
        Ok(line)
    }

    /// Waits until it has ended by itself, and well.
    pub fn wait(&mut self, at_most: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + at_most;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the process failed: {status}"),
                None if Instant::now() > deadline => bail!("the process runs on after {at_most:?}"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Fails when the process has ended.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the process ended by itself: {status}"),
            None => Ok(()),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < END_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts this process and those that it will start before other work of the machine; false: not allowed.
pub fn prefer() -> bool {
    const NICE: i32 = -15;
    rustix::process::setpriority_process(None, NICE).is_ok()
}

/// Pins the calling thread.
pub fn pin(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot pin to core {core}"))
}

/// Nanoseconds that all threads of a process have been on a processor.
///
/// The first field of `/proc/PID/task/*/schedstat` (proc(5)): exact, where utime and stime count ticks.
pub fn processor_ns(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    let tasks = format!("/proc/{pid}/task");
    for task in std::fs::read_dir(&tasks).with_context(|| format!("{tasks}: has the process ended?"))? {
        // A thread may end between the listing and the reading.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        sum += text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_pinned_measured_and_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "grep Cpus_allowed_list /proc/self/status; i=0; while :; do i=$((i+1)); done"]);
        let mut process = Pinned::start(command, 0).expect("a shell is there");
        assert_eq!(process.first_line().expect("it prints").split_whitespace().last(), Some("0"));
        let before = processor_ns(process.pid()).expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(10);
        while processor_ns(process.pid()).expect("it runs") < before + 1_000_000 {
            assert!(Instant::now() < deadline, "a busy loop uses the processor");
            std::thread::yield_now();
        }
        process.check_running().expect("it runs");
        let pid = process.pid();
        drop(process);
        assert!(processor_ns(pid).is_err(), "it has ended");
    }
}
