//! RTP packets byte by byte, the builder against the view and against `rtp_rs`.

use motet_rtp::ext::{Extension, Form, write_elements};
use motet_rtp::{FixedHeader, RtpBuilder, RtpError, RtpView, WireSeq, WireTimestamp, rewrite_header};
use proptest::prelude::*;

/// Padding, extension and one CSRC; marker, payload type 111.
const FULL: [u8; 35] = [
    0xb1, 0xef, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xca, 0xfe, 0xba, 0xbe, // fixed header
    0, 0, 0, 9, // CSRC
    0xbe, 0xde, 0, 1, 0x30, 0x7f, 0, 0, // extension
    b'p', b'a', b'y', b'l', b'o', b'a', b'd', // payload
    0xee, 0xee, 0xee, 4, // padding
];

#[test]
fn every_field_of_a_full_packet() {
    let view = RtpView::new(&FULL).expect("well formed");
    assert!(view.marker());
    assert_eq!(view.payload_type(), 111);
    assert_eq!(view.sequence(), WireSeq(0x1234));
    assert_eq!(view.timestamp(), WireTimestamp(0x5678_9abc));
    assert_eq!(view.ssrc(), 0xcafe_babe);
    assert_eq!(view.csrcs().collect::<Vec<_>>(), [9]);
    let extension = view.extension().expect("there is one");
    assert_eq!((extension.profile, extension.form()), (0xbede, Some(Form::OneByte)));
    assert_eq!(extension.elements().collect::<Vec<_>>(), [(3, &[0x7f][..])]);
    assert_eq!((view.header_bytes(), view.payload(), view.padding_bytes()), (24, &b"payload"[..], 4));
    assert_eq!(view.bytes(), FULL);
    let fixed = FixedHeader::read(&FULL).expect("well formed");
    assert_eq!((fixed.first_byte, fixed.payload_bytes(FULL.len())), (0xb1, 7));
}

#[test]
fn every_cut_of_a_full_packet_is_refused_or_reads_its_padding_elsewhere() {
    for end in 0..FULL.len() {
        let error = RtpView::new(&FULL[..end]).err();
        let expected = match end {
            0..12 => RtpError::TooShort,
            12..16 => RtpError::CsrcTruncated,
            16..24 => RtpError::ExtensionTruncated,
            // What is last now counts as padding: a letter or 0xee, more than there is, or nothing at all.
            _ => RtpError::BadPadding,
        };
        assert_eq!(error, Some(expected), "the first {end} bytes");
    }
}

#[test]
fn versions_other_than_2_are_refused() {
    for version in [0, 1, 3] {
        let bytes = [version << 6, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(FixedHeader::read(&bytes), Err(RtpError::BadVersion));
    }
}

#[test]
fn padding_may_fill_the_payload_and_no_more() {
    let packet = |count| [&[0xa0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0][..], &[count]].concat();
    assert_eq!(RtpView::new(&packet(3)).map(|view| view.payload().len()), Ok(0));
    assert_eq!(RtpView::new(&packet(1)).map(|view| view.payload().len()), Ok(2));
    assert_eq!(RtpView::new(&packet(4)).err(), Some(RtpError::BadPadding));
    assert_eq!(RtpView::new(&packet(0)).err(), Some(RtpError::BadPadding));
    assert_eq!(RtpView::new(&packet(3)[..12]).err(), Some(RtpError::BadPadding));
}

#[test]
fn a_rewritten_header_keeps_the_layout() {
    let head = rewrite_header(FULL[0], false, 96, WireSeq(1), WireTimestamp(2), 3);
    assert_eq!(head, [0xb1, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
    let packet = [&head, &FULL[12..]].concat();
    assert_eq!(RtpView::new(&packet).map(|view| view.payload().to_vec()), Ok(b"payload".to_vec()));
}

#[test]
fn reasons_are_distinct() {
    let mut reasons = RtpError::ALL.map(RtpError::reason).to_vec();
    reasons.dedup();
    assert_eq!(reasons.len(), RtpError::ALL.len());
}

proptest! {
    #[test]
    fn what_is_built_is_read(
        (marker, payload_type, sequence, timestamp, ssrc) in
            (any::<bool>(), 0_u8..128, any::<u16>(), any::<u32>(), any::<u32>()),
        csrcs in prop::collection::vec(any::<u32>(), 0..=15),
        elements in prop::option::of(prop::collection::vec((1_u8..=14, prop::collection::vec(any::<u8>(), 1..=16)), 0..5)),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        padding_bytes: u8,
    ) {
        let mut data = Vec::new();
        let borrowed: Vec<(u8, &[u8])> =
            elements.iter().flatten().map(|(id, data)| (*id, &data[..])).collect();
        write_elements(&mut data, Form::OneByte, &borrowed).expect("they fit");
        let mut builder = RtpBuilder::new(ssrc)
            .marker(marker)
            .payload_type(payload_type)
            .sequence(WireSeq(sequence))
            .timestamp(WireTimestamp(timestamp))
            .csrcs(&csrcs)
            .payload(&payload);
        if elements.is_some() {
            builder = builder.extension(Extension { profile: Form::OneByte.profile(), data: &data });
        }
        let mut theirs = rtp_rs::RtpPacketBuilder::new()
            .marked(marker)
            .payload_type(payload_type)
            .sequence(sequence.into())
            .timestamp(timestamp)
            .ssrc(ssrc)
            .payload(&payload);
        for csrc in &csrcs {
            theirs = theirs.add_csrc(*csrc);
        }
        if elements.is_some() {
            theirs = theirs.extension(Form::OneByte.profile(), &data);
        }
        prop_assert_eq!(builder.to_vec(), theirs.build().expect("it is in range"));

        let packet = builder.padding_bytes(padding_bytes).to_vec();
        let view = RtpView::new(&packet).expect("it was built");
        prop_assert_eq!(view.marker(), marker);
        prop_assert_eq!(view.payload_type(), payload_type);
        prop_assert_eq!(view.sequence(), WireSeq(sequence));
        prop_assert_eq!(view.timestamp(), WireTimestamp(timestamp));
        prop_assert_eq!(view.ssrc(), ssrc);
        prop_assert_eq!(view.csrcs().collect::<Vec<_>>(), csrcs);
        prop_assert_eq!(view.extension().map(|e| e.elements().eq(borrowed)), elements.map(|_| true));
        prop_assert_eq!(view.payload(), payload);
        prop_assert_eq!(view.padding_bytes(), usize::from(padding_bytes));
        motet_rtp::testing::fuzz_rtp(&packet);
    }
}
