//! BYE: who is told, when, and what takes it back.

use motet_relay::testing::{Script, Sent, participant};
use motet_relay::{
    Command, Event, Inbound, Kind, Latch, LegId, LegSpec, PayloadType, PortId, StreamId, StreamSpec,
    TransportSpec,
};
use motet_rtp::rtcp::{write_bye, write_receiver_report};
use motet_rtp::{RtpBuilder, WireSeq};

const SSRC: u32 = 5;

fn sound(sequence: u16) -> Vec<u8> {
    RtpBuilder::new(SSRC).payload_type(111).sequence(WireSeq(sequence)).payload(b"sound").to_vec()
}

fn bye() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_receiver_report(&mut bytes, SSRC, &[]);
    write_bye(&mut bytes, &[SSRC], None);
    bytes
}

fn scene() -> Script {
    let mut script = Script::default();
    script.leg(0, Latch::Strict);
    script.leg(1, Latch::Strict);
    script.stream(0, 0, Kind::Audio);
    script.route(1, 0, 1);
    script.packet(0, participant(0), &sound(1));
    script.events();
    script
}

/// What a batch of the publisher makes for the receiver, a letter each.
fn batch(script: &mut Script, packets: &[Vec<u8>]) -> String {
    let run = |bytes| Inbound { port: PortId(0), source: participant(0), bytes, segment_bytes: 1500 };
    let runs: Vec<_> = packets.iter().map(|bytes| run(bytes)).collect();
    let letter = |sent: &Sent| if (192..=223).contains(&sent.bytes[1]) { 'B' } else { 'm' };
    script.batch(&runs).iter().map(letter).collect()
}

const ENDED: Event = Event::StreamEnded { stream: StreamId(0) };
const RESUMED: Event = Event::StreamResumed { stream: StreamId(0) };

#[test]
fn a_goodbye_does_not_overtake_the_media() {
    let mut script = scene();
    assert_eq!(batch(&mut script, &[sound(2), sound(3), bye()]), "mmB");
    assert_eq!(script.events(), [ENDED]);
    assert_eq!(batch(&mut script, &[bye()]), "", "said once");
}

#[test]
fn a_goodbye_taken_back_in_the_same_batch_is_not_passed_on() {
    let mut script = scene();
    assert_eq!(batch(&mut script, &[bye(), sound(2)]), "m");
    assert_eq!(script.events(), [ENDED, RESUMED]);
    assert_eq!(batch(&mut script, &[bye(), sound(3), bye()]), "mB");
    assert_eq!(script.events(), [ENDED, RESUMED, ENDED]);
}

#[test]
fn a_late_packet_does_not_undo_a_goodbye() {
    let mut script = scene();
    assert_eq!(batch(&mut script, &[sound(3), bye()]), "mB");
    script.events();
    assert_eq!(batch(&mut script, &[sound(2), sound(3)]), "mm");
    assert_eq!(script.events(), []);
    assert_eq!(batch(&mut script, &[sound(4)]), "m");
    assert_eq!(script.events(), [RESUMED]);
}

#[test]
fn an_ssrc_belongs_to_one_transport() {
    let mut script = Script::default();
    let transport = |port: u32| TransportSpec {
        rtp: PortId(port),
        rtcp: None,
        remote: Some(participant(port)),
        remote_rtcp: None,
        latch: Latch::Strict,
    };
    let transports = vec![transport(0), transport(1)];
    let spec = LegSpec { cname: "both@test".to_owned(), report_ssrc: 9, transports };
    script.command(Command::AddLeg(LegId(0), spec));
    for transport in [0, 1] {
        let payload_types = vec![PayloadType { number: 111, clock_hz: 48_000 }];
        let spec = StreamSpec { leg: LegId(0), transport, kind: Kind::Audio, ssrc: None, payload_types };
        script.command(Command::AddStream(StreamId(u32::from(transport)), spec));
        script.packet(u32::from(transport), participant(u32::from(transport)), &sound(1));
    }
    script.events();
    script.packet(1, participant(1), &bye());
    assert_eq!(script.events(), [Event::StreamEnded { stream: StreamId(1) }]);
}
