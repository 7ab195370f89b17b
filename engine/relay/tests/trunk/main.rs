//! A conference spread over two relays that a trunk joins, against the same conference in one relay: every
//! participant gets the same packets under the same numbers, and publishers hear the same requests.

mod same;
mod world;

use motet_relay::testing::{Sent, participant};
use motet_relay::{Command, RouteId};
use motet_rtp::rtcp::{Compound, Packet, SenderInfo, write_pli, write_sender_report};
use motet_rtp::{Ntp, WireTimestamp};
use std::time::Duration;
use world::{SSRCS, World, route};

/// Sender reports that went to a port: SSRC, wall clock and RTP time, packets, and the names.
fn sender_reports(sent: &[Sent], port: u32) -> Vec<(u32, SenderInfo, Vec<String>)> {
    let mut found = Vec::new();
    for sent in sent.iter().filter(|sent| sent.port.0 == port && world::is_rtcp(sent)) {
        let compound = Compound::new(&sent.bytes).expect("a well-formed compound");
        let mut names = Vec::new();
        for packet in compound.packets() {
            if let Packet::Sdes(sdes) = packet {
                names.extend(sdes.chunks().filter_map(|chunk| {
                    chunk.cname().map(|name| String::from_utf8_lossy(name).into_owned())
                }));
            }
        }
        for packet in compound.packets() {
            if let Packet::SenderReport(report) = packet {
                found.push((report.ssrc, report.info, names.clone()));
            }
        }
    }
    found
}

/// A publisher that reports a wall clock of its own, an hour ahead, with packets that come unevenly.
fn reporting(world: &mut World, steps: u32) -> (Vec<Sent>, Vec<Sent>) {
    let (mut whole, mut spread) = (Vec::new(), Vec::new());
    for step in 0..steps {
        world.packets(&[1]);
        if step % 20 == 5 {
            let ntp = world.whole.ntp_of_test().plus(Duration::from_secs(3_600));
            let rtp_timestamp = WireTimestamp(world.publishers[1].timestamp.wrapping_add(4_000));
            let info = SenderInfo { ntp, rtp_timestamp, packets: step, octets: step };
            let mut report = Vec::new();
            write_sender_report(&mut report, SSRCS[1], &info, &[]);
            world.datagram(0, &report);
        }
        let (one, two) = world.pass(Duration::from_millis(if step % 3 == 0 { 95 } else { 15 }));
        whole.extend(one);
        spread.extend(two);
    }
    (whole, spread)
}

#[test]
fn receivers_behind_a_trunk_are_told_the_publishers_time_and_name() {
    let mut world = World::new();
    reporting(&mut world, 60);
    let (whole, spread) = reporting(&mut world, 600);
    for leg in [1, 4, 5] {
        let (one, two) = (sender_reports(&whole, leg), sender_reports(&spread, leg));
        assert!(one.len() >= 4, "{} reports to leg {leg}", one.len());
        assert_eq!(one.len(), two.len());
        for (one, two) in one.iter().zip(&two) {
            assert_eq!((one.0, one.1.ntp, one.1.packets), (two.0, two.1.ntp, two.1.packets));
            assert!(two.2.contains(&"leg0@test".to_owned()), "{:?}", two.2);
            let apart = one.1.rtp_timestamp.distance(two.1.rtp_timestamp).unsigned_abs();
            // Ticks of 90 kHz; each relay on the way rounds once.
            assert!(apart <= 3, "leg {leg}: {apart} ticks apart at {:?}", one.1.ntp);
        }
    }
}

#[test]
fn receivers_on_both_sides_together_make_one_request() {
    let mut world = World::new();
    let before = world.requests_to(0);
    for leg in [1, 4, 5, 2, 5, 4] {
        let mut bytes = Vec::new();
        write_pli(&mut bytes, 0x77, 0xa000 + route(1, leg));
        world.datagram(leg, &bytes);
    }
    assert_eq!(world.requests_to(0) - before, 1, "the others wait");
    world.pass(Duration::from_millis(499));
    assert_eq!(world.requests_to(0) - before, 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.requests_to(0) - before, 2, "and are answered together");
    world.pass(Duration::from_secs(3));
    assert_eq!(world.requests_to(0) - before, 2);
}

#[test]
fn a_packet_crosses_once_however_many_wait_for_it() {
    let mut world = World::new();
    let before = world.crossed;
    for _ in 0..10 {
        world.packets(&[1, 1, 0]);
    }
    assert_eq!(world.crossed - before, 30, "three receivers are behind the trunk");
}

#[test]
fn a_stranger_is_not_taken_for_the_other_end() {
    let mut world = World::new();
    let bytes = world.publishers[1].packet(world::PAYLOAD_TYPES[1]);
    let sent = world.right.packet(world::TRUNKS[0].port, participant(9), &bytes);
    assert!(sent.is_empty(), "{sent:?}");
}

#[test]
fn a_trunk_that_resumes_goes_on_where_it_stopped() {
    let mut world = World::new();
    world.packets(&[1, 1]);
    // Only the trunk stops: what is behind it must see neither a jump nor a packet that it lost.
    world.left.command(Command::SetRouteActive(RouteId(world::TRUNK_ROUTES + 1), false));
    world.publish_left_only(1, 3);
    world.left.command(Command::SetRouteActive(RouteId(world::TRUNK_ROUTES + 1), true));
    let sent = world.publish_left_only(1, 2);
    assert_eq!(sent.iter().filter(|sent| sent.port.0 == 4 && !world::is_rtcp(sent)).count(), 2);
    assert_eq!(world.right.relay.drops().total(), 0);
}

/// The wall clock of the virtual world: that of the default settings.
trait NtpOfTest {
    fn ntp_of_test(&self) -> Ntp;
}

impl NtpOfTest for motet_relay::testing::Script {
    fn ntp_of_test(&self) -> Ntp {
        Ntp(0).plus(Duration::from_nanos(self.now.as_nanos()))
    }
}
