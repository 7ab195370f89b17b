//! `motet calibrate`, and the same before a node serves: what can one worker of this machine carry?
//!
//! A node of its own with one worker, the generator beside it, both on loopback; [`search`] chooses the
//! rates, [`measure`] tries them. The result is kept with what it holds for (`motet_node::calibration`).

mod measure;
mod search;

use crate::out;
use anyhow::{Context, Result, ensure};
use clap::Args;
use motet_net::IoChoice;
use motet_node::calibration::{Bounds, Calibration, FORMAT, Stale, file, identity};
use motet_node::{Calibrate, NodeOptions, NumaOptions, io_choice};
use search::{Search, Verdict};
use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Options of `motet calibrate`.
///
/// Takes about ten seconds, a core for the worker and up to three for the generator. What else runs on them
/// suffers, and spoils the result.
#[derive(Args, Clone, Debug)]
pub(crate) struct CalibrateOptions {
    #[command(flatten)]
    numa: NumaOptions,

    /// How packets are carried: auto, uring or mmsg
    #[arg(long, value_name = "auto|uring|mmsg", default_value = "auto", value_parser = io_choice)]
    io: IoChoice,

    /// Core to pin the worker to [default: the last one that this process may use]
    #[arg(long, value_name = "CORE")]
    worker_core: Option<usize>,

    /// Folder to keep the result in, for a node with the same --state-dir
    #[arg(long, value_name = "FOLDER", env = "STATE_DIRECTORY")]
    state_dir: Option<PathBuf>,

    #[command(flatten)]
    bounds: Bounds,

    /// Measure even though a node runs with this --state-dir; its calls suffer
    #[arg(long)]
    force: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CalibrateOptions {
    /// The node that would use the result.
    pub(crate) fn node(&self) -> NodeOptions {
        NodeOptions {
            io: self.io,
            numa: self.numa.clone(),
            worker_cores: self.worker_core.into_iter().collect(),
            state_dir: self.state_dir.clone(),
            bounds: self.bounds,
            ..NodeOptions::default()
        }
    }
}

/// Runs `motet calibrate`.
pub(crate) async fn run(options: CalibrateOptions) -> Result<ExitCode> {
    let node = options.node();
    let lock = lock(&node)?;
    ensure!(
        options.force || !matches!(lock, Lock::Busy(_)),
        "--state-dir: a node runs with it, and its calls would suffer; --force measures all the same"
    );
    // A script knows what it does.
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        out::complain(
            "motet: measuring for ten seconds; what else runs on this machine suffers, and spoils the result",
        );
    }
    let result = measured(&node).await?;
    let kept = file(&node);
    if let Some(file) = &kept {
        result.write(file)?;
    }
    let text = if options.json {
        serde_json::to_string_pretty(&result)? + "\n"
    } else {
        page(&result, kept.as_deref())
    };
    out::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a node that is about to start what was measured, and measures if that is asked for. What goes
/// wrong costs the figure, not the node.
pub(crate) async fn before_start(mut options: NodeOptions) -> NodeOptions {
    let kept = match (file(&options), identity(&options)) {
        (Some(file), Ok(identity)) => Calibration::read(&file, &identity),
        _ => Err(Stale::Absent),
    };
    let free = match lock(&options) {
        Ok(Lock::Ours(held)) => {
            // Until the process ends.
            std::mem::forget(held);
            true
        }
        Ok(Lock::Busy(held)) => {
            // The one that runs is to be taken over, or not to be disturbed.
            std::thread::spawn(move || held.lock().map(|()| std::mem::forget(held)));
            false
        }
        Ok(Lock::NoPlace) => true,
        Err(error) => {
            tracing::warn!("what was measured cannot be kept: {error:#}");
            false
        }
    };
    let wanted = match options.calibrate {
        // The running node needs the machine, and its measurement is kept.
        _ if options.take_over => false,
        Calibrate::Never => false,
        Calibrate::Always => true,
        Calibrate::Auto => kept.is_err() && options.state_dir.is_some(),
    };
    match &kept {
        Ok(kept) => options.calibration = Some(kept.clone()),
        Err(Stale::Absent) => {}
        Err(stale) => tracing::info!("what was measured before no longer holds: {stale}"),
    }
    if wanted && !free {
        tracing::warn!("another node runs with this --state-dir; nothing is measured beside it");
    } else if wanted {
        tracing::info!("the node measures what a worker can carry; it serves in about ten seconds");
        match measured(&options).await.and_then(|result| keep(&options, result)) {
            Ok(result) => options.calibration = Some(result),
            Err(error) => tracing::warn!("the node could not be measured: {error:#}"),
        }
    }
    options
}

fn keep(options: &NodeOptions, result: Calibration) -> Result<Calibration> {
    tracing::info!(
        packets_per_second = result.packets_per_second,
        lower_bound = result.lower_bound,
        "one worker measured"
    );
    if let Some(file) = file(options) {
        result.write(&file)?;
    }
    Ok(result)
}

/// Who measures or runs with a folder.
enum Lock {
    /// Nobody else, while this is held.
    Ours(File),
    /// Somebody.
    Busy(File),
    /// There is no folder.
    NoPlace,
}

fn lock(options: &NodeOptions) -> Result<Lock> {
    let Some(file) = file(options) else { return Ok(Lock::NoPlace) };
    let file = file.with_extension("lock");
    let folder = file.parent().context("a file in no folder")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("--state-dir: cannot make {}", folder.display()))?;
    let opened =
        File::create(&file).with_context(|| format!("--state-dir: cannot write {}", file.display()))?;
    match opened.try_lock() {
        Ok(()) => Ok(Lock::Ours(opened)),
        Err(TryLockError::WouldBlock) => Ok(Lock::Busy(opened)),
        Err(TryLockError::Error(error)) => Err(error).context("--state-dir: cannot lock"),
    }
}

/// Searches for the rate.
async fn measured(options: &NodeOptions) -> Result<Calibration> {
    let identity = identity(options)?;
    let bench = measure::Bench::open(options).await?;
    let mut search = Search::new(options.bounds.calibrate_tries);
    let mut best = None;
    while let Some(rate) = search.next() {
        let tried = bench.try_rate(rate).await?;
        let verdict = tried.verdict(options.bounds);
        tracing::debug!(rate, ?verdict, ?tried, "tried");
        if verdict == Verdict::Held {
            best = Some(tried);
        }
        search.tried(rate, verdict);
    }
    let shared = bench.shares_cores();
    bench.close().await;
    let best = best.context("not even the lowest rate kept to the bounds; is the machine busy?")?;
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Calibration {
        format: FORMAT,
        measured_unix_ms: unix.as_millis() as i64,
        identity,
        packets_per_second: best.packets_per_second,
        loss_share: best.loss_share,
        delay_p99_us: best.delay_p99_us,
        busy_share: best.busy_share,
        lower_bound: shared || search.ended_by() != Some(Verdict::Relay),
    })
}

fn page(result: &Calibration, kept: Option<&Path>) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(page, "{name:<14}{value}");
    };
    line("one worker", format!("{} packets/s, {}", result.packets_per_second, measure::SHAPE));
    line("lost", format!("{:.4} %", 100.0 * result.loss_share));
    line("delay p99", format!("{:.2} ms", result.delay_p99_us as f64 / 1e3));
    line("worker busy", format!("{:.0} %", 100.0 * result.busy_share));
    let limit = if result.lower_bound {
        "the generator, which shares the machine: the worker may carry more"
    } else {
        "the worker"
    };
    line("limited by", limit.to_owned());
    for (key, value) in &result.identity {
        line(key, value.clone());
    }
    line("kept in", kept.map_or("nothing; give --state-dir".to_owned(), |file| file.display().to_string()));
    page
}
