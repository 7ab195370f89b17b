//! Too much: of sources, of SSRCs, of timers, of bytes.

use crate::*;
use motet_relay::testing::participant;
use motet_relay::{DropReason, Event, Inbound, PortId};

#[test]
fn a_flood_of_strangers_leaves_nothing_behind() {
    let mut script = meeting(Latch::Symmetric, Kind::Audio);
    (0..3).for_each(|n| {
        talk(&mut script, n, participant(n), 0, 100);
    });
    talk(&mut script, 0, participant(0), 100, 1);
    let before = script.relay.counts();
    script.events();
    for n in 0..20_000_u16 {
        let from = stranger(n);
        assert_eq!(script.packet(0, from, &sound_of(u32::from(n), n)), []);
    }
    let after = script.relay.counts();
    assert_eq!((after.legs, after.streams, after.routes), (before.legs, before.streams, before.routes));
    assert_eq!(script.relay.drops().count(DropReason::OffPath), 20_000);
    assert_eq!(script.events(), [], "and control is not told of each");
    assert_eq!(numbers(&script.packet(0, participant(0), &sound(0, 101)), 1), [1_101]);
}

#[test]
fn a_flood_does_not_keep_a_newcomer_out() {
    let mut script = meeting(Latch::Symmetric, Kind::Audio);
    let mut strangers = 0..u16::MAX;
    // Ten strangers with the right payload type between any two packets of the participant.
    let heard = (0..250).position(|sequence| {
        for n in strangers.by_ref().take(10) {
            script.packet(1, stranger(n % 20_000), &sound_of(0x6666_0000 + u32::from(n), n));
        }
        script.packet(1, participant(1), &sound(1, sequence));
        let sent = rtp(script.packet(0, participant(0), &sound(0, sequence)));
        sent.iter().any(|sent| sent.destination == participant(1))
    });
    assert!(heard.is_some_and(|packets| packets < 100), "{heard:?} packets of its own");
}

#[test]
fn ssrc_churn_grows_nothing_and_receivers_see_one_stream() {
    let mut script = meeting(Latch::Fixed, Kind::Audio);
    script.packet(0, participant(0), &sound(0, 0));
    // With a forged source address, or by a broken device: another SSRC in each packet.
    for n in 0..10_000_u32 {
        assert_eq!(script.packet(0, participant(0), &sound_of(0x7000_0000 + n, n as u16)), []);
    }
    assert_eq!(numbers(&script.packet(0, participant(0), &sound(0, 1)), 1), [1_001], "no gap, no jump");
    // In pairs each of them is followed, and receivers still see one SSRC and numbers without a gap.
    let mut sent = Vec::new();
    for n in 0..1_000_u32 {
        for sequence in [n as u16, n as u16 + 1] {
            sent.extend(rtp(script.packet(0, participant(0), &sound_of(0x8000_0000 + n, sequence))));
        }
    }
    let expected: Vec<u16> = (1_002..2_002).collect();
    assert_eq!(numbers(&sent, 1), expected);
    let to_1 = sent.iter().filter(|sent| sent.port.0 == 1);
    assert!(to_1.map(|sent| RtpView::new(&sent.bytes).expect("RTP").ssrc()).all(|ssrc| ssrc == 0xa001));
    let counts = script.relay.counts();
    assert_eq!((counts.legs, counts.streams, counts.routes), (3, 3, 6));
}

#[test]
fn timers_wait_for_packets_and_not_the_other_way_round() {
    let mut script = Script::default();
    for leg in 0..1_000 {
        script.leg(leg, Latch::Fixed);
        script.stream(leg, leg, Kind::Audio);
    }
    for leg in (0..1_000).step_by(2) {
        script.route(leg, leg, leg + 1);
        script.packet(leg, participant(leg), &sound(leg, 1));
    }
    // All are due at once, after a pause of the machine.
    script.now += Duration::from_secs(10);
    let mut out = motet_relay::Outbox::new();
    let (mut calls, mut messages) = (0, 0);
    while script.relay.poll_timeout() <= script.now {
        script.relay.handle_timeout(script.now, &mut out);
        let some = out.messages().count();
        assert!(some <= 2 * motet_relay::limits::TIMERS_PER_CALL_MAX, "{some} in one call");
        out.clear();
        (calls, messages) = (calls + 1, messages + some);
        // Packets go on between the calls.
        assert_eq!(script.packet(0, participant(0), &sound(0, 1 + calls)).len(), 1);
    }
    assert!(calls >= 1_000 / 64 && messages >= 1_000, "{calls} calls, {messages} messages");
}

#[test]
fn every_size_is_forwarded_or_counted() {
    let mut script = meeting(Latch::Fixed, Kind::Audio);
    let whole = [sound(0, 0), vec![9; 65_507]].concat();
    let sizes = (0..200).chain([1_199, 1_500, 9_000, 65_506, 65_507]);
    for (sequence, size) in sizes.enumerate() {
        let mut packet = whole[..size].to_vec();
        if size >= 12 {
            packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        }
        let before = script.relay.drops().total();
        let sent = script.packet(0, participant(0), &packet);
        let dropped = script.relay.drops().total() - before;
        if size < 12 {
            assert_eq!((sent.len(), dropped), (0, 1), "{size} bytes");
        } else {
            assert_eq!((sent.len(), dropped), (2, 0), "{size} bytes");
            assert!(sent.iter().all(|sent| sent.bytes.len() == size), "no more leaves than came");
        }
    }
}

#[test]
fn a_run_of_the_tiniest_datagrams_is_counted_one_by_one() {
    let mut script = meeting(Latch::Fixed, Kind::Audio);
    let bytes = vec![0x80; 65_000];
    let run = Inbound { port: PortId(0), source: participant(0), bytes: &bytes, segment_bytes: 1 };
    assert_eq!(script.batch(&[run]), []);
    assert_eq!(script.relay.drops().count(DropReason::TooShort), 65_000);
    assert!(!script.events().iter().any(|event| matches!(event, Event::LegAlive { .. })));
}
