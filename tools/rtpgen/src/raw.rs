//! Raw mode: streams to given addresses, receivers at given ports.

use crate::account::{Expectation, Label};
use crate::options::{Expect, LoadOptions, Profile, Shape};
use crate::run::{Plan, Punch, SocketPlan, Wait, WorkerPlan};
use crate::schedule::{Beat, spread};
use crate::sender::StreamPlan;
use crate::system;
use anyhow::{Context, ensure};
use motet_net::{IoChoice, SocketId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Everything about a run of raw mode.
#[derive(Clone, Debug)]
pub struct RawLoad {
    /// Tells this run's packets from those of earlier ones.
    pub run: u32,
    /// Where to send; stream number k goes to address k modulo their number.
    pub send: Vec<SocketAddr>,
    /// Source port towards the first address; none: any.
    pub send_from: Option<u16>,
    /// Send to all addresses from one socket, instead of one each.
    pub one_source: bool,
    /// Send from the receivers' sockets.
    pub symmetric: bool,
    /// Where the first receiver listens.
    pub receive: SocketAddr,
    /// Receivers.
    pub receivers: u32,
    /// Distance of the receivers' ports.
    pub stride: u16,
    /// What each receiver should get.
    pub expect: Expect,
    /// Streams to send.
    pub streams: u32,
    /// Their shape.
    pub shape: Shape,
    /// RTP payload type.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock_hz: u32,
    /// Packets sent ahead of each stream and not accounted, for relays that do not forward the first
    /// packets of a new source.
    pub preamble: u16,
    /// For how long to send.
    pub duration: Duration,
    /// For how long to wait for the last packets.
    pub drain: Duration,
    /// Percent of packets that may be lost.
    pub loss_percent_max: f64,
    /// How packets are carried.
    pub io: IoChoice,
    /// How threads wait.
    pub wait: Wait,
    /// Threads; with 2 or more the first sends and the others receive.
    pub threads: u32,
    /// Cores to pin them to.
    pub cores: Vec<usize>,
}

impl RawLoad {
    /// From the command line.
    pub fn from_options(options: &LoadOptions, run: u32) -> RawLoad {
        let (payload_type, clock_hz) = match options.profile {
            Profile::Audio => (0, 8_000),
            Profile::Video => (96, 90_000),
        };
        RawLoad {
            run,
            send: options.send.clone(),
            send_from: options.send_from,
            one_source: false,
            symmetric: options.symmetric,
            receive: options.receive_from(),
            receivers: options.receivers,
            stride: options.stride,
            expect: options.expect.clone(),
            streams: options.streams,
            shape: options.shape(options.profile),
            payload_type: options.payload_type.unwrap_or(payload_type),
            clock_hz: options.clock.unwrap_or(clock_hz),
            preamble: options.preamble,
            duration: Duration::from_secs_f64(options.duration),
            drain: Duration::from_millis(options.drain_ms),
            loss_percent_max: options.max_loss,
            io: options.io,
            wait: options.wait(),
            threads: options.threads,
            cores: options.core.clone(),
        }
    }

    /// Binds the sockets. Errors name the address that cannot be had.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let mut workers: Vec<WorkerPlan> = (0..self.threads as usize)
            .map(|index| WorkerPlan { core: self.cores.get(index).copied(), ..WorkerPlan::default() })
            .collect();
        for receiver in 0..self.receivers {
            let index = self.receiver_worker(receiver);
            workers[index].sockets.push(self.receiver_socket(receiver)?);
        }
        let sources = if self.symmetric { Vec::new() } else { self.add_sources(&mut workers[0])? };
        for stream in 0..self.streams {
            let (worker, socket) = if self.symmetric {
                let receiver = stream % self.receivers;
                (self.receiver_worker(receiver), SocketId(self.place_in_worker(receiver)))
            } else {
                (0, sources[stream as usize % sources.len()])
            };
            let stream = self.stream(stream, socket);
            workers[worker].punches.extend(self.preamble(&stream));
            workers[worker].streams.push(stream);
        }
        if self.symmetric {
            for receiver in self.streams.min(self.receivers)..self.receivers {
                let socket = SocketId(self.place_in_worker(receiver));
                workers[self.receiver_worker(receiver)].punches.push(self.opener(receiver, socket));
            }
        }
        Ok(Plan {
            run: self.run,
            io: self.io,
            wait: self.wait,
            workers,
            duration: self.duration,
            drain: self.drain,
            loss_percent_max: self.loss_percent_max,
        })
    }

    /// With several threads the first only sends, unless every socket does both.
    fn receiver_worker(&self, receiver: u32) -> usize {
        match (self.threads, self.symmetric) {
            (1, _) => 0,
            (threads, true) => (receiver % threads) as usize,
            (threads, false) => 1 + (receiver % (threads - 1)) as usize,
        }
    }

    fn place_in_worker(&self, receiver: u32) -> u32 {
        match (self.threads, self.symmetric) {
            (1, _) => receiver,
            (threads, true) => receiver / threads,
            (threads, false) => receiver / (threads - 1),
        }
    }

    fn receiver_socket(&self, receiver: u32) -> anyhow::Result<SocketPlan> {
        let first = u32::from(self.receive.port());
        let port = if first == 0 { 0 } else { first + receiver * u32::from(self.stride) };
        ensure!(port <= 65_535, "--receivers {}: the ports pass 65535", self.receivers);
        let address = SocketAddr::new(self.receive.ip(), port as u16);
        let socket =
            system::bind(address).with_context(|| format!("--receive: cannot listen at {address}"))?;
        let streams = (0..self.streams)
            .filter(|stream| self.expect.includes(receiver, *stream, self.receivers))
            .map(|stream| (stream, Label::default()));
        let expectation = Expectation { receiver, streams: streams.collect() };
        Ok(SocketPlan { socket, expectation: Some(expectation) })
    }

    /// The packets just before the first accounted one of a stream.
    fn preamble(&self, stream: &StreamPlan) -> impl Iterator<Item = Punch> + use<> {
        let (socket, destination) = (stream.socket, stream.destination);
        let (ssrc, payload_type) = (stream.ssrc, stream.payload_type);
        (1..=self.preamble).rev().map(move |before| {
            let sequence = 0_u16.wrapping_sub(before);
            Punch { socket, destination, ssrc, payload_type, sequence, repeat: false }
        })
    }

    /// Opens the path of a receiver that sends nothing.
    fn opener(&self, receiver: u32, socket: SocketId) -> Punch {
        Punch {
            socket,
            destination: self.send[receiver as usize % self.send.len()],
            ssrc: self.ssrc(self.streams + receiver),
            payload_type: self.payload_type,
            sequence: 0,
            repeat: true,
        }
    }

    /// One source socket for each destination, or for all.
    fn add_sources(&self, worker: &mut WorkerPlan) -> anyhow::Result<Vec<SocketId>> {
        let mut sources = Vec::new();
        let count = if self.one_source { 1 } else { self.send.len() };
        for (index, destination) in self.send.iter().enumerate().take(count) {
            let port = match self.send_from {
                Some(first) => u32::from(first) + index as u32 * u32::from(self.stride),
                None => 0,
            };
            ensure!(port <= 65_535, "--send-from: the ports pass 65535");
            let address = SocketAddr::new(source_ip(destination.ip(), self.receive.ip()), port as u16);
            let socket =
                system::bind(address).with_context(|| format!("--send-from: cannot bind {address}"))?;
            sources.push(SocketId(worker.sockets.len() as u32));
            worker.sockets.push(SocketPlan { socket, expectation: None });
        }
        Ok(sources)
    }

    fn stream(&self, stream: u32, socket: SocketId) -> StreamPlan {
        let phase = spread(self.shape.interval, self.streams as usize, stream as usize);
        StreamPlan {
            stream,
            socket,
            destination: self.send[stream as usize % self.send.len()],
            ssrc: self.ssrc(stream),
            payload_type: self.payload_type,
            clock_hz: self.clock_hz,
            burst: self.shape.burst,
            packet_bytes: self.shape.packet_bytes,
            beat: Beat { interval: self.shape.interval, phase },
        }
    }

    /// Different for every stream and, most likely, every run.
    fn ssrc(&self, stream: u32) -> u32 {
        first_ssrc(self.run).wrapping_add(stream)
    }
}

/// SSRC of a run's first stream; those of the others follow.
pub fn first_ssrc(run: u32) -> u32 {
    run.wrapping_mul(0x9e37_79b1)
}

/// The receivers' address where it can reach the destination, so that relays that check the host agree.
fn source_ip(destination: IpAddr, receive: IpAddr) -> IpAddr {
    match (destination, receive) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => receive,
        (IpAddr::V4(_), _) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), _) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
