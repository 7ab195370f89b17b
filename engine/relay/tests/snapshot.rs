//! A relay that was written down and taken up again does what one does that was left alone; and what is
//! refused when a snapshot does not fit.

use motet_relay::snapshot::{ImportError, PartError, RelaySnapshot, TimelineSnapshot};
use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Event, Inbound, Kind, Latch, LegId, LegSpec, Outbox, PayloadType, PortId, Relay, RelayConfig,
    RouteId, RouteSpec, StreamId, StreamSpec, TransportSpec,
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
enum Step {
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

fn step() -> impl Strategy<Value = Step> {
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
type Outcome = (Vec<Sent>, Vec<Event>, Option<bool>);

/// A relay and what the publishers have sent so far; the same steps make the same packets.
struct Side {
    script: Script,
    sequences: [u16; STREAMS as usize],
}

fn config() -> RelayConfig {
    RelayConfig { ntp_origin: Ntp(0x1234_5678_0000_0000), ..RelayConfig::default() }
}

fn latch(number: u8) -> Latch {
    [Latch::Symmetric, Latch::Fixed, Latch::Strict][usize::from(number)]
}

impl Side {
    fn new() -> Side {
        let mut side = Side { script: Script::default(), sequences: [65_500; 8] };
        side.script.relay = Relay::new(config());
        (0..LEGS).for_each(|leg| drop(side.step(&Step::AddLeg(leg, (leg % 3) as u8))));
        (0..STREAMS).for_each(|stream| drop(side.step(&Step::AddStream(stream))));
        side
    }

    fn step(&mut self, step: &Step) -> Outcome {
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
                let answer = self.script.relay.handle_command(self.script.now, as_command(command), &mut out);
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
                port: PortId(*port),
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
    fn restore(&mut self) {
        let before = self.script.relay.snapshot();
        let bytes = rmp_serde::to_vec_named(&before).expect("it can be written");
        let read: RelaySnapshot = rmp_serde::from_slice(&bytes).expect("it can be read");
        assert_eq!(read, before);
        self.script.relay = Relay::restore(config(), &read).expect("it fits");
        assert_eq!(self.script.relay.snapshot(), before, "nothing is lost in between");
    }
}

fn as_command(step: Step) -> Command {
    let payload_map = vec![(96, 98), (97, 99), (101, 101)];
    match step {
        Step::AddLeg(n, policy) => {
            let latch = latch(policy);
            let remote = (latch != Latch::Symmetric).then(|| participant(n));
            let transport = TransportSpec { rtp: PortId(n), rtcp: None, remote, remote_rtcp: None, latch };
            let (cname, report_ssrc) = (format!("leg{n}"), 0xf000 + n);
            Command::AddLeg(LegId(n), LegSpec { cname, report_ssrc, transports: vec![transport] })
        }
        Step::RemoveLeg(n) => Command::RemoveLeg(LegId(n)),
        Step::SetRemote(n, policy, relatch) => {
            let (leg, latch, remote) = (LegId(n), latch(policy), Some(participant(n)));
            Command::SetRemote { leg, transport: 0, remote, remote_rtcp: None, latch, relatch }
        }
        Step::AddStream(n) => {
            let kind = if n.is_multiple_of(2) { Kind::Video } else { Kind::Audio };
            let own = PayloadType { number: 96 + (n % 2) as u8, clock_hz: 90_000 };
            let mut payload_types = vec![own];
            if !n.is_multiple_of(2) {
                payload_types.push(PayloadType { number: 101, clock_hz: 8_000 });
            }
            let spec = StreamSpec { leg: LegId(n / 2), transport: 0, kind, ssrc: None, payload_types };
            Command::AddStream(StreamId(n), spec)
        }
        Step::RemoveStream(n) => Command::RemoveStream(StreamId(n)),
        Step::AddRoute { route, stream, leg, shared } => {
            let spec = RouteSpec {
                stream: StreamId(stream),
                leg: LegId(leg),
                transport: 0,
                ssrc: if shared { 0xb000 + stream } else { 0xa000 + route },
                payload_map,
                first_sequence: 65_530,
                first_timestamp: u32::MAX - 500,
                active: true,
                shared,
            };
            Command::AddRoute(RouteId(route), spec)
        }
        Step::RemoveRoute(n) => Command::RemoveRoute(RouteId(n)),
        Step::SwitchRoute { route, stream } => {
            Command::SwitchRoute { route: RouteId(route), stream: StreamId(stream), payload_map }
        }
        Step::SetRouteActive(n, active) => Command::SetRouteActive(RouteId(n), active),
        Step::RequestKeyFrame(n) => Command::RequestKeyFrame(StreamId(n)),
        other => unreachable!("{other:?} is no command"),
    }
}

proptest! {
    #[test]
    fn nobody_notices_a_restore(steps in proptest::collection::vec(step(), 1..150)) {
        let (mut alone, mut moved) = (Side::new(), Side::new());
        for (index, step) in steps.iter().enumerate() {
            if matches!(step, Step::Restore) {
                moved.restore();
            }
            let (expected, got) = (alone.step(step), moved.step(step));
            prop_assert_eq!(got, expected, "step {}: {:?}", index, step);
        }
        prop_assert_eq!(moved.script.relay.counts(), alone.script.relay.counts());
        prop_assert_eq!(moved.script.relay.snapshot(), alone.script.relay.snapshot());
    }
}

/// Two conferences of two legs each: streams 0 and 2 of legs 0 and 2 go to legs 1 and 3.
fn two_conferences() -> Script {
    let mut script = Script::default();
    (0..4).for_each(|leg| drop(script.leg(leg, Latch::Strict)));
    for first in [0, 2] {
        script.stream(first, first, Kind::Video);
        script.route(first, first, first + 1);
    }
    script
}

fn media(script: &mut Script, stream: u32, sequence: u16) -> Vec<Sent> {
    let packet =
        RtpBuilder::new(0x100).payload_type(96).sequence(WireSeq(sequence)).payload(&[1; 9]).to_vec();
    let mut sent = script.packet(stream, participant(stream), &packet);
    // The first one sets a request for a key frame free.
    sent.retain(|sent| !(192..=223).contains(&sent.bytes[1]));
    sent
}

#[test]
fn one_conference_moves_and_the_other_stays() {
    let (mut from, mut to) = (two_conferences(), Script::default());
    for sequence in 0..5 {
        assert_eq!(media(&mut from, 2, sequence).len(), 1);
    }
    let part = from.relay.part(&[LegId(2), LegId(3)]).expect("it stands alone");
    to.relay.add_part(&part).expect("there is room");
    assert_eq!(media(&mut to, 2, 5), media(&mut from, 2, 5), "the same number, timestamp and address");
    assert_eq!((to.relay.counts().legs, to.relay.counts().routes), (2, 1));
    let other = from.relay.part(&[LegId(0), LegId(1)]).expect("it stands alone");
    to.relay.add_part(&other).expect("there is room for both");
    assert_eq!(media(&mut to, 0, 9), media(&mut from, 0, 9));
}

#[test]
fn what_does_not_stand_alone_is_not_taken_apart() {
    let script = two_conferences();
    assert_eq!(script.relay.part(&[LegId(0)]), Err(PartError::Crossing(RouteId(0))));
    assert_eq!(script.relay.part(&[LegId(3)]), Err(PartError::Crossing(RouteId(2))));
    assert_eq!(script.relay.part(&[LegId(9)]), Err(PartError::UnknownLeg(LegId(9))));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut script = two_conferences();
    media(&mut script, 0, 1);
    let good = script.relay.snapshot();
    type Break = fn(&mut RelaySnapshot);
    fn timeline(s: &mut RelaySnapshot) -> &mut TimelineSnapshot {
        s.part.routes[0].timeline.as_mut().expect("it shares nothing")
    }
    let breaks: [(&str, Break); 13] = [
        ("follows a timeline that its stream does not share", |s| s.part.routes[0].timeline = None),
        ("twice", |s| s.part.legs.push(s.part.legs[0].clone())),
        ("its port is in use", |s| s.part.legs[1].transports[0].rtp = PortId(0)),
        ("has no transport", |s| s.part.legs[0].transports.clear()),
        ("cname", |s| s.part.legs[0].cname.clear()),
        ("its latch makes no sense", |s| s.part.legs[0].transports[0].latch.remote = None),
        ("no leg of the part publishes it", |s| s.part.legs[0].transports[0].streams.clear()),
        ("no leg of the part receives it", |s| s.part.legs[1].transports[0].routes.clear()),
        ("is listed where it is not", |s| s.part.streams[0].leg = LegId(3)),
        ("its payload types make no sense", |s| s.part.streams[0].payload_types.clear()),
        ("its statistics make no sense", |s| s.part.streams[0].reception.clock_hz = 0),
        ("its stream does not list it", |s| s.part.streams[0].routes.clear()),
        ("its payload types cannot be sent", |s| timeline(s).payload_map.push((1, 70))),
    ];
    for (why, break_it) in breaks {
        let mut bad = good.clone();
        break_it(&mut bad);
        let error = Relay::restore(config(), &bad).expect_err(why);
        assert!(error.to_string().contains(why), "{error}: {why}");
    }
    let again = script.relay.add_part(&good.part).expect_err("all of it is there");
    assert!(matches!(again, ImportError::Leg(LegId(0), _)), "{again}");
    assert_eq!(script.relay.snapshot(), good);
}

#[test]
fn link_local_addresses_keep_their_zone() {
    let mut script = Script::default();
    let remote: SocketAddr = "[fe80::1%7]:5004".parse().expect("an address");
    script.leg(0, Latch::Symmetric);
    let (leg, latch) = (LegId(0), Latch::Strict);
    script.command(Command::SetRemote {
        leg,
        transport: 0,
        remote: Some(remote),
        remote_rtcp: None,
        latch,
        relatch: false,
    });
    let bytes = rmp_serde::to_vec_named(&script.relay.snapshot()).expect("it can be written");
    let read: RelaySnapshot = rmp_serde::from_slice(&bytes).expect("it can be read");
    let address = read.part.legs[0].transports[0].latch.remote.as_ref().expect("it was set");
    assert_eq!(SocketAddr::from(address), remote);
}
