//! Whose packets are taken, and where media goes.

use crate::*;
use motet_relay::testing::participant;
use motet_relay::{Command, DropReason, LegId, StreamId};
use motet_rtp::rtcp::{FirEntry, write_bye, write_fir, write_pli, write_receiver_report};

/// One of everything that a stranger may send to the port of participant 0, who was heard up to number 99.
fn attacks() -> Vec<Vec<u8>> {
    let rtcp = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write_receiver_report(&mut bytes, ssrc(0), &[]);
        write(&mut bytes);
        bytes
    };
    let entries: Vec<FirEntry> = (0..30).map(|n| FirEntry { ssrc: 0xa000 + n, sequence: 1 }).collect();
    let mut attacks = vec![
        vec![],
        vec![0x80],
        vec![0; 1_400],
        vec![0x40; 1_400],
        vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
        vec![22, 254, 253, 0, 0],
        rtcp(&|_| {}),
        rtcp(&|bytes| write_bye(bytes, &[ssrc(0), ssrc(1)], None)),
        rtcp(&|bytes| write_pli(bytes, ssrc(0), 0xa003)),
        rtcp(&|bytes| write_fir(bytes, ssrc(0), &entries)),
    ];
    attacks.extend((100..200).map(|sequence| sound(0, sequence)));
    attacks.extend((0..100).map(|sequence| sound_of(0x6666, sequence)));
    attacks
}

#[test]
fn a_stranger_gets_nothing_and_changes_nothing() {
    for latch in [Latch::Symmetric, Latch::Fixed, Latch::Strict] {
        let mut script = meeting(latch, Kind::Audio);
        (0..3).for_each(|n| {
            talk(&mut script, n, participant(n), 0, 100);
        });
        talk(&mut script, 0, participant(0), 100, 1);
        script.events();
        let before = script.relay.drops().total();
        for attack in attacks() {
            assert_eq!(script.packet(0, stranger(1), &attack), [], "{latch:?}: {attack:02x?}");
        }
        assert_eq!(script.relay.drops().total() - before, attacks().len() as u64, "{latch:?}");
        assert_eq!(script.events(), [], "{latch:?}");
        let sent = talk(&mut script, 0, participant(0), 101, 1);
        assert_eq!(numbers(&sent, 1), [1_101], "{latch:?}: the participant goes on without a gap");
        let later = script.pass(Duration::from_secs(120));
        assert!(later.iter().all(|sent| sent.destination.ip() == participant(0).ip()), "{latch:?}");
    }
}

#[test]
fn fixed_and_strict_send_to_the_signalled_address_alone() {
    for latch in [Latch::Fixed, Latch::Strict] {
        let mut script = meeting(latch, Kind::Audio);
        // Before the participants were ever heard, and from their own host, too.
        for from in [stranger(1), participant(40)] {
            talk(&mut script, 1, from, 0, 100);
            script.pass(Duration::from_secs(30));
        }
        let sent = rtp(talk(&mut script, 0, participant(0), 0, 10));
        let to_1: Vec<_> = sent.iter().filter(|sent| sent.port.0 == 1).collect();
        assert_eq!(to_1.len(), 10);
        assert!(to_1.iter().all(|sent| sent.destination == participant(1)), "{latch:?}");
    }
}

#[test]
fn a_scanner_takes_a_leg_only_until_its_owner_speaks() {
    let mut script = meeting(Latch::Symmetric, Kind::Audio);
    // It comes first, with the right payload type: nothing tells it from the participant.
    script.packet(1, stranger(1), &sound_of(0x6666, 1));
    script.packet(1, stranger(1), &sound_of(0x6666, 2));
    talk(&mut script, 0, participant(0), 0, 100);
    let sent = talk(&mut script, 1, participant(1), 0, 8);
    assert!(numbers(&sent, 0).len() >= 2, "after the proof its own sound is forwarded: {sent:?}");
    let sent = rtp(talk(&mut script, 0, participant(0), 100, 10));
    assert!(sent.iter().filter(|sent| sent.port.0 == 1).all(|sent| sent.destination == participant(1)));
}

#[test]
fn an_earned_lock_is_kept_from_who_starts_afresh() {
    let mut script = meeting(Latch::Symmetric, Kind::Audio);
    talk(&mut script, 1, participant(1), 0, 60);
    script.pass(Duration::from_secs(50));
    for sequence in 0..100 {
        assert_eq!(script.packet(1, stranger(1), &sound_of(0x6666, sequence)), []);
    }
    assert_eq!(script.relay.drops().count(DropReason::OffPath), 100);
    let sent = rtp(talk(&mut script, 0, participant(0), 0, 10));
    assert!(sent.iter().filter(|sent| sent.port.0 == 1).all(|sent| sent.destination == participant(1)));
    // Control's word lets a new source in.
    script.command(Command::SetRemote {
        leg: LegId(1),
        transport: 0,
        remote: None,
        remote_rtcp: None,
        latch: Latch::Symmetric,
        relatch: true,
    });
    assert!(!numbers(&talk(&mut script, 1, participant(50), 0, 10), 0).is_empty());
}

#[test]
fn a_roaming_participant_takes_its_media_along() {
    let mut script = meeting(Latch::Symmetric, Kind::Audio);
    talk(&mut script, 1, participant(1), 0, 100);
    talk(&mut script, 0, participant(0), 0, 10);
    script.pass(Duration::from_secs(2));
    // Its number goes on while it moves. Who guesses has the SSRC or the number wrong.
    for sequence in 0..20 {
        assert_eq!(script.packet(1, stranger(1), &sound(1, 9_000 + sequence)), [], "far from the last");
        assert_eq!(script.packet(1, stranger(2), &sound(1, 50 + sequence)), [], "before the last");
        assert_eq!(script.packet(1, stranger(3), &sound_of(0x6666, 120 + sequence)), [], "another SSRC");
    }
    let moved = participant(77);
    let sent = talk(&mut script, 1, moved, 150, 10);
    assert_eq!(numbers(&sent, 0).len(), 6, "four prove it, the fifth locks");
    let sent = rtp(talk(&mut script, 0, participant(0), 10, 10));
    assert!(sent.iter().filter(|sent| sent.port.0 == 1).all(|sent| sent.destination == moved));
}

#[test]
fn media_to_a_learnt_address_ends_with_its_silence() {
    // Forged packets could make the relay flood who never asked: after two, and after a second of them.
    for (packets, silence) in [(2, 25), (60, 60)] {
        let mut script = meeting(Latch::Symmetric, Kind::Audio);
        talk(&mut script, 1, participant(1), 0, packets);
        let mut reached = Vec::new();
        for second in 0..silence + 10 {
            let sent = talk(&mut script, 0, participant(0), second * 50, 50);
            reached.push(sent.iter().filter(|sent| sent.destination == participant(1)).count());
        }
        let silence = usize::from(silence);
        assert!(reached[..silence - 1].iter().all(|count| *count >= 49), "{packets}: {reached:?}");
        assert!(reached[silence + 2..].iter().all(|count| *count == 0), "not even RTCP: {reached:?}");
        // One packet of it, and media comes again.
        script.packet(1, participant(1), &sound(1, packets));
        let sent = rtp(talk(&mut script, 0, participant(0), 9_000, 10));
        assert!(sent.iter().any(|sent| sent.destination == participant(1)));
    }
}

#[test]
fn rtcp_alone_keeps_media_coming() {
    let mut script = meeting(Latch::Symmetric, Kind::Audio);
    talk(&mut script, 1, participant(1), 0, 60);
    let mut report = Vec::new();
    write_receiver_report(&mut report, ssrc(1), &[]);
    for second in 0..300 {
        if second % 5 == 0 {
            script.packet(1, participant(1), &report);
        }
        let sent = talk(&mut script, 0, participant(0), second * 50, 50);
        let reached = rtp(sent).iter().filter(|sent| sent.destination == participant(1)).count();
        assert!(reached >= 49, "{reached} in second {second}");
    }
}

#[test]
fn a_listeners_leg_is_not_lost_to_a_stranger() {
    for by_rtcp in [false, true] {
        let mut script = Script::default();
        script.leg(0, Latch::Strict);
        script.stream(0, 0, Kind::Audio);
        script.leg(1, Latch::Symmetric);
        script.route(1, 0, 1);
        let mut report = Vec::new();
        write_receiver_report(&mut report, 0x77, &[]);
        // The listener publishes nothing, so that nothing tells it from a stranger who comes first.
        for sequence in 0..2 {
            let packet = if by_rtcp { report.clone() } else { sound_of(0x6666, sequence) };
            script.packet(1, stranger(1), &packet);
        }
        let sent = rtp(talk(&mut script, 0, participant(0), 0, 2));
        assert!(sent.iter().all(|sent| sent.destination == stranger(1)), "{sent:?}");
        let mut to_listener = 0;
        for second in 0..40 {
            if second % 5 == 0 {
                script.packet(1, participant(1), &report);
            }
            let sent = rtp(talk(&mut script, 0, participant(0), 2 + second * 50, 50));
            to_listener += sent.iter().filter(|sent| sent.destination == participant(1)).count();
        }
        assert!(to_listener > 400, "{to_listener}: the listener shows itself again after 25 s of silence");
    }
}

#[test]
fn receivers_never_learn_a_publishers_ssrc() {
    let mut script = meeting(Latch::Fixed, Kind::Video);
    let mut report = Vec::new();
    let info = motet_rtp::rtcp::SenderInfo {
        ntp: motet_rtp::Ntp(1 << 32),
        rtp_timestamp: motet_rtp::WireTimestamp(0),
        packets: 1,
        octets: 1,
    };
    motet_rtp::rtcp::write_sender_report(&mut report, ssrc(0), &info, &[]);
    write_bye(&mut report, &[ssrc(0)], None);
    let mut sent = Vec::new();
    for sequence in 0..20 {
        sent.extend(script.packet(0, participant(0), &video(0, sequence)));
        sent.extend(script.pass(Duration::from_millis(200)));
    }
    sent.extend(script.packet(0, participant(0), &report));
    sent.extend(script.command(Command::RemoveStream(StreamId(0))));
    let secret = ssrc(0).to_be_bytes();
    let (own, others): (Vec<_>, Vec<_>) = sent.iter().partition(|sent| sent.port.0 == 0);
    let tells = |sent: &&Sent| sent.bytes.windows(4).any(|bytes| bytes == secret);
    assert!(own.iter().any(&tells), "its own reports name it");
    assert!(others.len() >= 40 && !others.iter().any(tells));
}
