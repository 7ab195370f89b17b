//! Codecs by what SDP says of them.

use motet_codecs::{AudioCodec, AudioCodecName, AudioFormat, CodecError, EncoderSettings};

const AAC: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190";

#[test]
fn sdp_names_codecs() {
    let table = [
        ("PCMU", 8000, 1, "", AudioCodecName::Pcmu, 8000, 1),
        ("pcma", 8000, 0, "", AudioCodecName::Pcma, 8000, 1),
        ("G722", 8000, 1, "", AudioCodecName::G722, 16_000, 1),
        ("OPUS", 48_000, 2, "", AudioCodecName::Opus, 48_000, 1),
        ("opus", 48_000, 2, "minptime=10; STEREO=1", AudioCodecName::Opus, 48_000, 2),
        ("L16", 44_100, 2, "", AudioCodecName::L16, 44_100, 2),
        ("mpeg4-generic", 48_000, 2, AAC, AudioCodecName::AacLc, 48_000, 2),
        ("mpeg4-generic", 90_000, 1, AAC, AudioCodecName::AacLc, 48_000, 2),
        ("CN", 8000, 1, "", AudioCodecName::ComfortNoise, 8000, 1),
        ("telephone-event", 48_000, 1, "0-15", AudioCodecName::TelephoneEvent, 48_000, 1),
    ];
    for (sdp, clock_hz, channels, fmtp, name, sample_rate_hz, samples_channels) in table {
        let codec = AudioCodec::parse(sdp, clock_hz, channels, fmtp).expect(sdp);
        assert_eq!((codec.name, codec.clock_hz), (name, clock_hz));
        assert!(codec.name.to_string().eq_ignore_ascii_case(sdp));
        let format = AudioFormat { sample_rate_hz, channels: samples_channels };
        assert_eq!(codec.format(), format, "{sdp}");
        let (decoder, encoder) = (codec.decoder(), codec.encoder(&EncoderSettings::default()));
        if name.is_sound() {
            assert_eq!(decoder.expect(sdp).format(), format);
            assert_eq!(encoder.expect(sdp).format(), format);
        } else {
            assert!(matches!(decoder.map(|_| ()), Err(CodecError::NoSound { .. })));
            assert!(matches!(encoder.map(|_| ()), Err(CodecError::NoSound { .. })));
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let table = [
        ("G729", 8000, 1, "", "there is no audio codec \"G729\" here; there are PCMU, PCMA, G722, opus, L16"),
        ("PCMU", 16_000, 1, "", "PCMU has an RTP clock of 8000 Hz, not 16000"),
        ("G722", 16_000, 1, "", "G722 has an RTP clock of 8000 Hz, not 16000"),
        ("PCMA", 8000, 2, "", "PCMA has 1 channel in SDP, not 2"),
        ("opus", 16_000, 2, "", "opus has an RTP clock of 48000 Hz, not 16000"),
        ("opus", 48_000, 6, "", "opus has 2 channels in SDP, not 6"),
        (
            "opus",
            48_000,
            2,
            "maxplaybackrate=-1",
            "parameter maxplaybackrate of fmtp is \"-1\": it is a whole",
        ),
        ("L16", 100, 1, "", "L16 has an RTP clock of 8000 to 192000 Hz, not 100"),
        ("L16", 8000, 9, "", "L16 has 1 to 8 channels in SDP, not 9"),
        ("MPEG4-GENERIC", 48_000, 1, "sizelength=13", "parameter config of fmtp is \"\""),
    ];
    for (name, clock_hz, channels, fmtp, expected) in table {
        let error = AudioCodec::parse(name, clock_hz, channels, fmtp).expect_err(name).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn ticks_are_of_the_rtp_clock() {
    let table = [("PCMU", 8000, "", 160), ("G722", 8000, "", 160), ("opus", 48_000, "", 960)];
    for (name, clock_hz, fmtp, ticks) in table.into_iter().chain([("MPEG4-GENERIC", 90_000, AAC, 1800)]) {
        let codec = AudioCodec::parse(name, clock_hz, 1, fmtp).expect(name);
        let format = codec.format();
        assert_eq!(codec.rtp_ticks(format, format.samples_in_ms(20)), ticks, "{name}");
    }
    let opus = AudioCodec::parse("opus", 48_000, 2, "").expect("Opus");
    let format = opus.format_at(16_000);
    assert_eq!((format.sample_rate_hz, opus.rtp_ticks(format, 320)), (16_000, 960));
    // Only Opus has rates to choose from, and 32 kHz is none of them.
    assert_eq!(opus.format_at(32_000).sample_rate_hz, 48_000);
    let g722 = AudioCodec::parse("G722", 8000, 1, "").expect("G.722");
    assert_eq!(g722.format_at(48_000).sample_rate_hz, 16_000);
}
