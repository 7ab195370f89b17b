//! What may happen to a relay, and one that it happens to.

use motet_relay::snapshot::{Numbers, RelaySnapshot};
use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Event, Inbound, Kind, Latch, LegId, LegSpec, Numbering, Outbox, PayloadType, PortId, Relay,
    RelayConfig, RouteId, RouteSpec, StreamId, StreamSpec, TransportSpec,
};
use motet_rtp::rtcp::{
    FirEntry, SenderInfo, write_bye, write_fir, write_pli, write_receiver_report, write_sender_report,
};
use motet_rtp::{Ntp, RtpBuilder, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

const LEGS: u32 = 4;
const STREAMS: u32 = 8;
const ROUTES: u32 = 10;

#[derive(Clone, Debug)]
pub enum Step {
    AddLeg(u32, u8),
    RemoveLeg(u32),
    SetRemote(u32, u8, bool),
    AddStream(u32),
    RemoveStream(u32),
    AddRoute {
        route: u32,
        stream: u32,
        leg: u32,
        shared: bool,
    },
    RemoveRoute(u32),
    SwitchRoute {
        route: u32,
        stream: u32,
    },
    SetRouteActive(u32, bool),
    RequestKeyFrame(u32),
    /// Streams, and by how much each packet's number differs from the one after the last.
    Packets(Vec<(u32, i16)>),
    /// As a stream's next packet, but under another SSRC, payload type or from another address.
    Odd {
        stream: u32,
        ssrc: u32,
        event: bool,
        elsewhere: bool,
    },
    Report(u32),
    Ask {
        leg: u32,
        route: u32,
        full: bool,
    },
    Bye(u32),
    Pass(u16),
    /// Write down and take up.
    Restore,
}

pub fn step() -> impl Strategy<Value = Step> {
    let (leg, stream, route) = (|| 0..LEGS, || 0..STREAMS, || 0..ROUTES);
    let number = prop_oneof![20 => Just(0i16), 2 => -3..4i16, 1 => Just(20_000)];
    prop_oneof![
        1 => (leg(), 0..3u8).prop_map(|(leg, latch)| Step::AddLeg(leg, latch)),
        1 => leg().prop_map(Step::RemoveLeg),
        1 => (leg(), 0..3u8, any::<bool>()).prop_map(|(leg, latch, re)| Step::SetRemote(leg, latch, re)),
        2 => stream().prop_map(Step::AddStream),
        1 => stream().prop_map(Step::RemoveStream),
        5 => (route(), stream(), leg(), any::<bool>())
            .prop_map(|(route, stream, leg, shared)| Step::AddRoute { route, stream, leg, shared }),
        1 => route().prop_map(Step::RemoveRoute),
        2 => (route(), stream()).prop_map(|(route, stream)| Step::SwitchRoute { route, stream }),
        2 => (route(), any::<bool>()).prop_map(|(route, active)| Step::SetRouteActive(route, active)),
        1 => stream().prop_map(Step::RequestKeyFrame),
        14 => proptest::collection::vec((stream(), number), 1..10).prop_map(Step::Packets),
        3 => (stream(), 0..2u32, any::<bool>(), any::<bool>()).prop_map(|(stream, ssrc, event, elsewhere)|
            Step::Odd { stream, ssrc, event, elsewhere }),
        2 => stream().prop_map(Step::Report),
        2 => (leg(), route(), any::<bool>()).prop_map(|(leg, route, full)| Step::Ask { leg, route, full }),
        1 => stream().prop_map(Step::Bye),
        6 => (0..2_500u16).prop_map(Step::Pass),
        6 => Just(Step::Restore),
    ]
}

/// What came of a step.
pub type Outcome = (Vec<Sent>, Vec<Event>, Option<bool>);

/// A relay and what the publishers have sent so far; the same steps make the same packets.
pub struct Side {
    pub script: Script,
    /// Another relay, which holds other legs, too.
    pub other: Script,
    /// What is here has numbers higher by this: after each move of what it was before in the other one.
    pub shift: u32,
    sequences: [u16; STREAMS as usize],
}

pub fn config() -> RelayConfig {
    RelayConfig { ntp_origin: Ntp(0x1234_5678_0000_0000), ..RelayConfig::default() }
}

fn latch(number: u8) -> Latch {
    [Latch::Symmetric, Latch::Fixed, Latch::Strict][usize::from(number)]
}

impl Side {
    pub fn new() -> Side {
        let (script, other) = (Script::default(), Script::default());
        let mut side = Side { script, other, shift: 0, sequences: [65_500; 8] };
        side.script.relay = Relay::new(config());
        side.other.relay = Relay::new(config());
        side.other.leg(BYSTANDER.0, Latch::Symmetric);
        (0..LEGS).for_each(|leg| drop(side.step(&Step::AddLeg(leg, (leg % 3) as u8))));
        (0..STREAMS).for_each(|stream| drop(side.step(&Step::AddStream(stream))));
        side
    }

    pub fn step(&mut self, step: &Step) -> Outcome {
        if matches!(step, Step::AddLeg(..)) && self.shift > 0 {
            // When a leg's first report is due depends on its number.
            self.relocate();
        }
        let (sent, events, answer) = self.do_step(step);
        let port = |port: PortId| PortId(port.0 - self.shift);
        let sent = sent.into_iter().map(|sent| Sent { port: port(sent.port), ..sent });
        let events =
            events.into_iter().filter(|event| !matches!(event, Event::LegSilent { leg: BYSTANDER, .. }));
        let events = events.map(|event| unshifted(event, self.shift));
        (sent.collect(), events.collect(), answer)
    }

    fn do_step(&mut self, step: &Step) -> Outcome {
        match step.clone() {
            Step::Packets(numbers) => {
                let datagrams: Vec<_> = numbers
                    .into_iter()
                    .map(|(stream, off)| (stream / 2, participant(stream / 2), self.packet(stream, off)))
                    .collect();
                self.batch(&datagrams)
            }
            Step::Odd { stream, ssrc, event, elsewhere } => {
                let mut packet = self.packet(stream, 0);
                packet[11] ^= ssrc as u8;
                if event {
                    packet[1] = 101;
                }
                let from = participant(stream / 2 + if elsewhere { 100 } else { 0 });
                self.batch(&[(stream / 2, from, packet)])
            }
            Step::Report(stream) => {
                let mut bytes = Vec::new();
                let ntp = Ntp(self.script.now.as_nanos() << 3 | 1 << 40);
                let rtp_timestamp = WireTimestamp(self.timestamp(stream));
                let info = SenderInfo { ntp, rtp_timestamp, packets: 9, octets: 900 };
                write_sender_report(&mut bytes, 0x100 + stream, &info, &[]);
                self.batch(&[(stream / 2, participant(stream / 2), bytes)])
            }
            Step::Ask { leg, route, full } => {
                let mut bytes = Vec::new();
                write_receiver_report(&mut bytes, 0x200 + leg, &[]);
                match full {
                    false => write_pli(&mut bytes, 0x200 + leg, 0xa000 + route),
                    true => {
                        let entry = FirEntry { ssrc: 0xa000 + route, sequence: 7 };
                        write_fir(&mut bytes, 0x200 + leg, &[entry]);
                    }
                }
                self.batch(&[(leg, participant(leg), bytes)])
            }
            Step::Bye(stream) => {
                let mut bytes = Vec::new();
                write_receiver_report(&mut bytes, 0x100 + stream, &[]);
                write_bye(&mut bytes, &[0x100 + stream], None);
                self.batch(&[(stream / 2, participant(stream / 2), bytes)])
            }
            Step::Pass(ms) => self.pass(Duration::from_millis(ms.into())),
            Step::Restore => Outcome::default(),
            command => {
                let mut out = Outbox::new();
                let answer = self.script.relay.handle_command(
                    self.script.now,
                    as_command(command, self.shift),
                    &mut out,
                );
                let sent = out.messages().map(|message| Sent {
                    port: message.port,
                    destination: message.destination,
                    bytes: message.header.to_vec(),
                });
                (sent.collect(), out.events().to_vec(), Some(answer.is_ok()))
            }
        }
    }

    fn timestamp(&self, stream: u32) -> u32 {
        ((self.script.now.as_nanos() / 100_000) as u32 * 9).wrapping_add(stream.wrapping_mul(1_000_000_007))
    }

    fn packet(&mut self, stream: u32, off: i16) -> Vec<u8> {
        let sequence = &mut self.sequences[stream as usize];
        *sequence = sequence.wrapping_add_signed(off).wrapping_add(1);
        RtpBuilder::new(0x100 + stream)
            .payload_type(96 + (stream % 2) as u8)
            .sequence(WireSeq(*sequence))
            .timestamp(WireTimestamp(self.timestamp(stream)))
            .payload(&[stream as u8; 30])
            .to_vec()
    }

    fn batch(&mut self, datagrams: &[(u32, SocketAddr, Vec<u8>)]) -> Outcome {
        let runs: Vec<Inbound<'_>> = datagrams
            .iter()
            .map(|(port, source, bytes)| Inbound {
                port: PortId(*port + self.shift),
                source: *source,
                bytes,
                segment_bytes: bytes.len(),
            })
            .collect();
        (self.script.batch(&runs), self.script.events(), None)
    }

    fn pass(&mut self, time: Duration) -> Outcome {
        (self.script.pass(time), self.script.events(), None)
    }

    /// Through bytes and back.
    pub fn restore(&mut self) {
        let before = self.script.relay.snapshot();
        let bytes = rmp_serde::to_vec_named(&before).expect("it can be written");
        let read: RelaySnapshot = rmp_serde::from_slice(&bytes).expect("it can be read");
        assert_eq!(read, before);
        self.script.relay = Relay::restore(config(), &read).expect("it fits");
        assert_eq!(self.script.relay.snapshot(), before, "nothing is lost in between");
    }

    /// To the other relay, under other numbers.
    pub fn relocate(&mut self) {
        let before = self.script.relay.counts();
        let legs: Vec<LegId> = (0..LEGS).map(|leg| LegId(leg + self.shift)).collect();
        let snapshot = self.script.relay.snapshot().part;
        let here: Vec<LegId> =
            legs.into_iter().filter(|id| snapshot.legs.iter().any(|leg| leg.id == *id)).collect();
        let numbers = numbers(self.shift, SHIFT - self.shift);
        let part = self.script.relay.take_part(&here).expect("it stands alone");
        let there = part.renumbered(&numbers).expect("all have numbers");
        assert_eq!(there.renumbered(&numbers.reversed()).as_ref(), Ok(&part));
        self.other.now = self.script.now;
        self.other.relay.add_part(&there).expect("there is room");
        let left = self.script.relay.counts();
        assert_eq!((left.legs, left.streams, left.routes), (before.legs - here.len(), 0, 0));
        std::mem::swap(&mut self.script, &mut self.other);
        self.shift = SHIFT - self.shift;
    }
}

/// By how much numbers differ in the other relay.
const SHIFT: u32 = 50;
/// A leg that always is in the other relay.
const BYSTANDER: LegId = LegId(20);

/// The event under the numbers that alone would have.
fn unshifted(event: Event, shift: u32) -> Event {
    let (in_leg, in_stream) = (|leg: LegId| LegId(leg.0 - shift), |id: StreamId| StreamId(id.0 - shift));
    match event {
        Event::LegAlive { leg, transport, source } => Event::LegAlive { leg: in_leg(leg), transport, source },
        Event::LegSilent { leg, silent } => Event::LegSilent { leg: in_leg(leg), silent },
        Event::StreamStarted { stream, ssrc } => Event::StreamStarted { stream: in_stream(stream), ssrc },
        Event::StreamSilent { stream, silent } => Event::StreamSilent { stream: in_stream(stream), silent },
        Event::StreamResumed { stream } => Event::StreamResumed { stream: in_stream(stream) },
        Event::StreamEnded { stream } => Event::StreamEnded { stream: in_stream(stream) },
        Event::KeyFrameWanted { stream } => Event::KeyFrameWanted { stream: in_stream(stream) },
    }
}

fn numbers(from: u32, to: u32) -> Numbers {
    Numbers {
        legs: (0..LEGS).map(|n| (LegId(n + from), LegId(n + to))).collect(),
        streams: (0..STREAMS).map(|n| (StreamId(n + from), StreamId(n + to))).collect(),
        routes: (0..ROUTES).map(|n| (RouteId(n + from), RouteId(n + to))).collect(),
        ports: (0..LEGS).map(|n| (PortId(n + from), PortId(n + to))).collect(),
    }
}

fn as_command(step: Step, shift: u32) -> Command {
    let payload_map = vec![(96, 98), (97, 99), (101, 101)];
    match step {
        Step::AddLeg(n, policy) => {
            let latch = latch(policy);
            let remote = (latch != Latch::Symmetric).then(|| participant(n));
            let transport =
                TransportSpec { rtp: PortId(n + shift), rtcp: None, remote, remote_rtcp: None, latch };
            let (cname, report_ssrc) = (format!("leg{n}"), 0xf000 + n);
            Command::AddLeg(LegId(n + shift), LegSpec { cname, report_ssrc, transports: vec![transport] })
        }
        Step::RemoveLeg(n) => Command::RemoveLeg(LegId(n + shift)),
        Step::SetRemote(n, policy, relatch) => {
            let (leg, latch, remote) = (LegId(n + shift), latch(policy), Some(participant(n)));
            Command::SetRemote { leg, transport: 0, remote, remote_rtcp: None, latch, relatch }
        }
        Step::AddStream(n) => {
            let kind = if n.is_multiple_of(2) { Kind::Video } else { Kind::Audio };
            let own = PayloadType { number: 96 + (n % 2) as u8, clock_hz: 90_000 };
            let mut payload_types = vec![own];
            if !n.is_multiple_of(2) {
                payload_types.push(PayloadType { number: 101, clock_hz: 8_000 });
            }
            let spec =
                StreamSpec { leg: LegId(n / 2 + shift), transport: 0, kind, ssrc: None, payload_types };
            Command::AddStream(StreamId(n + shift), spec)
        }
        Step::RemoveStream(n) => Command::RemoveStream(StreamId(n + shift)),
        Step::AddRoute { route, stream, leg, shared } => {
            let spec = RouteSpec {
                stream: StreamId(stream + shift),
                leg: LegId(leg + shift),
                transport: 0,
                ssrc: if shared { 0xb000 + stream } else { 0xa000 + route },
                payload_map,
                numbering: Numbering::Begin { sequence: 65_530, timestamp: u32::MAX - 500 },
                active: true,
                shared,
            };
            Command::AddRoute(RouteId(route + shift), spec)
        }
        Step::RemoveRoute(n) => Command::RemoveRoute(RouteId(n + shift)),
        Step::SwitchRoute { route, stream } => Command::SwitchRoute {
            route: RouteId(route + shift),
            stream: StreamId(stream + shift),
            payload_map,
        },
        Step::SetRouteActive(n, active) => Command::SetRouteActive(RouteId(n + shift), active),
        Step::RequestKeyFrame(n) => Command::RequestKeyFrame(StreamId(n + shift)),
        other => unreachable!("{other:?} is no command"),
    }
}
