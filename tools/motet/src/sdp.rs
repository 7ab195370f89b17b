//! An SDP (RFC 8866) by which ffmpeg or ffplay receives what a participant was promised.

use motet_proto::conference::ParticipantInfo;
use motet_proto::media::MediaKind;
use std::fmt::Write;
use std::net::SocketAddr;

/// One m-line for each medium with an address that receives something. Tools such as ffmpeg take one
/// source for each port: with more, only the first is described, which `receive_from` makes the only one.
pub(crate) fn of(info: &ParticipantInfo) -> String {
    let mut text = format!("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=motet {}\nt=0 0\n", info.id);
    for medium in &info.media {
        let Some(medium) = &medium.medium else { continue };
        let Ok(address) = medium.remote.parse::<SocketAddr>() else { continue };
        // Before anyone sends, the participant's own codecs are what it will get.
        let stream = info.receives.iter().find(|stream| stream.medium == medium.id);
        let codecs = stream.map_or(&medium.codecs, |stream| &stream.codecs);
        let kind = if medium.kind() == MediaKind::Audio { "audio" } else { "video" };
        let family = if address.is_ipv6() { "IP6" } else { "IP4" };
        let types: Vec<String> = codecs.iter().map(|codec| codec.payload_type.to_string()).collect();
        let _ = writeln!(text, "m={kind} {} RTP/AVP {}", address.port(), types.join(" "));
        let _ = writeln!(text, "c=IN {family} {}", address.ip());
        for codec in codecs {
            let channels = if codec.channels > 1 { format!("/{}", codec.channels) } else { String::new() };
            let (number, name, clock) = (codec.payload_type, &codec.name, codec.clock_rate_hz);
            let _ = writeln!(text, "a=rtpmap:{number} {name}/{clock}{channels}");
            if !codec.fmtp.is_empty() {
                let _ = writeln!(text, "a=fmtp:{number} {}", codec.fmtp);
            }
        }
    }
    text
}
