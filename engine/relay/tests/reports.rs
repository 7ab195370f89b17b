//! RTCP: reports, key-frame requests, goodbyes.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{Command, DropReason, Event, Inbound, Kind, Latch, LegId, PortId, RouteId, StreamId};
use motet_rtp::rtcp::{
    Compound, FirEntry, Packet, ReportBlock, SenderInfo, write_bye, write_fir, write_nack, write_pli,
    write_receiver_report, write_sender_report,
};
use motet_rtp::{Ntp, RtpBuilder, WireSeq, WireTimestamp};
use std::time::Duration;

const SSRC: u32 = 0x1111;

fn packet(payload_type: u8, sequence: u16, timestamp: u32) -> Vec<u8> {
    RtpBuilder::new(SSRC)
        .payload_type(payload_type)
        .sequence(WireSeq(sequence))
        .timestamp(WireTimestamp(timestamp))
        .payload(&[7; 100])
        .to_vec()
}

fn scene(kind: Kind) -> Script {
    let mut script = Script::default();
    (0..3).for_each(|n| {
        script.leg(n, Latch::Strict);
    });
    script.stream(0, 0, kind);
    script.route(1, 0, 1);
    script.route(2, 0, 2);
    script
}

/// One line for each RTCP packet that went to a port.
fn rtcp(sent: &[Sent], port: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for sent in sent.iter().filter(|sent| sent.port == PortId(port) && (192..=223).contains(&sent.bytes[1])) {
        for packet in Compound::new(&sent.bytes).expect("a well-formed compound").packets() {
            lines.push(match packet {
                Packet::SenderReport(report) => format!("SR {:x} {}", report.ssrc, report.info.packets),
                Packet::ReceiverReport(report) => {
                    let blocks: Vec<_> = report.blocks().map(|b| (b.ssrc, b.cumulative_lost)).collect();
                    format!("RR {blocks:x?}")
                }
                Packet::Sdes(sdes) => {
                    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                    let names: Vec<_> = sdes.chunks().filter_map(|chunk| chunk.cname().map(name)).collect();
                    format!("SDES {}", names.join(" "))
                }
                Packet::Bye(bye) => format!("BYE {:x?}", bye.ssrcs().collect::<Vec<_>>()),
                Packet::Pli(pli) => format!("PLI {:x}", pli.media_ssrc),
                Packet::Fir(fir) => {
                    format!("FIR {:x?}", fir.entries().map(|e| (e.ssrc, e.sequence)).collect::<Vec<_>>())
                }
                other => format!("{other:?}"),
            });
        }
    }
    lines
}

fn with_report(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_receiver_report(&mut bytes, 0x77, &[]);
    write(&mut bytes);
    bytes
}

#[test]
fn a_key_frame_is_asked_for_when_a_video_route_starts() {
    let mut script = scene(Kind::Video);
    // The SSRC is not known before the first packet.
    let sent = script.packet(0, participant(0), &packet(96, 1, 0));
    assert_eq!(rtcp(&sent, 0), ["RR []", "SDES motet", "PLI 1111"]);
    assert!(script.events().contains(&Event::KeyFrameWanted { stream: StreamId(0) }));
    script.pass(Duration::from_secs(2));
    script.leg(3, Latch::Strict);
    assert_eq!(rtcp(&script.route(3, 0, 3), 0), ["RR []", "SDES motet", "PLI 1111"]);
}

#[test]
fn sound_has_no_key_frames() {
    let mut script = scene(Kind::Audio);
    assert_eq!(rtcp(&script.packet(0, participant(0), &packet(111, 1, 0)), 0), [""; 0]);
}

#[test]
fn requests_are_brought_to_the_publisher_merged_and_throttled() {
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    script.pass(Duration::from_secs(2));
    let pli = |ssrc| with_report(|bytes| write_pli(bytes, 0x77, ssrc));
    assert_eq!(rtcp(&script.packet(1, participant(1), &pli(0xa001)), 0)[2..], ["PLI 1111"]);
    // Within the interval: one more from each receiver, one of them a FIR.
    let fir = with_report(|bytes| write_fir(bytes, 0x77, &[FirEntry { ssrc: 0xa002, sequence: 9 }]));
    assert_eq!(script.packet(1, participant(1), &pli(0xa001)), []);
    assert_eq!(script.packet(2, participant(2), &fir), []);
    let later = script.pass(Duration::from_millis(499));
    assert!(!rtcp(&later, 0).iter().any(|line| line.contains("PLI") || line.contains("FIR")));
    let later = script.pass(Duration::from_millis(1));
    assert_eq!(rtcp(&later, 0)[2..3], ["FIR [(1111, 1)]"], "the stronger one, once");
    let later = script.pass(Duration::from_secs(3));
    assert!(!rtcp(&later, 0).iter().any(|line| line.contains("PLI") || line.contains("FIR")));
}

#[test]
fn a_request_about_an_unknown_stream_is_counted() {
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    let pli = with_report(|bytes| write_pli(bytes, 0x77, 0xdead));
    assert_eq!(script.packet(1, participant(1), &pli), []);
    assert_eq!(script.relay.drops().count(DropReason::RtcpUnknownSsrc), 1);
    let nack = with_report(|bytes| write_nack(bytes, 0x77, 0xa001, &[WireSeq(1)]));
    assert_eq!(script.packet(1, participant(1), &nack), []);
    assert_eq!(script.relay.drops().count(DropReason::RtcpIgnored), 1);
}

#[test]
fn each_side_gets_its_reports() {
    let mut script = scene(Kind::Audio);
    for n in (0..50).filter(|n| *n != 20) {
        script.packet(0, participant(0), &packet(111, n, u32::from(n) * 960));
        script.now += Duration::from_millis(1);
    }
    let sent = script.pass(Duration::from_millis(1_100));
    // Lost one of 50; and the receiver hears of 49 packets under its own SSRC and the publisher's name.
    assert_eq!(rtcp(&sent, 0)[..2], ["RR [(1111, 1)]", "SDES motet"]);
    assert_eq!(rtcp(&sent, 1)[..3], ["RR []", "SR a001 49", "SDES motet leg0@test"]);
    let quiet = script.pass(Duration::from_secs(3));
    assert!(!rtcp(&quiet, 1).iter().any(|line| line.starts_with("SR")), "nothing was sent since");
}

#[test]
fn sound_and_picture_stay_in_step() {
    let mut script = Script::default();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Strict);
    script.stream(0, 0, Kind::Audio);
    script.route(0, 0, 1);
    // The publisher's clock says 5,000 s while ours says 1 s; its RTP clock is at 960,000.
    let theirs = Ntp::from_unix(Duration::from_secs(5_000));
    script.packet(0, participant(0), &packet(111, 1, 960_000));
    let mut report = Vec::new();
    let info = SenderInfo { ntp: theirs, rtp_timestamp: WireTimestamp(960_000), packets: 1, octets: 100 };
    write_sender_report(&mut report, SSRC, &info, &[]);
    script.packet(0, participant(0), &report);
    let reported = script.now;
    let sent = script.pass(Duration::from_secs(2));
    let to_receiver = sent.iter().find(|sent| sent.port == PortId(1)).expect("a report");
    let packets = Compound::new(&to_receiver.bytes).expect("a compound").packets();
    let info = packets.filter_map(|packet| match packet {
        Packet::SenderReport(report) => Some(report.info),
        _ => None,
    });
    let info = info.last().expect("a sender report");
    // 960,000 was sent as 5,000; since then as many ticks passed as our clock says.
    let ours = Ntp(0).plus(reported.since(motet_rtp::Time::ZERO));
    let units = info.ntp.0 - ours.0;
    let ticks = (u128::from(units) * 48_000) >> 32;
    let sent = u128::from(info.rtp_timestamp.0 - 5_000);
    assert!(sent.abs_diff(ticks) <= 1, "{sent} ticks for {ticks}");
}

#[test]
fn a_receivers_report_is_kept() {
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    let mut report = Vec::new();
    let sent_at = Ntp(0).plus(script.now.since(motet_rtp::Time::ZERO));
    script.pass(Duration::from_millis(80));
    let block = ReportBlock {
        ssrc: 0xa001,
        fraction_lost: 64,
        cumulative_lost: 5,
        highest_sequence: 1,
        jitter: 900,
        last_sr: sent_at.middle(),
        delay_since_last_sr: 65_536 / 20,
    };
    write_receiver_report(&mut report, 0x77, &[block]);
    script.packet(1, participant(1), &report);
    let stats = script.relay.route_stats(RouteId(1)).expect("the route exists");
    assert_eq!((stats.fraction_lost, stats.lost, stats.jitter), (Some(0.25), 5, Duration::from_millis(10)));
    // 80 ms since, 50 ms of them at the receiver.
    let round_trip = stats.round_trip.expect("a report with a time").as_micros();
    assert!((29_900..=30_100).contains(&round_trip), "{round_trip} us");
}

#[test]
fn goodbyes_are_passed_on_under_the_receivers_ssrc() {
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    script.events();
    let sent = script.packet(0, participant(0), &with_report(|bytes| write_bye(bytes, &[SSRC], None)));
    assert_eq!(
        (rtcp(&sent, 1)[2..].to_vec(), rtcp(&sent, 2)[2..].to_vec()),
        (vec!["BYE [a001]".to_owned()], vec!["BYE [a002]".to_owned()])
    );
    assert_eq!(script.events(), [Event::StreamEnded { stream: StreamId(0) }]);
    let sent = script.command(Command::RemoveLeg(LegId(0)));
    assert_eq!(rtcp(&sent, 1)[2..], ["BYE [a001]"]);
}

#[test]
fn rtcp_from_elsewhere_is_not_heard() {
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    script.pass(Duration::from_secs(1));
    let bye = with_report(|bytes| write_bye(bytes, &[SSRC], None));
    let pli = with_report(|bytes| write_pli(bytes, 1, 0xa001));
    assert_eq!(script.packet(0, participant(50), &bye), []);
    assert_eq!(script.packet(1, participant(50), &pli), []);
    assert_eq!(script.relay.drops().count(DropReason::RtcpOffPath), 2);
}

#[test]
fn what_is_removed_takes_its_timers_along() {
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    // One request went out above; this one waits for the interval to end.
    script.command(Command::RequestKeyFrame(StreamId(0)));
    script.command(Command::RemoveStream(StreamId(0)));
    for leg in 0..3 {
        script.command(Command::RemoveLeg(LegId(leg)));
    }
    assert_eq!(script.relay.poll_timeout(), motet_rtp::Time::MAX);
    // The same with the stream removed by its leg.
    let mut script = scene(Kind::Video);
    script.packet(0, participant(0), &packet(96, 1, 0));
    script.pass(Duration::from_millis(300));
    script.command(Command::RequestKeyFrame(StreamId(0)));
    for leg in 0..3 {
        script.command(Command::RemoveLeg(LegId(leg)));
    }
    assert_eq!(script.relay.poll_timeout(), motet_rtp::Time::MAX);
}

#[test]
fn the_edge_is_told_where_media_goes_as_long_as_it_does() {
    let mut script = scene(Kind::Audio);
    script.pass(Duration::from_secs(3));
    assert_eq!(script.peers(), [], "nothing was sent yet");
    for sequence in 0..25 {
        script.packet(0, participant(0), &packet(111, sequence, 0));
    }
    script.pass(Duration::from_secs(1));
    let mut peers = script.peers();
    peers.sort();
    assert_eq!(peers, [(PortId(1), participant(1)), (PortId(2), participant(2))]);
    script.pass(Duration::from_secs(10));
    assert_eq!(script.peers(), [], "nothing was sent since");
    for sequence in 25..30 {
        script.packet(0, participant(0), &packet(111, sequence, 0));
    }
    script.pass(Duration::from_secs(5));
    assert_eq!(script.peers(), [], "so few packets are not worth it");
    // Packets of one batch leave together.
    let run: Vec<u8> = (30..90).flat_map(|sequence| packet(111, sequence, 0)).collect();
    let segment_bytes = packet(111, 0, 0).len();
    let inbound = Inbound { port: PortId(0), source: participant(0), bytes: &run, segment_bytes };
    assert_eq!(script.batch(&[inbound]).len(), 2 * 60);
    script.pass(Duration::from_secs(5));
    assert_eq!(script.peers(), [], "neither is one batch, however long");
}

/// Sender reports that the first receiver gets in 16 s of a packet of 112 bytes every so many milliseconds.
fn sender_reports(kind: Kind, payload_type: u8, interval_ms: u64) -> usize {
    let mut script = scene(kind);
    let mut reports = Vec::new();
    for sequence in 0..16_000 / interval_ms {
        script.packet(0, participant(0), &packet(payload_type, sequence as u16, 0));
        reports.extend(rtcp(&script.pass(Duration::from_millis(interval_ms)), 1));
    }
    reports.retain(|report| report.starts_with("SR"));
    reports.len()
}

#[test]
fn reports_are_the_rarer_the_less_is_sent() {
    // 360 s divided by the kilobits a second, of 1 s to 5 s (RFC 3550 section 6.2): 400 kbit/s, 160, 40.
    for (interval_ms, expected) in [(2, 16), (5, 6), (20, 4)] {
        let reports = sender_reports(Kind::Video, 96, interval_ms);
        assert_eq!(reports, expected, "video, a packet every {interval_ms} ms");
    }
    assert_eq!(sender_reports(Kind::Audio, 111, 2), 4, "sound every 5 s, however much it is");
}

#[test]
fn publishers_of_pictures_hear_every_second() {
    let mut script = scene(Kind::Video);
    let mut reports = Vec::new();
    for sequence in 0..100 {
        script.packet(0, participant(0), &packet(96, sequence, 0));
        reports.extend(rtcp(&script.pass(Duration::from_millis(100)), 0));
    }
    reports.retain(|report| report.starts_with("RR [("));
    assert_eq!(reports.len(), 10, "in 10 s: {reports:?}");
}
