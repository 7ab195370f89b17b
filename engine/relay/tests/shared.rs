//! Routes that share one rewriting send the same as routes that each have their own.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Inbound, Kind, Latch, LegId, Numbering, Outbox, PortId, RouteId, RouteSpec, StreamId,
};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::time::Duration;

const RECEIVERS: u32 = 4;

/// Leg 0 publishes sound and picture; the others receive both, with one SSRC for each stream.
fn scene(shared: bool) -> Script {
    let mut script = Script::default();
    (0..=RECEIVERS).for_each(|leg| {
        script.leg(leg, Latch::Strict);
    });
    script.stream(0, 0, Kind::Audio);
    script.stream(1, 0, Kind::Video);
    for leg in 1..=RECEIVERS {
        for stream in 0..2 {
            script.command(Command::AddRoute(RouteId(2 * leg + stream), route(stream, leg, shared)));
        }
    }
    script
}

fn route(stream: u32, leg: u32, shared: bool) -> RouteSpec {
    RouteSpec {
        stream: StreamId(stream),
        leg: LegId(leg),
        transport: 0,
        ssrc: 0xb000 + stream,
        payload_map: vec![(96, 97), (111, 112)],
        numbering: Numbering::Begin { sequence: 65_530, timestamp: 7 },
        active: true,
        shared,
    }
}

/// A packet of the publisher.
#[derive(Clone, Copy, Debug)]
struct Packet {
    picture: bool,
    /// Added to the number that is due: losses, repetitions, restarts.
    skip: u16,
    bytes: usize,
    /// Of a type that nobody receives.
    odd: bool,
}

fn packet() -> impl Strategy<Value = Packet> {
    let skip = prop_oneof![12 => Just(0_u16), 2 => 0..3_u16, 1 => Just(u16::MAX), 1 => 200..60_000_u16];
    let bytes = prop_oneof![6 => Just(600_usize), 1 => 1..1200_usize];
    (any::<bool>(), skip, bytes, prop::bool::weighted(0.05)).prop_map(|(picture, skip, bytes, odd)| Packet {
        picture,
        skip,
        bytes,
        odd,
    })
}

#[derive(Clone, Debug)]
enum Step {
    /// One batch of runs; within a run all are of one size, but the last may be shorter.
    Batch(Vec<Vec<Packet>>),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let run = proptest::collection::vec(packet(), 1..8);
    prop_oneof![
        5 => proptest::collection::vec(run, 1..4).prop_map(Step::Batch),
        1 => (0..4000_u16).prop_map(Step::Pass),
    ]
}

#[derive(Default)]
struct Publisher {
    next: [u16; 2],
    sent: u32,
}

impl Publisher {
    fn run(&mut self, packets: &[Packet]) -> (Vec<u8>, usize) {
        let segment = packets[0].bytes;
        let (last, whole) = packets.split_last().expect("a run is not empty");
        let mut bytes = Vec::new();
        for (packet, size) in whole.iter().map(|p| (p, segment)).chain([(last, last.bytes.min(segment))]) {
            let number = &mut self.next[usize::from(packet.picture)];
            *number = number.wrapping_add(packet.skip);
            let kind = if packet.picture { 96 } else { 111 };
            self.sent += 1;
            let payload = vec![self.sent as u8; size];
            let rtp = RtpBuilder::new(0x100 + u32::from(packet.picture))
                .payload_type(if packet.odd { 5 } else { kind })
                .sequence(WireSeq(*number))
                .timestamp(WireTimestamp(self.sent * 900))
                .payload(&payload);
            *number = number.wrapping_add(1);
            bytes.extend(rtp.to_vec());
        }
        (bytes, segment + 12)
    }
}

fn play(shared: bool, steps: &[Step]) -> Vec<Vec<Sent>> {
    let (mut script, mut publisher) = (scene(shared), Publisher::default());
    let mut play = |step: &Step| match step {
        Step::Pass(ms) => script.pass(Duration::from_millis((*ms).into())),
        Step::Batch(runs) => {
            let runs: Vec<_> = runs.iter().map(|run| publisher.run(run)).collect();
            let (port, source) = (PortId(0), participant(0));
            let inbound = runs.iter().map(|(bytes, segment_bytes)| Inbound {
                port,
                source,
                bytes,
                segment_bytes: *segment_bytes,
            });
            let sent = script.batch(&inbound.collect::<Vec<_>>());
            script.now += Duration::from_millis(20);
            sent
        }
    };
    steps.iter().map(&mut play).collect()
}

proptest! {
    /// Every byte, to everybody, in the same order: media, reports, goodbyes.
    #[test]
    fn sharing_changes_nothing_that_receivers_see(steps in proptest::collection::vec(step(), 1..40)) {
        prop_assert_eq!(play(true, &steps), play(false, &steps));
    }
}

/// A burst of equal packets from the publisher.
fn burst(first: u16, count: u16) -> Vec<u8> {
    let packet = |sequence| {
        let rtp = RtpBuilder::new(0x101).payload_type(96).sequence(WireSeq(sequence)).payload(&[1; 500]);
        rtp.timestamp(WireTimestamp(90)).to_vec()
    };
    (first..first + count).flat_map(packet).collect()
}

/// Numbers that a leg received.
fn numbers(sent: &[Sent], leg: u32) -> Vec<u16> {
    let media = sent.iter().filter(|sent| sent.port == PortId(leg) && !(192..=223).contains(&sent.bytes[1]));
    media.map(|sent| RtpView::new(&sent.bytes).expect("well-formed RTP").sequence().0).collect()
}

#[test]
fn a_burst_is_one_message_for_each_receiver() {
    let mut script = scene(true);
    let bytes = burst(1, 10);
    let inbound = Inbound { port: PortId(0), source: participant(0), bytes: &bytes, segment_bytes: 512 };
    let mut out = Outbox::new();
    script.relay.handle_batch(script.now, [inbound].into_iter(), &mut out);
    let media: Vec<_> = out.messages().filter(|message| message.port != PortId(0)).collect();
    assert_eq!(media.len(), RECEIVERS as usize);
    assert_eq!(out.patches().len(), 10, "rewritten once");
    for message in media {
        let payload = message.payload.expect("as it came");
        assert_eq!((message.header.len(), payload.len, message.segment_bytes), (0, 5120, 512));
    }
    assert_eq!(script.relay.counts().packets_out, 10 * u64::from(RECEIVERS));
}

#[test]
fn who_joins_late_sees_what_the_others_see() {
    let mut script = scene(true);
    script.command(Command::RemoveRoute(RouteId(9)));
    script.packet(0, participant(0), &burst(1, 1));
    script.command(Command::AddRoute(RouteId(9), route(1, 4, true)));
    let sent = script.packet(0, participant(0), &burst(2, 1));
    assert_eq!(numbers(&sent, 4), numbers(&sent, 1));
}

/// Who stops and resumes sees no gap, and the others go on together.
#[test]
fn who_pauses_goes_on_by_himself() {
    let mut script = scene(true);
    let first = numbers(&script.packet(0, participant(0), &burst(1, 1)), 1)[0];
    script.command(Command::SetRouteActive(RouteId(3), false));
    script.packet(0, participant(0), &burst(2, 1));
    script.command(Command::SetRouteActive(RouteId(3), true));
    let sent = script.packet(0, participant(0), &burst(3, 1));
    assert_eq!(numbers(&sent, 1), [first.wrapping_add(1)]);
    assert_eq!(numbers(&sent, 2), [first.wrapping_add(2)]);
}

#[test]
fn who_is_switched_goes_on_by_himself() {
    let mut script = scene(true);
    script.stream(2, 1, Kind::Video);
    let first = numbers(&script.packet(0, participant(0), &burst(1, 1)), 2)[0];
    let payload_map = vec![(96, 97)];
    script.command(Command::SwitchRoute { route: RouteId(5), stream: StreamId(2), payload_map });
    let sent = script.packet(1, participant(1), &burst(900, 1));
    assert_eq!(numbers(&sent, 2), [first.wrapping_add(1)]);
    let sent = script.packet(0, participant(0), &burst(2, 1));
    assert_eq!((numbers(&sent, 2), numbers(&sent, 3)), (vec![], vec![first.wrapping_add(1)]));
}
