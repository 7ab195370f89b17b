//! One relay with a whole conference, and two with half of it each.
//!
//! Legs 0 to 2 are on the left, 3 to 5 on the right. Leg 0 publishes streams 0 (sound) and 1 (picture), leg 3
//! publishes stream 2 (picture); each goes to all other legs.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Inbound, Kind, Latch, LegId, LegSpec, Numbering, PayloadType, PortId, RouteId, RouteSpec,
    StreamId, StreamSpec, TransportSpec,
};
use motet_rtp::{RtpBuilder, WireSeq, WireTimestamp};
use std::net::SocketAddr;
use std::time::Duration;

pub const LEGS: u32 = 6;
pub const STREAMS: u32 = 3;
pub const SSRCS: [u32; 3] = [0x100, 0x101, 0x102];
pub const PAYLOAD_TYPES: [u8; 3] = [111, 96, 96];
/// Route numbers of trunks begin here.
pub const TRUNK_ROUTES: u32 = 100;
pub const TRUNKS: [Trunk; 2] = [
    Trunk { port: 10, publisher: 0, to_right: true, streams: &[0, 1] },
    Trunk { port: 11, publisher: 3, to_right: false, streams: &[2] },
];

/// What crosses from one side to the other for one publisher. Port and leg have one number on both sides.
pub struct Trunk {
    pub port: u32,
    pub publisher: u32,
    pub to_right: bool,
    pub streams: &'static [u32],
}

/// What a publisher sends next.
#[derive(Clone, Copy, Debug)]
pub struct Publisher {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
}

impl Publisher {
    pub fn packet(&self, payload_type: u8) -> Vec<u8> {
        RtpBuilder::new(self.ssrc)
            .payload_type(payload_type)
            .sequence(WireSeq(self.sequence))
            .timestamp(WireTimestamp(self.timestamp))
            .payload(&self.sequence.to_be_bytes().repeat(40))
            .to_vec()
    }
}

pub struct World {
    pub whole: Script,
    pub left: Script,
    pub right: Script,
    pub publishers: Vec<Publisher>,
    /// Media packets that went from one side to the other.
    pub crossed: u64,
    /// Requests for key frames that legs 0 and 3 got, in the whole relay and in the two.
    requests: [[usize; 2]; 2],
}

pub fn publisher_of(stream: u32) -> u32 {
    if stream < 2 { 0 } else { 3 }
}

pub fn is_left(leg: u32) -> bool {
    leg < 3
}

/// Number of the route of a stream to a leg, the same in all relays.
pub fn route(stream: u32, leg: u32) -> u32 {
    10 * stream + leg
}

pub fn is_rtcp(sent: &Sent) -> bool {
    (192..=223).contains(&sent.bytes[1])
}

fn peer() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

impl World {
    /// With every stream begun and the first requests for key frames answered.
    pub fn new() -> World {
        let mut world = World {
            whole: Script::default(),
            left: Script::default(),
            right: Script::default(),
            publishers: SSRCS.map(|ssrc| Publisher { ssrc, sequence: 5, timestamp: 7_000 }).to_vec(),
            crossed: 0,
            requests: [[0; 2]; 2],
        };
        for leg in 0..LEGS {
            world.whole.leg(leg, Latch::Strict);
            world.side(leg).leg(leg, Latch::Strict);
        }
        for stream in 0..STREAMS {
            let kind = if stream == 0 { Kind::Audio } else { Kind::Video };
            world.whole.stream(stream, publisher_of(stream), kind);
            world.side(publisher_of(stream)).stream(stream, publisher_of(stream), kind);
        }
        TRUNKS.iter().for_each(|trunk| world.open(trunk));
        for stream in 0..STREAMS {
            for leg in (0..LEGS).filter(|leg| *leg != publisher_of(stream)) {
                world.whole.route(route(stream, leg), stream, leg);
                world.side(leg).route(route(stream, leg), stream, leg);
            }
        }
        world.packets(&[0, 1, 2]);
        world.pass(Duration::from_secs(2));
        world
    }

    fn side(&mut self, leg: u32) -> &mut Script {
        if is_left(leg) { &mut self.left } else { &mut self.right }
    }

    fn open(&mut self, trunk: &Trunk) {
        let spec = || LegSpec {
            cname: format!("leg{}@test", trunk.publisher),
            report_ssrc: 0xe000_0000 | trunk.port,
            transports: vec![TransportSpec {
                rtp: PortId(trunk.port),
                rtcp: None,
                remote: Some(peer()),
                remote_rtcp: None,
                latch: Latch::Trunk,
            }],
        };
        let (from, to) = if trunk.to_right {
            (&mut self.left, &mut self.right)
        } else {
            (&mut self.right, &mut self.left)
        };
        from.command(Command::AddLeg(LegId(trunk.port), spec()));
        to.command(Command::AddLeg(LegId(trunk.port), spec()));
        for stream in trunk.streams {
            let number = PAYLOAD_TYPES[*stream as usize];
            let (kind, clock_hz) = if *stream == 0 { (Kind::Audio, 48_000) } else { (Kind::Video, 90_000) };
            let ssrc = 0xc000 + stream;
            let payload_types = vec![PayloadType { number, clock_hz }];
            let arriving =
                StreamSpec { leg: LegId(trunk.port), transport: 0, kind, ssrc: Some(ssrc), payload_types };
            to.command(Command::AddStream(StreamId(*stream), arriving));
            let crossing = RouteSpec {
                stream: StreamId(*stream),
                leg: LegId(trunk.port),
                transport: 0,
                ssrc,
                payload_map: vec![(number, number)],
                numbering: Numbering::Begin { sequence: 65_500, timestamp: 77 },
                active: true,
                shared: false,
            };
            from.command(Command::AddRoute(RouteId(TRUNK_ROUTES + stream), crossing));
        }
    }

    /// The same command for a route in the whole relay and on its side; gives what each sent.
    pub fn command(&mut self, leg: u32, command: Command) -> (Vec<Sent>, Vec<Sent>) {
        let whole = self.whole.command(command.clone());
        let sent = self.side(leg).command(command);
        self.both(whole, sent, is_left(leg))
    }

    /// One packet of each of these streams, in one batch on each side.
    pub fn packets(&mut self, streams: &[u32]) -> (Vec<Sent>, Vec<Sent>) {
        let mut bytes = Vec::new();
        for stream in streams {
            let publisher = &mut self.publishers[*stream as usize];
            bytes.push((publisher_of(*stream), publisher.packet(PAYLOAD_TYPES[*stream as usize])));
            publisher.sequence = publisher.sequence.wrapping_add(1);
        }
        self.datagrams(&bytes)
    }

    /// A datagram that leg `leg` sends, given to both.
    pub fn datagram(&mut self, leg: u32, bytes: &[u8]) -> (Vec<Sent>, Vec<Sent>) {
        self.datagrams(&[(leg, bytes.to_vec())])
    }

    /// Datagrams with the legs that send them.
    pub fn datagrams(&mut self, datagrams: &[(u32, Vec<u8>)]) -> (Vec<Sent>, Vec<Sent>) {
        let whole = batch(&mut self.whole, datagrams);
        let of = |left: bool| {
            datagrams.iter().filter(|(leg, _)| is_left(*leg) == left).cloned().collect::<Vec<_>>()
        };
        let (left, right) = (batch(&mut self.left, &of(true)), batch(&mut self.right, &of(false)));
        let (mut whole, mut spread) = self.both(whole, left, true);
        let (_, more) = self.both(Vec::new(), right, false);
        spread.extend(more);
        (std::mem::take(&mut whole), spread)
    }

    /// Packets of a stream of the left side that the whole relay does not see.
    pub fn publish_left_only(&mut self, stream: u32, count: u32) -> Vec<Sent> {
        let mut sent = Vec::new();
        for _ in 0..count {
            let publisher = &mut self.publishers[stream as usize];
            let packet = publisher.packet(PAYLOAD_TYPES[stream as usize]);
            publisher.sequence = publisher.sequence.wrapping_add(1);
            let made = batch(&mut self.left, &[(publisher_of(stream), packet)]);
            sent.extend(self.cross(made, true));
        }
        sent
    }

    /// Lets time pass everywhere, timer by timer, so that what a timer sends crosses at once.
    pub fn pass(&mut self, time: Duration) -> (Vec<Sent>, Vec<Sent>) {
        let end = self.whole.now + time;
        let (mut whole, mut spread) = (Vec::new(), Vec::new());
        loop {
            let timers = [&self.whole, &self.left, &self.right].map(|script| script.relay.poll_timeout());
            let next = timers.into_iter().min().unwrap_or(end).min(end);
            let step = next.since(self.whole.now);
            let one = self.whole.pass(step);
            let (left, right) = (self.left.pass(step), self.right.pass(step));
            let (one, two) = self.both(one, left, true);
            whole.extend(one);
            spread.extend(two);
            spread.extend(self.both(Vec::new(), right, false).1);
            if next == end && timers.into_iter().all(|at| at > end) {
                break;
            }
        }
        let seconds = time.as_secs_f64();
        for (stream, publisher) in self.publishers.iter_mut().enumerate() {
            let clock = if stream == 0 { 48_000.0 } else { 90_000.0 };
            publisher.timestamp = publisher.timestamp.wrapping_add((seconds * clock) as u32);
        }
        (whole, spread)
    }

    /// Requests for key frames that a publisher got in the two relays; in the whole one it got as many.
    pub fn requests_to(&self, leg: u32) -> usize {
        let [whole, spread] = self.requests[usize::from(leg == 3)];
        assert_eq!(whole, spread, "requests to leg {leg} in one relay and in two");
        spread
    }

    fn both(&mut self, whole: Vec<Sent>, made: Vec<Sent>, left: bool) -> (Vec<Sent>, Vec<Sent>) {
        let spread = self.cross(made, left);
        for (index, leg) in [(0, 0), (1, 3)] {
            self.requests[index][0] += requests(&whole, leg);
            self.requests[index][1] += requests(&spread, leg);
        }
        (whole, spread)
    }

    /// Carries what is for the other side there, and back what that makes; gives what is for participants.
    fn cross(&mut self, made: Vec<Sent>, left: bool) -> Vec<Sent> {
        let (over, mut sent): (Vec<Sent>, Vec<Sent>) =
            made.into_iter().partition(|sent| sent.port.0 >= TRUNKS[0].port);
        if over.is_empty() {
            return sent;
        }
        self.crossed += over.iter().filter(|sent| !is_rtcp(sent)).count() as u64;
        let run = |sent: &Sent| (sent.port, sent.bytes.clone());
        let runs: Vec<(PortId, Vec<u8>)> = over.iter().map(run).collect();
        let inbound: Vec<Inbound<'_>> = runs
            .iter()
            .map(|(port, bytes)| Inbound { port: *port, source: peer(), bytes, segment_bytes: bytes.len() })
            .collect();
        let other = if left { &mut self.right } else { &mut self.left };
        let made = other.batch(&inbound);
        sent.extend(self.cross(made, !left));
        sent
    }
}

fn batch(script: &mut Script, datagrams: &[(u32, Vec<u8>)]) -> Vec<Sent> {
    let run = |(leg, bytes): &(u32, Vec<u8>)| (PortId(*leg), participant(*leg), bytes.clone());
    let runs: Vec<_> = datagrams.iter().map(run).collect();
    let inbound: Vec<Inbound<'_>> = runs
        .iter()
        .map(|(port, source, bytes)| Inbound {
            port: *port,
            source: *source,
            bytes,
            segment_bytes: bytes.len(),
        })
        .collect();
    script.batch(&inbound)
}

/// Requests for key frames among what went to a leg.
fn requests(sent: &[Sent], leg: u32) -> usize {
    let asks = |sent: &&Sent| {
        sent.port.0 == leg && is_rtcp(sent) && sent.bytes.windows(2).any(|two| two == [0x81, 206])
    };
    sent.iter().filter(asks).count()
}
