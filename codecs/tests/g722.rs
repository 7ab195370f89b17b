//! G.722 against ffmpeg's encoder and decoder.

mod support;

use motet_codecs::audio::g722::{G722Decoder, G722Encoder};
use motet_codecs::{AudioDecoder, AudioEncoder, AudioError};
use support::{ffmpeg, level_db, snr_db, to_bytes, to_samples, tone_db, tones, voice};

const RATE_HZ: u32 = 16_000;

fn encode(samples: &[i16]) -> Vec<u8> {
    let mut encoder = G722Encoder::new();
    let mut payload = [0; 160];
    let frames = samples.chunks(320).flat_map(|frame| {
        let bytes = encoder.encode(frame, &mut payload).expect("a frame");
        payload[..bytes].to_vec()
    });
    frames.collect()
}

fn decode(codes: &[u8]) -> Vec<i16> {
    let mut decoder = G722Decoder::new();
    let mut samples = [0; 320];
    let frames = codes.chunks(160).flat_map(|payload| {
        let decoded = decoder.decode(payload, &mut samples).expect("a payload");
        samples[..decoded].to_vec()
    });
    frames.collect()
}

fn encode_by_ffmpeg(samples: &[i16]) -> Vec<u8> {
    let input = ["-f", "s16le", "-ar", "16000", "-ac", "1"];
    ffmpeg(&input, &["-c:a", "g722", "-f", "g722"], &to_bytes(samples))
}

fn decode_by_ffmpeg(codes: &[u8]) -> Vec<i16> {
    to_samples(&ffmpeg(&["-f", "g722"], &["-f", "s16le", "-ar", "16000", "-ac", "1"], codes))
}

fn sounds() -> [Vec<i16>; 4] {
    let seconds = 2 * RATE_HZ as usize;
    let mut square = tones(RATE_HZ, seconds, &[(200.0, 32_767.0)]);
    square.iter_mut().for_each(|sample| *sample = if *sample < 0 { i16::MIN } else { i16::MAX });
    [
        voice(RATE_HZ, seconds),
        tones(RATE_HZ, seconds, &[(440.0, 6000.0), (1200.0, 6000.0), (5500.0, 6000.0)]),
        tones(RATE_HZ, seconds, &[(1000.0, 100.0)]),
        square,
    ]
}

#[test]
fn decodes_what_ffmpeg_encodes_to_the_same_samples() {
    for sound in sounds() {
        let codes = encode_by_ffmpeg(&sound);
        assert_eq!(codes.len(), sound.len() / 2);
        assert_eq!(decode(&codes), decode_by_ffmpeg(&codes));
    }
}

#[test]
fn any_codes_decode_to_the_same_samples() {
    // A linear congruential generator: every code in every state that it leads to.
    let mut state = 1_u32;
    let codes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(64_000)
    .collect();
    assert_eq!(decode(&codes), decode_by_ffmpeg(&codes));
}

#[test]
fn what_is_encoded_here_sounds_right_in_ffmpeg() {
    for sound in sounds() {
        let decoded = decode_by_ffmpeg(&encode(&sound));
        let (snr, delay) = snr_db(&sound, &decoded, 30);
        // The same sound through ffmpeg's own encoder, as what is possible.
        let (reference, _) = snr_db(&sound, &decode_by_ffmpeg(&encode_by_ffmpeg(&sound)), 30);
        assert!(snr > reference - 0.5 && snr > 10.0, "{snr:.1} dB, ffmpeg's own {reference:.1} dB");
        // 22 samples are the delay of both filters (G.722 section 1.4.5); a clipped wave may seem a sample later.
        assert!((22..=23).contains(&delay), "{delay}");
        assert!((level_db(&sound) - level_db(&decoded)).abs() < 1.0);
    }
}

#[test]
fn tones_keep_their_level_and_get_no_company() {
    let sound = &sounds()[1];
    let decoded = decode(&encode(sound));
    for hz in [440.0, 1200.0, 5500.0] {
        let (before, after) = (tone_db(sound, RATE_HZ, hz), tone_db(&decoded, RATE_HZ, hz));
        assert!((before - after).abs() < 1.0, "{hz} Hz: {before:.1} dB became {after:.1} dB");
    }
    for hz in [300.0, 2500.0, 6800.0] {
        assert!(tone_db(&decoded, RATE_HZ, hz) < -55.0, "{hz} Hz");
    }
}

#[test]
fn a_fork_goes_on_as_the_original() {
    let sound = voice(RATE_HZ, 3200);
    let mut encoder: Box<dyn AudioEncoder> = Box::new(G722Encoder::new());
    let (mut here, mut there) = ([0; 800], [1; 800]);
    assert_eq!(encoder.encode(&sound[..1600], &mut here), Ok(800));
    let mut fork = encoder.fork();
    assert_eq!(encoder.encode(&sound[1600..], &mut here), Ok(800));
    assert_eq!(fork.encode(&sound[1600..], &mut there), Ok(800));
    assert_eq!(here, there);
}

#[test]
fn a_reset_decoder_is_a_new_one() {
    let codes = encode(&voice(RATE_HZ, 3200));
    let mut decoder = G722Decoder::new();
    let (mut first, mut again) = ([0; 3200], [1; 3200]);
    assert_eq!(decoder.decode(&codes, &mut first), Ok(3200));
    decoder.reset();
    assert_eq!(decoder.decode(&codes, &mut again), Ok(3200));
    assert_eq!(first, again);
}

#[test]
fn bad_sizes_are_refused_and_harm_nothing() {
    let mut encoder = G722Encoder::new();
    let odd = encoder.encode(&[1, 2, 3], &mut [0; 10]);
    assert_eq!(odd, Err(AudioError::FrameSize { samples: 3, takes: "G.722 takes samples in pairs" }));
    let short = encoder.encode(&[1; 8], &mut [0; 3]);
    assert_eq!(short, Err(AudioError::BufferTooShort { needed: 4, available: 3 }));
    let mut decoder = G722Decoder::new();
    assert_eq!(decoder.samples_in(&[0; 160]), Ok(320));
    let short = decoder.decode(&[7; 4], &mut [0; 7]);
    assert_eq!(short, Err(AudioError::BufferTooShort { needed: 8, available: 7 }));
    assert_eq!(decoder.decode(&[], &mut []), Ok(0));
    let sound = voice(RATE_HZ, 3200);
    let mut payload = [0; 1600];
    encoder.encode(&sound, &mut payload).expect("a frame");
    assert_eq!(payload[..], encode(&sound)[..]);
    let mut samples = [0; 3200];
    decoder.decode(&payload, &mut samples).expect("a payload");
    assert_eq!(samples[..], decode(&payload)[..]);
}
