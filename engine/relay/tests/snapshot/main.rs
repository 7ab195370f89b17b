//! A relay that was written down and taken up again does what one does that was left alone; and what is
//! refused when a snapshot does not fit.

mod moving;
mod world;

use motet_relay::snapshot::{ImportError, PartError, RelaySnapshot, TimelineSnapshot};
use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{Command, Kind, Latch, LegId, PortId, Relay, RouteId};
use motet_rtp::{RtpBuilder, WireSeq};
use proptest::prelude::*;
use std::net::SocketAddr;
use world::{Side, Step, config, step};

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
