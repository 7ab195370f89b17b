//! Short ways to write specifications in tests.

use motet_proto::{media, node as wire};

pub(crate) fn codec(payload_type: u32, name: &str, clock_rate_hz: u32, fmtp: &str) -> media::Codec {
    media::Codec { payload_type, name: name.into(), clock_rate_hz, channels: 0, fmtp: fmtp.into() }
}

pub(crate) fn opus(payload_type: u32) -> media::Codec {
    codec(payload_type, "opus", 48_000, "")
}

pub(crate) fn medium(id: &str, kind: media::MediaKind, codecs: Vec<media::Codec>) -> wire::Medium {
    wire::Medium { id: id.into(), kind: kind.into(), transport: id.into(), codecs, ..wire::Medium::default() }
}

/// A leg with one transport for each medium.
pub(crate) fn leg(id: &str, media: Vec<wire::Medium>) -> wire::Leg {
    let transports = media
        .iter()
        .map(|medium| wire::Transport { id: medium.id.clone(), ..wire::Transport::default() })
        .collect();
    wire::Leg { id: id.into(), transports, media, ..wire::Leg::default() }
}

/// A leg that sends and receives Opus and H.264.
pub(crate) fn caller(id: &str) -> wire::Leg {
    leg(
        id,
        vec![
            medium("audio", media::MediaKind::Audio, vec![opus(111)]),
            medium("video", media::MediaKind::Video, vec![codec(96, "H264", 90_000, "packetization-mode=1")]),
        ],
    )
}

pub(crate) fn conference(legs: Vec<wire::Leg>) -> wire::ConferenceSpec {
    wire::ConferenceSpec { id: "c1".into(), legs, ..wire::ConferenceSpec::default() }
}
