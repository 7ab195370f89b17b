//! The edge: threads that own sockets, drive sender and receiver, and give a report.

use crate::account::{Expectation, FlowCounts, latency_histogram};
use crate::payload::Pattern;
use crate::receiver::{Receiver, Strays};
use crate::report::{Generator, Measured, Report};
use crate::sender::{Sender, StreamPlan, punch_packet};
use crate::system;
use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use motet_net::{AnyIo, DatagramsIndex, Io, IoChoice, Options, SocketId};
use motet_rtp::Time;
use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

/// Time between the threads' start and the first packet, so that all are ready.
const LEAD: Duration = Duration::from_millis(50);
/// How often an idle thread looks whether it should stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long to look for strays and duplicates when all has come.
const SETTLE: Duration = Duration::from_millis(50);
/// How often paths through the relay are opened anew.
const PUNCH_INTERVAL: Duration = Duration::from_secs(1);

/// A whole run.
#[derive(Debug)]
pub struct Plan {
    /// Tells this run's packets from those of earlier ones.
    pub run: u32,
    /// How packets are carried.
    pub io: IoChoice,
    /// How threads wait.
    pub wait: Wait,
    /// The threads.
    pub workers: Vec<WorkerPlan>,
    /// For how long to send.
    pub duration: Duration,
    /// For how long to wait for the last packets once all are sent; ends early when all have come.
    pub drain: Duration,
    /// Percent of packets that may be lost without failing the run.
    pub loss_percent_max: f64,
}

/// How a thread waits for packets and for the next burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Sleep until something comes: the right thing on a machine that has other work.
    Block,
    /// Look every so often, zero: without a pause. Costs a core; keeps the relay's processor time free of
    /// waking the generator, which a relay on a network does not have to do.
    Poll(Duration),
}

/// One thread of a run.
#[derive(Debug, Default)]
pub struct WorkerPlan {
    /// Core to pin the thread to.
    pub core: Option<usize>,
    /// Sockets, numbered by their order.
    pub sockets: Vec<SocketPlan>,
    /// Streams that it sends.
    pub streams: Vec<StreamPlan>,
    /// Packets that it sends ahead.
    pub punches: Vec<Punch>,
}

/// One socket of a thread.
#[derive(Debug)]
pub struct SocketPlan {
    /// The bound socket.
    pub socket: UdpSocket,
    /// What should come here; none: it only sends.
    pub expectation: Option<Expectation>,
}

/// A packet that is not accounted, sent shortly before the first accounted one: it opens a path through
/// a relay with symmetric RTP, or lets a new source pass its probation (RFC 3550 appendix A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punch {
    /// Socket of the worker to send from.
    pub socket: SocketId,
    /// Where to.
    pub destination: SocketAddr,
    /// Synchronization source to send with.
    pub ssrc: u32,
    /// Payload type to send with.
    pub payload_type: u8,
    /// Sequence number of the first one.
    pub sequence: u16,
    /// Send one every second, so that the path stays open.
    pub repeat: bool,
}

/// A running run as seen and stopped from other threads.
#[derive(Debug, Default)]
pub struct Control {
    /// Set it to end the run early.
    pub stop: AtomicBool,
    /// Packets sent so far.
    pub sent: AtomicU64,
    /// Packets that came where they should so far, duplicates excluded.
    pub received: AtomicU64,
    /// Threads that have sent everything.
    senders_done: AtomicU64,
}

/// Runs a plan to its end. The calling thread waits.
pub fn execute(plan: Plan, control: &Control) -> anyhow::Result<Report> {
    let pattern = Arc::new(Pattern::new(plan.run));
    let start = system::now() + LEAD;
    let receivers_of = receivers_per_stream(&plan.workers);
    let shared = Shared {
        control,
        pattern,
        start,
        duration: plan.duration,
        drain: plan.drain,
        wait: plan.wait,
        io: plan.io,
        workers: plan.workers.len() as u64,
        expected_total: AtomicU64::new(0),
        receivers_of,
    };
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = plan
            .workers
            .into_iter()
            .map(|worker| {
                let shared = &shared;
                scope.spawn(move || {
                    let done = Worker::open(worker, shared).and_then(Worker::run);
                    if done.is_err() {
                        // The others would wait in vain for what this one should send.
                        shared.control.stop.store(true, Relaxed);
                    }
                    done
                })
            })
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread of the generator panicked")).flatten());
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let interrupted = control.stop.load(Relaxed);
    Ok(Report::new(&sum_up(outcomes, start, interrupted), plan.loss_percent_max))
}

/// How many receivers each stream should come to.
fn receivers_per_stream(workers: &[WorkerPlan]) -> HashMap<u32, u64> {
    let mut receivers = HashMap::new();
    let sockets = workers.iter().flat_map(|worker| &worker.sockets);
    for stream in sockets.filter_map(|socket| socket.expectation.as_ref()).flat_map(|e| e.streams.keys()) {
        *receivers.entry(*stream).or_insert(0) += 1;
    }
    receivers
}

struct Shared<'a> {
    control: &'a Control,
    pattern: Arc<Pattern>,
    start: Time,
    duration: Duration,
    drain: Duration,
    wait: Wait,
    io: IoChoice,
    workers: u64,
    receivers_of: HashMap<u32, u64>,
    /// Packets that should come, of those threads that have sent everything.
    expected_total: AtomicU64,
}

/// What a thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Sends and receives.
    Sending,
    /// Has sent everything; other threads still send.
    Waiting,
    /// All is sent; waits for the last packets until then.
    Draining(Time),
    /// All has come; waits for what should not come, such as duplicates, until then.
    Settling(Time),
    /// Has its outcome.
    Done,
}

#[derive(Clone, Copy, Default)]
struct Sent {
    packets: u64,
    /// More is due already.
    more: bool,
}

struct Worker<'a> {
    shared: &'a Shared<'a>,
    io: AnyIo,
    sender: Sender,
    receiver: Receiver,
    /// Receiver of each socket.
    receivers: Vec<Option<usize>>,
    inodes: HashSet<u64>,
    punches: Vec<Punch>,
    punched: u16,
    last_arrival: Time,
    busy: Duration,
}

struct Outcome {
    flows: Vec<FlowCounts>,
    sent: Vec<(u32, u64)>,
    receivers: usize,
    bytes: u64,
    strays: Strays,
    last_arrival: Time,
    latency: Histogram<u64>,
    lateness: Histogram<u64>,
    generator: Generator,
}

impl<'a> Worker<'a> {
    fn open(plan: WorkerPlan, shared: &'a Shared<'a>) -> anyhow::Result<Self> {
        if let Some(core) = plan.core {
            system::pin(core).with_context(|| format!("--core {core}: cannot pin to it"))?;
        }
        system::sharpen_timers();
        let (mut io, _) = motet_net::select(shared.io, &Options::default())?;
        let (mut receivers, mut expectations) = (Vec::new(), Vec::new());
        let mut inodes = HashSet::new();
        for (index, planned) in plan.sockets.into_iter().enumerate() {
            let id = SocketId(index as u32);
            receivers.push(planned.expectation.is_some().then_some(expectations.len()));
            if planned.expectation.is_some() {
                inodes.extend(system::inode(&planned.socket));
            }
            expectations.extend(planned.expectation);
            io.add_socket(id, planned.socket).context("cannot add a socket")?;
        }
        Ok(Worker {
            shared,
            io,
            sender: Sender::new(shared.start, shared.duration, plan.streams, shared.pattern.clone()),
            receiver: Receiver::new(&expectations, shared.pattern.clone()),
            receivers,
            inodes,
            punches: plan.punches,
            punched: 0,
            last_arrival: shared.start,
            busy: Duration::ZERO,
        })
    }

    fn run(mut self) -> anyhow::Result<Outcome> {
        let busy_before = system::thread_busy();
        let began = system::now();
        let mut phase = Phase::Sending;
        let mut more = false;
        while phase != Phase::Done {
            let now = system::now();
            self.punch(now);
            let sent = if phase == Phase::Sending { self.send(now) } else { Sent::default() };
            more = self.turn(now, phase, sent, more)?;
            phase = self.next_phase(phase, system::now());
        }
        let wall = system::now().since(began).max(Duration::from_nanos(1));
        if self.shared.wait == Wait::Block {
            self.busy = system::thread_busy().since(busy_before);
        }
        Ok(self.outcome(wall))
    }

    fn next_phase(&self, phase: Phase, now: Time) -> Phase {
        let (shared, control) = (self.shared, self.shared.control);
        let stopped = control.stop.load(Relaxed);
        match phase {
            Phase::Sending if self.sender.next_due().is_none() || stopped => {
                self.announce_sent();
                Phase::Waiting
            }
            Phase::Waiting if stopped || control.senders_done.load(Acquire) == shared.workers => {
                Phase::Draining(now + shared.drain)
            }
            Phase::Draining(by) if self.is_complete() => Phase::Settling(by.min(now + SETTLE)),
            Phase::Draining(by) | Phase::Settling(by) if now >= by => Phase::Done,
            other => other,
        }
    }

    /// Everything that all threads sent has come.
    fn is_complete(&self) -> bool {
        let control = self.shared.control;
        control.senders_done.load(Acquire) == self.shared.workers
            && control.received.load(Relaxed) >= self.shared.expected_total.load(Relaxed)
    }

    fn announce_sent(&self) {
        let receivers = |stream| self.shared.receivers_of.get(&stream).copied().unwrap_or(0);
        let total: u64 = self.sender.sent().map(|(stream, sent)| sent * receivers(stream)).sum();
        self.shared.expected_total.fetch_add(total, Relaxed);
        // Released, so that whoever sees all threads done sees all of the total.
        self.shared.control.senders_done.fetch_add(1, Release);
    }

    fn send(&mut self, now: Time) -> Sent {
        let before = self.sender.packets();
        let io = &mut self.io;
        let more = self.sender.handle_due(now, |socket, to, bytes| io.queue(socket, to, bytes, None));
        let packets = self.sender.packets() - before;
        if packets > 0 {
            self.shared.control.sent.fetch_add(packets, Relaxed);
        }
        Sent { packets, more }
    }

    fn punch(&mut self, now: Time) {
        let due = now + LEAD >= self.shared.start + PUNCH_INTERVAL * u32::from(self.punched);
        if self.punches.is_empty() || !due {
            return;
        }
        for punch in self.punches.iter().filter(|punch| punch.repeat || self.punched == 0) {
            let sequence = punch.sequence.wrapping_add(self.punched);
            let packet = punch_packet(punch.ssrc, punch.payload_type, sequence);
            self.io.queue(punch.socket, punch.destination, &packet, None);
        }
        self.punched = self.punched.saturating_add(1);
    }

    /// One turn of input and output; true when the kernel holds more.
    fn turn(&mut self, began: Time, phase: Phase, sent: Sent, more: bool) -> anyhow::Result<bool> {
        let idle = match (phase, self.sender.next_due()) {
            (Phase::Sending, Some(due)) => due.since(system::now()).min(LOOK_INTERVAL),
            _ => LOOK_INTERVAL,
        };
        let (timeout, pause) = match self.shared.wait {
            _ if more || sent.more => (Duration::ZERO, Duration::ZERO),
            Wait::Block => (idle, Duration::ZERO),
            Wait::Poll(pause) => (Duration::ZERO, pause.min(idle)),
        };
        let turn = self.io.turn(Some(timeout)).context("packets cannot be carried")?;
        if turn.received > 0 {
            self.receive(turn.received);
        }
        if self.shared.wait != Wait::Block && (turn.received > 0 || sent.packets > 0) {
            self.busy += system::now().since(began);
        }
        if !turn.more && !pause.is_zero() {
            std::thread::sleep(pause);
        }
        Ok(turn.more)
    }

    fn receive(&mut self, count: usize) {
        // One reading for the turn: the packets were all there when it ended.
        let now = system::now();
        let before = self.receiver.account().unique_expected();
        for index in 0..count {
            let run = self.io.datagrams(DatagramsIndex(index as u32));
            if let Some(receiver) = self.receivers[run.socket.0 as usize] {
                self.receiver.handle_datagrams(now, receiver, run.bytes, run.segment_bytes);
            }
        }
        let received = self.receiver.account().unique_expected() - before;
        if received > 0 {
            self.last_arrival = now;
            self.shared.control.received.fetch_add(received, Relaxed);
        }
    }

    fn outcome(self, wall: Duration) -> Outcome {
        let stats = self.io.stats();
        Outcome {
            flows: self.receiver.account().flows(),
            sent: self.sender.sent().collect(),
            receivers: self.receivers.iter().flatten().count(),
            bytes: self.receiver.bytes(),
            strays: self.receiver.strays(),
            last_arrival: self.last_arrival,
            latency: self.receiver.account().latency().clone(),
            lateness: self.sender.lateness().clone(),
            generator: Generator {
                io: self.io.name().to_owned(),
                send_dropped: stats.send_dropped_full + stats.send_dropped_error + stats.queue_dropped,
                socket_overflow: system::overflows(&self.inodes),
                busy_share: self.busy.as_secs_f64() / wall.as_secs_f64(),
            },
        }
    }
}

fn sum_up(outcomes: Vec<Outcome>, start: Time, interrupted: bool) -> Measured {
    let mut measured = Measured {
        flows: Vec::new(),
        sent: HashMap::new(),
        receivers: 0,
        bytes_received: 0,
        strays: Strays::default(),
        elapsed: Duration::ZERO,
        latency: latency_histogram(),
        generator: Generator::default(),
        lateness: latency_histogram(),
        interrupted,
    };
    for outcome in outcomes {
        measured.flows.extend(outcome.flows);
        measured.sent.extend(outcome.sent);
        measured.receivers += outcome.receivers;
        measured.bytes_received += outcome.bytes;
        measured.strays.rtcp += outcome.strays.rtcp;
        measured.strays.unreadable += outcome.strays.unreadable;
        measured.strays.foreign += outcome.strays.foreign;
        measured.elapsed = measured.elapsed.max(outcome.last_arrival.since(start));
        measured.latency.add(&outcome.latency).expect("both have the same bounds");
        measured.lateness.add(&outcome.lateness).expect("both have the same bounds");
        let (sum, one) = (&mut measured.generator, outcome.generator);
        sum.send_dropped += one.send_dropped;
        sum.socket_overflow += one.socket_overflow;
        sum.busy_share = sum.busy_share.max(one.busy_share);
        sum.io = one.io;
    }
    measured
}
