//! What a worker can carry, as measured, and whether that still holds.
//!
//! The measuring itself is done by whoever has a generator (`motet calibrate`); here are the result, its
//! file, and the circumstances that it holds for. One unit is one packet a second sent to one leg, measured
//! with small packets, one at a time: what a network and a kernel find hardest. Video in bursts costs less a
//! packet, so units err on the safe side.

use crate::options::NodeOptions;
use anyhow::{Context, Result};
use clap::Args;
use motet_net::Io;
use motet_proto::node as wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Raised when the meaning of a field changes; another format is measured anew.
pub const FORMAT: u32 = 1;

/// A result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// [`FORMAT`].
    pub format: u32,
    /// When, in milliseconds since 1970.
    pub measured_unix_ms: i64,
    /// What it holds for; compared with what is now.
    pub identity: BTreeMap<String, String>,
    /// Packets that one worker sends per second within the bounds.
    pub packets_per_second: u64,
    /// Lost at that rate, 0 to 1.
    pub loss_share: f64,
    /// At that rate 99 of 100 packets came sooner, in microseconds.
    pub delay_p99_us: u64,
    /// Share of a core that the worker used at that rate, 0 to 1.
    pub busy_share: f64,
    /// The generator ended the search; the worker may carry more.
    pub lower_bound: bool,
}

/// What must hold at a rate for it to count, and how long is searched.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Measuring: percent of packets that may be lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0.01)]
    pub calibrate_loss: f64,

    /// Measuring: 99 of 100 packets must come out sooner, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5.0)]
    pub calibrate_delay_ms: f64,

    /// Measuring: rates to try at most; fewer for tests
    #[arg(long, value_name = "N", default_value_t = 14, hide = true)]
    pub calibrate_tries: u32,
}

impl Bounds {
    /// Whether so much loss (0 to 1) and such a delay are within.
    pub fn hold(&self, loss_share: f64, delay_p99_us: u64) -> bool {
        loss_share * 100.0 <= self.calibrate_loss && delay_p99_us as f64 <= self.calibrate_delay_ms * 1000.0
    }
}

/// Why a kept result cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stale {
    /// Nothing was kept.
    #[error("nothing was measured yet")]
    Absent,
    /// The file is not what it should be.
    #[error("{0}")]
    Unreadable(String),
    /// Something it holds for has changed.
    #[error("{what} was '{was}' and is '{is}'")]
    Changed {
        /// Key of the identity.
        what: String,
        /// As measured.
        was: String,
        /// As it is now.
        is: String,
    },
}

impl Calibration {
    /// Reads a kept result that holds for these circumstances.
    pub fn read(file: &Path, identity: &BTreeMap<String, String>) -> Result<Calibration, Stale> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Stale::Absent),
            Err(error) => return Err(Stale::Unreadable(format!("{}: {error}", file.display()))),
        };
        let kept: Calibration = serde_json::from_str(&text)
            .map_err(|error| Stale::Unreadable(format!("{}: {error}", file.display())))?;
        if kept.format != FORMAT {
            let why = format!("{}: has format {}, not {FORMAT}", file.display(), kept.format);
            return Err(Stale::Unreadable(why));
        }
        let keys = kept.identity.keys().chain(identity.keys());
        let of = |identity: &BTreeMap<String, String>, key: &String| {
            identity.get(key).cloned().unwrap_or_default()
        };
        for key in keys {
            let (was, is) = (of(&kept.identity, key), of(identity, key));
            if was != is {
                return Err(Stale::Changed { what: key.clone(), was, is });
            }
        }
        Ok(kept)
    }

    /// Keeps the result. A crash leaves the old file or the new one, whole.
    pub fn write(&self, file: &Path) -> Result<()> {
        let folder = file.parent().context("a file in no folder")?;
        fs::create_dir_all(folder)
            .with_context(|| format!("--state-dir: cannot make {}", folder.display()))?;
        let beside = file.with_extension("new");
        let mut text = serde_json::to_vec_pretty(self).context("a result is plain data")?;
        text.push(b'\n');
        let write = || -> std::io::Result<()> {
            let mut out = fs::File::create(&beside)?;
            out.write_all(&text)?;
            out.sync_all()?;
            fs::rename(&beside, file)
        };
        write().with_context(|| format!("--state-dir: cannot write {}", file.display()))
    }

    /// Units of a node with so many workers like the measured one. Workers do not share what they measured
    /// alone: memory and the card are.
    pub fn units(&self, workers: u32) -> u64 {
        self.packets_per_second.saturating_mul(u64::from(workers))
    }

    /// As `Describe` shows it.
    pub(crate) fn to_wire(&self) -> wire::Calibration {
        wire::Calibration {
            measured_unix_ms: self.measured_unix_ms,
            loss_share: self.loss_share,
            delay_p99_us: self.delay_p99_us,
            busy_share: self.busy_share,
            lower_bound: self.lower_bound,
            identity: self.identity.clone().into_iter().collect(),
        }
    }
}

/// What a result measured now would hold for.
///
/// Errors: the back end cannot be opened, as the node could not either.
pub fn identity(options: &NodeOptions) -> Result<BTreeMap<String, String>> {
    let (io, _) = motet_net::select(options.io, &motet_net::Options::default()).context("--io")?;
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let version = env!("CARGO_PKG_VERSION");
    let build = if cfg!(debug_assertions) { " (debug)" } else { "" };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numa_node = options.numa.numa_node.map_or_else(|| "any".to_owned(), |node| node.to_string());
    let Bounds { calibrate_loss, calibrate_delay_ms, .. } = options.bounds;
    let pairs = [
        ("bounds", format!("{calibrate_loss} % lost, p99 {calibrate_delay_ms} ms")),
        ("cpu", cpu_model(&cpuinfo)),
        ("cpus", cpus.to_string()),
        ("io", io.name().to_owned()),
        ("kernel", kernel.trim().to_owned()),
        ("numa_node", numa_node),
        ("version", format!("{version}{build}")),
    ];
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Name of the first CPU in /proc/cpuinfo; machines of ARM give numbers instead.
fn cpu_model(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let arm =
        || Some(format!("{} {} {}", field("CPU implementer")?, field("CPU part")?, field("CPU revision")?));
    field("model name").or_else(arm).unwrap_or_else(|| "unknown".to_owned())
}

/// Where a node keeps its result: each NUMA socket has its own.
pub fn file(options: &NodeOptions) -> Option<PathBuf> {
    let name = match options.numa.numa_node {
        Some(node) => format!("calibration-numa{node}.json"),
        None => "calibration.json".to_owned(),
    };
    options.state_dir.as_ref().map(|folder| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(kernel: &str) -> BTreeMap<String, String> {
        [("cpu", "EPYC"), ("kernel", kernel)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn result() -> Calibration {
        Calibration {
            format: FORMAT,
            measured_unix_ms: 1_700_000_000_000,
            identity: identity("6.1"),
            packets_per_second: 250_000,
            loss_share: 0.00002,
            delay_p99_us: 900,
            busy_share: 0.97,
            lower_bound: false,
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("new/calibration.json");
        assert_eq!(Calibration::read(&file, &identity("6.1")), Err(Stale::Absent));
        result().write(&file).expect("it can be written");
        assert_eq!(Calibration::read(&file, &identity("6.1")), Ok(result()));
        assert_eq!(
            fs::read_dir(folder.path().join("new")).expect("it is there").count(),
            1,
            "nothing beside it"
        );
    }

    #[test]
    fn another_kernel_or_another_key_is_another_machine() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("calibration.json");
        result().write(&file).expect("it can be written");
        let stale = Calibration::read(&file, &identity("6.2")).expect_err("it changed");
        assert_eq!(stale.to_string(), "kernel was '6.1' and is '6.2'");
        let mut more = identity("6.1");
        more.insert("io".to_owned(), "mmsg".to_owned());
        let stale = Calibration::read(&file, &more).expect_err("it says more");
        assert_eq!(stale.to_string(), "io was '' and is 'mmsg'");
    }

    #[test]
    fn damaged_and_foreign_files_are_told_apart_from_none() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("calibration.json");
        let newer = serde_json::to_string(&Calibration { format: 2, ..result() }).expect("plain data");
        let unknown = newer.replace("\"format\":2", "\"format\":1,\"extra\":1");
        for (text, part) in
            [("", "EOF"), ("{}", "missing field"), (&newer, "has format 2"), (&unknown, "unknown field")]
        {
            fs::write(&file, text).expect("a file can be written");
            let stale = Calibration::read(&file, &identity("6.1")).expect_err("it is damaged").to_string();
            assert!(stale.contains(part) && stale.contains("calibration.json"), "{stale}");
        }
    }

    #[test]
    fn units_are_those_of_all_workers() {
        assert_eq!(result().units(4), 1_000_000);
        assert_eq!(Calibration { packets_per_second: u64::MAX, ..result() }.units(2), u64::MAX);
    }

    #[test]
    fn bounds_are_what_they_say() {
        let bounds = NodeOptions::default().bounds;
        assert!(bounds.hold(0.0001, 5_000));
        assert!(!bounds.hold(0.00011, 10));
        assert!(!bounds.hold(0.0, 5_001));
        assert!(!bounds.hold(f64::NAN, 1), "no packets at all");
    }

    #[test]
    fn processors_have_names() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: AMD EPYC 7B13\n"), "AMD EPYC 7B13");
        let arm = "processor : 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n";
        assert_eq!(cpu_model(arm), "0x41 0xd0c 1");
        assert_eq!(cpu_model(""), "unknown");
    }

    #[test]
    fn each_socket_has_a_file_of_its_own() {
        let mut options = NodeOptions { state_dir: Some("/var/lib/motet".into()), ..NodeOptions::default() };
        assert_eq!(file(&options), Some("/var/lib/motet/calibration.json".into()));
        options.numa.numa_node = Some(1);
        assert_eq!(file(&options), Some("/var/lib/motet/calibration-numa1.json".into()));
        options.state_dir = None;
        assert_eq!(file(&options), None);
    }
}
