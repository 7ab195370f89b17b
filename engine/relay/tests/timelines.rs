//! What becomes of a receiver's timeline when the publisher's breaks: restarts, other clocks, jumps.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, DropReason, Latch, LegId, Numbering, PayloadType, Relay, RelayConfig, RouteId, RouteSpec,
    StreamId, StreamSpec,
};
use motet_rtp::payload::PayloadFormat;
use motet_rtp::rtcp::{Compound, Packet, SenderInfo, write_sender_report};
use motet_rtp::{Ntp, RtpBuilder, RtpView, WireSeq, WireTimestamp};
use std::time::Duration;

const FRAME: Duration = Duration::from_millis(20);
/// Telephone events at 8 kHz, beside Opus at 48 kHz.
const EVENT: u8 = 101;
const OPUS: u8 = 111;
const PCMU: u8 = 0;

/// Reports are what these tests read the clocks from: sound has one a second, too.
fn script() -> Script {
    let config = RelayConfig { report_intervals_max: 1, ..RelayConfig::default() };
    let mut script = Script::default();
    script.relay = Relay::new(config);
    script
}

/// Leg 0 sends sound in these payload types to leg 1.
fn scene(types: &[(u8, u32)]) -> Script {
    let mut script = script();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Strict);
    let payload_types = types.iter().map(|&(number, clock_hz)| PayloadType { number, clock_hz }).collect();
    let kind = motet_relay::Kind::Audio;
    let spec = StreamSpec { leg: LegId(0), transport: 0, kind, ssrc: None, payload_types };
    script.command(Command::AddStream(StreamId(0), spec));
    let spec = RouteSpec {
        stream: StreamId(0),
        leg: LegId(1),
        transport: 0,
        ssrc: 77,
        payload_map: types.iter().map(|&(number, _)| (number, number)).collect(),
        numbering: Numbering::Begin { sequence: 100, timestamp: 5_000 },
        active: true,
        shared: false,
    };
    script.command(Command::AddRoute(RouteId(0), spec));
    script
}

/// A packet of the publisher; gives number and timestamp that the receiver gets.
fn send(script: &mut Script, payload_type: u8, sequence: u16, timestamp: u32) -> Option<(u16, u32)> {
    let packet = RtpBuilder::new(5).payload_type(payload_type).sequence(WireSeq(sequence));
    let packet = packet.timestamp(WireTimestamp(timestamp)).payload(&[7; 20]).to_vec();
    let sent = script.packet(0, participant(0), &packet);
    let view = sent.first().map(|sent| RtpView::new(&sent.bytes).expect("well-formed RTP"));
    view.map(|view| (view.sequence().0, view.timestamp().0))
}

/// The next sender report of the route, and how many ticks it is ahead of `timestamp`, sent now.
fn report_ahead(script: &mut Script, timestamp: u32, clock_hz: u64) -> i64 {
    let sent_at = script.now;
    let sent = script.pass(Duration::from_secs(1));
    let info = sender_info(&sent);
    let elapsed = info.ntp.0 - Ntp(0).plus(sent_at.since(motet_rtp::Time::ZERO)).0;
    let expected = timestamp.wrapping_add(((u128::from(elapsed) * u128::from(clock_hz)) >> 32) as u32);
    i64::from(info.rtp_timestamp.distance(WireTimestamp(expected)))
}

fn sender_info(sent: &[Sent]) -> SenderInfo {
    let compounds = sent.iter().map(|sent| Compound::new(&sent.bytes).expect("a compound"));
    let reports = compounds.flat_map(|compound| compound.packets()).filter_map(|packet| match packet {
        Packet::SenderReport(report) => Some(report.info),
        _ => None,
    });
    reports.last().expect("a sender report")
}

#[test]
fn loss_is_not_forgotten_at_a_restart() {
    let mut script = scene(&[(PCMU, 8_000)]);
    let lost = |script: &Script| script.relay.stream_stats(StreamId(0), script.now).expect("it exists").lost;
    for sequence in [1, 51, 20_000, 20_001, 20_003] {
        send(&mut script, PCMU, sequence, 0);
    }
    assert_eq!(lost(&script), 49 + 1);
}

#[test]
fn reports_after_a_restart_do_not_go_by_what_was_told_before() {
    let mut script = scene(&[(PCMU, 8_000)]);
    send(&mut script, PCMU, 1, 1_000_000);
    let mut report = Vec::new();
    let info =
        SenderInfo { ntp: Ntp(5 << 32), rtp_timestamp: WireTimestamp(1_000_000), packets: 1, octets: 1 };
    write_sender_report(&mut report, 5, &info, &[]);
    script.packet(0, participant(0), &report);
    script.pass(Duration::from_secs(1));
    send(&mut script, PCMU, 20_000, 0);
    let (_, timestamp) = send(&mut script, PCMU, 20_001, 160).expect("the restart is believed");
    let ahead = report_ahead(&mut script, timestamp, 8_000);
    assert!(ahead.abs() <= 1, "{ahead} ticks");
}

#[test]
fn a_change_of_the_codec_is_followed() {
    let mut script = scene(&[(PCMU, 8_000), (OPUS, 48_000)]);
    send(&mut script, PCMU, 1, 0);
    let mut timestamp = 0;
    for n in 0..50 {
        script.pass(FRAME);
        timestamp = send(&mut script, OPUS, 2 + n, u32::from(n) * 960).expect("forwarded").1;
    }
    let ahead = report_ahead(&mut script, timestamp, 48_000);
    assert!(ahead.abs() <= 1, "{ahead} ticks");
    let jitter = script.relay.stream_stats(StreamId(0), script.now).expect("it exists").jitter;
    assert!(jitter < Duration::from_millis(1), "{jitter:?} for packets that came when they should");
}

#[test]
fn a_telephone_event_however_long_does_not_change_the_clock() {
    let mut script = scene(&[(OPUS, 48_000), (EVENT, 8_000)]);
    let (mut sequence, mut timestamp) = (0, 0);
    for n in 0..200_u32 {
        // Half a second of sound, half a second of one key.
        let event = n / 25 % 2 == 1;
        let (payload_type, at) = if event { (EVENT, n / 25 * 25 * 160) } else { (OPUS, n * 960) };
        let (number, sent) = send(&mut script, payload_type, sequence, at).expect("forwarded");
        assert_eq!(number, 100 + sequence);
        if event {
            // As if the sound had gone on.
            timestamp += 960;
        } else {
            timestamp = sent;
        }
        let report = script.pass(FRAME);
        if report.iter().any(|sent| (192..=223).contains(&sent.bytes[1]) && sent.port.0 == 1) {
            let ahead = i64::from(sender_info(&only_to(report, 1)).rtp_timestamp.0) - i64::from(timestamp);
            assert!((0..=961).contains(&ahead), "packet {n}: {ahead} ticks");
        }
        sequence += 1;
    }
    let jitter = script.relay.stream_stats(StreamId(0), script.now).expect("it exists").jitter;
    assert!(jitter < Duration::from_millis(1), "{jitter:?} for packets that came when they should");
}

fn only_to(sent: Vec<Sent>, port: u32) -> Vec<Sent> {
    sent.into_iter().filter(|sent| sent.port.0 == port).collect()
}

#[test]
fn a_restart_in_another_clock_is_followed() {
    let mut script = scene(&[(PCMU, 8_000), (OPUS, 48_000)]);
    send(&mut script, PCMU, 40_000, 0);
    send(&mut script, OPUS, 40_001, 960);
    assert_eq!(send(&mut script, OPUS, 10_000, 0), None, "on probation");
    let forwarded = (1..500).filter(|&n| send(&mut script, OPUS, 10_000 + n, u32::from(n) * 960).is_some());
    assert_eq!(forwarded.count(), 499);
    assert_eq!(script.relay.drops().count(DropReason::SequenceJump), 1);
}

#[test]
fn a_jump_of_the_timestamp_does_not_reach_the_receiver() {
    let mut script = scene(&[(PCMU, 8_000)]);
    assert_eq!(send(&mut script, PCMU, 1, 0), Some((100, 5_000)));
    for (index, to) in [3_000_000_000, 80_000, 4_000_000_000].into_iter().enumerate() {
        script.now += FRAME;
        let (number, sent) = send(&mut script, PCMU, 2 + index as u16, to).expect("forwarded");
        assert_eq!((number, sent), (101 + index as u16, 5_160 + 160 * index as u32), "to {to}");
    }
    // A packet of the other side of the jump has no place any more.
    assert_eq!(send(&mut script, PCMU, 3, 80_000), None);
}

#[test]
fn a_pause_that_explains_a_step_of_the_timestamp_reaches_the_receiver() {
    let mut script = scene(&[(PCMU, 8_000)]);
    send(&mut script, PCMU, 1, 0);
    script.now += Duration::from_secs(60);
    assert_eq!(send(&mut script, PCMU, 2, 479_000), Some((101, 484_000)), "as the publisher says");
    script.now += Duration::from_secs(60);
    assert_eq!(send(&mut script, PCMU, 3, 479_160), Some((102, 484_160)), "its clock stood still");
    script.now += FRAME;
    assert_eq!(send(&mut script, PCMU, 4, 479_160 + 80_000), Some((103, 564_160)), "ten seconds pass");
}

#[test]
fn streams_that_report_by_different_clocks_keep_their_own() {
    let mut script = scene(&[(PCMU, 8_000)]);
    let payload_types = vec![PayloadType { number: OPUS, clock_hz: 48_000 }];
    let kind = motet_relay::Kind::Audio;
    let spec = StreamSpec { leg: LegId(0), transport: 0, kind, ssrc: None, payload_types };
    script.command(Command::AddStream(StreamId(1), spec));
    let other = RtpBuilder::new(6).payload_type(OPUS).to_vec();
    let reported = |script: &mut Script, ssrc, unix_seconds, timestamp| {
        let mut report = Vec::new();
        let ntp = Ntp::from_unix(Duration::from_secs(unix_seconds));
        let rtp_timestamp = WireTimestamp(timestamp);
        write_sender_report(
            &mut report,
            ssrc,
            &SenderInfo { ntp, rtp_timestamp, packets: 1, octets: 1 },
            &[],
        );
        script.packet(0, participant(0), &report);
    };
    script.packet(0, participant(0), &other);
    send(&mut script, PCMU, 1, 0);
    reported(&mut script, 5, 1_000, 0);
    reported(&mut script, 6, 7_000, 0);
    script.pass(Duration::from_secs(1));
    let (_, timestamp) = send(&mut script, PCMU, 2, 8_000).expect("forwarded");
    let ahead = report_ahead(&mut script, timestamp, 8_000);
    assert!(ahead.abs() <= 1, "{ahead} ticks");
}

#[test]
fn a_publisher_without_a_wall_clock_is_reported_by_its_packets() {
    let mut script = scene(&[(PCMU, 8_000)]);
    for second in 0..5 {
        send(&mut script, PCMU, second, u32::from(second) * 8_000);
        let mut report = Vec::new();
        let rtp_timestamp = WireTimestamp(u32::from(second) * 8_000);
        write_sender_report(
            &mut report,
            5,
            &SenderInfo { ntp: Ntp(0), rtp_timestamp, packets: 1, octets: 1 },
            &[],
        );
        script.packet(0, participant(0), &report);
        script.pass(Duration::from_secs(1));
    }
    let (_, timestamp) = send(&mut script, PCMU, 5, 40_000).expect("forwarded");
    let ahead = report_ahead(&mut script, timestamp, 8_000);
    assert!(ahead.abs() <= 1, "{ahead} ticks");
}

#[test]
fn reports_count_payload_alone_and_statistics_all_bytes() {
    let mut script = scene(&[(PCMU, 8_000)]);
    let packet =
        RtpBuilder::new(5).payload_type(PCMU).csrcs(&[1, 2]).padding_bytes(4).payload(&[7; 20]).to_vec();
    script.packet(0, participant(0), &packet);
    assert_eq!(sender_info(&script.pass(Duration::from_secs(1))).octets, 20);
    let stats = script.relay.route_stats(RouteId(0)).expect("it exists");
    assert_eq!(stats.bytes, packet.len() as u64);
}

/// A picture's packet in VP8: a key frame, or one that refers to others.
fn picture(script: &mut Script, leg: u32, sequence: u16, key_frame: bool) -> Option<(u16, u32)> {
    // The descriptor's S bit, and the frame header's first bit (RFC 7741 section 4.2, RFC 6386 section 9.1).
    let payload = [0x10, u8::from(!key_frame), 0, 0];
    let packet = RtpBuilder::new(50 + leg).payload_type(OPUS).sequence(WireSeq(sequence));
    let packet = packet.timestamp(WireTimestamp(u32::from(sequence) * 3_000)).payload(&payload).to_vec();
    let sent = script.packet(leg, participant(leg), &packet);
    let to_receiver =
        sent.iter().filter_map(|sent| RtpView::new(&sent.bytes).ok()).find(|view| view.ssrc() == 77);
    to_receiver.map(|view| (view.sequence().0, view.timestamp().0))
}

/// Legs 0 and 1 send pictures, and leg 2 gets those of leg 0 until it is switched.
fn switched() -> Script {
    let mut script = script();
    for leg in 0..3 {
        script.leg(leg, Latch::Strict);
    }
    for leg in 0..2 {
        let payload_types = vec![PayloadType { number: OPUS, clock_hz: 90_000 }];
        let kind = motet_relay::Kind::Video;
        let spec = StreamSpec { leg: LegId(leg), transport: 0, kind, ssrc: None, payload_types };
        script.command(Command::AddStream(StreamId(leg), spec));
    }
    let numbering = Numbering::Begin { sequence: 100, timestamp: 5_000 };
    let (stream, leg, payload_map) = (StreamId(0), LegId(2), vec![(OPUS, OPUS)]);
    let spec =
        RouteSpec { stream, leg, transport: 0, ssrc: 77, payload_map, numbering, active: true, shared: true };
    script.command(Command::AddRoute(RouteId(0), spec));
    for sequence in 0..3 {
        picture(&mut script, 0, sequence, sequence == 0).expect("it is relayed");
        picture(&mut script, 1, sequence, sequence == 0);
        script.pass(FRAME);
    }
    script
}

fn switch(script: &mut Script) {
    let (route, payload_map) = (RouteId(0), vec![(OPUS, OPUS)]);
    script.command(Command::SwitchRoute { route, stream: StreamId(1), payload_map });
    script.command(Command::AwaitKeyFrame { route, formats: vec![(OPUS, PayloadFormat::Vp8)] });
}

#[test]
fn a_switched_route_begins_with_a_key_frame_and_goes_on_in_its_numbers() {
    let mut script = switched();
    let before = script.relay.drops().count(DropReason::BeforeSwitch);
    switch(&mut script);
    assert_eq!(picture(&mut script, 1, 3, false), None, "it refers to what the receiver has not got");
    assert_eq!(picture(&mut script, 1, 4, false), None);
    assert_eq!(script.relay.drops().count(DropReason::BeforeSwitch) - before, 2);
    script.pass(FRAME);
    let (sequence, timestamp) = picture(&mut script, 1, 5, true).expect("the key frame");
    assert!(sequence == 103 && timestamp > 5_000 + 2 * 3_000, "{sequence} {timestamp}");
    assert_eq!(picture(&mut script, 1, 6, false).map(|sent| sent.0), Some(104));
    assert_eq!(picture(&mut script, 0, 3, true), None, "of the other one nothing comes any more");
}

#[test]
fn a_key_frame_that_does_not_come_is_not_waited_for_without_end() {
    let mut script = switched();
    switch(&mut script);
    assert_eq!(picture(&mut script, 1, 3, false), None);
    script.pass(Duration::from_secs(2));
    assert_eq!(picture(&mut script, 1, 4, false).map(|sent| sent.0), Some(103));
}

#[test]
fn a_route_that_is_taken_from_its_stream_outlives_it_and_goes_on() {
    let mut script = switched();
    script.command(Command::DetachRoute(RouteId(0)));
    script.command(Command::DetachRoute(RouteId(0)));
    assert_eq!(picture(&mut script, 0, 3, true), None);
    script.command(Command::RemoveLeg(LegId(0)));
    let (route, payload_map) = (RouteId(0), vec![(OPUS, OPUS)]);
    script.command(Command::SwitchRoute { route, stream: StreamId(1), payload_map });
    assert_eq!(picture(&mut script, 1, 3, true).map(|sent| sent.0), Some(103));
}
