//! What two specifications have in common, and a stream's form for the relay.

use crate::model::{Codec, Leg, MediaKind, Medium, Transport};
use motet_relay::{Kind, LegId, PayloadType, StreamSpec};
use std::sync::Arc;

/// The relay's state of the leg can stay: same name to others, same ports.
pub(super) fn same_ports(old: &Leg, new: &Leg) -> bool {
    let pairs = || old.transports.iter().zip(&new.transports);
    old.cname == new.cname
        && old.transports.len() == new.transports.len()
        && pairs().all(|(old, new)| same_port(old, new))
}

pub(super) fn same_port(old: &Transport, new: &Transport) -> bool {
    old.id == new.id && old.rtcp_mux == new.rtcp_mux && old.ipv6 == new.ipv6
}

/// The relay's state of the stream can stay.
pub(super) fn same_stream(old: &Medium, new: &Medium) -> bool {
    let types =
        |medium: &Medium| medium.codecs.iter().map(|c| (c.payload_type, c.clock_hz)).collect::<Vec<_>>();
    old.kind == new.kind && old.transport == new.transport && old.ssrc == new.ssrc && types(old) == types(new)
}

pub(super) fn stream_spec(leg: LegId, transport: u8, ssrc: Option<u32>, medium: &Medium) -> StreamSpec {
    StreamSpec {
        leg,
        transport,
        kind: match medium.kind {
            MediaKind::Audio => Kind::Audio,
            MediaKind::Video | MediaKind::Content => Kind::Video,
        },
        ssrc,
        payload_types: payload_types(&medium.codecs),
    }
}

pub(super) fn payload_types(codecs: &[Arc<Codec>]) -> Vec<PayloadType> {
    codecs.iter().map(|codec| PayloadType { number: codec.payload_type, clock_hz: codec.clock_hz }).collect()
}
