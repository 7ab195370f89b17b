//! Forwarding against a naive model: random commands and packets; who gets what, under which numbers.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Inbound, Kind, Latch, LegId, Numbering, Outbox, PayloadType, PortId, RouteId, RouteSpec,
    StreamId, StreamSpec,
};
use motet_rtp::{RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const LEGS: u32 = 5;
/// Stream 2 n is the sound of leg n, stream 2 n + 1 its picture.
const STREAMS: u32 = 6;
const ROUTES: u32 = 8;
const FIRST_SEQUENCE: u16 = 65_000;

#[derive(Clone, Debug)]
enum Step {
    AddRoute {
        route: u32,
        stream: u32,
        leg: u32,
        active: bool,
        shared: bool,
    },
    RemoveRoute(u32),
    SwitchRoute {
        route: u32,
        stream: u32,
    },
    SetRouteActive(u32, bool),
    AddStream(u32),
    RemoveStream(u32),
    /// One batch; a stream may send more than once, and others in between.
    Packets(Vec<u32>),
    /// A publisher's sequence numbers begin elsewhere.
    Restart(u32),
    /// A publisher's timestamps begin elsewhere.
    Retime(u32),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (route, stream) = (|| 0..ROUTES, || 0..STREAMS);
    prop_oneof![
        4 => (route(), stream(), 0..LEGS, any::<bool>(), any::<bool>()).prop_map(
            |(route, stream, leg, active, shared)| Step::AddRoute { route, stream, leg, active, shared }
        ),
        1 => route().prop_map(Step::RemoveRoute),
        3 => (route(), stream()).prop_map(|(route, stream)| Step::SwitchRoute { route, stream }),
        3 => (route(), any::<bool>()).prop_map(|(route, active)| Step::SetRouteActive(route, active)),
        1 => stream().prop_map(Step::AddStream),
        1 => stream().prop_map(Step::RemoveStream),
        8 => proptest::collection::vec(stream(), 1..12).prop_map(Step::Packets),
        1 => stream().prop_map(Step::Restart),
        1 => stream().prop_map(Step::Retime),
        4 => (0..3_000_u16).prop_map(Step::Pass),
    ]
}

/// What a publisher sends next, and what the relay knows of it.
#[derive(Clone, Copy, Debug)]
struct Publisher {
    sequence: u16,
    timestamp_base: u32,
    exists: bool,
    started: bool,
    /// The next packet jumps, the one after it proves the restart.
    jumps: bool,
    proves: bool,
}

#[derive(Clone, Copy, Debug)]
struct ModelRoute {
    stream: Option<u32>,
    leg: u32,
    active: bool,
    ssrc: u32,
    /// None: any number, since it joins others where they are.
    next_sequence: Option<u16>,
    /// Timestamp sent last, when, and of which stream.
    last: Option<(u32, Time, u32)>,
}

struct World {
    script: Script,
    publishers: Vec<Publisher>,
    routes: BTreeMap<u32, ModelRoute>,
    packets: u32,
}

fn clock_hz(stream: u32) -> u32 {
    if stream.is_multiple_of(2) { 48_000 } else { 90_000 }
}

fn payload_type(stream: u32) -> u8 {
    if stream.is_multiple_of(2) { 111 } else { 96 }
}

impl World {
    fn new() -> World {
        let mut script = Script::default();
        (0..LEGS).for_each(|leg| {
            script.leg(leg, Latch::Strict);
        });
        let publisher = |stream: u32| Publisher {
            sequence: (stream * 13_000) as u16,
            timestamp_base: stream.wrapping_mul(0x2fff_ffff),
            exists: false,
            started: false,
            jumps: false,
            proves: false,
        };
        let publishers = (0..STREAMS).map(publisher).collect();
        let mut world = World { script, publishers, routes: BTreeMap::new(), packets: 0 };
        (0..STREAMS).for_each(|stream| world.step(Step::AddStream(stream)));
        world
    }

    /// Gives a command to the relay, which must take it just when the model does.
    fn command(&mut self, command: Command, allowed: bool) {
        let shown = format!("{command:?}");
        let answer = self.script.relay.handle_command(self.script.now, command, &mut Outbox::new());
        assert_eq!(answer.is_ok(), allowed, "{shown}: {answer:?}");
    }

    fn step(&mut self, step: Step) {
        match step {
            step @ Step::AddRoute { .. } => self.add_route(&step),
            Step::RemoveRoute(route) => {
                let held = self.routes.remove(&route).is_some();
                self.command(Command::RemoveRoute(RouteId(route)), held);
            }
            Step::SwitchRoute { route, stream } => {
                let exists = self.publishers[stream as usize].exists;
                let held = self.routes.get_mut(&route).filter(|_| exists);
                let allowed = held.map(|held| held.stream = Some(stream)).is_some();
                let payload_map = vec![(96, 97), (111, 112)];
                let (route, stream) = (RouteId(route), StreamId(stream));
                self.command(Command::SwitchRoute { route, stream, payload_map }, allowed);
            }
            Step::SetRouteActive(route, active) => {
                let allowed = self.routes.get_mut(&route).map(|held| held.active = active).is_some();
                self.command(Command::SetRouteActive(RouteId(route), active), allowed);
            }
            Step::AddStream(stream) => self.add_stream(stream),
            Step::RemoveStream(stream) => {
                let existed = std::mem::replace(&mut self.publishers[stream as usize].exists, false);
                let carrying = self.routes.values_mut().filter(|route| route.stream == Some(stream));
                carrying.for_each(|route| route.stream = None);
                self.command(Command::RemoveStream(StreamId(stream)), existed);
            }
            Step::Packets(streams) => self.packets(&streams),
            Step::Restart(stream) => {
                let publisher = &mut self.publishers[stream as usize];
                if publisher.started && !publisher.jumps && !publisher.proves {
                    publisher.jumps = true;
                    publisher.sequence = publisher.sequence.wrapping_add(20_000);
                    publisher.timestamp_base = publisher.timestamp_base.wrapping_mul(77);
                }
            }
            Step::Retime(stream) => {
                let base = &mut self.publishers[stream as usize].timestamp_base;
                *base = base.wrapping_add(1_000_000_007);
            }
            Step::Pass(ms) => {
                self.script.pass(Duration::from_millis(ms.into()));
            }
        }
    }

    fn add_stream(&mut self, stream: u32) {
        let publisher = &mut self.publishers[stream as usize];
        let allowed = !publisher.exists;
        if allowed {
            *publisher =
                Publisher { exists: true, started: false, jumps: false, proves: false, ..*publisher };
        }
        let kind = if stream.is_multiple_of(2) { Kind::Audio } else { Kind::Video };
        let payload_types = vec![PayloadType { number: payload_type(stream), clock_hz: clock_hz(stream) }];
        let spec = StreamSpec { leg: LegId(stream / 2), transport: 0, kind, ssrc: None, payload_types };
        self.command(Command::AddStream(StreamId(stream), spec), allowed);
    }

    fn add_route(&mut self, step: &Step) {
        let &Step::AddRoute { route, stream, leg, active, shared } = step else { unreachable!() };
        let ssrc = if shared { 0xc000 + stream } else { 0xa000 + route };
        let allowed = !self.routes.contains_key(&route)
            && self.publishers[stream as usize].exists
            && self.routes.values().all(|held| (held.leg, held.ssrc) != (leg, ssrc));
        if allowed {
            let next_sequence = (!shared).then_some(FIRST_SEQUENCE);
            let held = ModelRoute { stream: Some(stream), leg, active, ssrc, next_sequence, last: None };
            self.routes.insert(route, held);
        }
        let spec = RouteSpec {
            stream: StreamId(stream),
            leg: LegId(leg),
            transport: 0,
            ssrc,
            payload_map: vec![(96, 97), (111, 112)],
            numbering: Numbering::Begin { sequence: FIRST_SEQUENCE, timestamp: u32::MAX - 1_000 },
            active,
            shared,
        };
        self.command(Command::AddRoute(RouteId(route), spec), allowed);
    }

    /// A publisher's next packet.
    fn packet(&mut self, stream: u32) -> Vec<u8> {
        let publisher = &mut self.publishers[stream as usize];
        let nanos = u128::from(self.script.now.as_nanos());
        let elapsed = (nanos * u128::from(clock_hz(stream)) / 1_000_000_000) as u32;
        let packet = RtpBuilder::new(0x100 + stream)
            .payload_type(payload_type(stream))
            .sequence(WireSeq(publisher.sequence))
            .timestamp(WireTimestamp(publisher.timestamp_base.wrapping_add(elapsed)))
            .payload(&self.packets.to_be_bytes())
            .to_vec();
        publisher.sequence = publisher.sequence.wrapping_add(1);
        self.packets += 1;
        packet
    }

    /// Routes that are to carry the next packet of a stream.
    fn carriers(&mut self, stream: u32) -> Vec<u32> {
        let publisher = &mut self.publishers[stream as usize];
        if !publisher.exists {
            return Vec::new();
        }
        publisher.started = true;
        publisher.proves = std::mem::take(&mut publisher.jumps);
        if publisher.proves {
            return Vec::new();
        }
        let carries = |route: &ModelRoute| route.active && route.stream == Some(stream);
        self.routes.iter().filter(|(_, route)| carries(route)).map(|(id, _)| *id).collect()
    }

    /// One batch, and what the model says of it: packet numbers by route.
    fn packets(&mut self, streams: &[u32]) {
        let mut expected: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut datagrams = Vec::new();
        for &stream in streams {
            for route in self.carriers(stream) {
                expected.entry(route).or_default().push(self.packets);
            }
            datagrams.push((stream / 2, self.packet(stream)));
        }
        let run =
            |leg, bytes| Inbound { port: PortId(leg), source: participant(leg), bytes, segment_bytes: 99 };
        let runs: Vec<_> = datagrams.iter().map(|(leg, bytes)| run(*leg, bytes.as_slice())).collect();
        let mut sent = self.script.batch(&runs);
        sent.retain(|sent| !(192..=223).contains(&sent.bytes[1]));
        let mut ports: Vec<u32> = sent.iter().map(|sent| sent.port.0).collect();
        ports.dedup();
        let in_runs = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), in_runs, "what goes to one receiver lies together");
        self.compare(&sent, &expected);
    }

    fn compare(&mut self, sent: &[Sent], expected: &BTreeMap<u32, Vec<u32>>) {
        let mut got: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for sent in sent {
            let view = RtpView::new(&sent.bytes).expect("well-formed RTP");
            let mut routes = self.routes.iter_mut();
            let (&id, route) = routes
                .find(|(_, route)| (PortId(route.leg), route.ssrc) == (sent.port, view.ssrc()))
                .expect("only routes send");
            let stream = route.stream.expect("a route without a stream is silent");
            assert_eq!((sent.port, sent.destination), (PortId(route.leg), participant(route.leg)));
            assert_eq!(view.payload_type(), payload_type(stream) + 1);
            let sequence = view.sequence().0;
            let next = route.next_sequence.unwrap_or(sequence);
            assert_eq!(sequence, next, "route {id}: no gap, whatever happened");
            let now = self.script.now;
            if let Some((before, at, carried)) = route.last {
                let step = view.timestamp().distance(WireTimestamp(before));
                let elapsed = now.since(at).as_nanos() * u128::from(clock_hz(stream)) / 1_000_000_000;
                let least = i32::from(carried != stream);
                assert!(step >= least, "route {id}: back by {step}");
                assert!(step.unsigned_abs() as u128 <= elapsed + 1, "route {id}: {step} in {elapsed} ticks");
            }
            route.next_sequence = Some(sequence.wrapping_add(1));
            route.last = Some((view.timestamp().0, now, stream));
            let payload = view.payload().try_into().expect("four bytes");
            got.entry(id).or_default().push(u32::from_be_bytes(payload));
        }
        assert_eq!(&got, expected);
    }
}

proptest! {
    #[test]
    fn forwarding_is_what_the_model_says(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
    }
}
