//! What receivers get: packet scripts in virtual time. Every script also shows that nothing else was sent.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{Command, DropReason, Event, Inbound, Kind, Latch, LegId, PortId, RouteId, StreamId};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use std::time::Duration;

const SSRC: u32 = 0x1111;

fn video(sequence: u16, timestamp: u32) -> Vec<u8> {
    video_of(SSRC, sequence, timestamp)
}

fn video_of(ssrc: u32, sequence: u16, timestamp: u32) -> Vec<u8> {
    RtpBuilder::new(ssrc)
        .payload_type(96)
        .sequence(WireSeq(sequence))
        .timestamp(WireTimestamp(timestamp))
        .payload(b"picture")
        .to_vec()
}

/// Leg 0 publishes video to legs 1 and 2; all addresses are known.
fn one_to_two() -> Script {
    let mut script = Script::default();
    (0..3).for_each(|n| {
        script.leg(n, Latch::Strict);
    });
    script.stream(0, 0, Kind::Video);
    script.route(1, 0, 1);
    script.route(2, 0, 2);
    script
}

/// RTP only: without the RTCP that goes along.
fn rtp(sent: Vec<Sent>) -> Vec<Sent> {
    sent.into_iter().filter(|sent| !(192..=223).contains(&sent.bytes[1])).collect()
}

fn numbers(sent: &[Sent], port: u32) -> Vec<(u16, u32)> {
    let to = sent.iter().filter(|sent| sent.port == PortId(port));
    to.map(|sent| {
        let view = RtpView::new(&sent.bytes).expect("well-formed RTP");
        (view.sequence().0, view.timestamp().0)
    })
    .collect()
}

#[test]
fn every_receiver_gets_each_packet_under_its_own_header() {
    let mut script = one_to_two();
    let sent = rtp(script.packet(0, participant(0), &video(65_535, 90_000)));
    assert_eq!(sent.len(), 2);
    for (sent, leg) in sent.iter().zip([1, 2]) {
        assert_eq!((sent.port, sent.destination), (PortId(leg), participant(leg)));
        let view = RtpView::new(&sent.bytes).expect("well-formed RTP");
        let header = (view.ssrc(), view.payload_type(), view.sequence().0, view.timestamp().0);
        assert_eq!(header, (0xa000 + leg, 97, 1_000, 5_000));
        assert_eq!(view.payload(), b"picture");
    }
    let next = rtp(script.packet(0, participant(0), &video(0, 93_000)));
    assert_eq!(numbers(&next, 1), [(1_001, 8_000)], "over the wrap");
}

#[test]
fn a_burst_goes_out_leg_by_leg() {
    let mut script = one_to_two();
    let burst: Vec<u8> = (0..5).flat_map(|n| video(n, 0)).collect();
    let run =
        Inbound { port: PortId(0), source: participant(0), bytes: &burst, segment_bytes: burst.len() / 5 };
    let sent = rtp(script.batch(&[run]));
    let ports: Vec<u32> = sent.iter().map(|sent| sent.port.0).collect();
    assert_eq!(ports, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    assert_eq!(numbers(&sent, 2).iter().map(|n| n.0).collect::<Vec<_>>(), [1000, 1001, 1002, 1003, 1004]);
}

#[test]
fn streams_of_one_batch_lie_together_for_each_leg() {
    let mut script = Script::default();
    (0..4).for_each(|n| {
        script.leg(n, Latch::Strict);
    });
    for publisher in [0, 1] {
        script.stream(publisher, publisher, Kind::Audio);
        script.route(10 + publisher, publisher, 2);
        script.route(20 + publisher, publisher, 3);
    }
    let audio = |ssrc| RtpBuilder::new(ssrc).payload_type(111).payload(b"sound").to_vec();
    let (first, second) = (audio(1), audio(2));
    let run = |port: u32, bytes| Inbound {
        port: PortId(port),
        source: participant(port),
        bytes,
        segment_bytes: 99,
    };
    let sent = script.batch(&[run(0, &first), run(1, &second)]);
    assert_eq!(sent.iter().map(|sent| sent.port.0).collect::<Vec<_>>(), [2, 2, 3, 3]);
}

#[test]
fn reordered_and_duplicate_packets_keep_their_places() {
    let mut script = one_to_two();
    let mut got = Vec::new();
    for sequence in [10, 12, 11, 11, 13] {
        got.extend(rtp(script.packet(0, participant(0), &video(sequence, 0))));
    }
    let got: Vec<u16> = numbers(&got, 1).iter().map(|n| n.0).collect();
    assert_eq!(got, [1000, 1002, 1001, 1001, 1003]);
}

#[test]
fn a_packet_from_before_the_route_is_not_sent() {
    let mut script = one_to_two();
    script.packet(0, participant(0), &video(10, 0));
    assert_eq!(rtp(script.packet(0, participant(0), &video(9, 0))), []);
    assert_eq!(script.relay.drops().count(DropReason::BeforeSwitch), 2);
}

#[test]
fn a_new_source_goes_on_where_the_old_one_stopped() {
    let mut script = one_to_two();
    script.leg(3, Latch::Strict);
    script.stream(3, 3, Kind::Video);
    script.packet(0, participant(0), &video(500, 90_000));
    script.pass(Duration::from_millis(100));
    let switch = Command::SwitchRoute { route: RouteId(1), stream: StreamId(3), payload_map: vec![(96, 97)] };
    script.command(switch);
    assert_eq!(
        numbers(&rtp(script.packet(0, participant(0), &video(501, 93_000))), 1),
        [],
        "the old one is off"
    );
    let sent = rtp(script.packet(3, participant(3), &video_of(0x2222, 7, 1)));
    assert_eq!(sent.len(), 1);
    // One number later; 100 ms are 9,000 ticks.
    assert_eq!(numbers(&sent, 1), [(1_001, 14_000)]);
    assert_eq!(RtpView::new(&sent[0].bytes).expect("RTP").ssrc(), 0xa001);
}

#[test]
fn a_restarted_publisher_goes_on_too_and_a_stray_packet_does_not_cut_it() {
    let mut script = one_to_two();
    script.packet(0, participant(0), &video(500, 90_000));
    assert_eq!(rtp(script.packet(0, participant(0), &video_of(0x9999, 1, 1))), [], "on probation");
    assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(501, 90_000))), 1), [(1_001, 5_000)]);
    script.packet(0, participant(0), &video_of(0x8888, 40_000, 7));
    script.pass(Duration::from_millis(10));
    script.events();
    let sent = rtp(script.packet(0, participant(0), &video_of(0x8888, 40_001, 7)));
    assert_eq!(numbers(&sent, 1), [(1_002, 5_900)]);
    assert!(script.events().contains(&Event::StreamStarted { stream: StreamId(0), ssrc: 0x8888 }));
}

#[test]
fn a_jump_of_the_sequence_is_followed_at_the_second_packet() {
    let mut script = one_to_two();
    script.packet(0, participant(0), &video(500, 0));
    assert_eq!(rtp(script.packet(0, participant(0), &video(20_000, 0))), []);
    assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(20_001, 0))), 1)[0].0, 1_001);
    assert_eq!(script.relay.drops().count(DropReason::SequenceJump), 1);
}

#[test]
fn a_stopped_route_is_silent_and_resumes_without_a_gap() {
    let mut script = one_to_two();
    script.packet(0, participant(0), &video(1, 0));
    script.command(Command::SetRouteActive(RouteId(1), false));
    for sequence in 2..50 {
        assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(sequence, 0))), 1), []);
    }
    script.command(Command::SetRouteActive(RouteId(1), true));
    assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(50, 0))), 1)[0].0, 1_001);
}

#[test]
fn an_outsider_neither_injects_nor_redirects() {
    let mut script = Script::default();
    script.leg(0, Latch::Symmetric);
    script.leg(1, Latch::Symmetric);
    script.stream(0, 0, Kind::Video);
    script.stream(1, 1, Kind::Video);
    script.route(1, 0, 1);
    script.route(2, 1, 0);
    for sequence in 0..3 {
        script.packet(0, participant(0), &video(sequence, 0));
        script.packet(1, participant(1), &video_of(0x2222, sequence, 0));
    }
    for sequence in 3..100 {
        // The very SSRC and the next numbers, from elsewhere.
        assert_eq!(script.packet(0, participant(66), &video(sequence, 0)), []);
    }
    let sent = rtp(script.packet(1, participant(1), &video_of(0x2222, 3, 0)));
    assert_eq!(sent[0].destination, participant(0));
    assert_eq!(script.relay.drops().count(DropReason::OffPath), 97);
}

#[test]
fn bad_packets_are_counted_by_reason_and_nothing_is_sent() {
    let mut script = one_to_two();
    let good = video(1, 0);
    let mut wrong_type = good.clone();
    wrong_type[1] = 33;
    let mut extension = good.clone();
    extension[0] |= 0x10;
    extension[14] = 0xff;
    let mut version = good.clone();
    version[0] = 0x40;
    for (bytes, reason) in [
        (&good[..11], DropReason::TooShort),
        (&good[..1], DropReason::TooShort),
        (&[][..], DropReason::TooShort),
        (&wrong_type, DropReason::UnknownPayloadType),
        (&extension, DropReason::Malformed),
        (&version, DropReason::BadVersion),
        (&[0, 1, 0, 0], DropReason::Stun),
        (&[22, 254, 255], DropReason::Dtls),
        (&[0x80, 200, 0, 9], DropReason::MalformedRtcp),
    ] {
        let before = script.relay.drops().count(reason);
        assert_eq!(script.packet(0, participant(0), bytes), []);
        assert_eq!(script.relay.drops().count(reason), before + 1, "{reason:?}");
    }
    script.packet(9, participant(0), &good);
    assert_eq!(script.relay.drops().count(DropReason::UnknownPort), 1);
}

#[test]
fn silence_is_reported_once_and_its_end_too() {
    let mut script = one_to_two();
    script.packet(0, participant(0), &video(1, 0));
    script.events();
    script.pass(Duration::from_secs(30));
    let events = script.events();
    let silent = |event: &&Event| matches!(event, Event::StreamSilent { stream: StreamId(0), .. });
    assert_eq!(events.iter().filter(silent).count(), 1);
    let leg_silent = |event: &&Event| matches!(event, Event::LegSilent { leg: LegId(0), .. });
    assert_eq!(events.iter().filter(leg_silent).count(), 1);
    script.packet(0, participant(0), &video(2, 0));
    let events = script.events();
    assert!(events.contains(&Event::StreamResumed { stream: StreamId(0) }), "{events:?}");
    assert!(matches!(events[0], Event::LegAlive { leg: LegId(0), .. }));
}

#[test]
fn what_is_removed_leaves_nothing_behind() {
    let mut script = one_to_two();
    script.packet(0, participant(0), &video(1, 0));
    script.command(Command::RemoveLeg(LegId(0)));
    assert_eq!(rtp(script.packet(0, participant(0), &video(2, 0))), []);
    let counts = script.relay.counts();
    assert_eq!((counts.legs, counts.streams, counts.routes), (2, 0, 0));
    // All numbers can be used again at once.
    script.leg(0, Latch::Strict);
    script.stream(0, 0, Kind::Video);
    script.route(1, 0, 1);
    assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(2, 0))), 1), [(1_000, 5_000)]);
}

#[test]
fn refused_commands_change_nothing() {
    let mut script = one_to_two();
    let before = script.relay.counts();
    let mut out = motet_relay::Outbox::new();
    let commands = [
        Command::RemoveLeg(LegId(9)),
        Command::RemoveStream(StreamId(9)),
        Command::RemoveRoute(RouteId(9)),
        Command::SetRouteActive(RouteId(9), true),
        Command::RequestKeyFrame(StreamId(9)),
        Command::SwitchRoute { route: RouteId(1), stream: StreamId(9), payload_map: vec![] },
        Command::SwitchRoute { route: RouteId(1), stream: StreamId(0), payload_map: vec![(200, 1)] },
    ];
    for command in commands {
        let shown = format!("{command:?}");
        assert!(script.relay.handle_command(script.now, command, &mut out).is_err(), "{shown}");
    }
    assert_eq!((script.relay.counts(), out.messages().count()), (before, 0));
    assert_eq!(rtp(script.packet(0, participant(0), &video(1, 0))).len(), 2);
}

#[test]
fn a_strangers_rtcp_does_not_keep_a_listener_out() {
    let mut script = Script::default();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Symmetric);
    script.stream(0, 0, Kind::Video);
    script.route(1, 0, 1);
    let mut report = Vec::new();
    motet_rtp::rtcp::write_receiver_report(&mut report, 9, &[]);
    script.packet(1, participant(50), &report);
    assert_eq!(rtp(script.packet(0, participant(0), &video(1, 0))), [], "one datagram of a stranger");
    // A second one, by and by: the guess lasts while it is alive.
    script.packet(1, participant(50), &report);
    assert_eq!(rtp(script.packet(0, participant(0), &video(2, 0)))[0].destination, participant(50));
    script.pass(Duration::from_secs(60));
    for _ in 0..2 {
        script.packet(1, participant(1), &report);
    }
    assert_eq!(rtp(script.packet(0, participant(0), &video(3, 0)))[0].destination, participant(1));
}

#[test]
fn the_first_packet_of_an_unknown_source_is_forwarded_and_does_not_redirect() {
    let mut script = Script::default();
    script.leg(0, Latch::Symmetric);
    script.leg(1, Latch::Strict);
    script.stream(0, 0, Kind::Video);
    script.stream(1, 1, Kind::Video);
    script.route(1, 0, 1);
    script.route(2, 1, 0);
    assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(7, 0))), 1), [(1_000, 5_000)]);
    assert_eq!(rtp(script.packet(1, participant(1), &video_of(0x2222, 1, 0))), [], "no lock, no destination");
    assert_eq!(numbers(&rtp(script.packet(0, participant(0), &video(8, 0))), 1), [(1_001, 5_000)]);
    let sent = rtp(script.packet(1, participant(1), &video_of(0x2222, 2, 0)));
    assert_eq!(sent[0].destination, participant(0));
}
