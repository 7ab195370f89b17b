//! RTCP of those who lie, ask too often, or speak for others.

use crate::*;
use motet_relay::testing::participant;
use motet_relay::{DropReason, Event, RouteId, StreamId};
use motet_rtp::rtcp::{
    Compound, FirEntry, Packet, ReportBlock, SenderInfo, write_bye, write_fir, write_pli,
    write_receiver_report, write_sender_report,
};
use motet_rtp::{Ntp, WireTimestamp};

fn compound(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_receiver_report(&mut bytes, 0x77, &[]);
    write(&mut bytes);
    bytes
}

fn packets(sent: &[Sent], port: u32, count: impl Fn(&Packet<'_>) -> usize) -> usize {
    let to = sent.iter().filter(|sent| sent.port.0 == port && is_rtcp(sent));
    to.map(|sent| {
        Compound::new(&sent.bytes).expect("well-formed").packets().map(|p| count(&p)).sum::<usize>()
    })
    .sum()
}

#[test]
fn nobody_says_goodbye_for_another() {
    let mut script = meeting(Latch::Fixed, Kind::Audio);
    (0..3).for_each(|n| {
        talk(&mut script, n, participant(n), 0, 3);
    });
    script.events();
    // Under every SSRC that participant 1, and who listens on the wire to it, knows of participant 0.
    let others = [ssrc(0), 0xa000 + 1, 0xa000 + 2, 0xf000_0000];
    for (port, from) in [(1, participant(1)), (0, stranger(1)), (0, participant(1))] {
        let goodbye = compound(|bytes| write_bye(bytes, &others, None));
        let sent = script.packet(port, from, &goodbye);
        let fixed_port = port == 0 && from == participant(1);
        if !fixed_port {
            assert_eq!(sent, [], "from {from}");
            assert_eq!(script.events(), []);
        }
    }
    // Its own ends its own and nothing else.
    let mut script = meeting(Latch::Strict, Kind::Audio);
    (0..3).for_each(|n| {
        talk(&mut script, n, participant(n), 0, 3);
    });
    script.events();
    script.packet(1, participant(1), &compound(|bytes| write_bye(bytes, &[ssrc(1), ssrc(0)], None)));
    assert_eq!(script.events(), [Event::StreamEnded { stream: StreamId(1) }]);
    script.packet(0, participant(1), &compound(|bytes| write_bye(bytes, &[ssrc(0)], None)));
    assert_eq!(script.events(), []);
    assert_eq!(script.relay.drops().count(DropReason::RtcpOffPath), 1);
}

#[test]
fn a_flood_of_key_frame_requests_is_two_a_second() {
    let mut script = meeting(Latch::Strict, Kind::Video);
    script.packet(0, participant(0), &video(0, 1));
    script.pass(Duration::from_secs(5));
    let all: Vec<FirEntry> = (0..200).map(|n| FirEntry { ssrc: 0xa000 + n % 3, sequence: n as u8 }).collect();
    let (mut received, mut sent) = (0, Vec::new());
    for _ in 0..10_000 {
        for receiver in [1, 2] {
            let pli = compound(|bytes| write_pli(bytes, 0x77, 0xa000 + receiver));
            let fir = compound(|bytes| write_fir(bytes, 0x77, &all));
            for request in [pli, fir] {
                received += request.len();
                sent.extend(script.packet(receiver, participant(receiver), &request));
            }
        }
        sent.extend(script.pass(Duration::from_millis(1)));
    }
    let asks = |packet: &Packet<'_>| match packet {
        Packet::Pli(_) => 1,
        Packet::Fir(fir) => fir.entries().count(),
        _ => 0,
    };
    let asked = packets(&sent, 0, asks);
    assert!((20..=21).contains(&asked), "{asked} requests in ten seconds");
    let bytes: usize = sent.iter().map(|sent| sent.bytes.len()).sum();
    assert!(bytes * 1_000 < received, "{bytes} bytes for {received}");
}

#[test]
fn a_report_is_about_ones_own_routes() {
    let mut script = meeting(Latch::Strict, Kind::Audio);
    talk(&mut script, 0, participant(0), 0, 10);
    let block = |ssrc| ReportBlock {
        ssrc,
        fraction_lost: 255,
        cumulative_lost: 1_000,
        highest_sequence: 0,
        jitter: 1 << 30,
        last_sr: 0,
        delay_since_last_sr: 0,
    };
    let mut report = Vec::new();
    // Participant 1 about what participant 2 receives, about the publisher, and about what it receives.
    write_receiver_report(&mut report, 0x77, &[block(0xa000 + 2), block(ssrc(0))]);
    script.packet(1, participant(1), &report);
    assert!(script.relay.drops().count(DropReason::RtcpUnknownSsrc) > 0);
    let told =
        |script: &Script, route| script.relay.route_stats(RouteId(route)).expect("it exists").fraction_lost;
    assert_eq!((told(&script, 1), told(&script, 2)), (None, None));
    report.clear();
    write_receiver_report(&mut report, 0x77, &[block(0xa000 + 1)]);
    script.packet(1, participant(1), &report);
    assert!(told(&script, 1).is_some() && told(&script, 2).is_none());
}

/// The times that receivers were told for a route.
fn told_times(sent: &[Sent], port: u32, route: u32) -> Vec<(Ntp, WireTimestamp)> {
    let mut times = Vec::new();
    for sent in sent.iter().filter(|sent| sent.port.0 == port && is_rtcp(sent)) {
        for packet in Compound::new(&sent.bytes).expect("well-formed").packets() {
            if let Packet::SenderReport(report) = packet
                && report.ssrc == 0xa000 + route
            {
                times.push((report.info.ntp, report.info.rtp_timestamp));
            }
        }
    }
    times
}

#[test]
fn a_lying_clock_is_its_own_alone() {
    let run = |lies: bool| {
        let mut script = meeting(Latch::Strict, Kind::Audio);
        let mut sent = Vec::new();
        for second in 0..60_u16 {
            for publisher in [0, 1] {
                sent.extend(talk(&mut script, publisher, participant(publisher), second * 25, 25));
            }
            if lies {
                let ntp = Ntp(u64::from(second) << 60 | 0xdead_beef);
                let rtp_timestamp = WireTimestamp(u32::from(second) << 28);
                let info = SenderInfo { ntp, rtp_timestamp, packets: u32::MAX, octets: u32::MAX };
                let mut report = Vec::new();
                write_sender_report(&mut report, ssrc(0), &info, &[]);
                sent.extend(script.packet(0, participant(0), &report));
            }
        }
        // Of participant 1, as participant 2 hears it.
        told_times(&sent, 2, 5)
    };
    let honest = run(false);
    assert!(honest.len() >= 8, "{honest:?}");
    assert_eq!(run(true), honest);
}

#[test]
fn rtcp_brings_no_more_than_it_costs() {
    // The longest datagrams that a participant may send, over and over: what leaves at once, to anybody.
    let mut script = meeting(Latch::Strict, Kind::Video);
    (0..3).for_each(|n| {
        script.packet(n, participant(n), &video(n, 1));
    });
    script.pass(Duration::from_secs(5));
    let many: Vec<FirEntry> =
        (0..170).map(|n| FirEntry { ssrc: 0xa000 + n % 9, sequence: n as u8 }).collect();
    let hostile = compound(|bytes| {
        write_fir(bytes, 0x77, &many);
        write_bye(bytes, &(0..31).map(|n| ssrc(n % 3)).collect::<Vec<_>>(), None);
    });
    let mut bytes = 0;
    for _ in 0..1_000 {
        bytes +=
            script.packet(1, participant(1), &hostile).iter().map(|sent| sent.bytes.len()).sum::<usize>();
    }
    assert!(bytes < hostile.len(), "{bytes} bytes for 1000 datagrams of {}", hostile.len());
}
