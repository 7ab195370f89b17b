//! Command-line options of a node.

use crate::calibration::{Bounds, Calibration};
use crate::fence::Timing;
use crate::numa::{Binding, NumaOptions, Wanted, allowed_here, card_warnings, interface_of};
use clap::{Args, ValueEnum};
use motet_net::IoChoice;
use motet_status::Listen;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `motet node`.
#[derive(Args, Clone, Debug)]
pub struct NodeOptions {
    /// Name of the node, stable over restarts; 1 to 64 of A-Z a-z 0-9 . _ : -
    /// [default: the host name and the port of --listen]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,

    /// Address of the gRPC services; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7500")]
    pub listen: SocketAddr,

    /// Address that control is told to call, if it is not the one of --listen
    #[arg(long, value_name = "URL")]
    pub advertise: Option<String>,

    /// Control to announce this node to; may be given several times: to each by itself, so that one that does not
    /// answer delays none of the others
    #[arg(long, value_name = "URL")]
    pub control: Vec<String>,

    /// Machine room that the node stands in
    #[arg(long, value_name = "MOID", default_value = "")]
    pub room: String,

    /// Local address for media; may be given twice, for IPv4 and for IPv6. The first is taken where a
    /// participant's family is not known
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub media_ip: Vec<IpAddr>,

    /// Each --media-ip floats: it may not be on this machine yet, and comes with keepalived or the like when the node
    /// that has it is lost (docs/operations.md)
    #[arg(long)]
    pub media_floating: bool,

    /// Begin drained: take no conferences until `motet nodes undrain`
    #[arg(long)]
    pub standby: bool,

    /// UDP ports for media, as FIRST-LAST. Each medium takes an even port and the next
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-29999", value_parser = port_range)]
    pub port_range: RangeInclusive<u16>,

    /// Let all legs of a worker share one UDP port, for places where no range of ports can be opened: PORT
    /// for the first worker, PORT + 1 for the next, and so on, at each --media-ip. Participants are told
    /// apart by their address or SSRC, so that control has to know one of them
    #[arg(long, value_name = "PORT", conflicts_with = "port_range", value_parser = clap::value_parser!(u16).range(1..))]
    pub shared_port: Option<u16>,

    /// How packets are carried: auto takes io_uring where it can be had, and says why when not
    #[arg(long, value_name = "auto|uring|mmsg", default_value = "auto", value_parser = io_choice)]
    pub io: IoChoice,

    /// Threads that carry packets, 1 to 256
    /// [default: the number of --worker-cores; with --numa-node as many as fit the socket; else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,

    /// Legs of one conference on one worker; more of them go to the next worker, and its streams cross to them
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    pub worker_legs_max: u32,

    /// A worker that is busy for a greater share of the time, 0 to 1, gives conferences to a calmer one, one at a
    /// time and without a packet lost; or off
    #[arg(long, value_name = "SHARE|off", default_value = "0.7", value_parser = rebalance)]
    pub rebalance_above: Rebalance,

    /// CPU cores to pin the workers to, in their order, such as 0,2
    #[arg(long, value_name = "CORE,...", value_delimiter = ',')]
    pub worker_cores: Vec<usize>,

    /// Threads that mix sound; 0: conferences that are to be mixed are refused
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(..=64))]
    pub mixing_threads: u16,

    /// CPU cores to pin the mixing threads to, in their order; best ones that no worker has
    #[arg(long, value_name = "CORE,...", value_delimiter = ',')]
    pub mixing_cores: Vec<usize>,

    /// Threads that compose pictures, apart from those that mix sound; 0: conferences with a canvas are refused
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(..=64))]
    pub canvas_threads: u16,

    /// CPU cores to pin the canvas threads to, in their order; best ones that neither workers nor mixing threads have
    #[arg(long, value_name = "CORE,...", value_delimiter = ',')]
    pub canvas_cores: Vec<usize>,

    /// Compose pictures, decode those of snapshots and read files that are played in the node's own process, where a
    /// crash inside a codec's library ends all that the node relays. Without it each canvas thread, snapshot and file
    /// has a process of its own; a canvas thread's begins with its first canvas, and again at once when it ends
    #[arg(long)]
    pub canvas_in_node: bool,

    /// What a node does without --canvas-in-node; kept for those who say so.
    #[arg(long, hide = true, conflicts_with = "canvas_in_node")]
    pub canvas_process: bool,

    /// Font for names on canvases: TrueType, OpenType or a collection, of which the first is taken
    /// [default: one of Debian's fonts-wqy-zenhei, fonts-noto-cjk, fonts-droid-fallback, fonts-dejavu]
    #[arg(long, value_name = "FILE")]
    pub font: Option<PathBuf>,

    /// Folder with PNG files that may stand for pictures on canvases
    #[arg(long, value_name = "FOLDER")]
    pub stills: Option<PathBuf>,

    /// Folder with files that may be played: WAV into mixes, MP4, Matroska and WAV as a participant
    #[arg(long, value_name = "FOLDER")]
    pub prompts: Option<PathBuf>,

    /// Folder for recordings, which must be there; each recording has a folder in it. Without it nothing can be recorded
    #[arg(long, value_name = "FOLDER")]
    pub recordings: Option<PathBuf>,

    /// Where /metrics, /healthz and /readyz are served over HTTP, or off; port 0 takes a free one
    /// [default: the address of --listen with the port 2000 higher; a free one where that is taken]
    #[arg(long, value_name = "IP:PORT|off")]
    pub metrics: Option<Listen>,

    /// Folder that the node keeps what it measured in
    #[arg(long, value_name = "FOLDER", env = "STATE_DIRECTORY")]
    pub state_dir: Option<PathBuf>,

    /// Whether the node measures what a worker can carry before it serves, which takes some ten seconds:
    /// auto does once for each machine, kernel, back end and version, and only with --state-dir
    #[arg(long, value_enum, value_name = "auto|always|never", default_value_t = Calibrate::Auto)]
    pub calibrate: Calibrate,

    /// What must hold at the rate that is measured.
    #[command(flatten)]
    pub bounds: Bounds,

    /// What was measured; it is described to control.
    #[arg(skip)]
    pub calibration: Option<Calibration>,

    /// Send runs of packets as one message (UDP_SEGMENT). Off only to measure what single packets cost.
    #[arg(skip = true)]
    pub gso: bool,

    /// Let network cards read bursts where they lie instead of copying them (io_uring, Linux 6.1). Loses on
    /// loopback; whether it gains with a card, `motet calibrate` cannot tell: compare under real load
    #[arg(long)]
    pub zero_copy: bool,

    /// Which socket to run on.
    #[command(flatten)]
    pub numa: NumaOptions,

    /// Take over the running node of this name: its sockets, conferences and everything else, without a
    /// packet lost; it ends when this process carries all, and goes on if it cannot. Start it with the
    /// same options as the running node
    #[arg(long)]
    pub take_over: bool,

    /// Unix socket at which a running node waits for the process that takes it over, or off
    /// [default: motet-ID.handover in $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR or a folder of its own in /tmp]
    #[arg(long, value_name = "PATH|off", value_parser = handover)]
    pub handover_socket: Option<Handover>,

    /// How long a signal (SIGTERM, Ctrl-C) lets the node wait for its conferences to end, such as 90s or 30m;
    /// it ends when it is empty, and at once at a second signal
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub drain_deadline: Duration,

    /// A thread that finds that it did not run for longer than this (SIGSTOP, a machine that was paused) carries
    /// nothing until every --control has answered what the node may go on with, so that what moved meanwhile is not
    /// sent twice; 0s: it just goes on. Best below the time after which control moves conferences
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub fence_after: Duration,

    /// At most so long it carries nothing, if a --control does not answer
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub fence_time: Duration,

    /// Of so many turns of a worker's loop that send something, one measures how long packets stayed; 0
    /// measures none and asks the kernel for no receive timestamps
    #[arg(long, value_name = "N", default_value_t = motet_net::Options::default().residence_turns)]
    pub residence_turns: u32,

    /// End when standard input is closed: for a supervisor that must not leave an orphan
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// When conferences go to another worker by themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rebalance {
    /// Never.
    Off,
    /// When theirs is busy for a greater share of the time, 0 to 1.
    Above(f64),
}

impl Rebalance {
    pub(crate) fn share(self) -> Option<f64> {
        match self {
            Rebalance::Off => None,
            Rebalance::Above(share) => Some(share),
        }
    }
}

/// Where a running node waits for the process that takes it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// Nowhere.
    Off,
    /// At a Unix socket.
    At(PathBuf),
}

/// When a node measures itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Calibrate {
    /// When no kept result holds, and there is a place to keep one.
    Auto,
    /// At each start.
    Always,
    /// Never; a kept result that holds is used.
    Never,
}

impl Default for NodeOptions {
    /// As without any option on the command line, but with [`NodeOptions::canvas_in_node`]: only `motet` knows how to
    /// be started as a process that composes pictures ([`crate::run_canvas_process`]).
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: NodeOptions,
        }
        let options = <Line as clap::Parser>::parse_from(["motet"]).options;
        NodeOptions { canvas_in_node: true, ..options }
    }
}

impl NodeOptions {
    /// Where the node runs.
    ///
    /// Errors: as asked for, it cannot; the message names the option.
    pub(crate) fn binding(&self) -> anyhow::Result<Binding> {
        let wanted = Wanted { numa: &self.numa, workers: self.workers, worker_cores: &self.worker_cores };
        Binding::resolve(wanted, allowed_here())
    }

    /// Threads that take part in the exchange beside the workers.
    pub(crate) fn other_threads(&self) -> usize {
        usize::from(self.mixing_threads) + usize::from(self.canvas_threads)
    }

    /// When threads that were stopped hold media back.
    pub(crate) fn fence(&self) -> Timing {
        Timing { after: self.fence_after, hold: self.fence_time }
    }

    /// Addresses of control, each once.
    pub(crate) fn controls(&self) -> Vec<String> {
        let mut known = BTreeSet::new();
        self.control.iter().filter(|control| known.insert(control.as_str())).cloned().collect()
    }

    /// What an operator should know about the cards that carry the media addresses.
    pub(crate) fn card_warnings(&self) -> Vec<String> {
        let node = self.numa.numa_node;
        node.map(|node| card_warnings(&self.numa.sysfs, node, &self.media_ip, interface_of))
            .unwrap_or_default()
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parsed = text.split_once('-').and_then(|(first, last)| {
        let first: u16 = first.trim().parse().ok()?;
        let last: u16 = last.trim().parse().ok()?;
        Some(first..=last)
    });
    match parsed {
        Some(range) if *range.start() == 0 => Err("port 0 cannot be used".into()),
        Some(range) if range.end() <= range.start() => {
            Err("the last port must be greater than the first".into())
        }
        Some(range) => Ok(range),
        None => Err("must be two port numbers such as 20000-29999".into()),
    }
}

fn rebalance(text: &str) -> Result<Rebalance, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(Rebalance::Above(share)),
        _ if text == "off" => Ok(Rebalance::Off),
        _ => Err("must be a share of the time, 0 to 1, or off".into()),
    }
}

fn handover(text: &str) -> Result<Handover, String> {
    match text {
        "" => Err("must be a path, or off".into()),
        "off" => Ok(Handover::Off),
        path => Ok(Handover::At(path.into())),
    }
}

/// Reads the value of `--io`: auto, uring or mmsg.
pub fn io_choice(text: &str) -> Result<IoChoice, String> {
    match text {
        "auto" => Ok(IoChoice::Auto),
        "uring" => Ok(IoChoice::Uring),
        "mmsg" => Ok(IoChoice::Mmsg),
        _ => Err("must be auto, uring or mmsg".into()),
    }
}
