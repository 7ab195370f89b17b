//! `motet up`: one node for each NUMA socket of this machine, kept running.
//!
//! [`plan`] says which nodes, [`policy`] says what to do when one ends, [`child`] is the process. A node
//! tells how it is as it would tell systemd (sd_notify(3)): that it is ready, and that its workers move.

mod child;
mod plan;
mod policy;

use crate::out;
use anyhow::{Context, Result};
use child::{Kept, Outcome, Stop};
use clap::Args;
use motet_node::notify;
use motet_node::topology::Topology;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Options of `motet up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpOptions {
    /// Control to announce the nodes to; may be given several times
    #[arg(long, value_name = "URL")]
    control: Vec<String>,

    /// Machine room that this machine stands in
    #[arg(long, value_name = "MOID", default_value = "")]
    room: String,

    /// First part of the nodes' names; socket N's is called ID-numaN [default: the host name]
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,

    /// Address of the first node's gRPC services; each further node takes the next port
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7500")]
    listen: SocketAddr,

    /// Local address for media, for all sockets or for one, as in 1=192.0.2.7; may be given several times.
    /// A socket that has addresses of its own takes those only
    #[arg(long, value_name = "[N=]IP", default_value = "127.0.0.1")]
    media_ip: Vec<plan::MediaIp>,

    /// UDP ports for media, as FIRST-LAST; divided among the nodes
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-29999")]
    port_range: plan::PortRange,

    /// Sockets to use, such as 0,1 [default: all that have a CPU]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    sockets: Vec<u32>,

    /// Print the nodes' command lines and start nothing
    #[arg(long)]
    print: bool,

    /// Where the kernel shows the machine's layout; another folder for tests
    #[arg(long, value_name = "FOLDER", default_value = "/sys", hide = true)]
    sysfs: PathBuf,

    /// Further options of motet node, after --; {node} in them becomes the socket's number
    #[arg(last = true, value_name = "NODE OPTIONS")]
    further: Vec<String>,
}

/// Runs until a signal, or until a node cannot be kept running.
pub(crate) async fn run(options: UpOptions) -> Result<ExitCode> {
    let topology = Topology::read(&options.sysfs).context("cannot read the machine's layout")?;
    let plans = plan::plan(&options, &topology, &host_name())?;
    if options.print {
        let lines: Vec<String> = plans.iter().map(|plan| plan.command_line() + "\n").collect();
        out::print(&lines.concat())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut signals = Signals::new()?;
    let folder = tempfile::Builder::new().prefix("motet-up-").tempdir().context("cannot make a folder")?;
    let (stop, stopping) = watch::channel(Stop::No);
    let (ready, mut became_ready) = mpsc::channel(plans.len());
    let mut nodes = JoinSet::new();
    let count = plans.len();
    for plan in plans {
        let socket = folder.path().join(format!("numa{}", plan.numa_node));
        let kept = Kept::new(plan, &socket, stopping.clone(), ready.clone())?;
        nodes.spawn(kept.run());
    }
    tokio::spawn(notify::feed_watchdog_always());
    let (mut ready_count, mut worst) = (0, 0);
    while !nodes.is_empty() {
        tokio::select! {
            () = signals.next() => {
                notify::stopping();
                let next = if *stop.borrow() == Stop::No { Stop::Orderly } else { Stop::Now };
                let _ = stop.send(next);
            }
            Some(()) = became_ready.recv() => {
                ready_count += 1;
                if ready_count == count {
                    let status = format!("{count} {} ready", if count == 1 { "node is" } else { "nodes are" });
                    tracing::info!("{status}");
                    notify::ready(&status);
                }
            }
            Some(ended) = nodes.join_next() => {
                let outcome = ended.context("the supervision of a node failed")?;
                worst = worst.max(outcome.exit_code());
                if let Outcome::GivenUp { node_id, why, .. } = outcome {
                    tracing::error!("node {node_id} {why}; all nodes are ended");
                }
                // Half a machine would look like a whole one: the manager above starts all again.
                stop.send_if_modified(|stop| {
                    let first = *stop == Stop::No;
                    *stop = (*stop).max(Stop::Orderly);
                    first
                });
            }
        }
    }
    Ok(ExitCode::from(worst))
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("signals cannot be handled");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
