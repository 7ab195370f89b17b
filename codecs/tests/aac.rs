//! AAC against FFmpeg's command and Fraunhofer's encoder.

mod support;

use motet_codecs::audio::aac::{AacConfig, AacKind};
use motet_codecs::{AudioCodec, AudioCodecName, AudioDecoder, AudioEncoder, AudioError, EncoderSettings};
use motet_codecs::{AudioFormat, CodecError};
use support::{ffmpeg, level_db, to_bytes, to_samples, tone_db, tones, voice};

const MODE: &str = "streamtype=5; profile-level-id=15; mode=AAC-hbr; sizelength=13; indexlength=3; \
                    indexdeltalength=3; config=";
const RATE_HZ: u32 = 48_000;
const TONES: [(f64, f64); 3] = [(440.0, 6000.0), (1000.0, 5000.0), (3000.0, 4000.0)];

fn aac(config: &str) -> AudioCodec {
    AudioCodec::parse("mpeg4-generic", RATE_HZ, 1, &format!("{MODE}{config}")).expect("AAC")
}

/// AAC-LC, 48 kHz, one channel.
fn lc() -> AudioCodec {
    aac("1188")
}

fn encoder(codec: &AudioCodec) -> Box<dyn AudioEncoder> {
    codec.encoder(&EncoderSettings::default()).expect("an encoder")
}

/// As a mixer does it: 20 ms at a time.
fn encode(encoder: &mut dyn AudioEncoder, sound: &[i16]) -> Vec<Vec<u8>> {
    let mut payload = [0; 1500];
    let payloads = sound.chunks(encoder.format().samples_in_ms(20)).map(|samples| {
        let bytes = encoder.encode(samples, &mut payload).expect("samples");
        payload[..bytes].to_vec()
    });
    payloads.filter(|payload| !payload.is_empty()).collect()
}

fn decode(decoder: &mut dyn AudioDecoder, payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut samples = [0; 8192];
    let frames = payloads.iter().flat_map(|payload| {
        let decoded = decoder.decode(payload, &mut samples).expect("a payload");
        assert_eq!(decoder.samples_in(payload), Ok(decoded));
        samples[..decoded].to_vec()
    });
    frames.collect()
}

/// A payload of units in mode AAC-hbr.
fn payload(units: &[&[u8]]) -> Vec<u8> {
    let mut payload = (units.len() as u16 * 16).to_be_bytes().to_vec();
    units.iter().for_each(|unit| payload.extend(((unit.len() as u16) << 3).to_be_bytes()));
    units.iter().for_each(|unit| payload.extend_from_slice(unit));
    payload
}

/// Units of a file of ADTS (ISO/IEC 13818-7 section 6.2) without checksums.
fn units_of_adts(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    while let [0xff, 0xf1, _, high, middle, low, ..] = *file {
        let bytes = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low) >> 5;
        units.push(file[7..bytes].to_vec());
        file = &file[bytes..];
    }
    assert!(file.is_empty() && !units.is_empty(), "a file of ADTS");
    units
}

/// A frame of ADTS for AAC-LC at 48 kHz with one channel.
fn adts(unit: &[u8]) -> Vec<u8> {
    let bytes = unit.len() + 7;
    let header =
        [0xff, 0xf1, 0x4c, 0x40 | (bytes >> 11) as u8, (bytes >> 3) as u8, (bytes << 5) as u8 | 0x1f, 0xfc];
    [&header, unit].concat()
}

fn assert_tones(samples: &[i16], rate_hz: u32) {
    for (hz, peak) in TONES {
        let (expected, found) = (20.0 * (peak / 32_768.0_f64).log10(), tone_db(samples, rate_hz, hz));
        assert!((expected - found).abs() < 1.0, "{hz} Hz: {expected:.1} dB became {found:.1} dB");
    }
    for hz in [700.0, 1700.0, 2300.0] {
        let found = tone_db(samples, rate_hz, hz);
        assert!(found < -50.0, "{hz} Hz: {found:.1} dB");
    }
}

#[test]
fn decodes_what_ffmpeg_encodes() {
    for (channels, config) in [(1, "1188"), (2, "1190")] {
        let mono = tones(RATE_HZ, RATE_HZ as usize, &TONES);
        let sound: Vec<i16> = mono.iter().flat_map(|sample| vec![*sample; channels]).collect();
        let count = channels.to_string();
        let input = ["-f", "s16le", "-ar", "48000", "-ac", &count];
        let file = ffmpeg(&input, &["-c:a", "aac", "-b:a", "128k", "-f", "adts"], &to_bytes(&sound));
        let units = units_of_adts(&file);
        // Two units in each payload.
        let payloads: Vec<_> =
            units.chunks(2).map(|two| payload(&two.iter().map(Vec::as_slice).collect::<Vec<_>>())).collect();
        let mut decoder = aac(config).decoder().expect("a decoder");
        assert_eq!(decoder.format(), AudioFormat { sample_rate_hz: RATE_HZ, channels: channels as u8 });
        let decoded = decode(&mut *decoder, &payloads);
        assert_eq!(decoded.len(), units.len() * 1024 * channels);
        for channel in 0..channels {
            let one: Vec<i16> = decoded[channel..].iter().step_by(channels).copied().collect();
            assert_tones(&one[4800..43_200], RATE_HZ);
        }
    }
}

#[test]
fn ffmpeg_decodes_what_is_encoded_here() {
    let sound = tones(RATE_HZ, RATE_HZ as usize, &TONES);
    let payloads = encode(&mut *encoder(&lc()), &sound);
    // One frame is being collected, and one is looked ahead at.
    assert_eq!(payloads.len(), RATE_HZ as usize / 1024 - 1);
    let file: Vec<u8> = payloads.iter().flat_map(|payload| adts(&payload[4..])).collect();
    let decoded = to_samples(&ffmpeg(&["-f", "aac"], &["-f", "s16le"], &file));
    assert_tones(&decoded[4800..40_800], RATE_HZ);
    assert!((level_db(&sound[4800..40_800]) - level_db(&decoded[4800..40_800])).abs() < 1.0);
}

#[test]
fn decodes_low_delay_of_fraunhofers_encoder() {
    let fixtures: [(&[u8], _); 2] = [
        (include_bytes!("fixtures/aac_ld.units"), AudioCodecName::AacLd),
        (include_bytes!("fixtures/aac_eld.units"), AudioCodecName::AacEld),
    ];
    for (mut file, name) in fixtures {
        let mut units = Vec::new();
        while let Some(([high, low], rest)) = file.split_first_chunk() {
            let (unit, rest) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
            units.push(unit);
            file = rest;
        }
        let config: String = units.remove(0).iter().map(|byte| format!("{byte:02x}")).collect();
        let codec = aac(&config);
        assert_eq!(codec.name, name);
        let mut decoder = codec.decoder().expect("a decoder");
        let payloads: Vec<_> = units.iter().map(|unit| payload(&[unit])).collect();
        let decoded = decode(&mut *decoder, &payloads);
        assert_eq!(decoded.len(), units.len() * 512);
        assert_tones(&decoded[4800..16_800], RATE_HZ);
        let refused = codec.encoder(&EncoderSettings::default()).map(|_| ());
        assert!(matches!(refused, Err(CodecError::Fmtp { parameter: "config", .. })), "{refused:?}");
    }
}

#[test]
fn a_fork_sounds_as_the_original() {
    let sound = voice(RATE_HZ, RATE_HZ as usize);
    let (before, after) = sound.split_at(28_800);
    let mut original = encoder(&lc());
    let payloads = encode(&mut *original, before);
    let mut fork = original.fork();
    let mut decoder = lc().decoder().expect("a decoder");
    let mut whole = decode(&mut *decoder, &payloads);
    let start = whole.len();
    let mut other = lc().decoder().expect("a decoder");
    let mut switched = decode(&mut *other, &payloads);
    let (here, there) = (encode(&mut *original, after), encode(&mut *fork, after));
    assert_eq!(here.len(), there.len());
    whole.extend(decode(&mut *decoder, &here));
    switched.extend(decode(&mut *other, &there));
    let (snr, _) = support::snr_db(&whole[start..], &switched[start..], 0);
    assert!(snr > 20.0, "{snr:.1} dB between the fork and the original");
}

#[test]
fn the_config_of_sdp_is_read() {
    let read =
        |digits| AacConfig::from_hex(digits).map(|config| (config.kind, config.format, config.frame_samples));
    let format = |sample_rate_hz, channels| AudioFormat { sample_rate_hz, channels };
    // As in the examples of RFC 3640 section 4 and RFC 6416, and as an encoder of frames of 960 samples says.
    assert_eq!(read("11B0"), Err("it has other than one or two channels"));
    assert_eq!(read("1308"), Ok((AacKind::Lc, format(24_000, 1), 1024)));
    assert_eq!(read("1214"), Ok((AacKind::Lc, format(44_100, 2), 960)));
    for (digits, reason) in [
        ("", "hexadecimal"),
        ("1", "hexadecimal"),
        ("118g", "hexadecimal"),
        ("11", "too early"),
        ("2B0A", "HE-AAC"),
        ("0988", "audio object type"),
        ("1688", "reserved"),
        ("118A", "core coder"),
    ] {
        let found = read(digits).expect_err(digits);
        assert!(found.contains(reason), "{digits}: {found}");
    }
    for (fmtp, parameter) in [
        ("config=1188;indexlength=3", "sizelength"),
        ("config=1188;sizelength=13;indexlength=9", "indexlength"),
        ("config=1188;sizelength=13;indexlength=3;CTSDeltaLength=4", "CTSDeltaLength"),
        ("sizelength=13;indexlength=3;indexdeltalength=3", "config"),
    ] {
        let error = AudioCodec::parse("MPEG4-GENERIC", RATE_HZ, 1, fmtp).expect_err(fmtp);
        assert!(matches!(error, CodecError::Fmtp { parameter: found, .. } if found == parameter), "{error}");
    }
}

#[test]
fn bad_payloads_are_refused_and_harm_nothing() {
    let sound = tones(RATE_HZ, RATE_HZ as usize, &TONES);
    let payloads = encode(&mut *encoder(&lc()), &sound);
    let mut decoder = lc().decoder().expect("a decoder");
    let mut samples = [0; 8192];
    let cut = &payloads[3][..payloads[3].len() - 1];
    let two = [0, 32, 0, 8, 0, 9, 1, 1];
    for (bad, reason) in [
        (&[][..], "shorter than the length"),
        (&[0], "shorter than the length"),
        (&[0, 16], "shorter than its headers"),
        (&[0, 0], "no units"),
        (&[0, 16, 0, 0], "empty"),
        (cut, "cut"),
        (&two, "interleaved"),
        (&[0xff; 1500], "headers"),
    ] {
        let found = decoder.decode(bad, &mut samples);
        let Err(AudioError::BadPayload { bytes, reason: found }) = found else {
            panic!("{found:?}, not {reason}")
        };
        assert!(bytes == bad.len() && found.contains(reason), "{found}, not {reason}");
        assert_eq!(decoder.samples_in(bad), Err(AudioError::BadPayload { bytes, reason: found }));
    }
    let noise: Vec<u8> = (0..1400_u32).map(|n| ((n * n * 31) >> 3) as u8).collect();
    let found = decoder.decode(&payload(&[&noise]), &mut samples);
    assert!(matches!(found, Err(AudioError::BadPayload { .. })), "{found:?}");
    let short = decoder.decode(&payloads[3], &mut samples[..1023]);
    assert_eq!(short, Err(AudioError::BufferTooShort { needed: 1024, available: 1023 }));
    let decoded = decode(&mut *decoder, &payloads);
    assert_tones(&decoded[4800..40_800], RATE_HZ);
}

#[test]
fn bad_sizes_and_settings_are_refused() {
    let mut encoder = encoder(&lc());
    assert_eq!(encoder.frame_samples(), Some(1024));
    let mut payload = [0; 1500];
    let large = encoder.encode(&[0; 1025], &mut payload);
    assert!(matches!(large, Err(AudioError::FrameSize { samples: 1025, .. })), "{large:?}");
    let short = encoder.encode(&[0; 960], &mut payload[..771]);
    assert_eq!(short, Err(AudioError::BufferTooShort { needed: 772, available: 771 }));
    assert_eq!(encoder.encode(&[0; 960], &mut payload[..772]), Ok(0));
    for bitrate_bps in [100, 1_000_000] {
        let settings = EncoderSettings { bitrate_bps: Some(bitrate_bps), ..EncoderSettings::default() };
        let refused = lc().encoder(&settings).map(|_| ());
        assert!(matches!(refused, Err(CodecError::Setting { setting: "bitrate_bps", .. })), "{refused:?}");
    }
    let low = AudioCodec::parse("MPEG4-GENERIC", 8000, 1, &format!("{MODE}1588")).expect("AAC at 8 kHz");
    assert!(low.encoder(&EncoderSettings::default()).is_ok());
}
