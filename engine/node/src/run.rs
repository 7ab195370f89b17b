//! Starts and ends a node.

use crate::announce::{announce, leave};
use crate::calibration::Calibration;
use crate::canvas::CanvasGauge;
use crate::ending::{Ending, ended};
use crate::events::{Events, by_name};
use crate::fence::Word;
use crate::handover::place::Place;
use crate::mixing::MixingGauge;
use crate::notify;
use crate::options::NodeOptions;
use crate::probe::Probes;
use crate::rates::{Rates, Sample};
use crate::recording::RecordingShown;
use crate::service::Service;
use crate::state::State;
use crate::worker::{Clock, Gauge, monotonic};
use anyhow::{Context, Result, bail};
use motet_proto::node as wire;
use rustix::fd::AsFd;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::server::TcpIncoming;
use wire::event::Kind;
use wire::media_node_server::MediaNodeServer;

mod base;
mod beside;
mod canvas;
mod cpu;
mod handover;
mod mixing;
mod open;
mod playing;
mod recording;

use base::{Base, default_node_id};
pub use beside::Identity;
use beside::{Beside, stdin_closed};
pub(crate) use cpu::cpu_times;
use handover::{ask, ensure_together, relaunch_when_asked, serve_status, wait_for_successor};
use mixing::{forward_mixing, mixed_codecs, watch_losses};
use open::raise_descriptor_limit;
use playing::forward_playing;
use recording::forward_recording;

/// Events that may wait between the workers and the watchers.
const EVENTS_WAITING_MAX: usize = 8192;
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What the node's tasks share.
pub(crate) struct Shared {
    pub(crate) node_id: String,
    pub(crate) boot_id: String,
    pub(crate) state: Mutex<State>,
    pub(crate) ending: Arc<Ending>,
    pub(crate) room: String,
    numa_node: Option<u32>,
    pub(crate) io_backend: &'static str,
    io_reason: String,
    pub(crate) ports_max: u32,
    /// One for each worker.
    pub(crate) gauges: Vec<Gauge>,
    /// One for each mixing thread.
    pub(crate) mixing: Vec<MixingGauge>,
    /// One for each canvas thread.
    pub(crate) canvases: Vec<CanvasGauge>,
    /// Pictures of participants are decoded in other processes.
    pub(crate) decodes_apart: bool,
    /// Of the recorder; none: nothing is recorded here.
    pub(crate) recording: Option<RecordingShown>,
    /// The workers' end of their queue of events, to see how full it is.
    pub(crate) events_in: mpsc::Sender<(usize, motet_relay::Event)>,
    calibration: Option<Calibration>,
    /// Of all workers.
    pub(crate) clock: Clock,
    /// Between threads that were stopped and control.
    pub(crate) word: Arc<Word>,
    rates: Rates,
}

impl Shared {
    pub(crate) async fn describe(&self) -> wire::NodeDescription {
        let status = self.status().await;
        let measured = self.calibration.as_ref();
        wire::NodeDescription {
            node_id: self.node_id.clone(),
            boot_id: self.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            room: self.room.clone(),
            numa_node: self.numa_node.map_or(-1, |node| node as i32),
            codecs: mixed_codecs().into_iter().chain(canvas::codecs()).collect(),
            io_backend: self.io_backend.to_owned(),
            io_reason: self.io_reason.clone(),
            capacity: Some(wire::Capacity {
                workers: self.gauges.len() as u32,
                legs_max: self.gauges.len() as u32 * motet_relay::limits::LEGS_MAX as u32,
                ports_max: self.ports_max,
                packets_per_second: measured.map_or(0, |measured| measured.packets_per_second as u32),
                units: measured.map_or(0, |measured| measured.units(self.gauges.len() as u32)),
                calibration: measured.map(Calibration::to_wire),
                mixing_threads: self.mixing.len() as u32,
                canvas_threads: self.canvases.len() as u32,
                records: self.recording.is_some(),
            }),
            load: status.load,
            draining: status.draining,
            drain_left_ms: status.drain_left_ms,
            labels: Default::default(),
        }
    }

    pub(crate) async fn status(&self) -> wire::NodeStatus {
        let load = Some(self.state.lock().await.load(self.rates.read()));
        let (draining, drain_left_ms) = (self.ending.is_draining(), self.ending.left_ms());
        wire::NodeStatus { load, draining, drain_left_ms }
    }
}

/// How a node came to its end in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This worker ended by a failed assertion; mixing and canvas threads are counted after the
    /// workers.
    WorkerDied(usize),
    /// Another process has taken the node over: see [`RunningNode::retire`].
    TakenOver,
}

/// A node that runs in this process.
pub struct RunningNode {
    address: SocketAddr,
    advertised: String,
    control: Vec<String>,
    shared: Arc<Shared>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    end_server: oneshot::Sender<()>,
    tasks: JoinSet<()>,
    died: mpsc::Receiver<usize>,
    status: Option<motet_status::Server>,
    events: Events,
    /// Where a successor comes in; none: it is not waited for.
    place: Option<Place>,
    given: mpsc::Receiver<()>,
}

impl RunningNode {
    /// Where the gRPC services listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served over HTTP; none: switched off.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.status.as_ref().map(motet_status::Server::address)
    }

    /// Time that the workers have spent on a processor, all together.
    pub fn workers_busy(&self) -> Duration {
        self.shared.gauges.iter().map(|gauge| cpu_times(gauge.thread_id).on_cpu).sum()
    }

    /// Name of the node.
    pub fn node_id(&self) -> &str {
        &self.shared.node_id
    }

    /// Waits until the node has come to an end in this process, and says how.
    pub async fn ended(&mut self) -> Ended {
        let RunningNode { died, given, .. } = self;
        tokio::select! {
            Some(worker) = died.recv() => Ended::WorkerDied(worker),
            Some(()) = given.recv() => Ended::TakenOver,
            else => std::future::pending().await,
        }
    }

    /// Ends what is left of the node in this process when another one has taken it over. Control is not
    /// told, since the node lives.
    pub async fn retire(mut self) {
        if let Some(place) = &mut self.place {
            place.give();
        }
        self.end().await;
    }

    /// Ends the node: tells control, closes the services, stops the workers.
    pub async fn shutdown(mut self) {
        // First, so that no announcement comes after the farewell.
        self.tasks.shutdown().await;
        // Who does not answer does not keep the others from hearing it.
        let mut farewells = JoinSet::new();
        for control in std::mem::take(&mut self.control) {
            let (shared, address) = (Arc::clone(&self.shared), self.advertised.clone());
            farewells.spawn(async move { leave(&shared, &control, &address).await });
        }
        farewells.join_all().await;
        self.end().await;
    }

    async fn end(mut self) {
        self.tasks.shutdown().await;
        drop(self.status.take());
        // Watchers would hold an orderly end open for ever.
        self.events.end();
        let _ = self.end_server.send(());
        if tokio::time::timeout(Duration::from_millis(500), &mut self.server).await.is_err() {
            self.server.abort();
        }
        let mut state = self.shared.state.lock().await;
        for worker in &mut state.workers {
            worker.stop();
        }
        state.mixing.stop();
        state.canvases.stop();
        if let Some(recorder) = &mut state.recorder {
            recorder.stop();
        }
    }
}

/// Runs a node until it has drained, by a call or by a signal, or until it cannot go on. The first of the
/// `signals` begins a drain, the second ends the node at once; see [`NodeOptions::drain_deadline`].
pub async fn run(options: NodeOptions, signals: mpsc::Receiver<()>) -> Result<()> {
    run_beside(options, signals, |_, _| std::future::ready(())).await
}

/// Like [`run`], with something that runs as long as the node: it is given who the node is and a receiver that
/// fires when the node ends in good order, and has a second then.
pub async fn run_beside<F>(
    options: NodeOptions,
    signals: mpsc::Receiver<()>,
    beside: impl FnOnce(Identity, oneshot::Receiver<()>) -> F,
) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (watch_stdin, deadline) = (options.exit_with_stdin, options.drain_deadline);
    let taken_over = options.take_over;
    let mut node = start(options).await?;
    if !taken_over {
        notify::ready(&format!("listens on {}", node.address()));
    }
    let can_be_taken_over = node.place.is_some();
    let shared = Arc::clone(&node.shared);
    let beside = Beside::start(Identity::of(&node), beside);
    tokio::select! {
        _ = ended(&shared, signals, deadline) => {}
        () = stdin_closed(), if watch_stdin => {}
        () = relaunch_when_asked(can_be_taken_over) => {}
        ended = node.ended() => match ended {
            Ended::TakenOver => {
                node.retire().await;
                return Ok(());
            }
            // Control restores the conferences elsewhere; a node without a worker must not look alive.
            Ended::WorkerDied(worker) => {
                bail!("worker {worker} ended by a failed assertion; see the log above");
            }
        }
    }
    notify::stopping();
    beside.end().await;
    node.shutdown().await;
    Ok(())
}

/// Puts this process on the socket of `--numa-node`. To be called before anything starts a thread: threads
/// and memory of the runtime follow. [`start`] sees to the workers by itself.
///
/// Errors: there is no such socket, or this process may not run there.
pub fn bind(options: &NodeOptions) -> Result<()> {
    options.binding()?.bind_process()
}

/// Starts a node, or takes a running one over, and returns when it serves.
pub async fn start(options: NodeOptions) -> Result<RunningNode> {
    raise_descriptor_limit();
    ensure_together(&options)?;
    // What takes time, or may be wrong, comes before another process stops for this one.
    let font = canvas::font(&options)?;
    let taken = if options.take_over { Some(ask(&options).await?) } else { None };
    let base = Base::lay(&options, font, taken).await?;
    let Base { listener, address, told, died, metrics, place, shared, events } = base;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address commands this node: there is no authentication; keep it in a network of your own");
    }
    let grpc = listener.as_fd().try_clone_to_owned().context("cannot share the listener")?;
    let (end_server, ended) = oneshot::channel::<()>();
    // Whoever sees the node answer finds its metrics, too. After a take-over they wait for the process before, which has
    // their port.
    let early =
        if options.take_over { None } else { Some(serve_status(metrics, false, address, &shared).await?) };
    let server = serve(listener, Arc::clone(&shared), events.clone(), ended).await?;
    let status = match early {
        Some(status) => status,
        None => serve_status(metrics, true, address, &shared).await?,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(forward_events(Arc::clone(&shared), told.workers, events.clone()));
    tasks.spawn(forward_mixing(Arc::clone(&shared), told.mixing, events.clone()));
    tasks.spawn(forward_recording(Arc::clone(&shared), told.recording, events.clone()));
    tasks.spawn(forward_playing(Arc::clone(&shared), told.playing, events.clone()));
    tasks.spawn(watch_losses(Arc::clone(&shared)));
    tasks.spawn(show_status(Arc::clone(&shared), events.clone()));
    let advertised = options.advertise.clone().unwrap_or_else(|| advertised(address, &options));
    let control = options.controls();
    for (index, control) in control.iter().enumerate() {
        tasks.spawn(announce(Arc::clone(&shared), (index, control.clone()), advertised.clone()));
    }
    tasks.spawn(notify::keep_informed(Arc::clone(&shared)));
    let metrics = status.as_ref().map(motet_status::Server::address);
    let given = wait_for_successor(place.as_ref(), grpc, metrics, &shared, &events)?;
    Ok(RunningNode {
        address,
        advertised,
        control,
        shared,
        server,
        end_server,
        tasks,
        died,
        status,
        events,
        place,
        given,
    })
}

/// An address that others can reach: a node that listens on all addresses names its first media address.
fn advertised(address: SocketAddr, options: &NodeOptions) -> String {
    let ip = if address.ip().is_unspecified() { options.media_ip[0] } else { address.ip() };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    events: Events,
    ended: oneshot::Receiver<()>,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<MediaNodeServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(motet_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the schema cannot be reflected")?;
    let service = MediaNodeServer::new(Service { shared, events, probes: Probes::new() });
    // Small answers must not wait for the acknowledgement of the ones before (RFC 896).
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async {
            let _ = ended.await;
        });
    Ok(tokio::spawn(server))
}

async fn forward_events(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<(usize, motet_relay::Event)>,
    events: Events,
) {
    while let Some((worker, event)) = waiting.recv().await {
        let mut state = shared.state.lock().await;
        if let Some((conference, epoch, kind)) = by_name(&state, worker, &event) {
            state.heard(&conference, &kind);
            // Under the lock, so that whoever lists what runs knows which events that includes.
            events.send(&conference, epoch, kind);
        }
    }
}

/// Measures the workers and shows the node's status each second.
async fn show_status(shared: Arc<Shared>, events: Events) {
    let mut last = Sample::take(&shared.gauges);
    let mut ticks = tokio::time::interval(STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Sample::take(&shared.gauges);
        shared.rates.show(now.since(&last));
        {
            let mut state = shared.state.lock().await;
            state.measure(now.busy_since(&last), now.after(&last));
            state.rebalance(monotonic()).await;
        }
        last = now;
        events.send("", 0, Kind::Status(shared.status().await));
    }
}
