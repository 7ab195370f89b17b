//! Any bytes to every decoder; also the committed fuzz corpus.

mod support;

use motet_codecs::testing::{
    fuzz_aac, fuzz_descriptions, fuzz_opus, fuzz_video_h264, fuzz_video_h265, fuzz_video_vp8, fuzz_waveform,
    video_seeds,
};
use motet_codecs::video::VideoCodecName;
use motet_codecs::{AudioCodec, AudioCodecName, AudioDecoder, AudioError, EncoderSettings};
use proptest::prelude::*;
use std::path::Path;
use support::level_db;

const AAC: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188";

fn codecs() -> Vec<AudioCodec> {
    let described = [
        ("PCMU", 8000, ""),
        ("PCMA", 8000, ""),
        ("G722", 8000, ""),
        ("opus", 48_000, ""),
        ("L16", 16_000, ""),
        ("MPEG4-GENERIC", 48_000, AAC),
    ];
    let parse = |(name, clock_hz, fmtp)| AudioCodec::parse(name, clock_hz, 1, fmtp).expect("a codec");
    described.map(parse).to_vec()
}

fn replay(target: &str, seeds_min: usize, fuzz: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is committed");
    let mut seeds = 0;
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        println!("{}", path.display());
        fuzz(&std::fs::read(path).expect("a seed can be read"));
        seeds += 1;
    }
    assert!(seeds >= seeds_min, "only {seeds} seeds of {target}");
}

#[test]
fn the_corpus_is_harmless() {
    replay("audio_waveform", 3, fuzz_waveform);
    replay("audio_opus", 3, fuzz_opus);
    replay("audio_aac", 3, fuzz_aac);
    replay("audio_descriptions", 3, fuzz_descriptions);
    replay("video_h264", 6, fuzz_video_h264);
    replay("video_h265", 6, fuzz_video_h265);
    replay("video_vp8", 6, fuzz_video_vp8);
}

/// The fuzzer's stand-in: what our encoders make today, with bytes changed, and cut.
#[test]
fn pictures_with_bytes_changed_are_harmless() {
    type Target = (VideoCodecName, fn(&[u8]));
    let targets: [Target; 3] = [
        (VideoCodecName::H264, fuzz_video_h264),
        (VideoCodecName::H265, fuzz_video_h265),
        (VideoCodecName::Vp8, fuzz_video_vp8),
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for (name, fuzz) in targets {
        for seed in video_seeds(name) {
            fuzz(&seed);
            for round in 0..20 {
                let mut changed = seed.clone();
                for _ in 0..4 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (random >> 33) as usize % changed.len();
                    changed[at] = (random >> 24) as u8;
                }
                changed.truncate(seed.len() - seed.len() * round / 40);
                fuzz(&changed);
            }
        }
    }
}

#[test]
fn payloads_of_every_codec_to_every_decoder() {
    let sound: Vec<i16> = (0..48_000_i64).map(|n| ((n * n / 700 % 400 - 200) * 60) as i16).collect();
    for from in codecs() {
        let mut encoder = from.encoder(&EncoderSettings::default()).expect("an encoder");
        let frame = encoder.format().samples_in_ms(20);
        let payloads = sound.chunks_exact(frame).map(|frame| {
            let mut payload = [0; 1500];
            let bytes = encoder.encode(frame, &mut payload).expect("a frame");
            payload[..bytes].to_vec()
        });
        let payloads: Vec<_> = payloads.chain([vec![], vec![0; 1500], vec![0xff; 1500]]).collect();
        for to in codecs() {
            let mut decoder = to.decoder().expect("a decoder");
            let mut samples = vec![0; 6000];
            for payload in &payloads {
                match decoder.decode(payload, &mut samples) {
                    Ok(decoded) => assert_eq!(decoder.samples_in(payload), Ok(decoded)),
                    Err(AudioError::BadPayload { bytes, .. }) => assert_eq!(bytes, payload.len()),
                    Err(AudioError::BufferTooShort { needed, .. }) => {
                        assert_eq!(decoder.samples_in(payload), Ok(needed));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            decoder.reset();
            assert_as_good_as_new(&to, &mut *decoder, &sound);
        }
    }
}

/// The first 200 ms of `sound` come out of `decoder` as out of a new one.
fn assert_as_good_as_new(codec: &AudioCodec, decoder: &mut dyn AudioDecoder, sound: &[i16]) {
    let mut encoder = codec.encoder(&EncoderSettings::default()).expect("an encoder");
    let mut fresh = codec.decoder().expect("a decoder");
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let frame = encoder.format().samples_in_ms(20);
    for frame in sound.chunks_exact(frame).take(10) {
        let (mut payload, mut samples) = ([0; 1500], [0; 6000]);
        let bytes = encoder.encode(frame, &mut payload).expect("a frame");
        if bytes > 0 {
            let decoded = decoder.decode(&payload[..bytes], &mut samples).expect("a payload");
            here.extend_from_slice(&samples[..decoded]);
            let decoded = fresh.decode(&payload[..bytes], &mut samples).expect("a payload");
            there.extend_from_slice(&samples[..decoded]);
        }
    }
    if codec.name == AudioCodecName::AacLc {
        // Its decoder makes up noise, and that goes on where it was.
        let difference = level_db(&here) - level_db(&there);
        assert!(here.len() == there.len() && difference.abs() < 0.5, "{difference:.2} dB");
    } else {
        assert!(here == there && !here.is_empty(), "{}", codec.name);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        fuzz_waveform(&bytes);
        fuzz_opus(&bytes);
        fuzz_aac(&bytes);
        fuzz_descriptions(&bytes);
    }

    #[test]
    fn one_payload_of_any_bytes_is_harmless(
        which: u8, operation in 4_u8..8, payload in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let length = (payload.len() as u16).to_be_bytes();
        let bytes = [&[which, operation], &length[..], &payload].concat();
        fuzz_waveform(&bytes);
        fuzz_opus(&bytes);
        fuzz_aac(&bytes);
    }
}
