//! Legs that move from relay to relay, under other numbers each time.

use super::world::{Side, Step, step};
use super::{media, two_conferences};
use motet_relay::snapshot::{Numbers, PartError};
use motet_relay::testing::{Script, participant};
use motet_relay::{Command, Counts, Kind, Latch, LegId, LegSpec, PortId, RouteId, StreamId, TransportSpec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What went through both relays together.
fn went(counts: [Counts; 2]) -> (u64, u64, u64) {
    let [a, b] = counts;
    (a.packets_in + b.packets_in, a.packets_out + b.packets_out, a.rtcp_out + b.rtcp_out)
}

fn drops(side: &Side) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for (name, count) in side.script.relay.drops().iter().chain(side.other.relay.drops().iter()) {
        *all.entry(name).or_default() += count;
    }
    all
}

proptest! {
    #[test]
    fn nobody_notices_a_move(steps in proptest::collection::vec(step(), 1..150)) {
        let (mut alone, mut moved) = (Side::new(), Side::new());
        for (index, step) in steps.iter().enumerate() {
            if matches!(step, Step::Restore) {
                moved.relocate();
            }
            let (expected, got) = (alone.step(step), moved.step(step));
            prop_assert_eq!(got, expected, "step {}: {:?}", index, step);
        }
        let counts = |side: &Side| [side.script.relay.counts(), side.other.relay.counts()];
        prop_assert_eq!(went(counts(&moved)), went(counts(&alone)));
        prop_assert_eq!(drops(&moved), drops(&alone));
        if moved.shift > 0 {
            moved.relocate();
        }
        prop_assert_eq!(moved.script.relay.snapshot().part, alone.script.relay.snapshot().part);
    }
}

/// The second conference, under numbers that begin at 0.
fn second_at_zero() -> Numbers {
    Numbers {
        legs: [(LegId(2), LegId(0)), (LegId(3), LegId(1))].into(),
        streams: [(StreamId(2), StreamId(0))].into(),
        routes: [(RouteId(2), RouteId(0))].into(),
        ports: [(PortId(2), PortId(0)), (PortId(3), PortId(1))].into(),
    }
}

#[test]
fn what_is_taken_out_is_gone_and_its_place_is_free() {
    let mut from = two_conferences();
    assert_eq!(media(&mut from, 2, 1).len(), 1);
    let part = from.relay.take_part(&[LegId(3), LegId(2), LegId(3)]).expect("it stands alone");
    assert_eq!((part.legs.len(), part.streams.len(), part.routes.len()), (2, 1, 1));
    let counts = from.relay.counts();
    assert_eq!((counts.legs, counts.streams, counts.routes), (2, 1, 1));
    assert_eq!(media(&mut from, 2, 2), []);
    assert_eq!(media(&mut from, 0, 1).len(), 1, "the other conference goes on");
    assert_eq!(from.relay.take_part(&[LegId(2)]), Err(PartError::UnknownLeg(LegId(2))));
    // Its numbers can be used again, and nothing of it is left.
    from.leg(2, Latch::Strict);
    from.leg(3, Latch::Strict);
    from.stream(2, 2, Kind::Video);
    from.route(2, 2, 3);
    let sent = media(&mut from, 2, 9);
    assert_eq!(sent[0].bytes[2..4], 1_000u16.to_be_bytes(), "it begins anew: {sent:?}");
}

#[test]
fn it_goes_on_under_other_numbers_beside_others() {
    let (mut from, mut to) = (two_conferences(), Script::default());
    let before = media(&mut from, 2, 1);
    to.leg(7, Latch::Strict);
    let part = from.relay.take_part(&[LegId(2), LegId(3)]).expect("it stands alone");
    let part = part.renumbered(&second_at_zero()).expect("all have numbers");
    to.relay.add_part(&part).expect("there is room");
    // The publisher's address stays what it was.
    let packet = motet_rtp::RtpBuilder::new(0x100).payload_type(96).sequence(motet_rtp::WireSeq(2));
    let after = to.packet(0, participant(2), &packet.payload(&[1; 9]).to_vec());
    let [before, after] = [&before[0], &after[0]];
    assert_eq!((after.port, after.destination), (PortId(1), before.destination));
    assert_eq!((&before.bytes[2..4], &after.bytes[2..4]), (&[3, 232][..], &[3, 233][..]));
    assert_eq!(after.bytes[8..], before.bytes[8..], "the same SSRC and payload");
}

#[test]
fn a_number_that_is_missing_is_named() {
    let part = two_conferences().relay.take_part(&[LegId(2), LegId(3)]).expect("it stands alone");
    type Forget = fn(&mut Numbers);
    let all: [(Forget, PartError); 4] = [
        (|n| n.legs.clear(), PartError::Unnumbered("leg", 2)),
        (|n| n.streams.clear(), PartError::Unnumbered("stream", 2)),
        (|n| n.routes.clear(), PartError::Unnumbered("route", 2)),
        (|n| n.ports.clear(), PartError::Unnumbered("port", 2)),
    ];
    for (forget, error) in all {
        let mut numbers = second_at_zero();
        forget(&mut numbers);
        assert_eq!(part.renumbered(&numbers), Err(error));
    }
}

#[test]
fn legs_at_a_shared_port_stay() {
    let mut script = two_conferences();
    script.command(Command::SharePort(PortId(9)));
    let remote = Some(participant(9));
    let transport =
        TransportSpec { rtp: PortId(9), rtcp: None, remote, remote_rtcp: None, latch: Latch::Strict };
    let spec = LegSpec { cname: "leg9".into(), report_ssrc: 9, transports: vec![transport] };
    script.command(Command::AddLeg(LegId(9), spec));
    let error = script.relay.take_part(&[LegId(2), LegId(3), LegId(9)]).expect_err("others may be there");
    assert_eq!(error, PartError::SharedPort(LegId(9)));
    assert_eq!(media(&mut script, 2, 1).len(), 1, "nothing has changed");
}
