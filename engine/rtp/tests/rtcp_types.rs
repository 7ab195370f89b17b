//! RTCP against `rtcp_types`: what one writes, the other reads.

use motet_rtp::rtcp::{self, FirEntry, ReportBlock, SenderInfo};
use motet_rtp::{Ntp, WireSeq, WireTimestamp};
use proptest::prelude::*;
use rtcp_types::prelude::*;

#[derive(Clone, Debug)]
struct Content {
    ssrc: u32,
    info: SenderInfo,
    blocks: Vec<ReportBlock>,
    cname: String,
    missing: Vec<u16>,
    key_frame: (u32, u8),
    leaving: Vec<u32>,
    reason: String,
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000_i32).prop_map(|(words, fraction_lost, lost)| {
        let [ssrc, highest_sequence, jitter, last_sr, delay_since_last_sr] = words;
        let cumulative_lost = lost;
        ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost,
            highest_sequence,
            jitter,
            last_sr,
            delay_since_last_sr,
        }
    })
}

fn content() -> impl Strategy<Value = Content> {
    let info = (any::<u64>(), any::<[u32; 3]>()).prop_map(|(ntp, [timestamp, packets, octets])| SenderInfo {
        ntp: Ntp(ntp),
        rtp_timestamp: WireTimestamp(timestamp),
        packets,
        octets,
    });
    // Their NACK builder keeps numbers in a set, ordered from 0 up.
    let missing = prop::collection::btree_set(any::<u16>(), 1..40).prop_map(|set| set.into_iter().collect());
    (
        any::<u32>(),
        info,
        prop::collection::vec(block(), 0..=31),
        "[a-zé]{1,40}",
        missing,
        // Their FIR builder keeps entries in a map without order, so there is one.
        any::<(u32, u8)>(),
        prop::collection::vec(any::<u32>(), 1..=31),
        "[a-z ]{1,40}",
    )
        .prop_map(|(ssrc, info, blocks, cname, missing, key_frame, leaving, reason)| Content {
            ssrc,
            info,
            blocks,
            cname,
            missing,
            key_frame,
            leaving,
            reason,
        })
}

fn ours(content: &Content) -> Vec<u8> {
    let mut out = Vec::new();
    let missing: Vec<WireSeq> = content.missing.iter().copied().map(WireSeq).collect();
    let (key_ssrc, sequence) = content.key_frame;
    rtcp::write_sender_report(&mut out, content.ssrc, &content.info, &content.blocks);
    rtcp::write_receiver_report(&mut out, content.ssrc, &content.blocks);
    rtcp::write_sdes_cname(&mut out, &[(content.ssrc, &content.cname)]);
    rtcp::write_nack(&mut out, content.ssrc, 2, &missing);
    rtcp::write_pli(&mut out, content.ssrc, 3);
    rtcp::write_fir(&mut out, content.ssrc, &[FirEntry { ssrc: key_ssrc, sequence }]);
    rtcp::write_bye(&mut out, &content.leaving, Some(&content.reason));
    out
}

fn their_block(block: &ReportBlock) -> rtcp_types::ReportBlockBuilder {
    rtcp_types::ReportBlock::builder(block.ssrc)
        .fraction_lost(block.fraction_lost)
        .cumulative_lost(block.cumulative_lost as u32 & 0xff_ffff)
        .extended_sequence_number(block.highest_sequence)
        .interarrival_jitter(block.jitter)
        .last_sender_report_timestamp(block.last_sr)
        .delay_since_last_sender_report_timestamp(block.delay_since_last_sr)
}

fn theirs(content: &Content) -> Vec<u8> {
    let mut sender = rtcp_types::SenderReport::builder(content.ssrc)
        .ntp_timestamp(content.info.ntp.0)
        .rtp_timestamp(content.info.rtp_timestamp.0)
        .packet_count(content.info.packets)
        .octet_count(content.info.octets);
    let mut receiver = rtcp_types::ReceiverReport::builder(content.ssrc);
    for block in &content.blocks {
        sender = sender.add_report_block(their_block(block));
        receiver = receiver.add_report_block(their_block(block));
    }
    let item = rtcp_types::SdesItem::builder(rtcp_types::SdesItem::CNAME, &content.cname);
    let chunk = rtcp_types::SdesChunk::builder(content.ssrc).add_item(item);
    let mut nack = rtcp_types::Nack::builder();
    for missing in &content.missing {
        nack = nack.add_rtp_sequence(*missing);
    }
    let fir = rtcp_types::Fir::builder().add_ssrc(content.key_frame.0, content.key_frame.1);
    let mut bye = rtcp_types::Bye::builder().reason(&content.reason);
    for ssrc in &content.leaving {
        bye = bye.add_source(*ssrc);
    }
    let compound = rtcp_types::Compound::builder()
        .add_packet(sender)
        .add_packet(receiver)
        .add_packet(rtcp_types::Sdes::builder().add_chunk(chunk))
        .add_packet(
            rtcp_types::TransportFeedback::builder_owned(nack).sender_ssrc(content.ssrc).media_ssrc(2),
        )
        .add_packet(
            rtcp_types::PayloadFeedback::builder_owned(rtcp_types::Pli::builder())
                .sender_ssrc(content.ssrc)
                .media_ssrc(3),
        )
        .add_packet(rtcp_types::PayloadFeedback::builder_owned(fir).sender_ssrc(content.ssrc).media_ssrc(0))
        .add_packet(bye);
    let mut out = vec![0; compound.calculate_size().expect("it is in range")];
    let written = compound.write_into(&mut out).expect("there is room");
    out.truncate(written);
    out
}

proptest! {
    /// Both write the same bytes, so each reads the other's as its own.
    #[test]
    fn both_write_the_same(content in content()) {
        prop_assert_eq!(ours(&content), theirs(&content));
    }

    #[test]
    fn their_reader_finds_what_we_wrote(content in content()) {
        let bytes = ours(&content);
        let compound = rtcp_types::Compound::parse(&bytes).expect("it is well formed");
        let packets: Vec<_> = compound.map(|packet| packet.expect("each is well formed")).collect();
        prop_assert_eq!(packets.len(), 7);
        let sender = packets[0].try_as::<rtcp_types::SenderReport<'_>>().expect("a sender report");
        prop_assert_eq!(sender.ntp_timestamp(), content.info.ntp.0);
        prop_assert_eq!(sender.report_blocks().count(), content.blocks.len());
        let nack = packets[3].try_as::<rtcp_types::TransportFeedback<'_>>().expect("feedback");
        let nack = nack.parse_fci::<rtcp_types::Nack<'_>>().expect("a NACK");
        prop_assert_eq!(nack.entries().collect::<Vec<_>>(), content.missing);
        let bye = packets[6].try_as::<rtcp_types::Bye<'_>>().expect("a goodbye");
        prop_assert_eq!(bye.ssrcs().collect::<Vec<_>>(), content.leaving);
    }

    #[test]
    fn our_reader_finds_what_they_wrote(content in content()) {
        let bytes = theirs(&content);
        let compound = rtcp::Compound::new(&bytes).expect("it is well formed");
        let packets: Vec<_> = compound.packets().collect();
        let [
            rtcp::Packet::SenderReport(sender),
            rtcp::Packet::ReceiverReport(receiver),
            rtcp::Packet::Sdes(sdes),
            rtcp::Packet::Nack(nack),
            rtcp::Packet::Pli(pli),
            rtcp::Packet::Fir(fir),
            rtcp::Packet::Bye(bye),
        ] = packets[..] else {
            panic!("other packets: {packets:?}");
        };
        prop_assert_eq!((sender.ssrc, sender.info), (content.ssrc, content.info));
        prop_assert_eq!(sender.blocks().collect::<Vec<_>>(), &content.blocks[..]);
        prop_assert_eq!(receiver.blocks().collect::<Vec<_>>(), &content.blocks[..]);
        let names: Vec<_> = sdes.chunks().map(|chunk| (chunk.ssrc, chunk.cname())).collect();
        prop_assert_eq!(names, [(content.ssrc, Some(content.cname.as_bytes()))]);
        prop_assert_eq!(nack.sequences().map(|s| s.0).collect::<Vec<_>>(), content.missing);
        prop_assert_eq!((pli.sender_ssrc, pli.media_ssrc), (content.ssrc, 3));
        prop_assert_eq!(fir.entries().map(|e| (e.ssrc, e.sequence)).collect::<Vec<_>>(), [content.key_frame]);
        prop_assert_eq!(bye.ssrcs().collect::<Vec<_>>(), content.leaving);
        prop_assert_eq!(bye.reason(), Some(content.reason.as_bytes()));
    }
}

proptest! {
    /// Any order and repetition of numbers survives; ours alone, since theirs sorts.
    #[test]
    fn nack_keeps_order(missing in prop::collection::vec((0_u16..60).prop_map(|n| n.wrapping_sub(30)), 1..60)) {
        let missing: Vec<WireSeq> = missing.into_iter().map(WireSeq).collect();
        let mut out = Vec::new();
        rtcp::write_nack(&mut out, 1, 2, &missing);
        let Some(rtcp::Packet::Nack(nack)) = rtcp::Compound::reduced(&out).expect("written").packets().next()
        else {
            panic!("it is a NACK");
        };
        prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), missing);
    }
}
