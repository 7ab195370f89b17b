//! RTCP packets byte by byte, and the rules of a compound.

use motet_rtp::rtcp::*;
use motet_rtp::{Ntp, WireSeq, WireTimestamp};

fn only(bytes: &[u8]) -> Packet<'_> {
    let mut packets = Compound::reduced(bytes).expect("well formed").packets();
    let packet = packets.next().expect("one packet");
    assert_eq!(packets.next(), None);
    packet
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn report() -> Vec<u8> {
    written(|out| write_receiver_report(out, 1, &[]))
}

const BLOCK: ReportBlock = ReportBlock {
    ssrc: 0xcafe_babe,
    fraction_lost: 12,
    cumulative_lost: -2,
    highest_sequence: 0x0001_0005,
    jitter: 77,
    last_sr: 0x3344_5566,
    delay_since_last_sr: 0x8000,
};

#[rustfmt::skip]
const SENDER_REPORT: [u8; 52] = [
    0x81, 200, 0, 12,
    0, 0, 0, 1,
    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
    0, 0, 0, 160,
    0, 0, 0, 10,
    0, 0, 6, 64,
    0xca, 0xfe, 0xba, 0xbe,
    12, 0xff, 0xff, 0xfe,
    0, 1, 0, 5,
    0, 0, 0, 77,
    0x33, 0x44, 0x55, 0x66,
    0, 0, 0x80, 0,
];

#[test]
fn a_sender_report_byte_by_byte() {
    let info = SenderInfo {
        ntp: Ntp(0x1122_3344_5566_7788),
        rtp_timestamp: WireTimestamp(160),
        packets: 10,
        octets: 1600,
    };
    assert_eq!(written(|out| write_sender_report(out, 1, &info, &[BLOCK])), SENDER_REPORT);
    let Packet::SenderReport(report) = only(&SENDER_REPORT) else {
        panic!("it is a sender report");
    };
    assert_eq!((report.ssrc, report.info), (1, info));
    assert_eq!(report.blocks().collect::<Vec<_>>(), [BLOCK]);
    assert_eq!(report.extension().len(), 0);
    assert_eq!(info.ntp.middle(), BLOCK.last_sr);
}

#[test]
fn cumulative_loss_is_24_bits_with_a_sign() {
    for (lost, reads) in
        [(0x7f_ffff, 0x7f_ffff), (-0x80_0000, -0x80_0000), (0x80_0000, 0x7f_ffff), (i32::MIN, -0x80_0000)]
    {
        let block = ReportBlock { cumulative_lost: lost, fraction_lost: 255, ..BLOCK };
        let bytes = written(|out| write_receiver_report(out, 1, &[block]));
        let Packet::ReceiverReport(report) = only(&bytes) else {
            panic!("it is a receiver report");
        };
        let block = report.blocks().next().expect("one was written");
        assert_eq!((block.cumulative_lost, block.fraction_lost), (reads, 255));
    }
}

#[test]
fn a_description_byte_by_byte() {
    let sources = [(1, "a@b.c"), (2, "ab"), (3, "")];
    let bytes = written(|out| write_sdes_cname(out, &sources));
    // Where the items end on a whole word, four more zeros end the chunk.
    #[rustfmt::skip]
    assert_eq!(bytes, [
        0x83, 202, 0, 8,
        0, 0, 0, 1, 1, 5, b'a', b'@', b'b', b'.', b'c', 0,
        0, 0, 0, 2, 1, 2, b'a', b'b', 0, 0, 0, 0,
        0, 0, 0, 3, 1, 0, 0, 0,
    ]);
    let Packet::Sdes(sdes) = only(&bytes) else {
        panic!("it is a description");
    };
    let names: Vec<_> = sdes.chunks().map(|chunk| (chunk.ssrc, chunk.cname())).collect();
    assert_eq!(names, sources.map(|(ssrc, cname)| (ssrc, Some(cname.as_bytes()))));
}

#[test]
fn items_other_than_cname_are_listed() {
    let bytes = [0x81, 202, 0, 3, 0, 0, 0, 7, 2, 1, b'n', 8, 1, b'x', 0, 0];
    let Packet::Sdes(sdes) = only(&bytes) else {
        panic!("it is a description");
    };
    let chunk = sdes.chunks().next().expect("one chunk");
    assert_eq!(
        chunk.items().map(|item| (item.kind, item.text)).collect::<Vec<_>>(),
        [(2, &b"n"[..]), (8, &b"x"[..])]
    );
    assert_eq!(chunk.cname(), None);
}

#[test]
fn goodbyes_with_and_without_a_reason() {
    let bytes = written(|out| write_bye(out, &[1, 2], Some("gone")));
    assert_eq!(bytes, [0x82, 203, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 4, b'g', b'o', b'n', b'e', 0, 0, 0]);
    let Packet::Bye(bye) = only(&bytes) else {
        panic!("it is a goodbye");
    };
    assert_eq!((bye.ssrcs().collect::<Vec<_>>(), bye.reason()), (vec![1, 2], Some(&b"gone"[..])));
    let bytes = written(|out| write_bye(out, &[], None));
    assert!(matches!(only(&bytes), Packet::Bye(bye) if bye.ssrcs().len() == 0 && bye.reason().is_none()));
}

#[test]
fn feedback_byte_by_byte() {
    let bytes = written(|out| write_pli(out, 1, 2));
    assert_eq!(bytes, [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(only(&bytes), Packet::Pli(Pli { sender_ssrc: 1, media_ssrc: 2 }));

    let entry = FirEntry { ssrc: 2, sequence: 9 };
    let bytes = written(|out| write_fir(out, 1, &[entry]));
    assert_eq!(bytes, [0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 9, 0, 0, 0]);
    assert!(matches!(only(&bytes), Packet::Fir(fir) if fir.sender_ssrc == 1 && fir.entries().eq([entry])));

    let missing = [65_535, 0, 15, 16].map(WireSeq);
    let bytes = written(|out| write_nack(out, 1, 2, &missing));
    assert_eq!(bytes, [0x81, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0x80, 0x01, 0, 16, 0, 0]);
    assert!(matches!(only(&bytes), Packet::Nack(nack) if nack.sequences().eq(missing)));
}

#[test]
fn feedback_without_entries_or_with_half_ones_is_refused() {
    let head = [0, 0, 0, 1, 0, 0, 0, 2];
    let nack = [&[0x81, 205, 0, 2][..], &head].concat();
    let fir = [&[0x84, 206, 0, 3][..], &head, &[0; 4]].concat();
    for bytes in [nack, fir, vec![0x81, 206, 0, 1, 0, 0, 0, 1]] {
        assert_eq!(Compound::reduced(&bytes).err(), Some(RtcpError::BodyTruncated), "{bytes:02x?}");
    }
}

#[test]
fn remb_is_read_and_other_application_feedback_is_unknown() {
    let head = [0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
    let remb = [&head[..], b"REMB", &[1, 0b10_1011, 0xff, 0xff, 0, 0, 0, 9]].concat();
    let Packet::Remb(remb) = only(&remb) else {
        panic!("it is REMB");
    };
    assert_eq!((remb.bitrate_bps, remb.ssrcs().collect::<Vec<_>>()), (0x3_ffff << 10, vec![9]));
    let huge = [&head[..], b"REMB", &[1, 0xff, 0xff, 0xff, 0, 0, 0, 9]].concat();
    assert!(matches!(only(&huge), Packet::Remb(remb) if remb.bitrate_bps == u64::MAX));
    let other = [&head[..], b"BMER", &[1, 0xff, 0xff, 0xff, 0, 0, 0, 9]].concat();
    assert!(matches!(only(&other), Packet::Unknown(unknown) if unknown.count == 15));
}

#[test]
fn a_compound_starts_with_a_report() {
    let goodbye = written(|out| write_bye(out, &[1], None));
    assert_eq!(Compound::new(&goodbye).err(), Some(RtcpError::NoReport));
    assert!(Compound::reduced(&goodbye).is_ok());
    let compound = [report(), goodbye].concat();
    let compound = Compound::new(&compound).expect("a report and a goodbye");
    let kinds: Vec<_> = compound.into_iter().map(|packet| matches!(packet, Packet::Bye(_))).collect();
    assert_eq!(kinds, [false, true]);
}

#[test]
fn padding_is_for_the_last_packet() {
    let padded = [0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4];
    let Packet::ReceiverReport(alone) = only(&padded) else {
        panic!("it is a receiver report");
    };
    assert_eq!((alone.ssrc, alone.extension().len()), (1, 0));
    assert!(Compound::new(&[&report()[..], &padded].concat()).is_ok());
    assert_eq!(Compound::new(&[&padded[..], &report()].concat()).err(), Some(RtcpError::BadPadding));
    for count in [0, 3, 12] {
        let mut lying = padded;
        lying[11] = count;
        assert_eq!(Compound::new(&lying).err(), Some(RtcpError::BadPadding), "{count} bytes");
    }
    assert_eq!(Compound::new(&[0xa0, 201, 0, 0]).err(), Some(RtcpError::BadPadding));
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    assert_eq!(Compound::new(&[]).err(), Some(RtcpError::TooShort));
    assert_eq!(Compound::new(&[report(), vec![0x80, 203, 0]].concat()).err(), Some(RtcpError::TooShort));
    assert_eq!(Compound::new(&[0x80, 201, 0, 2, 0, 0, 0, 1]).err(), Some(RtcpError::BadLength));
    assert_eq!(Compound::new(&[0x81, 201, 0, 1, 0, 0, 0, 1]).err(), Some(RtcpError::BodyTruncated));
    assert_eq!(Compound::new(&[report(), vec![0x40, 203, 0, 0]].concat()).err(), Some(RtcpError::BadVersion));
    // A whole compound goes by its last packet.
    let tail = [report(), vec![0x81, 203, 0, 0]].concat();
    assert_eq!(Compound::new(&tail).err(), Some(RtcpError::BodyTruncated));
}

#[test]
fn every_cut_of_a_sender_report_is_refused() {
    for end in 0..SENDER_REPORT.len() {
        assert!(Compound::reduced(&SENDER_REPORT[..end]).is_err(), "the first {end} bytes");
    }
}

#[test]
fn full_packets_are_written_and_fuller_ones_are_the_callers_mistake() {
    let bytes = written(|out| write_receiver_report(out, 1, &[BLOCK; COUNT_MAX]));
    assert!(matches!(only(&bytes), Packet::ReceiverReport(report) if report.blocks().len() == COUNT_MAX));
    let fuller = || written(|out| write_receiver_report(out, 1, &[BLOCK; COUNT_MAX + 1]));
    assert!(std::panic::catch_unwind(fuller).is_err());
}
