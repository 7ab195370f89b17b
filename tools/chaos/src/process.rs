//! One program under test: started, killed, stopped, continued. Ended when dropped.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program with its arguments, which runs or does not.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    stopped: bool,
}

impl Process {
    /// A program that does not run yet. What it says goes to `NAME.log` in `folder`.
    pub fn new(name: &str, program: &Path, arguments: Vec<String>, folder: &Path) -> Process {
        Process {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments,
            log: folder.join(format!("{name}.log")),
            child: None,
            stopped: false,
        }
    }

    /// Starts it; what runs already goes on.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        // A group of its own: Ctrl-C is for this program, which then ends the others.
        command.args(&self.arguments).process_group(0);
        command.env_remove("STATE_DIRECTORY").env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        self.stopped = false;
        Ok(())
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which is seen elsewhere.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.stopped = false;
    }

    /// SIGSTOP.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.stopped = true;
        Ok(())
    }

    /// SIGCONT.
    pub fn go_on(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.stopped = false;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.with_context(|| format!("{} does not run", self.name))?;
        kill_process(id, signal).with_context(|| format!("{} cannot be signalled", self.name))
    }

    /// Its name in this run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Runs, and is not stopped.
    pub fn is_at_work(&self) -> bool {
        self.child.is_some() && !self.stopped
    }

    /// Fails when it has ended by itself, with the end of what it said.
    pub fn check(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            bail!("{} ended by itself with {status}:\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Resident memory in bytes (proc(5), `VmRSS`); 0 when it does not run.
    pub fn resident_bytes(&self) -> u64 {
        let Some(id) = self.id() else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Open file descriptors; 0 when it does not run.
    pub fn descriptors(&self) -> usize {
        let Some(id) = self.id() else { return 0 };
        std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path, seconds: &str) -> Process {
        let mut process = Process::new("sleeper", Path::new("sleep"), vec![seconds.to_owned()], folder);
        process.start().expect("sleep is there");
        process
    }

    #[test]
    fn what_is_started_is_stopped_continued_and_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = sleeper(folder.path(), "600");
        assert!(process.is_at_work() && process.descriptors() > 0);
        process.stop().expect("it runs");
        assert!(!process.is_at_work());
        process.go_on().expect("it runs");
        process.check().expect("it runs");
        process.kill();
        assert!(process.id().is_none() && process.stop().is_err());
    }

    #[test]
    fn an_end_by_itself_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = sleeper(folder.path(), "0");
        let ended = std::iter::repeat_with(|| process.check().is_err()).take(100_000_000).any(|ended| ended);
        assert!(ended);
    }
}
