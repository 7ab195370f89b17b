//! One worker and the generator on loopback.
//!
//! Rooms with one talker and ten listeners. Packets leave one at a time (no UDP_SEGMENT): at these rates
//! those of one stream would meet in a batch and leave together, which real calls of 50 packets a second
//! never do. The worker has a core to itself where there are two; where not, the result says that it is a
//! lower bound. Addresses of 127.77.0.0/16 and 127.78.0.1 keep apart from nodes of this machine.

use super::search::Verdict;
use anyhow::{Context, Result, ensure};
use motet_node::calibration::Bounds;
use motet_node::{Calibrate, NodeOptions, RunningNode};
use motet_proto::media::{Codec, Direction, MediaKind};
use motet_proto::node as wire;
use motet_rtpgen::account::{Expectation, Label};
use motet_rtpgen::report::Report;
use motet_rtpgen::run::{Control, Plan, Punch, SocketPlan, Wait, WorkerPlan, execute};
use motet_rtpgen::schedule::{Beat, spread};
use motet_rtpgen::sender::StreamPlan;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tonic::transport::Channel;
use wire::media_node_client::MediaNodeClient;

/// What is sent, for people.
pub(super) const SHAPE: &str = "172 bytes each, to ten legs";

const TALKERS: u32 = 64;
const LISTENERS: u32 = 10;
const PACKET_BYTES: usize = 172;
/// Each try sends for so long.
const TRY: Duration = Duration::from_millis(450);
/// Packets of each stream ahead of the counted ones: a leg whose source is replaced takes two to believe it.
const PREAMBLE: u16 = 3;
/// Threads of the generator at most.
const GENERATOR_THREADS_MAX: usize = 3;
/// A worker as busy as this is the limit, whatever the generator says of itself.
const WORKER_BUSY: f64 = 0.9;

/// Loopback address of the node: another one for each process, since the kernel lets go of a ring's sockets
/// some time after their process has ended.
fn node_ip() -> Ipv4Addr {
    let id = std::process::id();
    Ipv4Addr::new(127, 77, (id >> 8) as u8, id as u8)
}

/// Loopback address of the generator's sockets.
const GENERATOR_IP: Ipv4Addr = Ipv4Addr::new(127, 78, 0, 1);

/// A node with rooms, and the sockets of those in them.
pub(super) struct Bench {
    node: RunningNode,
    rooms: Vec<Room>,
    /// Cores of the generator's threads; empty: one thread, anywhere.
    cores: Vec<usize>,
    runs: AtomicU32,
    io: motet_net::IoChoice,
}

/// One talker and its listeners.
struct Room {
    talker: UdpSocket,
    send_to: SocketAddr,
    listeners: Vec<UdpSocket>,
}

/// One try.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) packets_per_second: u64,
    pub(super) loss_share: f64,
    pub(super) delay_p99_us: u64,
    pub(super) busy_share: f64,
    /// Something else than loss and delay went wrong.
    wrong: bool,
    generator_behind: bool,
}

impl Tried {
    /// Whether the rate counts.
    pub(super) fn verdict(&self, bounds: Bounds) -> Verdict {
        let within = bounds.hold(self.loss_share, self.delay_p99_us);
        match within && !self.wrong {
            true => Verdict::Held,
            false if self.generator_behind && self.busy_share < WORKER_BUSY => Verdict::Generator,
            false => Verdict::Relay,
        }
    }
}

impl Bench {
    /// Starts the node and sets up the rooms.
    pub(super) async fn open(options: &NodeOptions) -> Result<Bench> {
        let allowed = motet_node::allowed_cpus();
        let worker =
            options.worker_cores.first().copied().or(allowed.last().copied().filter(|_| allowed.len() > 1));
        let others = allowed.iter().copied().filter(|cpu| Some(*cpu) != worker);
        let cores = if worker.is_some() { others.take(GENERATOR_THREADS_MAX).collect() } else { Vec::new() };
        let node = NodeOptions {
            node_id: Some("calibration".to_owned()),
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            advertise: None,
            control: Vec::new(),
            media_ip: vec![node_ip().into()],
            port_range: 20_000..=59_999,
            workers: Some(1),
            worker_cores: worker.into_iter().collect(),
            metrics: Some("off".parse().map_err(anyhow::Error::msg)?),
            calibrate: Calibrate::Never,
            calibration: None,
            gso: false,
            ..options.clone()
        };
        let io = node.io;
        let node = motet_node::start(node).await.context("the node to measure does not start")?;
        let channel = Channel::from_shared(format!("http://{}", node.address()))?.connect().await?;
        let mut client = MediaNodeClient::new(channel);
        let mut rooms = Vec::new();
        for number in 0..TALKERS {
            rooms.push(room(&mut client, number).await?);
        }
        Ok(Bench { node, rooms, cores, runs: AtomicU32::new(1), io })
    }

    /// True: worker and generator take turns on the same core.
    pub(super) fn shares_cores(&self) -> bool {
        self.cores.is_empty()
    }

    /// Sends so many packets per second, counted where they come out, for a moment.
    pub(super) async fn try_rate(&self, packets_per_second: u64) -> Result<Tried> {
        let plan = self.plan(packets_per_second)?;
        let before = self.node.workers_busy();
        let report = tokio::task::spawn_blocking(move || execute(plan, &Control::default()));
        let report = report.await.context("the generator failed")??;
        let busy = self.node.workers_busy().saturating_sub(before);
        ensure!(report.expected > 0, "the generator sent nothing");
        Ok(tried(&report, busy))
    }

    /// Ends the node.
    pub(super) async fn close(self) {
        self.node.shutdown().await;
    }

    fn plan(&self, packets_per_second: u64) -> Result<Plan> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let interval = Duration::from_secs(1) * (TALKERS * LISTENERS) / packets_per_second.max(1) as u32;
        let threads = self.cores.len().max(1);
        let mut workers: Vec<WorkerPlan> = (0..threads)
            .map(|index| WorkerPlan { core: self.cores.get(index).copied(), ..WorkerPlan::default() })
            .collect();
        for (number, room) in self.rooms.iter().enumerate() {
            let socket = add(&mut workers[0], &room.talker, None)?;
            let stream = StreamPlan {
                stream: number as u32,
                socket,
                destination: room.send_to,
                ssrc: run.wrapping_mul(0x9e37_79b1).wrapping_add(number as u32),
                payload_type: 0,
                clock_hz: 8_000,
                burst: 1,
                packet_bytes: PACKET_BYTES,
                beat: Beat { interval, phase: spread(interval, self.rooms.len(), number) },
            };
            workers[0].punches.extend(preamble(&stream));
            workers[0].streams.push(stream);
            for (index, listener) in room.listeners.iter().enumerate() {
                let receiver = (number * LISTENERS as usize + index) as u32;
                let streams = [(number as u32, Label::default())].into();
                // With several threads the first only sends.
                let thread = if threads == 1 { 0 } else { 1 + receiver as usize % (threads - 1) };
                add(&mut workers[thread], listener, Some(Expectation { receiver, streams }))?;
            }
        }
        // A worker on a core of its own is not to pay for waking the generator, which no network asks of it.
        let wait = if self.shares_cores() { Wait::Block } else { Wait::Poll(Duration::from_micros(20)) };
        let drain = Duration::from_millis(100);
        Ok(Plan { run, io: self.io, wait, workers, duration: TRY, drain, loss_percent_max: 100.0 })
    }
}

fn add(
    worker: &mut WorkerPlan,
    socket: &UdpSocket,
    expectation: Option<Expectation>,
) -> Result<motet_net::SocketId> {
    let id = motet_net::SocketId(worker.sockets.len() as u32);
    worker.sockets.push(SocketPlan { socket: socket.try_clone()?, expectation });
    Ok(id)
}

fn preamble(stream: &StreamPlan) -> Vec<Punch> {
    let punch = |before: u16| Punch {
        socket: stream.socket,
        destination: stream.destination,
        ssrc: stream.ssrc,
        payload_type: stream.payload_type,
        sequence: 0_u16.wrapping_sub(before),
        repeat: false,
    };
    (1..=PREAMBLE).rev().map(punch).collect()
}

fn tried(report: &Report, busy: Duration) -> Tried {
    let seconds = report.elapsed_s.max(1e-3);
    Tried {
        packets_per_second: (report.received as f64 / seconds) as u64,
        loss_share: report.loss_share(),
        delay_p99_us: report.latency_us.p99 as u64,
        busy_share: (busy.as_secs_f64() / seconds).min(1.0),
        wrong: report.wrongly_routed + report.corrupt + report.mislabelled > 0,
        generator_behind: !report.bottlenecks.is_empty(),
    }
}

fn socket() -> Result<UdpSocket> {
    let address = SocketAddr::new(IpAddr::V4(GENERATOR_IP), 0);
    UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))
}

async fn room(client: &mut MediaNodeClient<Channel>, number: u32) -> Result<Room> {
    let talker = socket()?;
    let listeners = (0..LISTENERS).map(|_| socket()).collect::<Result<Vec<_>>>()?;
    let mut legs = vec![leg("talker", &talker, Direction::SendOnly)?];
    for (index, listener) in listeners.iter().enumerate() {
        legs.push(leg(&format!("listener-{index}"), listener, Direction::ReceiveOnly)?);
    }
    let spec = wire::ConferenceSpec { id: format!("room-{number}"), legs, ..wire::ConferenceSpec::default() };
    let put = wire::PutConferenceRequest { spec: Some(spec), epoch: 1, revision: 1 };
    let allocation = client.put_conference(put).await.context("a room cannot be set up")?.into_inner();
    ensure!(allocation.routes.len() == LISTENERS as usize, "a room has {} routes", allocation.routes.len());
    let given = allocation.legs.iter().find(|leg| leg.leg == "talker").and_then(|leg| leg.transports.first());
    let send_to = given.context("the talker was given no port")?.local.parse().context("its port")?;
    Ok(Room { talker, send_to, listeners })
}

fn leg(id: &str, socket: &UdpSocket, direction: Direction) -> Result<wire::Leg> {
    let remote = socket.local_addr()?.to_string();
    let transport = wire::Transport { remote, rtcp_mux: true, ..wire::Transport::default() };
    let codec = Codec { payload_type: 0, name: "PCMU".into(), clock_rate_hz: 8_000, ..Codec::default() };
    let medium = wire::Medium {
        id: "audio".into(),
        kind: MediaKind::Audio.into(),
        direction: direction.into(),
        codecs: vec![codec],
        ..wire::Medium::default()
    };
    Ok(wire::Leg { id: id.into(), transports: vec![transport], media: vec![medium], ..wire::Leg::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Tried {
        Tried {
            packets_per_second: 100_000,
            loss_share: 0.0,
            delay_p99_us: 400,
            busy_share: 0.5,
            wrong: false,
            generator_behind: false,
        }
    }

    #[test]
    fn the_blame_goes_where_it_belongs() {
        let bounds = NodeOptions::default().bounds;
        let lossy = Tried { loss_share: 0.001, ..good() };
        let cases = [
            (good(), Verdict::Held),
            // A generator that is nearly behind, and nothing was lost.
            (Tried { generator_behind: true, ..good() }, Verdict::Held),
            (lossy.clone(), Verdict::Relay),
            (Tried { generator_behind: true, ..lossy.clone() }, Verdict::Generator),
            (Tried { generator_behind: true, busy_share: 0.99, ..lossy }, Verdict::Relay),
            (Tried { delay_p99_us: 5_001, ..good() }, Verdict::Relay),
            (Tried { wrong: true, ..good() }, Verdict::Relay),
        ];
        for (tried, expected) in cases {
            assert_eq!(tried.verdict(bounds), expected, "{tried:?}");
        }
    }
}
