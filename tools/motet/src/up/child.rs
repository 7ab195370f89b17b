//! One node as a child process: started, listened to, ended.

use super::plan::NodePlan;
use super::policy::{End, Next, PATIENCE, Policy, how};
use crate::out;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A node that was told to end at once has so long before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// It runs.
    No,
    /// Each node ends in its own time.
    Orderly,
    /// Each node was told twice.
    Now,
}

/// How the life of a node under supervision ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was told to end, and ended so.
    Stopped(End),
    /// It could not be kept running.
    GivenUp { node_id: String, code: u8, why: String },
}

impl Outcome {
    /// The exit code that this alone would give.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            // A node that has no handler for SIGTERM yet ends by it.
            Outcome::Stopped(End::Code(0)) => 0,
            Outcome::Stopped(End::Signal(signal)) if *signal == Signal::TERM.as_raw() => 0,
            Outcome::Stopped(_) => 1,
            Outcome::GivenUp { code, .. } => *code,
        }
    }
}

/// A node that is kept running.
pub(super) struct Kept {
    plan: NodePlan,
    program: PathBuf,
    words: UnixDatagram,
    words_path: PathBuf,
    stop: watch::Receiver<Stop>,
    ready: mpsc::Sender<()>,
    policy: Policy,
    origin: Instant,
}

impl Kept {
    /// `words_path` is where the socket is made on which the node says how it is.
    pub(super) fn new(
        plan: NodePlan,
        words_path: &Path,
        stop: watch::Receiver<Stop>,
        ready: mpsc::Sender<()>,
    ) -> Result<Kept> {
        let words = UnixDatagram::bind(words_path)
            .with_context(|| format!("cannot make a socket at {}", words_path.display()))?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let words_path = words_path.to_owned();
        let (policy, origin) = (Policy::default(), Instant::now());
        Ok(Kept { plan, program, words, words_path, stop, ready, policy, origin })
    }

    /// Keeps the node running until it is told to stop, or cannot be kept.
    pub(super) async fn run(mut self) -> Outcome {
        loop {
            let end = match self.run_once().await {
                Ok(end) => end,
                Err(error) => return self.given_up(1, format!("could not be started: {error:#}")),
            };
            if *self.stop.borrow() != Stop::No {
                return Outcome::Stopped(end);
            }
            let pause = match self.policy.on_end(self.origin.elapsed(), end) {
                Next::Restart(pause) => pause,
                Next::GiveUp(code, why) => return self.given_up(code, why),
            };
            let (id, how) = (&self.plan.node_id, how(end));
            tracing::error!("node {id} {how}; it is started again in {:.1} s", pause.as_secs_f64());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Nothing runs that could end badly.
                _ = self.stop.changed() => return Outcome::Stopped(End::Code(0)),
            }
        }
    }

    fn given_up(self, code: u8, why: String) -> Outcome {
        Outcome::GivenUp { node_id: self.plan.node_id, code, why }
    }

    /// One process from start to end.
    async fn run_once(&mut self) -> Result<End> {
        // What an earlier process said is not about this one.
        let mut word = [0; 512];
        while self.words.try_recv(&mut word).is_ok() {}
        let (mut child, _lifeline) = self.start()?;
        self.policy.on_start(self.origin.elapsed());
        let mut told_at = None;
        loop {
            let deadline = match *self.stop.borrow() {
                Stop::No => Some(self.origin + self.policy.deadline()),
                // It may have calls to wait for.
                Stop::Orderly => None,
                Stop::Now => Some(told_at.unwrap_or(self.origin) + LAST_WORDS),
            };
            tokio::select! {
                ended = child.wait() => return Ok(end_of(ended.context("cannot wait for it")?)),
                said = self.words.recv(&mut word) => {
                    let bytes = said.context("its socket broke")?;
                    self.listen(&String::from_utf8_lossy(&word[..bytes])).await;
                }
                changed = self.stop.changed() => {
                    changed.context("nobody is left to stop it")?;
                    told_at = Some(Instant::now());
                    signal(&child, Signal::TERM);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or(self.origin)), if deadline.is_some() => {
                    tracing::error!("node {} hangs; it is killed", self.plan.node_id);
                    child.kill().await.context("cannot kill it")?;
                    return Ok(End::Signal(Signal::KILL.as_raw()));
                }
            }
        }
    }

    async fn listen(&mut self, words: &str) {
        let now = self.origin.elapsed();
        for word in words.lines() {
            match word {
                "READY=1" if self.policy.on_ready(now) => {
                    let _ = self.ready.send(()).await;
                }
                "READY=1" | "WATCHDOG=1" => self.policy.on_alive(now),
                _ => {}
            }
        }
    }

    /// The node, and what it holds on to: it ends when its standard input does, so not even a killed
    /// supervisor leaves one behind. Waiting for a child closes that if it is still in there.
    fn start(&self) -> Result<(Child, Option<ChildStdin>)> {
        let mut command = Command::new(&self.program);
        command.args(&self.plan.arguments).arg("--exit-with-stdin");
        command.env("NOTIFY_SOCKET", &self.words_path);
        command.env("WATCHDOG_USEC", PATIENCE.as_micros().to_string()).env_remove("WATCHDOG_PID");
        // Of its own group, so that Ctrl-C ends it through us and in order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| self.program.display().to_string())?;
        let prefix = format!("numa{}", self.plan.numa_node);
        if let Some(out) = child.stdout.take() {
            tokio::spawn(repeat(prefix.clone(), out));
        }
        if let Some(out) = child.stderr.take() {
            tokio::spawn(repeat(prefix, out));
        }
        let lifeline = child.stdin.take();
        Ok((child, lifeline))
    }
}

/// Writes what a node writes, line by line, with its name before it.
async fn repeat(prefix: String, from: impl AsyncRead + Unpin) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await.is_ok_and(|bytes| bytes > 0) {
        let text = String::from_utf8_lossy(&line);
        out::complain(&format!("{prefix} | {}", text.trim_end()));
        line.clear();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}
