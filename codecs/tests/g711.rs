//! G.711 against ffmpeg's decoder, and against the decision values in the tables of ITU-T G.711.

use motet_codecs::audio::g711::{G711, Law, decode_a, decode_mu, encode_a, encode_mu};
use motet_codecs::{AudioDecoder, AudioEncoder, AudioError, AudioFormat};

/// What ffmpeg decodes codes 0 to 255 to; `fixtures/g711.sh` made it.
fn reference(law: Law) -> Vec<i16> {
    let bytes: &[u8] = match law {
        Law::A => include_bytes!("fixtures/g711_alaw.s16le"),
        Law::Mu => include_bytes!("fixtures/g711_mulaw.s16le"),
    };
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Tables 1a and 2a of G.711: how many intervals of which width each segment has, lowest first, in units
/// of which A-law has 4096 and µ-law 8159.
const INTERVALS_A: [(u32, u32); 7] = [(32, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128)];
const INTERVALS_MU: [(u32, u32); 9] =
    [(1, 1), (15, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128), (16, 256)];

/// Number of the interval that holds `magnitude`; the last one for what lies above all.
fn interval(segments: &[(u32, u32)], magnitude: u32) -> u8 {
    let (mut number, mut upper) = (0, 0);
    for (intervals, width) in segments {
        for _ in 0..*intervals {
            upper += width;
            if magnitude < upper {
                return number;
            }
            number += 1;
        }
    }
    number - 1
}

fn magnitude(sample: i16) -> u32 {
    u32::from(if sample < 0 { !sample } else { sample } as u16)
}

#[test]
fn every_code_decodes_as_in_ffmpeg() {
    for (law, decode) in [(Law::A, decode_a as fn(u8) -> i16), (Law::Mu, decode_mu)] {
        let codes: Vec<u8> = (0..=255).collect();
        let mut samples = [0; 256];
        assert_eq!(G711::new(law).decode(&codes, &mut samples), Ok(256));
        assert_eq!(samples.to_vec(), reference(law), "{law:?}");
        assert_eq!(codes.iter().map(|code| decode(*code)).collect::<Vec<_>>(), samples, "{law:?}");
    }
}

#[test]
fn every_sample_encodes_as_in_the_tables() {
    for sample in i16::MIN..=i16::MAX {
        let positive = if sample < 0 { 0 } else { 0x80 };
        let a = (positive | interval(&INTERVALS_A, magnitude(sample) / 8)) ^ 0x55;
        assert_eq!(encode_a(sample), a, "A-law of {sample}");
        let mu = (positive ^ 0x80 | interval(&INTERVALS_MU, magnitude(sample) / 4)) ^ 0xff;
        assert_eq!(encode_mu(sample), mu, "µ-law of {sample}");
    }
}

#[test]
fn decoded_codes_encode_to_themselves() {
    for code in 0..=255 {
        assert_eq!(encode_a(decode_a(code)), code);
        // µ-law has two zeros, and a sample has one.
        let expected = if code == 0x7f { 0xff } else { code };
        assert_eq!(encode_mu(decode_mu(code)), expected);
    }
}

#[test]
fn values_at_the_edges() {
    assert_eq!((encode_a(0), encode_a(-1), encode_mu(0), encode_mu(-1)), (0xd5, 0x55, 0xff, 0x7f));
    assert_eq!((encode_a(i16::MAX), encode_a(i16::MIN)), (0xaa, 0x2a));
    assert_eq!((encode_mu(i16::MAX), encode_mu(i16::MIN)), (0x80, 0x00));
    assert_eq!((decode_a(0xaa), decode_mu(0x80), decode_mu(0x00)), (32_256, 32_124, -32_124));
}

#[test]
fn short_buffers_are_refused_and_left_alone() {
    for law in [Law::A, Law::Mu] {
        let mut codec = G711::new(law);
        let error = AudioError::BufferTooShort { needed: 3, available: 2 };
        let mut payload = [7; 2];
        assert_eq!(codec.encode(&[1, 2, 3], &mut payload), Err(error));
        assert_eq!(payload, [7; 2]);
        let mut samples = [7; 2];
        assert_eq!(codec.decode(&[1, 2, 3], &mut samples), Err(error));
        assert_eq!(samples, [7; 2]);
        assert!(error.to_string().contains("takes 3 and the buffer has 2"));
    }
}

#[test]
fn long_buffers_keep_what_lies_behind() {
    let mut payload = [1; 4];
    assert_eq!(G711::new(Law::Mu).encode(&[0, 0], &mut payload), Ok(2));
    assert_eq!(payload, [0xff, 0xff, 1, 1]);
    assert_eq!(G711::new(Law::A).encode(&[], &mut []), Ok(0));
    let format = AudioFormat { sample_rate_hz: 8000, channels: 1 };
    assert_eq!(AudioEncoder::format(&G711::new(Law::A)), format);
    assert_eq!(AudioDecoder::format(&G711::new(Law::Mu)), format);
}
