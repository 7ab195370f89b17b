//! Rows: kinds of work, with their goals.

use crate::relay::{Leg, Ports, Room};
use motet_net::IoChoice;
use motet_rtpgen::options::{Expect, Shape as StreamShape};
use motet_rtpgen::raw::RawLoad;
use motet_rtpgen::run::Wait;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Distance of the receivers' ports where there are few: a peer may want the odd ones for RTCP.
const STRIDE: u16 = 2;
/// Receivers of a room of ten, of which one publishes.
const ROOM_SINKS: u16 = 9;
/// Where participants share a port of the relay, the publishers' ports begin so many after the first.
const PUBLISHERS_AFTER: u16 = 20;

/// What the packets of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bursts of ten packets of 1,200 bytes: a video frame.
    Video,
    /// Single packets of 172 bytes: G.711.
    Audio,
}

impl Shape {
    /// RTP payload type of the streams.
    pub fn payload_type(self) -> u8 {
        match self {
            Shape::Video => 96,
            Shape::Audio => 0,
        }
    }

    /// RTP clock of the streams.
    pub fn clock_hz(self) -> u32 {
        match self {
            Shape::Video => 90_000,
            Shape::Audio => 8_000,
        }
    }

    /// Packets of a burst.
    pub fn burst(self) -> u32 {
        match self {
            Shape::Video => 10,
            Shape::Audio => 1,
        }
    }

    /// Bytes of a packet, RTP header included.
    pub fn packet_bytes(self) -> usize {
        match self {
            Shape::Video => 1200,
            Shape::Audio => 172,
        }
    }
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One publisher to so many receivers, each at a port of its own.
    FanOut(u16),
    /// So many rooms of ten legs, of which one publishes. The generator has one port to send from and
    /// nine to receive at, whatever the number of rooms, so that what grows is in the relay.
    Rooms(u16),
    /// The same at one port of the relay, which tells participants apart by their address: each publisher has
    /// a port of its own, each receiver an address of its own; the generator still receives at nine ports.
    SharedPort(u16),
    /// So many pairs that talk to each other, each participant at a port of its own.
    Calls(u16),
}

/// Most that the relay's processor time per packet may be, as a multiple of another's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goals {
    /// Of the bare loop's on the same back end.
    pub floor: Option<f64>,
    /// Of rtpengine's.
    pub rtpengine: Option<f64>,
}

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its stable name.
    pub name: &'static str,
    /// What the packets are.
    pub shape: Shape,
    /// Who sends to whom.
    pub work: Work,
    /// Time from burst to burst of one stream, for all subjects alike.
    pub interval: Duration,
    /// Goals of the project.
    pub goals: Goals,
}

const fn row(name: &'static str, shape: Shape, work: Work, interval_us: u64) -> Row {
    let goals = Goals { floor: None, rtpengine: None };
    Row { name, shape, work, interval: Duration::from_micros(interval_us), goals }
}

impl Row {
    const fn against(self, floor: Option<f64>, rtpengine: Option<f64>) -> Row {
        Row { goals: Goals { floor, rtpengine }, ..self }
    }
}

/// Every row. About 100,000 packets a second leave the relay, fewer where the fan-out is small; the rows
/// named "legs" keep packets a second and fan-out as they are while legs grow.
pub const ROWS: [Row; 15] = [
    row("video fan-out 1", Shape::Video, Work::FanOut(1), 1_000),
    row("video fan-out 5", Shape::Video, Work::FanOut(5), 1_000),
    row("video fan-out 20", Shape::Video, Work::FanOut(20), 2_000).against(Some(1.25), Some(0.25)),
    row("video fan-out 100", Shape::Video, Work::FanOut(100), 10_000).against(Some(1.25), Some(0.25)),
    row("audio fan-out 200", Shape::Audio, Work::FanOut(200), 2_000).against(Some(1.15), Some(0.7)),
    row("500 calls", Shape::Audio, Work::Calls(500), 20_000).against(None, Some(0.7)),
    row("video legs 10", Shape::Video, Work::Rooms(1), 900),
    row("video legs 100", Shape::Video, Work::Rooms(10), 9_000),
    row("video legs 1000", Shape::Video, Work::Rooms(100), 90_000),
    row("video legs 10000", Shape::Video, Work::Rooms(1_000), 900_000),
    row("audio legs 10", Shape::Audio, Work::Rooms(1), 180),
    row("audio legs 100", Shape::Audio, Work::Rooms(10), 1_800),
    row("audio legs 1000", Shape::Audio, Work::Rooms(100), 18_000),
    row("audio legs 10000", Shape::Audio, Work::Rooms(1_000), 180_000),
    row("one stream to 10000 legs", Shape::Audio, Work::FanOut(10_000), 40_000),
];

/// Legs that share a port of the relay; else as the rows named "legs".
pub const SHARED_PORT: [Row; 8] = [
    row("video legs 10, shared port", Shape::Video, Work::SharedPort(1), 900),
    row("video legs 100, shared port", Shape::Video, Work::SharedPort(10), 9_000),
    row("video legs 1000, shared port", Shape::Video, Work::SharedPort(100), 90_000),
    row("video legs 10000, shared port", Shape::Video, Work::SharedPort(1_000), 900_000),
    row("audio legs 10, shared port", Shape::Audio, Work::SharedPort(1), 180),
    row("audio legs 100, shared port", Shape::Audio, Work::SharedPort(10), 1_800),
    row("audio legs 1000, shared port", Shape::Audio, Work::SharedPort(100), 18_000),
    row("audio legs 10000, shared port", Shape::Audio, Work::SharedPort(1_000), 180_000),
];

/// One packet after another through a hundred rooms, so many that the relay's core is busy about half of the
/// time: how long they stay in it is what is measured.
pub const HALF_LOAD: Row = row("half load", Shape::Audio, Work::Rooms(100), 5_000);

/// Calls of two under which nodes are taken over: 50,000 packets a second, every millisecond one in each of
/// fifty streams, or every 20 ms one in each of a thousand.
pub const TAKE_OVERS: [Row; 2] = [
    row("take-over, 25 calls", Shape::Audio, Work::Calls(25), 1_000),
    row("take-over, 500 calls", Shape::Audio, Work::Calls(500), 20_000),
];

/// Ports that the generator needs at most.
pub const PORTS_MAX: u16 = 10_001;

/// A turn of a row: which it is, what it sends to, and for how long.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    /// Tells this turn's packets from those of others.
    pub run: u32,
    /// Where each stream goes.
    pub targets: &'a [SocketAddr],
    /// RTP payload type of the streams.
    pub payload_type: u8,
    /// For how long to send.
    pub duration: Duration,
    /// How the generator waits.
    pub wait: Wait,
    /// The generator's core.
    pub core: usize,
}

impl Row {
    /// Packets that leave the relay each second.
    pub fn packets_per_second(&self) -> f64 {
        let streams = match self.work {
            Work::FanOut(sinks) => f64::from(sinks),
            Work::Rooms(rooms) | Work::SharedPort(rooms) => f64::from(rooms) * f64::from(ROOM_SINKS),
            Work::Calls(calls) => 2.0 * f64::from(calls),
        };
        f64::from(self.shape.burst()) * streams / self.interval.as_secs_f64()
    }

    /// Legs of the relay.
    pub fn legs(&self) -> usize {
        match self.work {
            Work::FanOut(sinks) => usize::from(sinks) + 1,
            Work::Rooms(rooms) | Work::SharedPort(rooms) => usize::from(rooms) * usize::from(ROOM_SINKS + 1),
            Work::Calls(calls) => 2 * usize::from(calls),
        }
    }

    /// What is sent, for people.
    pub fn description(&self) -> String {
        let (burst, bytes, micros) =
            (self.shape.burst(), self.shape.packet_bytes(), self.interval.as_micros());
        let who = match self.work {
            Work::FanOut(sinks) => format!("to {sinks} sinks"),
            Work::Rooms(rooms) => format!("in each of {rooms} rooms of 10 legs, of which 9 receive"),
            Work::SharedPort(rooms) => {
                format!(
                    "in each of {rooms} rooms of 10 legs, of which 9 receive, all at one port of the relay"
                )
            }
            Work::Calls(calls) => format!("from each side of {calls} two-party calls"),
        };
        let offered = self.packets_per_second();
        format!("{burst} × {bytes} B every {micros} µs {who}: {offered:.0} packets/s leave the relay.")
    }

    /// Participants, with the generator's ports.
    pub fn rooms(&self, ports: &Ports) -> Vec<Room> {
        let sender = Leg { remote: ports.address(0), sends: true, receives: false };
        let sink = |index| {
            let remote = ports.address(1 + index * self.stride());
            Leg { remote, sends: false, receives: true }
        };
        let one_to = |sinks| Room { legs: std::iter::once(sender).chain((0..sinks).map(sink)).collect() };
        let talker = |index| Leg { sends: true, ..sink(index) };
        match self.work {
            Work::FanOut(sinks) => vec![one_to(sinks)],
            Work::Rooms(rooms) => (0..rooms).map(|_| one_to(ROOM_SINKS)).collect(),
            Work::SharedPort(rooms) => (0..rooms).map(|room| self.room_at_shared_port(ports, room)).collect(),
            Work::Calls(calls) => {
                (0..calls).map(|call| Room { legs: vec![talker(2 * call), talker(2 * call + 1)] }).collect()
            }
        }
    }

    /// A room whose participants all have addresses of their own, which lead to few sockets: those of the
    /// generator are bound to no address.
    fn room_at_shared_port(&self, ports: &Ports, room: u16) -> Room {
        let port = |index| ports.address(index).port();
        // What the kernel sends from such a socket on loopback has this source.
        let publisher =
            SocketAddr::from((Ipv4Addr::LOCALHOST, port(PUBLISHERS_AFTER + room * self.stride())));
        let [high, low] = room.to_be_bytes();
        let ip: IpAddr = [127, 2, high, low].into();
        let sinks = (0..ROOM_SINKS).map(|index| {
            let remote = SocketAddr::new(ip, port(1 + index * self.stride()));
            Leg { remote, sends: false, receives: true }
        });
        let publisher = Leg { remote: publisher, sends: true, receives: false };
        Room { legs: std::iter::once(publisher).chain(sinks).collect() }
    }

    /// Distance of the receivers' ports.
    fn stride(&self) -> u16 {
        match self.work {
            Work::FanOut(sinks) if sinks > 1_000 => 1,
            _ => STRIDE,
        }
    }

    /// What the generator does in one turn.
    pub fn load(&self, ports: &Ports, turn: &Turn<'_>) -> RawLoad {
        let streams = turn.targets.len() as u32;
        let (receivers, expect) = match self.work {
            Work::FanOut(sinks) => (u32::from(sinks), Expect::All),
            Work::Rooms(_) | Work::SharedPort(_) => (u32::from(ROOM_SINKS), Expect::All),
            Work::Calls(_) => {
                (streams, Expect::Map((0..streams).map(|stream| (stream ^ 1, stream)).collect()))
            }
        };
        let own_sources = matches!(self.work, Work::SharedPort(_));
        RawLoad {
            run: turn.run,
            send: turn.targets.to_vec(),
            send_from: Some(ports.first + if own_sources { PUBLISHERS_AFTER } else { 0 }),
            one_source: !own_sources,
            symmetric: matches!(self.work, Work::Calls(_)),
            receive: ports.address(1),
            receivers,
            stride: self.stride(),
            expect,
            streams,
            shape: StreamShape {
                packet_bytes: self.shape.packet_bytes(),
                burst: self.shape.burst(),
                interval: self.interval,
            },
            payload_type: turn.payload_type,
            clock_hz: self.shape.clock_hz(),
            preamble: 0,
            duration: turn.duration,
            drain: Duration::from_millis(300),
            loss_percent_max: 0.0,
            io: IoChoice::Mmsg,
            wait: turn.wait,
            threads: 1,
            cores: vec![turn.core],
        }
    }
}
