//! A worker: one pinned thread with its own sockets, ring and relay.
//!
//! The loop is the packet's journey: one system call brings packets and sends what the last turn made, the
//! relay turns packets into packets, commands come between batches. Nothing in it locks, allocates (after
//! warm-up), logs or reads the clock per packet.

use crate::exchange::{Bell, Desk, Exchange};
use crate::fence::Fence;
use crate::meter::{Meter, Shown, Snapshot};
use crate::plan::TrunkEnd;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use motet_net::{AnyIo, Io, SocketId, Waker};
use motet_relay::{
    Command, Event, Outbox, Payload, PortId, Relay, RelayConfig, RouteId, RouteStats, StreamId, StreamStats,
};
use motet_rtp::Time;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

mod clock;
mod gathering;
mod handover;
mod moving;
mod stamps;
mod trunks;

pub(crate) use clock::{Clock, monotonic};
use gathering::Gathering;
pub(crate) use handover::{Handles, Step};
use stamps::Stamps;
use trunks::{Arrivals, pack, slice};

/// Jobs taken between two batches at most.
const JOBS_PER_TURN: usize = 64;
/// Sockets connected to another peer between two batches at most; each takes some 20 µs.
const PEERS_PER_TURN: usize = 8;
/// How late the relay's timers may be where no packet wakes the worker before: reports and looks for silence, which
/// come once a second for each leg, are done with packets then, and thousands of legs do not wake it for each.
const TIMER_SLACK: Duration = Duration::from_millis(5);
/// Jobs that may wait for a worker.
const JOBS_WAITING_MAX: usize = 1024;

/// A change of what runs on a worker.
#[derive(Default)]
pub(crate) struct Apply {
    /// Sockets to open, before the commands.
    pub(crate) open: Vec<(SocketId, UdpSocket)>,
    /// Ends of trunks to open, before the commands.
    pub(crate) open_trunks: Vec<TrunkEnd>,
    /// For the relay, in order.
    pub(crate) commands: Vec<Command>,
    /// Sockets to close, after what the commands made was sent.
    pub(crate) close: Vec<SocketId>,
    /// Ends of trunks to close, after what the commands made has crossed.
    pub(crate) close_trunks: Vec<PortId>,
    /// What the commands make is not sent.
    pub(crate) silent: bool,
}

/// Statistics of streams and routes, in the order asked for.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) streams: Vec<Option<StreamStats>>,
    pub(crate) routes: Vec<Option<RouteStats>>,
}

enum Job {
    Apply(Apply, oneshot::Sender<Result<(), String>>),
    Stats(Vec<StreamId>, Vec<RouteId>, oneshot::Sender<Stats>),
    Handover(handover::Step),
    Move(moving::Move),
    Stop,
}

/// What the rest of the node holds of a worker.
pub(crate) struct Worker {
    jobs: Sender<Job>,
    waker: Waker,
    shown: Shown,
    /// Kernel's id of the thread.
    pub(crate) thread_id: u32,
    thread: Option<JoinHandle<()>>,
}

/// Settings of a worker.
pub(crate) struct WorkerOptions {
    pub(crate) index: usize,
    pub(crate) core: Option<usize>,
    pub(crate) events: mpsc::Sender<(usize, Event)>,
    /// Told when the thread ends without being asked to.
    pub(crate) died: mpsc::Sender<usize>,
    /// Receive nothing until told to.
    pub(crate) paused: bool,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) clock: Clock,
    pub(crate) fence: Fence,
}

impl Worker {
    /// Starts the thread. `open_io` runs on it, since a ring belongs to one thread.
    pub(crate) fn start(
        options: WorkerOptions,
        open_io: impl FnOnce() -> Result<AnyIo, String> + Send + 'static,
    ) -> Result<Worker, String> {
        let (jobs, waiting) = bounded(JOBS_WAITING_MAX);
        let shown = Shown::default();
        let show = shown.clone();
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let index = options.index;
        let body = move || {
            let died = options.died.clone();
            let guard = DeathNotice::new(died, options.index);
            match Loop::new(options, open_io, waiting, show) {
                Ok((this, waker)) => {
                    let _ = started.send(Ok((waker, thread_id())));
                    this.run(guard);
                }
                Err(error) => {
                    guard.expected();
                    let _ = started.send(Err(error));
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(body);
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        let (waker, thread_id) = start.recv().map_err(|_| format!("worker {index} ended at start"))??;
        Ok(Worker { jobs, waker, shown, thread_id, thread: Some(thread) })
    }

    /// Applies a change; the answer comes when it is done. None: the worker is gone.
    pub(crate) fn apply(&self, apply: Apply) -> impl Future<Output = Option<Result<(), String>>> + use<> {
        let (done, answer) = oneshot::channel();
        let sent = self.send(Job::Apply(apply, done));
        async move {
            sent?;
            answer.await.ok()
        }
    }

    /// Reads statistics. None: the worker is gone.
    pub(crate) async fn stats(&self, streams: Vec<StreamId>, routes: Vec<RouteId>) -> Option<Stats> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Stats(streams, routes, done))?;
        answer.await.ok()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.shown.read()
    }

    /// For whoever watches the worker without holding it.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge { thread_id: self.thread_id, shown: self.shown.clone(), jobs: self.jobs.clone() }
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        let _ = self.send(Job::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn send(&self, job: Job) -> Option<()> {
        // A full queue only means that a worker is behind by a thousand changes; wait for it.
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => self.jobs.send(job).ok()?,
            Err(TrySendError::Disconnected(_)) => return None,
        }
        self.waker.wake();
        Some(())
    }
}

/// What can be read of a worker at any time, whatever it is doing.
pub(crate) struct Gauge {
    pub(crate) thread_id: u32,
    shown: Shown,
    jobs: Sender<Job>,
}

impl Gauge {
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.shown.read()
    }

    /// Changes and questions that wait for the worker.
    pub(crate) fn jobs_waiting(&self) -> usize {
        self.jobs.len()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says so when the thread ends by a failed assertion.
pub(crate) struct DeathNotice {
    died: mpsc::Sender<usize>,
    index: usize,
    expected: bool,
}

impl DeathNotice {
    /// `index` is the thread's place in the exchange.
    pub(crate) fn new(died: mpsc::Sender<usize>, index: usize) -> DeathNotice {
        DeathNotice { died, index, expected: false }
    }

    pub(crate) fn expected(mut self) {
        self.expected = true;
    }
}

impl Drop for DeathNotice {
    fn drop(&mut self) {
        if !self.expected {
            let _ = self.died.try_send(self.index);
        }
    }
}

pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

struct Loop {
    io: AnyIo,
    relay: Relay,
    out: Outbox,
    clock: Clock,
    jobs: Receiver<Job>,
    /// To be closed once the messages queued for them have left.
    closing: Vec<SocketId>,
    closing_trunks: Vec<PortId>,
    desk: Desk,
    gathering: Gathering,
    stamps: Stamps,
    arrivals: Arrivals,
    /// Runs of the current batch that sockets brought; those of trunks follow.
    received: u32,
    events: mpsc::Sender<(usize, Event)>,
    index: usize,
    meter: Meter,
    fence: Fence,
    /// Nothing is received; only jobs are done.
    paused: bool,
    /// To be paused when this turn's messages are queued.
    pausing: Option<(u32, handover::Written)>,
    /// Legs that are to leave for another worker when this turn's messages are queued.
    leaving: Vec<moving::Leaving>,
    /// Another process has handles of the sockets: their peers stay as they are.
    peers_fixed: bool,
}

impl Loop {
    fn new(
        options: WorkerOptions,
        open_io: impl FnOnce() -> Result<AnyIo, String>,
        jobs: Receiver<Job>,
        shown: Shown,
    ) -> Result<(Loop, Waker), String> {
        if let Some(core) = options.core {
            pin("--worker-cores", core)?;
        }
        let mut io = open_io()?;
        if options.paused {
            io.pause().map_err(|error| format!("cannot pause: {error}"))?;
        }
        let waker = io.waker().map_err(|error| format!("cannot make an eventfd: {error}"))?;
        options.exchange.set_bell(options.index, Bell::Waker(waker.clone()));
        let clock = options.clock;
        let config = RelayConfig { ntp_origin: clock.ntp_origin, ..RelayConfig::default() };
        let this = Loop {
            io,
            relay: Relay::new(config),
            out: Outbox::new(),
            clock,
            jobs,
            closing: Vec::new(),
            closing_trunks: Vec::new(),
            desk: Desk::new(options.index, options.exchange),
            gathering: Gathering::default(),
            stamps: Stamps::default(),
            arrivals: Arrivals::default(),
            received: 0,
            events: options.events,
            index: options.index,
            meter: Meter::new(shown, clock.origin),
            fence: options.fence,
            paused: options.paused,
            pausing: None,
            leaving: Vec::new(),
            peers_fixed: false,
        };
        Ok((this, waker))
    }

    fn run(mut self, guard: DeathNotice) {
        let mut now = self.clock.now();
        loop {
            if !self.wait_while_paused() {
                return guard.expected();
            }
            let wake_at = self.wake_at(now);
            let turn = match self.io.turn(Some(wake_at.since(now))) {
                Ok(turn) => turn,
                Err(error) => {
                    tracing::error!(worker = self.index, %error, "packet input and output failed; the worker ends");
                    return;
                }
            };
            now = self.clock.now();
            self.desk.begin(now);
            self.gathering.on_turn(now, turn.received);
            self.close_sockets();
            self.bring_in();
            let carries = self.carry(now, turn);
            if carries && now >= self.relay.poll_timeout() {
                self.relay.handle_timeout(now, &mut self.out);
            }
            if !self.handle_jobs(now) {
                return guard.expected();
            }
            if carries {
                self.queue_messages(now);
            }
            if self.leaving.is_empty() {
                self.connect_peers();
            }
            self.report(now);
            self.give();
            self.pause();
        }
    }

    /// When the next turn is due at the latest.
    fn wake_at(&self, now: Time) -> Time {
        if self.fence.is_up() {
            return self.fence.wake_at();
        }
        let wake_at = (self.relay.poll_timeout() + TIMER_SLACK).min(self.meter.due());
        if self.desk.has_mail() { now } else { wake_at }
    }

    fn queue_messages(&mut self, now: Time) {
        for patch in self.out.patches() {
            let at = Payload { inbound: patch.inbound, offset: patch.offset, len: patch.header.len() as u32 };
            let place = slice(&self.arrivals, self.received, at);
            self.io.overwrite(place.datagrams, place.offset, &patch.header);
        }
        let (mut any, mut urgent) = (false, false);
        self.stamps.begin();
        for message in self.out.messages() {
            let payload = message.payload.map(|payload| slice(&self.arrivals, self.received, payload));
            let (socket, destination) = (SocketId(message.port.0), message.destination);
            let end = self.desk.end(message.port);
            any = true;
            urgent = urgent || self.is_urgent(end, message.payload);
            if let Some(end) = end {
                if self.desk.is_looked_for(end) {
                    let came = payload.and_then(|slice| self.stamps.came(&mut self.io, slice.datagrams));
                    self.desk.begin(came.map_or(now, |came| self.gathering.was_there(now, came)));
                }
                pack(&mut self.desk, &self.io, end, message.header, payload, message.segment_bytes);
                continue;
            }
            match payload {
                Some(run) if message.header.is_empty() => {
                    self.io.queue_run(socket, destination, run, message.segment_bytes);
                }
                payload => self.io.queue(socket, destination, message.header, payload),
            }
        }
        self.desk.flush();
        if urgent {
            self.gathering.on_urgent(now);
        }
        self.gather(now, any);
    }

    /// Somebody waits for a message. Nobody does who comes by itself, nor for reports, nor on a worker for what
    /// mixing threads made: that was handed over at once, and nothing like it comes before they say.
    fn is_urgent(&self, end: Option<TrunkEnd>, payload: Option<Payload>) -> bool {
        if end.is_some_and(|end| self.desk.is_looked_for(end)) {
            return false;
        }
        let Some(payload) = payload else { return false };
        let from = self.arrivals.port(self.received, payload).and_then(|port| self.desk.end(port));
        !from.is_some_and(|from| self.desk.is_looked_for(from))
    }

    /// Connects the sockets of legs that media goes to. What is too much for one turn is told again.
    fn connect_peers(&mut self) {
        if self.peers_fixed {
            return;
        }
        let mut connected = 0;
        for (port, destination) in self.out.peers() {
            if connected == PEERS_PER_TURN {
                return;
            }
            connected += usize::from(self.io.set_peer(SocketId(port.0), Some(*destination)));
        }
    }

    fn report(&mut self, now: Time) {
        for event in self.out.events() {
            if self.events.try_send((self.index, *event)).is_err() {
                self.meter.events_dropped += 1;
            }
        }
        self.out.clear();
        self.meter.turn(now, &self.io, &self.relay, self.desk.crossed());
    }

    fn close_sockets(&mut self) {
        for socket in self.closing.drain(..) {
            self.io.remove_socket(socket);
        }
        self.closing_trunks.drain(..).for_each(|port| self.desk.close(port));
    }

    /// False: stop.
    fn handle_jobs(&mut self, now: Time) -> bool {
        for _ in 0..JOBS_PER_TURN {
            match self.jobs.try_recv() {
                Ok(job) => {
                    if !self.handle_job(now, job) {
                        return false;
                    }
                }
                Err(crossbeam_channel::TryRecvError::Empty) => return true,
                Err(crossbeam_channel::TryRecvError::Disconnected) => return false,
            }
        }
        // More jobs wait: do not sleep before them.
        self.meter.hurry(now);
        true
    }

    /// False: stop.
    fn handle_job(&mut self, now: Time, job: Job) -> bool {
        match job {
            Job::Apply(apply, done) => {
                let _ = done.send(self.apply(now, apply));
            }
            Job::Stats(streams, routes, done) => {
                let _ = done.send(Stats {
                    streams: streams.into_iter().map(|id| self.relay.stream_stats(id, now)).collect(),
                    routes: routes.into_iter().map(|id| self.relay.route_stats(id)).collect(),
                });
            }
            Job::Handover(step) => self.handle_step(step),
            Job::Move(job) => self.handle_move(job),
            Job::Stop => return false,
        }
        true
    }

    fn apply(&mut self, now: Time, apply: Apply) -> Result<(), String> {
        for (id, socket) in apply.open {
            self.io.add_socket(id, socket).map_err(|error| format!("cannot register a socket: {error}"))?;
        }
        apply.open_trunks.into_iter().for_each(|end| self.desk.open(end));
        let mut unsent = Outbox::new();
        for command in apply.commands {
            let shown = format!("{command:?}");
            let out = if apply.silent { &mut unsent } else { &mut self.out };
            self.relay.handle_command(now, command, out).map_err(|error| format!("{error}: {shown}"))?;
        }
        self.closing.extend(apply.close);
        self.closing_trunks.extend(apply.close_trunks);
        Ok(())
    }
}

/// Pins the calling thread to the core that an option names.
pub(crate) fn pin(option: &str, core: usize) -> Result<(), String> {
    let mut set = rustix::thread::CpuSet::new();
    if core >= rustix::thread::CpuSet::MAX_CPU {
        return Err(format!("{option}: there is no core {core}"));
    }
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| format!("{option}: cannot pin to core {core}: {error}; does it exist?"))
}
