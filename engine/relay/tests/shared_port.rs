//! Many legs at one port: whose packet is whose, in virtual time.

use motet_relay::testing::{Script, Sent};
use motet_relay::{
    Command, CommandError, DropReason, Event, Inbound, Kind, Latch, LegId, LegSpec, Numbering, Outbox,
    PayloadType, PortId, RouteId, RouteSpec, StreamId, StreamSpec, TransportSpec,
};
use motet_rtp::rtcp::{write_pli, write_receiver_report};
use motet_rtp::{RtpBuilder, RtpView, WireSeq};
use std::net::SocketAddr;
use std::time::Duration;

/// The shared port.
const PORT: PortId = PortId(3);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 5004))
}

fn at_the_port(remote: Option<SocketAddr>) -> TransportSpec {
    let latch = if remote.is_some() { Latch::Fixed } else { Latch::Symmetric };
    TransportSpec { rtp: PORT, rtcp: None, remote, remote_rtcp: None, latch }
}

fn leg(n: u32, transports: Vec<TransportSpec>) -> Command {
    let (cname, report_ssrc) = (format!("leg{n}@test"), 0xf000_0000 | n);
    Command::AddLeg(LegId(n), LegSpec { cname, report_ssrc, transports })
}

fn audio(n: u32, leg: u32, ssrc: Option<u32>) -> Command {
    let payload_types = vec![PayloadType { number: 111, clock_hz: 48_000 }];
    let spec = StreamSpec { leg: LegId(leg), transport: 0, kind: Kind::Audio, ssrc, payload_types };
    Command::AddStream(StreamId(n), spec)
}

/// Legs 0 and 1 at one port, each with its sound, SSRC 100 or 101, to the other. Where they are is known or
/// not.
fn call(known: bool) -> Script {
    let mut script = Script::default();
    script.command(Command::SharePort(PORT));
    for n in 0..2 {
        script.command(leg(n, vec![at_the_port(known.then(|| address(n as u8)))]));
        script.command(audio(n, n, Some(100 + n)));
    }
    script.route(0, 0, 1);
    script.route(1, 1, 0);
    script
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    typed(ssrc, sequence, 111)
}

fn typed(ssrc: u32, sequence: u16, payload_type: u8) -> Vec<u8> {
    RtpBuilder::new(ssrc)
        .payload_type(payload_type)
        .sequence(WireSeq(sequence))
        .payload(&[ssrc as u8, sequence as u8])
        .to_vec()
}

/// Sends packets of these numbers; gives where they went, with the last byte of each.
fn send(
    script: &mut Script,
    from: SocketAddr,
    ssrc: u32,
    numbers: std::ops::Range<u16>,
) -> Vec<(SocketAddr, u8)> {
    let sent = numbers.flat_map(|number| script.packet(PORT.0, from, &packet(ssrc, number)));
    heard(sent.collect())
}

fn heard(sent: Vec<Sent>) -> Vec<(SocketAddr, u8)> {
    let rtp = sent.into_iter().filter(|sent| !(192..=223).contains(&sent.bytes[1]));
    rtp.map(|sent| {
        assert_eq!(sent.port, PORT);
        (sent.destination, *RtpView::new(&sent.bytes).expect("RTP").payload().last().expect("two bytes"))
    })
    .collect()
}

#[track_caller]
fn refused(script: &mut Script, command: Command) -> CommandError {
    let before = script.relay.counts();
    let answer = script.relay.handle_command(script.now, command, &mut Outbox::new());
    assert_eq!(script.relay.counts(), before, "a refusal changes nothing");
    answer.expect_err("refused")
}

fn drops(script: &Script, reason: DropReason) -> u64 {
    script.relay.drops().count(reason)
}

#[test]
fn who_is_known_by_address_is_told_apart_by_it() {
    let mut script = call(true);
    assert_eq!(send(&mut script, address(0), 100, 5..7), [(address(1), 5), (address(1), 6)]);
    assert_eq!(send(&mut script, address(1), 101, 8..9), [(address(0), 8)]);
    assert_eq!(send(&mut script, address(7), 777, 1..9), []);
    assert_eq!(drops(&script, DropReason::UnknownSource), 8);
    assert_eq!(script.packet(PORT.0, address(7), b"\0\x01 not RTP"), []);
    assert_eq!(drops(&script, DropReason::UnknownSource), 9, "whatever it is");
    assert_eq!(script.relay.drops().total(), 9);
}

#[test]
fn who_is_known_by_ssrc_is_found_and_answered() {
    let mut script = call(false);
    assert_eq!(send(&mut script, address(0), 100, 0..2), [], "nobody knows where leg 1 is");
    assert_eq!(send(&mut script, address(1), 101, 0..3).last(), Some(&(address(0), 2)));
    assert_eq!(send(&mut script, address(0), 100, 2..3), [(address(1), 2)]);
    // Now that its address is known, another SSRC from there is its affair.
    assert_eq!(send(&mut script, address(0), 777, 0..2), []);
    assert_eq!(drops(&script, DropReason::UnknownSsrc), 2);
    assert_eq!(drops(&script, DropReason::UnknownSource), 0);
}

#[test]
fn an_ssrc_alone_steals_nothing() {
    for known in [true, false] {
        let mut script = call(known);
        send(&mut script, address(0), 100, 0..2);
        send(&mut script, address(1), 101, 0..2);
        let before = drops(&script, DropReason::OffPath);
        assert_eq!(send(&mut script, address(9), 100, 2..30), [], "a stranger under the SSRC of leg 0");
        assert_eq!(drops(&script, DropReason::OffPath), before + 28);
        assert_eq!(send(&mut script, address(1), 101, 2..3), [(address(0), 2)], "who is where it was");
    }
}

#[test]
fn a_leg_that_moves_takes_its_address_along() {
    let mut script = call(false);
    send(&mut script, address(0), 100, 0..2);
    send(&mut script, address(1), 101, 0..2);
    script.pass(Duration::from_secs(3));
    // Five packets in sequence, just ahead of the last: as at a port of its own.
    assert_eq!(send(&mut script, address(8), 100, 5..10), [(address(1), 9)]);
    assert_eq!(send(&mut script, address(1), 101, 2..3), [(address(8), 2)]);
    let before = drops(&script, DropReason::UnknownSource);
    send(&mut script, address(0), 777, 0..1);
    assert_eq!(drops(&script, DropReason::UnknownSource), before + 1, "the old address is nobody's");
}

#[test]
fn an_address_is_of_one_leg_until_that_is_gone() {
    let mut script = call(false);
    send(&mut script, address(0), 100, 0..2);
    assert_eq!(send(&mut script, address(0), 101, 0..9), [], "leg 1 from where leg 0 is");
    assert_eq!(drops(&script, DropReason::AddressTaken), 9);
    script.pass(Duration::from_secs(24));
    send(&mut script, address(0), 101, 9..20);
    assert_eq!(drops(&script, DropReason::AddressTaken), 20, "it may be back");
    // A network address translator gave the address to another participant.
    script.pass(Duration::from_secs(1));
    send(&mut script, address(0), 101, 20..22);
    assert_eq!(drops(&script, DropReason::AddressTaken), 20);
    assert_eq!(send(&mut script, address(5), 100, 2..4), [(address(0), 3)], "leg 0 proves itself elsewhere");
    assert_eq!(send(&mut script, address(0), 101, 22..23), [(address(5), 22)]);
}

#[test]
fn a_signalled_address_is_taken_by_controls_word_only() {
    let mut script = call(true);
    send(&mut script, address(0), 100, 0..2);
    script.pass(Duration::from_secs(100));
    assert_eq!(send(&mut script, address(0), 101, 0..9), []);
    assert_eq!(drops(&script, DropReason::AddressTaken), 9);
    let also = leg(2, vec![at_the_port(Some(address(0)))]);
    assert_eq!(refused(&mut script, also.clone()), CommandError::AddressInUse(address(0)));
    let moved = |leg: u32, host| Command::SetRemote {
        leg: LegId(leg),
        transport: 0,
        remote: Some(address(host)),
        remote_rtcp: None,
        latch: Latch::Fixed,
        relatch: false,
    };
    assert_eq!(refused(&mut script, moved(1, 0)), CommandError::AddressInUse(address(0)));
    script.command(moved(0, 6));
    script.command(also);
    assert_eq!(send(&mut script, address(1), 101, 0..1), [(address(6), 0)]);
}

#[test]
fn controls_word_takes_an_address_that_was_only_latched() {
    let mut script = call(false);
    send(&mut script, address(0), 100, 0..2);
    script.command(leg(2, vec![at_the_port(Some(address(0)))]));
    assert_eq!(send(&mut script, address(1), 101, 0..9), [], "leg 0 is nowhere");
    send(&mut script, address(0), 100, 2..9);
    assert_eq!(drops(&script, DropReason::AddressTaken), 7);
    assert_eq!(send(&mut script, address(4), 100, 9..11), [(address(1), 10)], "but can come back");
    script.command(Command::RemoveLeg(LegId(2)));
    let before = drops(&script, DropReason::UnknownSource);
    send(&mut script, address(0), 777, 2..3);
    assert_eq!(drops(&script, DropReason::UnknownSource), before + 1);
}

#[test]
fn rtcp_is_found_by_address_or_by_its_sender() {
    let mut script = call(true);
    let payload_types = vec![PayloadType { number: 96, clock_hz: 90_000 }];
    let (leg, kind) = (LegId(0), Kind::Video);
    let video = StreamSpec { leg, transport: 0, kind, ssrc: Some(200), payload_types };
    script.command(Command::AddStream(StreamId(2), video));
    script.route(2, 2, 1);
    script.packet(PORT.0, address(0), &typed(200, 0, 96));
    script.pass(Duration::from_secs(1));
    let mut pli = Vec::new();
    write_receiver_report(&mut pli, 4711, &[]);
    write_pli(&mut pli, 4711, 0xa002);
    let asked = script.packet(PORT.0, address(1), &pli);
    assert!(matches!(asked.as_slice(), [asked] if asked.destination == address(0)), "{asked:?}");
    assert_eq!(script.packet(PORT.0, address(9), &pli), [], "by nobody's sender from nobody's address");
    assert_eq!(drops(&script, DropReason::UnknownSource), 1);
    pli[4..8].copy_from_slice(&101_u32.to_be_bytes());
    assert_eq!(script.packet(PORT.0, address(9), &pli), [], "as leg 1 from nobody's address");
    assert_eq!(drops(&script, DropReason::RtcpOffPath), 1);
    assert_eq!(script.packet(PORT.0, address(1), &pli[..6]), [], "cut short");
    assert_eq!(drops(&script, DropReason::MalformedRtcp), 1);
}

#[test]
fn a_leg_that_left_leaves_nothing_behind() {
    let mut script = call(false);
    send(&mut script, address(0), 100, 0..2);
    script.command(Command::RemoveLeg(LegId(0)));
    assert_eq!(send(&mut script, address(0), 100, 2..5), []);
    assert_eq!(drops(&script, DropReason::UnknownSource), 3);
    // The same participant again, under another number.
    script.command(leg(7, vec![at_the_port(Some(address(0)))]));
    script.command(audio(7, 7, Some(100)));
    script.route(7, 7, 1);
    send(&mut script, address(1), 101, 0..2);
    assert_eq!(send(&mut script, address(0), 100, 9..10), [(address(1), 9)]);
}

#[test]
fn what_could_not_be_told_apart_is_refused() {
    let mut script = call(true);
    let field = |error| match error {
        CommandError::OutOfRange { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut script, audio(5, 0, Some(101))), CommandError::SsrcInUse(101));
    let somewhere = at_the_port(Some(address(3)));
    let with_rtcp = TransportSpec { rtcp: Some(PortId(4)), ..somewhere.clone() };
    assert_eq!(field(refused(&mut script, leg(3, vec![with_rtcp]))), "rtcp");
    let rtcp_elsewhere = TransportSpec { remote_rtcp: Some(address(4)), ..somewhere.clone() };
    assert_eq!(field(refused(&mut script, leg(3, vec![rtcp_elsewhere]))), "remote_rtcp");
    let for_rtcp = TransportSpec { rtp: PortId(9), rtcp: Some(PORT), ..somewhere };
    assert_eq!(refused(&mut script, leg(3, vec![for_rtcp])), CommandError::PortInUse(PORT));
    assert_eq!(refused(&mut script, Command::SharePort(PORT)), CommandError::PortInUse(PORT));

    script.command(leg(3, vec![at_the_port(None), at_the_port(Some(address(3)))]));
    assert_eq!(field(refused(&mut script, audio(5, 3, None))), "ssrc");
    script.command(audio(5, 3, Some(555)));
    let nowhere = Command::SetRemote {
        leg: LegId(3),
        transport: 1,
        remote: None,
        remote_rtcp: None,
        latch: Latch::Symmetric,
        relatch: false,
    };
    let second = |ssrc, number| StreamSpec {
        leg: LegId(3),
        transport: 1,
        kind: Kind::Audio,
        ssrc,
        payload_types: vec![PayloadType { number, clock_hz: 8_000 }],
    };
    let alike = refused(&mut script, Command::AddStream(StreamId(6), second(None, 111)));
    assert_eq!(alike, CommandError::AmbiguousPayloadType(111), "even at another transport");
    script.command(Command::AddStream(StreamId(6), second(None, 0)));
    assert_eq!(field(refused(&mut script, nowhere)), "remote");
}

/// Leg 2 publishes sound (declared or not) and a picture at two transports of the port, to leg 1.
fn two_transports(ssrcs: [Option<u32>; 2], remotes: [Option<SocketAddr>; 2]) -> Script {
    let mut script = call(true);
    script.command(leg(2, remotes.map(at_the_port).to_vec()));
    for (transport, (number, ssrc)) in (0..).zip([111, 96].into_iter().zip(ssrcs)) {
        let payload_types = vec![PayloadType { number, clock_hz: 90_000 }];
        let spec = StreamSpec { leg: LegId(2), transport, kind: Kind::Audio, ssrc, payload_types };
        script.command(Command::AddStream(StreamId(20 + u32::from(transport)), spec));
        script.route(20 + u32::from(transport), 20 + u32::from(transport), 1);
    }
    script
}

#[test]
fn all_of_a_participant_may_come_from_one_address() {
    let declared = ([Some(40), Some(41)], [None, None]);
    let by_type = ([None, None], [Some(address(2)), Some(address(2))]);
    for (ssrcs, remotes) in [declared, by_type] {
        let mut script = two_transports(ssrcs, remotes);
        script.route(30, 0, 2);
        let mut got = Vec::new();
        for number in 0..4 {
            got.extend(heard(script.packet(PORT.0, address(2), &typed(40, number, 111))));
            got.extend(heard(script.packet(PORT.0, address(2), &typed(41, number, 96))));
        }
        assert!(got.len() >= 6 && got[got.len() - 2..] == [(address(1), 3); 2], "{got:?}");
        let streams = [20, 21].map(|id| script.relay.stream_stats(StreamId(id), script.now));
        let ssrcs = streams.map(|stats| stats.expect("it exists").ssrc);
        assert_eq!(ssrcs, [Some(40), Some(41)]);
        assert_eq!(send(&mut script, address(0), 100, 0..1), [(address(1), 0), (address(2), 0)]);
        // One of them goes elsewhere, the other stays.
        script.pass(Duration::from_secs(3));
        if remotes[0].is_none() {
            let sound: Vec<_> =
                (4..9).flat_map(|n| script.packet(PORT.0, address(6), &typed(40, n, 111))).collect();
            assert_eq!(heard(sound), [(address(1), 8)]);
            assert_eq!(heard(script.packet(PORT.0, address(2), &typed(41, 4, 96))), [(address(1), 4)]);
            assert_eq!(heard(script.packet(PORT.0, address(6), &typed(40, 9, 111))), [(address(1), 9)]);
        }
    }
}

#[test]
fn a_run_may_hold_several_streams_of_one_source() {
    let mut script = two_transports([Some(40), Some(41)], [Some(address(2)), Some(address(2))]);
    let bytes: Vec<u8> =
        (0..6).flat_map(|n| typed(40 + n % 2, n as u16, [111, 96][n as usize % 2])).collect();
    let run = Inbound { port: PORT, source: address(2), bytes: &bytes, segment_bytes: bytes.len() / 6 };
    let got = heard(script.batch(&[run]));
    assert_eq!(got.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [0, 2, 4, 1, 3, 5]);
    assert_eq!(script.relay.drops().total(), 0);
}

#[test]
fn a_socket_that_many_share_has_no_peer() {
    let mut script = call(true);
    for n in 0..20 {
        send(&mut script, address(0), 100, n * 50..n * 50 + 50);
        let reports = script.pass(Duration::from_secs(5));
        assert!(reports.iter().any(|sent| sent.destination == address(1)), "reports are made");
    }
    assert_eq!(script.peers(), []);
}

#[test]
fn a_thousand_legs_at_one_port() {
    let mut script = Script::default();
    script.command(Command::SharePort(PORT));
    let at = |n: u32| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 4000));
    for n in 0..1_000 {
        script.command(leg(n, vec![at_the_port(n.is_multiple_of(2).then(|| at(n)))]));
        script.command(audio(n, n, Some(5_000 + n)));
    }
    for n in 0..1_000 {
        let payload_map = vec![(111, 111)];
        let spec = RouteSpec {
            stream: StreamId(n),
            leg: LegId(n ^ 1),
            transport: 0,
            ssrc: 1,
            payload_map,
            numbering: Numbering::Begin { sequence: 0, timestamp: 0 },
            active: true,
            shared: false,
        };
        script.command(Command::AddRoute(RouteId(n), spec));
    }
    for round in 0..4 {
        for n in 0..1_000 {
            let got = send(&mut script, at(n), 5_000 + n, round..round + 1);
            assert!(round < 2 || got == [(at(n ^ 1), round as u8)], "leg {n}: {got:?}");
        }
    }
    let alive = script.events().into_iter().filter(|event| matches!(event, Event::LegAlive { .. })).count();
    assert_eq!(alive, 1_000);
}
