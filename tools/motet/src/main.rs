//! The `motet` command: `serve`, `node`, `up`, `css`, `conf`, `reservations`, `rooms`, `templates`, `domains`,
//! `nodes`, `load`.
#![forbid(unsafe_code)]
// They panic when nobody reads any more; `out` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod booking;
mod calibrate;
mod caption;
mod client;
mod conf;
mod content;
mod counted;
mod domains;
mod guard;
mod history;
mod layout;
mod medium;
mod node;
mod nodes;
mod out;
mod picture;
mod playback;
mod record;
mod rooms;
mod sdp;
mod serve;
mod show;
mod snapshot;
mod sound;
mod times;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The media plane of a video-conferencing platform.
///
/// Start with `motet serve`; it says what to type next.
#[derive(Parser)]
#[command(name = "motet", version, after_help = HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Exit codes:
  0  done
  1  refused or failed; the message names the field and the likely cause
  2  wrong usage of the command line
  3  control cannot be reached, does not answer in time (--timeout), or is lost

Environment:
  MOTET_CSS  address of control for the client commands [http://127.0.0.1:7400]
  MOTET_PASSWORD, MOTET_CHAIR_PASSWORD
             passwords of a conference, for those options of the same name
  MOTET_USER_DOMAIN
             user domain in whose name client commands ask (--as-domain)
  MOTET_LOG  what is logged, such as info or motet_node=debug [servers: info]";

#[derive(Subcommand)]
enum Command {
    /// Run control and one node on this machine: all that is needed to try it
    Serve(Box<serve::ServeOptions>),
    /// Run a media node
    Node(Box<node::NodeArgs>),
    /// Run one media node for each NUMA socket of this machine, and keep them running
    Up(up::UpOptions),
    /// Run control: conference scheduling and placement
    Css(Box<motet_control::CssOptions>),
    /// Create, list, show, join, leave, guard, extend, end and watch conferences
    Conf(conf::ConfOptions),
    /// List, make, show and cancel reservations
    Reservations(booking::ReservationsOptions),
    /// List, make, show and remove virtual rooms
    Rooms(booking::RoomsOptions),
    /// List, make, show and remove templates
    Templates(booking::TemplatesOptions),
    /// List, set up and remove domains: who owns conferences, and who serves them
    Domains(domains::DomainsOptions),
    /// List the nodes that control knows; drain them, and move conferences between their workers
    Nodes(nodes::NodesOptions),
    /// Measure what one worker of a node can carry on this machine
    Calibrate(calibrate::CalibrateOptions),
    /// Compose pictures for the node that started this
    #[command(hide = true)]
    CanvasProcess,
    /// Send and receive many RTP streams, and account for every packet
    Load(Box<motet_rtpgen::cli::LoadOptions>),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let server = matches!(
        cli.command,
        Command::Serve(_) | Command::Node(_) | Command::Up(_) | Command::Css(_) | Command::CanvasProcess
    );
    let filter =
        std::env::var("MOTET_LOG").unwrap_or_else(|_| if server { "info" } else { "error" }.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        // Or a server would panic when nobody reads its standard error any more.
        .log_internal_errors(false)
        .init();
    match cli.command {
        Command::Load(options) => return client::exit_code(motet_rtpgen::cli::run(*options)),
        Command::CanvasProcess => {
            return client::exit_code(motet_node::run_canvas_process().map(|()| ExitCode::SUCCESS));
        }
        _ => {}
    }
    // Before the runtime, whose threads inherit it.
    let bound = match &cli.command {
        Command::Node(options) => motet_node::bind(&options.node),
        Command::Calibrate(options) => motet_node::bind(&options.node()),
        _ => Ok(()),
    };
    if let Err(error) = bound {
        return client::exit_code(Err(error));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return client::exit_code(Err(anyhow::anyhow!("cannot start threads: {error}"))),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Serve(options) => serve::run(*options, signalled()).await.map(|()| ExitCode::SUCCESS),
            Command::Node(options) => node::run(*options, signals()).await.map(|()| ExitCode::SUCCESS),
            Command::Up(options) => up::run(options).await,
            Command::Css(options) => {
                // Control's messages come and go. In huge pages the system clears 2 MiB for each that finds no room,
                // for as long as 5 ms where the host has to find them, too; nothing here gains by them.
                let _ = rustix::thread::disable_transparent_huge_pages(true);
                motet_control::run(*options, signalled()).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Conf(options) => conf::run(options).await,
            Command::Reservations(options) => booking::reservations(options).await,
            Command::Rooms(options) => booking::rooms(options).await,
            Command::Templates(options) => booking::templates(options).await,
            Command::Domains(options) => domains::run(options).await,
            Command::Nodes(options) => nodes::run(options).await,
            Command::Calibrate(options) => calibrate::run(options).await,
            Command::Load(_) | Command::CanvasProcess => unreachable!("handled above"),
        }
    });
    // A blocked read of standard input must not hold up the end.
    runtime.shutdown_background();
    client::exit_code(done)
}

/// Ends at Ctrl-C or SIGTERM. Both are caught from this call on, not from the first look at the future:
/// a service manager may send one as soon as it hears that the process is ready.
fn signalled() -> impl Future<Output = ()> {
    let mut signals = signals();
    async move {
        let _ = signals.recv().await;
    }
}

/// One message for each Ctrl-C or SIGTERM, caught from this call on.
fn signals() -> mpsc::Receiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let catch = |kind| signal(kind).expect("signals can be handled");
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt()), catch(SignalKind::terminate()));
    let (caught, signals) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // More than fit in are of no interest.
            let _ = caught.try_send(());
        }
    });
    signals
}
