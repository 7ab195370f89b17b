//! `motet serve`: control in this process, one node in a child process of it.
//!
//! The node is a process of its own, so that its end does not take control along, and is started again when
//! it dies. It ends when its standard input closes, so that it does not outlive this process, however that
//! ends.

use anyhow::{Context, Result};
use clap::Args;
use motet_proto::registry::NodeState;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// Options of `motet serve`.
#[derive(Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    css: motet_control::CssOptions,

    /// Address of the node's own gRPC service; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    node_listen: SocketAddr,

    /// Name of the node
    #[arg(long, value_name = "ID", default_value = "node-1")]
    node_id: String,

    /// Local address for media; may be given twice, for IPv4 and for IPv6
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    media_ip: Vec<IpAddr>,

    /// UDP ports for media, as FIRST-LAST
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-29999")]
    port_range: String,

    /// Let all participants share this UDP port, and tell them apart by address or SSRC
    #[arg(long, value_name = "PORT", conflicts_with = "port_range", value_parser = clap::value_parser!(u16).range(1..))]
    shared_port: Option<u16>,

    /// Where the node serves /metrics, /healthz and /readyz over HTTP, or off; --metrics is control's
    /// [default: the address of --node-listen; a free port]
    #[arg(long, value_name = "IP:PORT|off")]
    node_metrics: Option<String>,

    /// Folder with PNG files that may stand for pictures on canvases
    #[arg(long, value_name = "FOLDER")]
    stills: Option<PathBuf>,

    /// Folder with files that may be played: WAV into mixes, MP4, Matroska and WAV as a participant
    #[arg(long, value_name = "FOLDER")]
    prompts: Option<PathBuf>,

    /// Folder for recordings, which must be there; each recording has a folder in it
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,

    /// Threads that mix sound; 0: conferences that are to be mixed are refused
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(..=64))]
    mixing_threads: u16,

    /// Threads that compose pictures; 0: conferences with a canvas are refused
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(..=64))]
    canvas_threads: u16,

    /// How packets are carried: auto, uring or mmsg
    #[arg(long, value_name = "auto|uring|mmsg", default_value = "auto")]
    io: String,
}

const RESTART_AFTER: Duration = Duration::from_secs(1);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(30);
/// A node that ran for this long was well; the next restart is quick again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Runs until `shutdown`.
pub(crate) async fn run(options: ServeOptions, shutdown: impl Future<Output = ()>) -> Result<()> {
    let css = motet_control::start(options.css.clone()).await?;
    let address = format!("http://{}", css.address());
    // Waiting for a child closes its standard input, if it is still in there.
    let (mut node, mut lifeline) = start_node(&options, &address)?;
    tokio::pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        ready = ready(&css) => {
            if ready {
                greet(&address);
                motet_node::notify::ready(&format!("control listens on {address}"));
            } else {
                tracing::warn!("the node is not ready yet; see its messages");
            }
        }
    }
    let mut pause = RESTART_AFTER;
    loop {
        let started = tokio::time::Instant::now();
        let ended = tokio::select! {
            () = &mut shutdown => break,
            ended = node.wait() => ended.context("cannot wait for the node")?,
        };
        pause =
            if started.elapsed() > WELL_AFTER { RESTART_AFTER } else { (pause * 2).min(RESTART_AFTER_MAX) };
        tracing::error!(%ended, "the node ended; it is started again in {} s", pause.as_secs());
        tokio::select! {
            () = &mut shutdown => break,
            () = tokio::time::sleep(pause) => (node, lifeline) = start_node(&options, &address)?,
        }
    }
    motet_node::notify::stopping();
    // Its standard input closes: it tells control that it leaves, and ends.
    drop(lifeline);
    if tokio::time::timeout(Duration::from_secs(3), node.wait()).await.is_err() {
        let _ = node.kill().await;
    }
    css.shutdown().await;
    Ok(())
}

fn start_node(options: &ServeOptions, control: &str) -> Result<(Child, Option<ChildStdin>)> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args(["node", "--exit-with-stdin", "--node-id", &options.node_id]);
    command.args(["--listen", &options.node_listen.to_string(), "--control", control]);
    match options.shared_port {
        Some(port) => command.args(["--shared-port", &port.to_string()]),
        None => command.args(["--port-range", &options.port_range]),
    };
    command.args(["--io", &options.io, "--mixing-threads", &options.mixing_threads.to_string()]);
    command.args(["--canvas-threads", &options.canvas_threads.to_string()]);
    if let Some(folder) = &options.stills {
        command.arg("--stills").arg(folder);
    }
    if let Some(folder) = &options.prompts {
        command.arg("--prompts").arg(folder);
    }
    if let Some(folder) = &options.recordings {
        command.arg("--recordings").arg(folder);
    }
    if let Some(metrics) = &options.node_metrics {
        command.args(["--metrics", metrics]);
    }
    // Trying it out is not to begin with ten seconds of full load.
    command.args(["--calibrate", "never"]);
    for ip in &options.media_ip {
        command.args(["--media-ip", &ip.to_string()]);
    }
    // The service manager asked for this process, not for its child.
    command.env_remove("NOTIFY_SOCKET");
    // Of its own group, so that Ctrl-C ends it through us and in order.
    command.process_group(0).stdin(Stdio::piped()).kill_on_drop(true);
    let mut node = command.spawn().context("cannot start the node")?;
    let lifeline = node.stdin.take();
    Ok((node, lifeline))
}

/// Waits until a node is ready, for ten seconds at most.
async fn ready(css: &motet_control::RunningCss) -> bool {
    use motet_control::conference::{Request, Response};
    for _ in 0..100 {
        let answer = css.control().request(Request::ListNodes).await;
        if let Ok(Response::Nodes(list)) = answer
            && list.nodes.iter().any(|node| node.state() == NodeState::Ready)
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// Says what to do next. A server goes on when nobody wants to know.
fn greet(address: &str) {
    let css = if address == "http://127.0.0.1:7400" { String::new() } else { format!(" --css {address}") };
    let text = format!(
        "motet: ready; control listens on {address}\n\
         motet: next, in another terminal (Ctrl-C here ends all):\n\
         \x20 motet conf create --number 700{css}\n\
         \x20 motet conf join 700 alice --audio opus --video h264{css}\n"
    );
    if let Err(error) = crate::out::print(&text) {
        tracing::debug!(%error, "the greeting was not read");
    }
}
