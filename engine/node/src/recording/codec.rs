//! Which codecs files can hold.

use crate::model::Codec;
use motet_codecs::audio::fmtp;
use motet_recorder::{Codec as Recorded, Recording, RecordingConfig, TrackConfig};
use motet_rtp::payload::{PayloadFormat, parameter_sets};

/// Files can hold it.
pub(crate) fn is_recorded(codec: &Codec) -> bool {
    track(codec, String::new())
        .is_some_and(|track| Recording::new(RecordingConfig::default(), vec![track]).is_ok())
}

/// A track of what is sent under a payload type; none: files cannot hold it.
pub(super) fn track(codec: &Codec, name: String) -> Option<TrackConfig> {
    let sets = |format| parameter_sets(format, &codec.fmtp);
    let (recorded, parameter_sets) = match codec.name.as_str() {
        "h264" => (Recorded::H264, sets(PayloadFormat::H264)),
        "h265" => (Recorded::H265, sets(PayloadFormat::H265)),
        "vp8" => (Recorded::Vp8, Vec::new()),
        _ => (sound(codec)?, Vec::new()),
    };
    Some(TrackConfig { name, codec: recorded, payload_type: codec.payload_type, sender: 0, parameter_sets })
}

fn sound(codec: &Codec) -> Option<Recorded> {
    let value = |name| fmtp::value(&codec.fmtp, name);
    let channels = u8::try_from(codec.channels.max(1)).ok()?;
    Some(match codec.name.as_str() {
        // A stream of one channel plays from a track of two, and may become one of two at any time (RFC 7587).
        "opus" => Recorded::Opus { channels: 2 },
        "pcmu" if codec.clock_hz == 8_000 && channels == 1 => Recorded::Pcmu,
        "pcma" if codec.clock_hz == 8_000 && channels == 1 => Recorded::Pcma,
        "l16" => Recorded::L16 { rate_hz: codec.clock_hz, channels },
        "mpeg4-generic" if value("mode").is_some_and(|mode| mode.eq_ignore_ascii_case("aac-hbr")) => {
            Recorded::Aac { config: hexadecimal(value("config")?)? }
        }
        _ => return None,
    })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_matches('"').as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_proto::media;

    fn read(name: &str, clock_rate_hz: u32, channels: u32, fmtp: &str) -> Codec {
        let wire =
            media::Codec { payload_type: 96, name: name.into(), clock_rate_hz, channels, fmtp: fmtp.into() };
        Codec::read(&wire).expect("a codec")
    }

    #[test]
    fn what_files_hold_is_known() {
        let aac = "mode=AAC-hbr;config=1190;sizelength=13;indexlength=3;indexdeltalength=3";
        for (name, clock_hz, channels, fmtp) in [
            ("H264", 90_000, 1, "packetization-mode=1"),
            ("H265", 90_000, 1, ""),
            ("VP8", 90_000, 1, ""),
            ("opus", 48_000, 2, ""),
            ("PCMA", 8_000, 1, ""),
            ("PCMU", 8_000, 1, ""),
            ("L16", 44_100, 2, ""),
            ("mpeg4-generic", 48_000, 2, aac),
        ] {
            assert!(is_recorded(&read(name, clock_hz, channels, fmtp)), "{name}");
        }
        for (name, clock_hz, channels, fmtp) in [
            ("G722", 8_000, 1, ""),
            ("VP9", 90_000, 1, ""),
            ("telephone-event", 8_000, 1, "0-15"),
            ("CN", 8_000, 1, ""),
            ("mpeg4-generic", 48_000, 2, "mode=AAC-hbr;config=119"),
            ("mpeg4-generic", 48_000, 2, "mode=AAC-lbr;config=1190"),
        ] {
            assert!(!is_recorded(&read(name, clock_hz, channels, fmtp)), "{name} {fmtp}");
        }
    }
}
