//! The floor: a loop that receives and sends and does no RTP work (`bare_loop` of motet-net).

use crate::process::Pinned;
use crate::relay::{Row, Sinks, Subject};
use anyhow::Context;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// The bare loop on one back end.
#[derive(Debug)]
pub struct Floor {
    name: &'static str,
    io: &'static str,
    binary: PathBuf,
    core: usize,
    process: Option<Pinned>,
}

impl Floor {
    /// Not yet running. `io` is "uring" or "mmsg".
    pub fn new(name: &'static str, io: &'static str, binary: PathBuf, core: usize) -> Floor {
        Floor { name, io, binary, core, process: None }
    }
}

impl Subject for Floor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Pinned::pid)
    }

    /// A new process for each row: the loop knows its sinks from the start.
    fn prepare(&mut self, _: &Row, sinks: &Sinks) -> anyhow::Result<SocketAddr> {
        let mut command = Command::new(&self.binary);
        command
            .args(["--io", self.io, "--listen", "127.0.0.1:0"])
            .args(["--sinks", &sinks.first.to_string(), "--count", &sinks.count.to_string()])
            .args(["--stride", &sinks.stride.to_string(), "--core", &self.core.to_string()]);
        let mut process = Pinned::start(command, self.core)?;
        let line = process.first_line()?;
        let answer: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("the bare loop printed {line:?}"))?;
        self.process = Some(process);
        Ok(answer["listen"].as_str().context("the bare loop names no address")?.parse()?)
    }

    fn finish_row(&mut self) -> anyhow::Result<()> {
        self.process = None;
        Ok(())
    }
}
