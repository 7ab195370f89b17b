//! RTCP: what is read can be written and reads the same.

use crate::rtcp::{
    Compound, FirEntry, Packet, ReportBlock, RtcpError, write_bye, write_fir, write_nack, write_pli,
    write_receiver_report, write_sdes_cname, write_sender_report,
};

/// Reads `bytes` as RTCP, walks everything, and writes again what can be written.
///
/// # Panics
/// When the two readings of `bytes`, or a packet and its copy, differ.
pub fn fuzz_rtcp(bytes: &[u8]) {
    let reduced = Compound::reduced(bytes);
    match (Compound::new(bytes), &reduced) {
        (Ok(compound), Ok(_)) => {
            let first = compound.packets().next();
            assert!(matches!(first, Some(Packet::SenderReport(_) | Packet::ReceiverReport(_))));
        }
        (Err(RtcpError::NoReport), Ok(reduced)) => {
            let first = reduced.packets().next();
            assert!(!matches!(first, Some(Packet::SenderReport(_) | Packet::ReceiverReport(_))));
        }
        (Err(error), Err(same)) => assert_eq!(error, *same),
        (full, reduced) => panic!("{full:?} but reduced {reduced:?}"),
    }
    let Ok(compound) = reduced else {
        return;
    };
    assert_eq!(compound.bytes(), bytes);
    assert_eq!(compound.packets().count(), headers(bytes), "every packet is yielded");
    for packet in compound {
        check_written_again(&packet);
    }
}

/// Counts packets by their length fields alone.
fn headers(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut count = 0;
    while at < bytes.len() {
        at += 4 + 4 * usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        count += 1;
    }
    count
}

/// Writes `packet`, if there is a writer for all that it holds, reads that, and compares.
fn check_written_again(packet: &Packet<'_>) {
    let mut out = vec![0xaa; 3];
    let before = out.len();
    if !write(packet, &mut out) {
        return;
    }
    let written = &out[before..];
    let mut packets = Compound::reduced(written).expect("what was written can be read").packets();
    let again = packets.next().expect("one packet was written");
    assert!(packets.next().is_none(), "and only one");
    assert_same(packet, &again);
}

/// Whether `packet` could be written.
fn write(packet: &Packet<'_>, out: &mut Vec<u8>) -> bool {
    match packet {
        Packet::SenderReport(report) => {
            let blocks: Vec<ReportBlock> = report.blocks().collect();
            write_sender_report(out, report.ssrc, &report.info, &blocks);
        }
        Packet::ReceiverReport(report) => {
            let blocks: Vec<ReportBlock> = report.blocks().collect();
            write_receiver_report(out, report.ssrc, &blocks);
        }
        Packet::Sdes(sdes) => {
            let chunks = sdes.chunks().map(|chunk| (chunk.ssrc, chunk.cname().map(str::from_utf8)));
            let names = chunks.map(|(ssrc, cname)| cname?.ok().map(|cname| (ssrc, cname)));
            let Some(names) = names.collect::<Option<Vec<_>>>() else {
                return false;
            };
            write_sdes_cname(out, &names);
        }
        Packet::Bye(bye) => {
            let Ok(reason) = bye.reason().map(str::from_utf8).transpose() else {
                return false;
            };
            write_bye(out, &bye.ssrcs().collect::<Vec<_>>(), reason);
        }
        Packet::Pli(pli) => write_pli(out, pli.sender_ssrc, pli.media_ssrc),
        Packet::Fir(fir) => write_fir(out, fir.sender_ssrc, &fir.entries().collect::<Vec<FirEntry>>()),
        Packet::Nack(nack) => {
            let missing: Vec<_> = nack.sequences().collect();
            write_nack(out, nack.sender_ssrc, nack.media_ssrc, &missing);
        }
        Packet::App(_) | Packet::Remb(_) | Packet::Unknown(_) => {
            walk(packet);
            return false;
        }
    }
    true
}

fn walk(packet: &Packet<'_>) {
    match packet {
        Packet::App(app) => assert!(app.data.len().is_multiple_of(4)),
        Packet::Remb(remb) => assert!(remb.ssrcs().count() <= 255),
        Packet::Unknown(unknown) => assert!(unknown.body.len().is_multiple_of(4)),
        _ => {}
    }
}

/// Compares what the writers carry over: neither profile extensions nor items other than CNAME.
fn assert_same(packet: &Packet<'_>, again: &Packet<'_>) {
    match (packet, again) {
        (Packet::SenderReport(a), Packet::SenderReport(b)) => {
            assert_eq!((a.ssrc, a.info), (b.ssrc, b.info));
            assert!(a.blocks().eq(b.blocks()));
        }
        (Packet::ReceiverReport(a), Packet::ReceiverReport(b)) => {
            assert_eq!(a.ssrc, b.ssrc);
            assert!(a.blocks().eq(b.blocks()));
        }
        (Packet::Sdes(a), Packet::Sdes(b)) => {
            assert!(a.chunks().map(|c| (c.ssrc, c.cname())).eq(b.chunks().map(|c| (c.ssrc, c.cname()))));
        }
        (Packet::Nack(a), Packet::Nack(b)) => {
            assert_eq!((a.sender_ssrc, a.media_ssrc), (b.sender_ssrc, b.media_ssrc));
            assert!(a.sequences().eq(b.sequences()));
        }
        (Packet::Fir(a), Packet::Fir(b)) => {
            assert_eq!(a.sender_ssrc, b.sender_ssrc);
            assert!(a.entries().eq(b.entries()));
        }
        (a, b) => assert_eq!(a, b),
    }
}
