//! The floor: a loop that receives and sends and does no RTP work (`bare_loop` of motet-net).

use crate::process::Pinned;
use crate::relay::{Row, Subject, Task, Work};
use anyhow::{Context, bail};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

/// The bare loop on one back end.
#[derive(Debug)]
pub struct Floor {
    name: &'static str,
    io: &'static str,
    binary: PathBuf,
    ip: IpAddr,
    core: usize,
    process: Option<Pinned>,
}

impl Floor {
    /// Not yet running. `io` is "uring" or "mmsg".
    pub fn new(name: &'static str, io: &'static str, binary: PathBuf, ip: IpAddr, core: usize) -> Floor {
        Floor { name, io, binary, ip, core, process: None }
    }
}

impl Subject for Floor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Pinned::pid)
    }

    /// It knows one source, and sinks that are the same in every room.
    fn takes_part(&self, row: &Row) -> bool {
        matches!(row.work, Work::FanOut(_) | Work::Rooms(_))
    }

    /// A new process for each turn: the loop knows its sinks from the start.
    fn prepare(&mut self, task: &Task<'_>) -> anyhow::Result<Vec<SocketAddr>> {
        let Some(room) = task.rooms.first() else { bail!("the bare loop needs a room") };
        let sinks: Vec<SocketAddr> =
            room.legs.iter().filter(|leg| leg.receives).map(|leg| leg.remote).collect();
        let first = sinks.first().context("the bare loop needs a sink")?;
        let stride = sinks.get(1).map_or(1, |second| second.port() - first.port());
        let mut command = Command::new(&self.binary);
        command
            .args(["--io", self.io, "--listen", &SocketAddr::new(self.ip, 0).to_string()])
            .args(["--sinks", &first.to_string(), "--count", &sinks.len().to_string()])
            .args(["--stride", &stride.to_string(), "--rooms", &task.rooms.len().to_string()])
            .args(["--core", &self.core.to_string()]);
        let mut process = Pinned::start(command, self.core)?;
        let line = process.first_line()?;
        let answer: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("the bare loop printed {line:?}"))?;
        self.process = Some(process);
        let listen = answer["listen"].as_str().context("the bare loop names no address")?.parse()?;
        Ok(vec![listen; task.rooms.len()])
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.process = None;
        Ok(())
    }
}
