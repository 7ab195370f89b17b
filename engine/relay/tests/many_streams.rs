//! A leg that publishes many streams, as the far end of a mixer's trunk does: each packet finds its own.

use motet_relay::testing::{Script, participant};
use motet_relay::{Command, Inbound, Kind, Latch, LegId, PayloadType, PortId, StreamId, StreamSpec};
use motet_rtp::{RtpBuilder, RtpView, WireSeq};

const STREAMS: u32 = 300;

fn packet(stream: u32, sequence: u16) -> Vec<u8> {
    let packet = RtpBuilder::new(5_000 + stream).payload_type(111).sequence(WireSeq(sequence));
    packet.payload(&stream.to_be_bytes()).to_vec()
}

#[test]
fn each_packet_finds_its_stream_in_whatever_order_they_come() {
    let mut script = Script::default();
    script.leg(0, Latch::Trunk);
    script.leg(1, Latch::Fixed);
    for n in 0..STREAMS {
        let payload_types = vec![PayloadType { number: 111, clock_hz: 48_000 }];
        let (ssrc, kind) = (Some(5_000 + n), Kind::Audio);
        let spec = StreamSpec { leg: LegId(0), transport: 0, kind, ssrc, payload_types };
        script.command(Command::AddStream(StreamId(n), spec));
        script.route(n, n, 1);
    }
    for sequence in 0..20 {
        // In turn, backwards, and by leaps; some streams go on their way.
        let order: Vec<u32> = match sequence % 3 {
            0 => (0..STREAMS).collect(),
            1 => (0..STREAMS).rev().collect(),
            _ => (0..STREAMS).map(|n| n * 77 % STREAMS).collect(),
        };
        let gone = |n: u32| sequence >= 10 && n.is_multiple_of(3);
        if sequence == 10 {
            (0..STREAMS)
                .filter(|n| gone(*n))
                .for_each(|n| drop(script.command(Command::RemoveStream(StreamId(n)))));
        }
        let packets: Vec<Vec<u8>> = order.iter().map(|n| packet(*n, 100 + sequence)).collect();
        let (port, source) = (PortId(0), participant(0));
        let run = |bytes| Inbound { port, source, bytes, segment_bytes: packets[0].len() };
        let runs: Vec<Inbound<'_>> = packets.iter().map(|packet| run(packet.as_slice())).collect();
        let mut heard = Vec::new();
        for sent in script.batch(&runs) {
            let view = RtpView::new(&sent.bytes).expect("RTP");
            let stream = u32::from_be_bytes(view.payload().try_into().expect("four bytes"));
            assert_eq!((view.ssrc(), sent.port), (0xa000 + stream, PortId(1)));
            heard.push(stream);
        }
        heard.sort_unstable();
        assert_eq!(heard, (0..STREAMS).filter(|n| !gone(*n)).collect::<Vec<_>>(), "{sequence}");
    }
}
