//! Starting a node as the successor of a running one, and waiting for one's own.

use super::{Shared, default_node_id};
use crate::events::Events;
use crate::handover::form::NodeForm;
use crate::handover::give::{Gifts, wait};
use crate::handover::place::{Place, default_path};
use crate::handover::take::{Inheritance, Taking};
use crate::options::{Handover, NodeOptions};
use crate::state::State;
use anyhow::{Context, Result, bail};
use motet_status::Listen;
use rustix::fd::{AsFd, OwnedFd};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the process before may take to leave the port of its metrics.
const METRICS_PATIENCE: Duration = Duration::from_secs(5);
const METRICS_STEP: Duration = Duration::from_millis(20);

/// Options that are good each by itself.
pub(super) fn ensure_together(options: &NodeOptions) -> Result<()> {
    let handed_over = options.take_over || matches!(options.handover_socket, Some(Handover::At(_)));
    if options.shared_port.is_some() && handed_over {
        bail!("--shared-port: a node whose legs share a port cannot be taken over, nor take one over");
    }
    Ok(())
}

/// Where a successor comes in. None: it is not wanted. A supervisor that watches this very process would
/// start another one when it is taken over, so there it must be asked for.
pub(super) fn handover_path(options: &NodeOptions, node_id: &str) -> Option<PathBuf> {
    match &options.handover_socket {
        Some(Handover::Off) => None,
        // What its legs share is not handed over.
        _ if options.shared_port.is_some() => None,
        Some(Handover::At(path)) => Some(path.clone()),
        None if options.exit_with_stdin => None,
        None => Some(default_path(node_id)),
    }
}

/// Asks the running node for everything.
pub(super) async fn ask(options: &NodeOptions) -> Result<(Inheritance, Taking)> {
    let node_id = options.node_id.clone().unwrap_or_else(|| default_node_id(options.listen));
    let Some(path) = handover_path(options, &node_id) else {
        bail!("--take-over: --handover-socket is off; it must be that of the running node");
    };
    let asked = tokio::task::spawn_blocking(move || crate::handover::take::ask(&path));
    let (inheritance, mut taking) = asked.await.context("asking failed")?.map_err(anyhow::Error::msg)?;
    let running = &inheritance.form.node_id;
    if options.node_id.as_ref().is_some_and(|wanted| wanted != running) {
        let why = format!("--node-id: the running node is '{running}'");
        taking.give_up(&why);
        bail!(why);
    }
    Ok((inheritance, taking))
}

/// Takes everything, and carries. Gives the number of the last event, too.
pub(super) async fn take(mut state: State, form: NodeForm, mut taking: Taking) -> Result<(State, u64)> {
    let failed = || "the take-over failed";
    let refused = |why: String| anyhow::anyhow!("cannot take over, the running node goes on: {why}");
    let inherited = tokio::task::spawn_blocking(move || (state.inherit(form), state));
    let (mut inherited, state) = inherited.await.with_context(failed)?;
    if inherited.is_ok() {
        inherited = state.begin_inherited_mixes().await;
    }
    if let Err(why) = inherited {
        taking.give_up(&why);
        return Err(refused(why));
    }
    let carried = tokio::task::spawn_blocking(move || {
        let mut state = state;
        let carried = taking.carry(&state)?;
        for (worker, legs) in &carried.heard {
            state.go_on_hearing(*worker, legs);
        }
        Ok((state, carried.event_sequence))
    });
    carried.await.with_context(failed)?.map_err(refused)
}

/// A listener of another process, for this one's runtime.
pub(super) fn inherited(listener: &std::net::TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Opens the socket at which a successor comes in. A node works without it.
pub(super) fn open_place(path: &Path) -> Option<Place> {
    match Place::open(path) {
        Ok(place) => Some(place),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "this node cannot be taken over (--handover-socket)");
            None
        }
    }
}

/// Waits for successors on a thread of its own. What is received says that one carries.
pub(super) fn wait_for_successor(
    place: Option<&Place>,
    grpc: OwnedFd,
    metrics: Option<SocketAddr>,
    shared: &Arc<Shared>,
    events: &Events,
) -> Result<mpsc::Receiver<()>> {
    let (tell, given) = mpsc::channel(1);
    let Some(place) = place else { return Ok(given) };
    let shared_place = || "cannot share the handover socket";
    let listener = place.listener().with_context(shared_place)?;
    let successors = listener.as_fd().try_clone_to_owned().with_context(shared_place)?;
    let events = events.clone();
    let gifts = Gifts {
        shared: Arc::clone(shared),
        listeners: [grpc, successors],
        metrics,
        event_sequence: Box::new(move || events.sequence()),
    };
    tracing::info!(path = %place.path().display(), "can be taken over");
    std::thread::Builder::new()
        .name("handover".to_owned())
        .spawn(move || wait(listener, gifts, tell))
        .context("cannot start a thread")?;
    Ok(given)
}

/// Serves metrics. After a take-over, where the process before did, once it has left the port.
pub(super) async fn serve_status(
    asked: Option<Listen>,
    taken_over: bool,
    main: SocketAddr,
    shared: &Arc<Shared>,
) -> Result<Option<motet_status::Server>> {
    let deadline = tokio::time::Instant::now() + METRICS_PATIENCE;
    loop {
        match motet_status::serve(asked, main, Arc::clone(shared)).await {
            Err(_) if taken_over && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(METRICS_STEP).await;
            }
            // Media must not end for want of metrics.
            Err(error) if taken_over => {
                tracing::error!(%error, "metrics are not served");
                return Ok(None);
            }
            served => return Ok(served?),
        }
    }
}

/// At each SIGUSR2 starts this program again, with the same options, to take this node over: how a service
/// manager upgrades a node. Never ends.
pub(super) async fn relaunch_when_asked(can_be_taken_over: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut asked = match signal(SignalKind::user_defined2()) {
        Ok(asked) => asked,
        Err(error) => {
            tracing::warn!(%error, "SIGUSR2 cannot be waited for");
            return std::future::pending().await;
        }
    };
    loop {
        asked.recv().await;
        if !can_be_taken_over {
            tracing::warn!("SIGUSR2: this node cannot be taken over (--handover-socket)");
            continue;
        }
        match successor().spawn() {
            Ok(mut child) => {
                tracing::info!(pid = child.id(), "SIGUSR2: another process is to take this node over");
                std::thread::spawn(move || {
                    // It outlives this process, unless it fails.
                    if let Ok(status) = child.wait() {
                        tracing::warn!(%status, "the process that was to take over has ended");
                    }
                });
            }
            Err(error) => tracing::error!(%error, "SIGUSR2: the program cannot be started again"),
        }
    }
}

/// This program, as it was started, to take over.
fn successor() -> std::process::Command {
    let mut arguments = std::env::args_os();
    // By the name that it was started by: what is there now, and not the file that runs.
    let mut command = std::process::Command::new(arguments.next().unwrap_or_else(|| "motet".into()));
    command.args(arguments.filter(|argument| argument != "--take-over")).arg("--take-over");
    // systemd's watchdog was set for this process (sd_watchdog_enabled(3)); it is for the next one then.
    command.env_remove("WATCHDOG_PID");
    command
}
