//! SSRCs: those of two publishers, of a publisher and the relay, and packets that come back.

use crate::*;
use motet_relay::testing::participant;
use motet_relay::{
    Command, CommandError, DropReason, LegId, Numbering, PayloadType, RouteId, RouteSpec, StreamId,
    StreamSpec,
};

fn route(from: u32, to: u32, ssrc: u32) -> RouteSpec {
    RouteSpec {
        stream: StreamId(from),
        leg: LegId(to),
        transport: 0,
        ssrc,
        payload_map: vec![(111, 111)],
        numbering: Numbering::Begin { sequence: 0, timestamp: 0 },
        active: true,
        shared: false,
    }
}

#[test]
fn publishers_with_one_ssrc_do_not_meet() {
    let mut script = meeting(Latch::Fixed, Kind::Audio);
    for sequence in 0..50 {
        for publisher in [0, 1] {
            let sent = rtp(script.packet(publisher, participant(publisher), &sound_of(0x5555, sequence)));
            for sent in sent.iter().filter(|sent| sent.port.0 == 2) {
                let view = RtpView::new(&sent.bytes).expect("RTP");
                assert_eq!((view.ssrc(), view.sequence().0), (0xa002 + 3 * publisher, 1_000 + sequence));
            }
        }
    }
    assert_eq!(script.relay.drops().total(), 0);
}

#[test]
fn what_the_relay_sent_is_not_taken_back() {
    // Two devices that echo everything, in a meeting of three: without a rule each packet goes round for ever.
    let mut script = Script::default();
    for leg in 0..3 {
        script.leg(leg, Latch::Fixed);
        script.stream(leg, leg, Kind::Audio);
    }
    for (from, to) in pairs() {
        // Payload types as they are: what comes back looks like the participant's own.
        let number = 3 * from + to;
        script.command(Command::AddRoute(RouteId(number), route(from, to, 0xa000 + number)));
    }
    let mut waiting = script.packet(0, participant(0), &sound(0, 0));
    let mut sent = waiting.len();
    while let Some(packet) = waiting.pop() {
        let more = script.packet(packet.port.0, packet.destination, &packet.bytes);
        sent += more.len();
        waiting.extend(more);
        assert!(sent < 100, "it goes round");
    }
    assert_eq!((sent, script.relay.drops().count(DropReason::Looped)), (2, 2));
}

#[test]
fn an_ssrc_cannot_be_given_twice_in_a_leg() {
    let mut script = meeting(Latch::Fixed, Kind::Audio);
    let mut out = motet_relay::Outbox::new();
    let route = |ssrc| Command::AddRoute(RouteId(99), route(0, 1, ssrc));
    for taken in [0xa001, 0xf000_0001] {
        let answer = script.relay.handle_command(script.now, route(taken), &mut out);
        assert_eq!(answer, Err(CommandError::DuplicateSsrc(taken)));
    }
    let payload_types = vec![PayloadType { number: 100, clock_hz: 8_000 }];
    let spec =
        StreamSpec { leg: LegId(1), transport: 0, kind: Kind::Audio, ssrc: Some(0xa001), payload_types };
    let answer = script.relay.handle_command(script.now, Command::AddStream(StreamId(9), spec), &mut out);
    assert_eq!(answer, Err(CommandError::DuplicateSsrc(0xa001)));
}
