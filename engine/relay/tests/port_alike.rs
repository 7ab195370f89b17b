//! The same traffic at a shared port and at ports of one's own: what leaves is the same but for the port.
//! The first leg is known by its address alone, the others declare their SSRCs.

use motet_relay::testing::{Script, Sent};
use motet_relay::{
    Command, DropReason, Inbound, Kind, Latch, LegId, LegSpec, Numbering, PayloadType, PortId, RouteId,
    RouteSpec, StreamId, StreamSpec, TransportSpec,
};
use motet_rtp::rtcp::{SenderInfo, write_bye, write_pli, write_receiver_report, write_sender_report};
use motet_rtp::{Ntp, RtpBuilder, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

const LEGS: u32 = 4;
/// Every leg publishes sound and a picture.
const STREAMS: u32 = 2 * LEGS;
const SHARED: PortId = PortId(100);

/// Where a leg may send from: its own addresses, so that no two want the same.
fn address(leg: u32, place: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, leg as u8], 5_000 + place))
}

fn policy(leg: u32) -> (Latch, Option<SocketAddr>) {
    match leg {
        0 => (Latch::Strict, Some(address(leg, 0))),
        1 => (Latch::Fixed, Some(address(leg, 0))),
        2 => (Latch::Symmetric, Some(address(leg, 0))),
        _ => (Latch::Symmetric, None),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many packets of a stream, from one of its leg's places, as one run.
    Rtp {
        stream: u32,
        place: u16,
        count: u16,
    },
    /// The stream goes on this far ahead.
    Skip {
        stream: u32,
        by: u16,
    },
    /// RTCP of the leg under the SSRC of a stream of it.
    Rtcp {
        stream: u32,
        place: u16,
        kind: u8,
    },
    /// What is neither.
    Noise {
        leg: u32,
        place: u16,
        first: u8,
    },
    Move {
        leg: u32,
        place: u16,
        relatch: bool,
    },
    Pass(u16),
    /// Leaves, with all that goes to and from it, and comes back.
    Rejoin(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let place = || prop_oneof![4 => Just(0_u16), 1 => 1..3_u16];
    prop_oneof![
        8 => (0..STREAMS, place(), 1..8_u16).prop_map(|(stream, place, count)| Step::Rtp { stream, place, count }),
        1 => (0..STREAMS, 0..4_000_u16).prop_map(|(stream, by)| Step::Skip { stream, by }),
        3 => (0..STREAMS, place(), 0..4_u8).prop_map(|(stream, place, kind)| Step::Rtcp { stream, place, kind }),
        1 => (0..LEGS, place(), any::<u8>()).prop_map(|(leg, place, first)| Step::Noise { leg, place, first }),
        1 => (0..LEGS, place(), any::<bool>()).prop_map(|(leg, place, relatch)| Step::Move { leg, place, relatch }),
        3 => prop_oneof![0..400_u16, Just(2_500), Just(26_000)].prop_map(Step::Pass),
        1 => (0..LEGS).prop_map(Step::Rejoin),
    ]
}

/// A relay, and how its legs are reached.
struct World {
    script: Script,
    shared: bool,
}

impl World {
    fn new(shared: bool) -> World {
        let mut world = World { script: Script::default(), shared };
        if shared {
            world.script.command(Command::SharePort(SHARED));
        }
        (0..LEGS).for_each(|leg| world.join(leg));
        (0..LEGS).for_each(|leg| world.receive(leg));
        world
    }

    fn port(&self, leg: u32) -> PortId {
        if self.shared { SHARED } else { PortId(leg) }
    }

    fn join(&mut self, leg: u32) {
        let (latch, remote) = policy(leg);
        let transport = TransportSpec { rtp: self.port(leg), rtcp: None, remote, remote_rtcp: None, latch };
        let (cname, report_ssrc) = (format!("leg{leg}@test"), 0xf000_0000 | leg);
        let spec = LegSpec { cname, report_ssrc, transports: vec![transport] };
        self.script.command(Command::AddLeg(LegId(leg), spec));
        for (kind, number, clock_hz) in [(Kind::Audio, 111, 48_000), (Kind::Video, 96, 90_000)] {
            let id = 2 * leg + u32::from(kind == Kind::Video);
            let payload_types = vec![PayloadType { number, clock_hz }];
            let ssrc = (leg > 0).then_some(1 + id);
            let spec = StreamSpec { leg: LegId(leg), transport: 0, kind, ssrc, payload_types };
            self.script.command(Command::AddStream(StreamId(id), spec));
        }
    }

    /// All others' streams to a leg.
    fn receive(&mut self, leg: u32) {
        for stream in (0..STREAMS).filter(|stream| stream / 2 != leg) {
            self.route(stream, leg);
        }
    }

    fn route(&mut self, stream: u32, leg: u32) {
        let id = stream * LEGS + leg;
        let spec = RouteSpec {
            stream: StreamId(stream),
            leg: LegId(leg),
            transport: 0,
            ssrc: 0xa000 + id,
            payload_map: vec![(96, 97), (111, 112)],
            numbering: Numbering::Begin { sequence: 65_530, timestamp: 7 },
            active: true,
            shared: false,
        };
        self.script.command(Command::AddRoute(RouteId(id), spec));
    }

    fn run(&mut self, leg: u32, place: u16, bytes: &[u8], segment_bytes: usize) -> Vec<Sent> {
        let run = Inbound { port: self.port(leg), source: address(leg, place), bytes, segment_bytes };
        self.script.batch(&[run])
    }

    fn step(&mut self, step: &Step, sequences: &[u16]) -> Vec<Sent> {
        match *step {
            Step::Rtp { stream, place, count } => {
                let first = sequences[stream as usize];
                let packets = (0..count).flat_map(|n| rtp(stream, first.wrapping_add(n)));
                let bytes: Vec<u8> = packets.collect();
                self.run(stream / 2, place, &bytes, bytes.len() / usize::from(count))
            }
            Step::Rtcp { stream, place, kind } => {
                let bytes = rtcp(stream, kind);
                self.run(stream / 2, place, &bytes, bytes.len())
            }
            Step::Noise { leg, place, first } => self.run(leg, place, &[first; 9], 9),
            Step::Move { leg, place, relatch } => {
                let (latch, remote) = policy(leg);
                let remote = remote.map(|_| address(leg, place));
                let (leg, remote_rtcp) = (LegId(leg), None);
                let set = Command::SetRemote { leg, transport: 0, remote, remote_rtcp, latch, relatch };
                self.script.command(set)
            }
            Step::Pass(ms) => self.script.pass(Duration::from_millis(ms.into())),
            Step::Skip { .. } => Vec::new(),
            Step::Rejoin(leg) => {
                let bye = self.script.command(Command::RemoveLeg(LegId(leg)));
                self.join(leg);
                self.receive(leg);
                for other in (0..LEGS).filter(|other| *other != leg) {
                    self.route(2 * leg, other);
                    self.route(2 * leg + 1, other);
                }
                bye
            }
        }
    }
}

fn rtp(stream: u32, sequence: u16) -> Vec<u8> {
    RtpBuilder::new(1 + stream)
        .payload_type(if stream.is_multiple_of(2) { 111 } else { 96 })
        .sequence(WireSeq(sequence))
        .timestamp(WireTimestamp(u32::from(sequence) * 960))
        .payload(&sequence.to_be_bytes())
        .to_vec()
}

fn rtcp(stream: u32, kind: u8) -> Vec<u8> {
    let (mut bytes, ssrc) = (Vec::new(), 1 + stream);
    match kind {
        0 => write_receiver_report(&mut bytes, ssrc, &[]),
        1 => {
            write_receiver_report(&mut bytes, ssrc, &[]);
            // Of the next leg's picture.
            let leg = stream / 2;
            write_pli(&mut bytes, ssrc, 0xa000 + (2 * ((leg + 1) % LEGS) + 1) * LEGS + leg);
        }
        2 => {
            let info =
                SenderInfo { ntp: Ntp(77 << 32), rtp_timestamp: WireTimestamp(9), packets: 1, octets: 2 };
            write_sender_report(&mut bytes, ssrc, &info, &[]);
        }
        _ => {
            write_receiver_report(&mut bytes, ssrc, &[]);
            write_bye(&mut bytes, &[ssrc], None);
        }
    }
    bytes
}

fn without_ports(sent: Vec<Sent>) -> Vec<(SocketAddr, Vec<u8>)> {
    sent.into_iter().map(|sent| (sent.destination, sent.bytes)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_shared_port_forwards_what_own_ports_do(steps in proptest::collection::vec(step(), 1..80)) {
        let (mut own, mut shared) = (World::new(false), World::new(true));
        let mut sequences = [0_u16; STREAMS as usize];
        for step in &steps {
            let expected = without_ports(own.step(step, &sequences));
            prop_assert_eq!(without_ports(shared.step(step, &sequences)), expected, "{:?}", step);
            prop_assert_eq!(shared.script.events(), own.script.events(), "{:?}", step);
            let (stream, by) = match *step {
                Step::Rtp { stream, count, .. } => (stream, count),
                Step::Skip { stream, by } => (stream, by),
                _ => continue,
            };
            let next = &mut sequences[stream as usize];
            *next = next.wrapping_add(by);
        }
        prop_assert_eq!(shared.script.relay.counts(), own.script.relay.counts());
        prop_assert_eq!(drops(&shared), drops(&own));
    }
}

/// Counts of all reasons. What is nobody's is of no kind where all have one port, and off the path of the leg
/// whose port it came in at where they do not: such reasons count as one.
fn drops(world: &World) -> (u64, Vec<u64>) {
    use DropReason::*;
    let noise =
        [Stun, Dtls, NotRtp, BadVersion, TooShort, MalformedRtcp, UnknownSource, OffPath, RtcpOffPath];
    let (noise, others): (Vec<DropReason>, Vec<DropReason>) =
        DropReason::ALL.iter().partition(|reason| noise.contains(reason));
    let counts = |reasons: Vec<DropReason>| -> Vec<u64> {
        reasons.into_iter().map(|reason| world.script.relay.drops().count(reason)).collect()
    };
    (counts(noise).iter().sum(), counts(others))
}
