//! What a node has before it serves.

use super::canvas::{Letters, start_canvases};
use super::handover::{handover_path, inherited, open_place, take};
use super::mixing::start_mixing;
use super::open::{open_pools, ports_max, start_workers};
use super::recording::start_recording;
use super::{EVENTS_WAITING_MAX, Shared};
use crate::ending::Ending;
use crate::events::Events;
use crate::exchange::Exchange;
use crate::fence::Word;
use crate::handover::place::Place;
use crate::handover::take::{Inheritance, Taking};
use crate::mixing::MixingEvent;
use crate::options::NodeOptions;
use crate::placement::Limits;
use crate::playing::PlayingEvent;
use crate::rates::Rates;
use crate::recording::{RecorderThread, RecordingEvent};
use crate::state::State;
use crate::worker::{Clock, Worker};
use anyhow::{Context, Result};
use motet_rtp::Ntp;
use motet_status::Listen;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

/// A worker that is busier takes no more legs of a conference while another one can.
const WORKER_BUSY_MAX: f64 = 0.8;

/// What a node has before it serves: workers that carry, and what they carry.
pub(super) struct Base {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) told: Told,
    pub(super) died: mpsc::Receiver<usize>,
    /// Where metrics are to be served.
    pub(super) metrics: Option<Listen>,
    pub(super) place: Option<Place>,
    pub(super) shared: Arc<Shared>,
    pub(super) events: Events,
}

/// What threads tell.
pub(super) struct Told {
    pub(super) workers: mpsc::Receiver<(usize, motet_relay::Event)>,
    pub(super) mixing: mpsc::Receiver<MixingEvent>,
    pub(super) recording: mpsc::Receiver<RecordingEvent>,
    pub(super) playing: mpsc::Receiver<PlayingEvent>,
}

/// What another process hands over.
type Taken = (Inheritance, Taking);

impl Base {
    pub(super) async fn lay(options: &NodeOptions, font: Letters, taken: Option<Taken>) -> Result<Base> {
        let binding = options.binding()?;
        let (inheritance, taking) = taken.unzip();
        let (listener, node_id, boot_id) = who(options, inheritance.as_ref()).await?;
        let address = listener.local_addr().context("the listener has no address")?;
        let pools = open_pools(options)?;
        let ports_max = ports_max(options, &pools);
        let (events_in, workers) = mpsc::channel(EVENTS_WAITING_MAX);
        let (mixing_in, mixing) = mpsc::channel(EVENTS_WAITING_MAX);
        let (recording_in, recording) = mpsc::channel(EVENTS_WAITING_MAX);
        let (playing_in, playing) = mpsc::channel(EVENTS_WAITING_MAX);
        let told = Told { workers, mixing, recording, playing };
        let (died_in, died) = mpsc::channel(1);
        let paused = inheritance.is_some();
        let clock = Clock::new(inheritance.as_ref().map(|from| Ntp(from.form.ntp_origin)));
        let word = Word::new(options.controls().len());
        // The recorder's station comes last.
        let stations = binding.workers.len() + options.other_threads();
        let exchange = Exchange::new(stations + usize::from(options.recordings.is_some()));
        let (io_backend, io_reason, workers) =
            start_workers(options, &binding, (paused, clock, &exchange, &word), &events_in, &died_in)?;
        let mixing = start_mixing(options, &binding, (&exchange, clock, &word), &mixing_in, &died_in)?;
        let canvases =
            start_canvases(options, &binding, (&exchange, clock, &word), &mixing_in, &died_in, font)?;
        let (mixing_gauges, canvas_gauges) = (mixing.gauges(), canvases.gauges());
        let recorder = start_recording(options, stations, (&exchange, clock), recording_in)?;
        let recording = recorder.as_ref().map(RecorderThread::gauge);
        options.card_warnings().iter().for_each(|warning| tracing::warn!("{warning}"));

        let events = Events::new(node_id.clone(), boot_id.clone());
        let (count, gauges) = (workers.len(), workers.iter().map(Worker::gauge).collect());
        let limits = Limits { legs_max: options.worker_legs_max, busy_max: WORKER_BUSY_MAX };
        let ending = Arc::new(Ending::new());
        let mut state =
            State::new((workers, mixing, canvases), pools, limits, events.clone(), Arc::clone(&ending));
        if let Some(recorder) = recorder {
            state.record_with(recorder);
        }
        state.play_with(clock, playing_in);
        state.rebalance_above(options.rebalance_above.share());
        let path = handover_path(options, &node_id);
        let from = inheritance.zip(taking);
        let (state, metrics, place) = begin(options, state, from, &events, path).await?;
        if options.standby && !options.take_over {
            ending.begin(None);
        }
        tracing::info!(%node_id, %address, io = io_backend, reason = %io_reason, workers = count, "node starts");
        let shared = Arc::new(Shared {
            node_id,
            boot_id,
            gauges,
            mixing: mixing_gauges,
            canvases: canvas_gauges,
            decodes_apart: !options.canvas_in_node,
            recording,
            events_in,
            numa_node: binding.numa_node,
            ending,
            state: Mutex::new(state),
            room: options.room.clone(),
            io_backend,
            io_reason,
            ports_max,
            calibration: options.calibration.clone(),
            clock,
            word,
            rates: Rates::default(),
        });
        Ok(Base { listener, address, told, died, metrics, place, shared, events })
    }
}

/// Takes over what another process runs, or begins afresh. Gives where metrics are to be served, and where a successor
/// comes in.
async fn begin(
    options: &NodeOptions,
    mut state: State,
    from: Option<(Inheritance, Taking)>,
    events: &Events,
    path: Option<PathBuf>,
) -> Result<(State, Option<Listen>, Option<Place>)> {
    let Some((Inheritance { successors, form, .. }, taking)) = from else {
        if let Some(port) = options.shared_port {
            state.share_ports(port).await?;
        }
        return Ok((state, options.metrics, path.and_then(|path| open_place(&path))));
    };
    let metrics = form.metrics.map_or(Some(Listen::Off), |address| Some(Listen::At(address)));
    let (state, sequence) = take(state, form, taking).await?;
    events.go_on_from(sequence);
    // Only now: a successor that fails must leave the socket to the running node.
    Ok((state, metrics, path.map(|path| Place::inherit(&path, successors))))
}

/// The listener of gRPC calls, the node's name, and the name of its start.
async fn who(
    options: &NodeOptions,
    inheritance: Option<&Inheritance>,
) -> Result<(TcpListener, String, String)> {
    if let Some(inheritance) = inheritance {
        let listener = inherited(&inheritance.grpc).context("the inherited listener fails")?;
        return Ok((listener, inheritance.form.node_id.clone(), inheritance.form.boot_id.clone()));
    }
    let listener = TcpListener::bind(options.listen).await.with_context(|| {
        format!("cannot listen on {} (--listen); does another node run here?", options.listen)
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    let node_id = options.node_id.clone().unwrap_or_else(|| default_node_id(address));
    Ok((listener, node_id, uuid::Uuid::new_v4().to_string()))
}

pub(super) fn default_node_id(address: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).take(50).collect();
    format!("{}-{}", if host.is_empty() { "node" } else { &host }, address.port())
}
