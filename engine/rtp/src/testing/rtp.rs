//! RTP: this crate against itself and against `rtp_rs`.

use crate::ext::{Extension, write_elements};
use crate::rtp::{FIXED_HEADER_BYTES, FixedHeader, RtpBuilder, RtpError, RtpView, rewrite_header};
use crate::{PacketClass, WireSeq, WireTimestamp, classify};

/// Reads `bytes` as RTP in every way and checks that all ways agree.
///
/// # Panics
/// When they do not.
pub fn fuzz_rtp(bytes: &[u8]) {
    let class = classify(bytes);
    let view = RtpView::new(bytes);
    let reader = rtp_rs::RtpReader::new(bytes);
    assert_eq!(FixedHeader::read(bytes).map_err(|e| e.reason()), view_header(&view));
    assert_eq!(view.is_ok(), reader.is_ok(), "{view:?} and rtp_rs {reader:?}");
    let (Ok(view), Ok(reader)) = (view, reader) else {
        return;
    };
    assert!(matches!(class, PacketClass::Rtp | PacketClass::Rtcp), "version 2 is one of the two");
    check_layout(&view);
    check_second_opinion(&view, &reader);
    check_written_again(&view);
    check_rewritten(&view);
    if let Some(extension) = view.extension() {
        check_elements(&extension);
    }
}

fn view_header(view: &Result<RtpView<'_>, RtpError>) -> Result<FixedHeader, &'static str> {
    view.map(|view| view.fixed_header()).map_err(|error| error.reason())
}

fn check_layout(view: &RtpView<'_>) {
    let bytes = view.bytes();
    assert_eq!(view.header_bytes() + view.payload().len() + view.padding_bytes(), bytes.len());
    assert_eq!(view.fixed_header().payload_bytes(bytes.len()), view.payload().len());
    let extension_bytes = view.extension().map_or(0, |extension| 4 + extension.data.len());
    assert_eq!(view.header_bytes(), FIXED_HEADER_BYTES + 4 * view.csrcs().len() + extension_bytes);
}

fn check_second_opinion(view: &RtpView<'_>, reader: &rtp_rs::RtpReader<'_>) {
    assert_eq!(view.marker(), reader.mark());
    assert_eq!(view.payload_type(), reader.payload_type());
    assert_eq!(view.sequence(), WireSeq(u16::from(reader.sequence_number())));
    assert_eq!(view.timestamp(), WireTimestamp(reader.timestamp()));
    assert_eq!(view.ssrc(), reader.ssrc());
    assert!(view.csrcs().eq(reader.csrc()));
    assert_eq!(view.extension().map(|e| (e.profile, e.data)), reader.extension());
    assert_eq!(view.header_bytes(), reader.payload_offset());
    assert_eq!(view.payload(), reader.payload());
    assert_eq!(view.padding_bytes(), usize::from(reader.padding().unwrap_or(0)));
}

fn check_written_again(view: &RtpView<'_>) {
    let csrcs: Vec<u32> = view.csrcs().collect();
    let mut builder = RtpBuilder::new(view.ssrc())
        .marker(view.marker())
        .payload_type(view.payload_type())
        .sequence(view.sequence())
        .timestamp(view.timestamp())
        .csrcs(&csrcs)
        .payload(view.payload())
        .padding_bytes(view.fixed_header().padding_bytes);
    if let Some(extension) = view.extension() {
        builder = builder.extension(extension);
    }
    let written = builder.to_vec();
    // What padding holds is the sender's choice, except for its count.
    let kept = view.bytes().len() - view.padding_bytes();
    assert_eq!(written[..kept], view.bytes()[..kept]);
    assert_eq!(written.len(), view.bytes().len());
    assert_eq!(written.last(), view.bytes().last());
}

fn check_rewritten(view: &RtpView<'_>) {
    let (sequence, timestamp) = (view.sequence().plus(40_000), view.timestamp().plus(3_000_000_000));
    let (payload_type, ssrc) = (view.payload_type() ^ 1, !view.ssrc());
    let first_byte = view.fixed_header().first_byte;
    let head = rewrite_header(first_byte, !view.marker(), payload_type, sequence, timestamp, ssrc);
    let rewritten = [&head, &view.bytes()[FIXED_HEADER_BYTES..]].concat();
    let again = RtpView::new(&rewritten).expect("the layout did not change");
    assert_eq!(again.marker(), !view.marker());
    assert_eq!(again.payload_type(), payload_type);
    assert_eq!(again.sequence().distance(view.sequence()), 40_000_u16 as i16);
    assert_eq!(again.timestamp(), timestamp);
    assert_eq!(again.ssrc(), ssrc);
    assert!(again.csrcs().eq(view.csrcs()));
    assert_eq!(again.extension(), view.extension());
    assert_eq!(again.payload(), view.payload());
}

fn check_elements(extension: &Extension<'_>) {
    let elements: Vec<(u8, &[u8])> = extension.elements().collect();
    let Some(form) = extension.form() else {
        assert!(elements.is_empty());
        return;
    };
    let mut data = Vec::new();
    write_elements(&mut data, form, &elements).expect("elements that were read can be written");
    assert!(data.len() <= extension.data.len(), "writing adds no padding that was not there");
    let again = Extension { profile: form.profile(), data: &data };
    assert!(again.elements().eq(elements.iter().copied()));
}
