//! Opus against ffmpeg's use of another build of libopus.

mod support;

use motet_codecs::{AudioCodec, AudioDecoder, AudioEncoder, EncoderSettings};
use support::{ffmpeg, level_db, ogg, snr_db, to_bytes, to_samples, tone_db, tones};

const RATE_HZ: u32 = 48_000;
const FRAME: usize = 960;

fn opus(fmtp: &str) -> AudioCodec {
    AudioCodec::parse("opus", 48_000, 2, fmtp).expect("Opus")
}

fn encoder(settings: EncoderSettings) -> Box<dyn AudioEncoder> {
    opus("").encoder(&settings).expect("an encoder")
}

fn decoder() -> Box<dyn AudioDecoder> {
    opus("").decoder().expect("a decoder")
}

fn encode(encoder: &mut dyn AudioEncoder, samples: &[i16]) -> Vec<Vec<u8>> {
    let mut payload = [0; 1500];
    let frames = samples.chunks_exact(encoder.format().samples_in_ms(20)).map(|frame| {
        let bytes = encoder.encode(frame, &mut payload).expect("a frame");
        payload[..bytes].to_vec()
    });
    frames.collect()
}

fn decode(decoder: &mut dyn AudioDecoder, packets: &[Vec<u8>]) -> Vec<i16> {
    let mut samples = [0; 5760 * 2];
    let frames = packets.iter().flat_map(|packet| {
        let decoded = decoder.decode(packet, &mut samples).expect("a packet");
        assert_eq!(decoder.samples_in(packet), Ok(decoded));
        samples[..decoded].to_vec()
    });
    frames.collect()
}

fn encode_by_ffmpeg(samples: &[i16]) -> Vec<Vec<u8>> {
    let input = ["-f", "s16le", "-ar", "48000", "-ac", "1"];
    let output = ["-c:a", "libopus", "-b:a", "64k", "-application", "voip", "-f", "ogg"];
    ogg::packets(&ffmpeg(&input, &output, &to_bytes(samples)))
}

const TONES: [(f64, f64); 3] = [(440.0, 6000.0), (1000.0, 5000.0), (3000.0, 4000.0)];

/// The tones of TONES are there within a dB, others are not.
fn assert_tones(samples: &[i16], rate_hz: u32) {
    for (hz, peak) in TONES {
        let (expected, found) = (20.0 * (peak / 32_768.0).log10(), tone_db(samples, rate_hz, hz));
        assert!((expected - found).abs() < 1.0, "{hz} Hz: {expected:.1} dB became {found:.1} dB");
    }
    for hz in [700.0, 1700.0, 2300.0] {
        let found = tone_db(samples, rate_hz, hz);
        assert!(found < -50.0, "{hz} Hz: {found:.1} dB");
    }
}

#[test]
fn decodes_what_ffmpeg_encodes() {
    let sound = tones(RATE_HZ, 2 * RATE_HZ as usize, &TONES);
    let packets = encode_by_ffmpeg(&sound);
    assert!(packets.len() >= 100);
    let decoded = decode(&mut *decoder(), &packets);
    assert_tones(&decoded[9600..86_400], RATE_HZ);
    for rate_hz in [8000, 12_000, 16_000, 24_000] {
        let mut decoder = opus("").decoder_at(rate_hz).expect("a decoder");
        let decoded = decode(&mut *decoder, &packets);
        assert_tones(&decoded[rate_hz as usize / 5..rate_hz as usize * 9 / 5], rate_hz);
    }
}

#[test]
fn ffmpeg_decodes_what_is_encoded_here() {
    let sound = tones(RATE_HZ, 2 * RATE_HZ as usize, &TONES);
    // Complexity 10 is ffmpeg's.
    let settings =
        EncoderSettings { bitrate_bps: Some(64_000), complexity: 10, ..EncoderSettings::default() };
    let packets = encode(&mut *encoder(settings), &sound);
    let by_ffmpeg = decode(&mut *decoder(), &encode_by_ffmpeg(&sound));
    let (reference, _) = snr_db(&sound[9600..86_400], &by_ffmpeg[9600..], 400);
    for library in ["libopus", "opus"] {
        let file = ogg::file(1, &packets);
        let output = ["-f", "s16le", "-ar", "48000", "-ac", "1"];
        let decoded = to_samples(&ffmpeg(&["-c:a", library], &output, &file));
        assert_tones(&decoded[9600..86_400], RATE_HZ);
        assert!((level_db(&sound[9600..86_400]) - level_db(&decoded[9600..86_400])).abs() < 1.0);
        let (snr, _) = snr_db(&sound[9600..86_400], &decoded[9600..], 400);
        assert!(snr > reference - 1.0 && snr > 10.0, "{library}: {snr:.1} dB, ffmpeg's {reference:.1} dB");
    }
}

#[test]
fn a_fork_goes_on_as_the_original() {
    let sound = support::voice(RATE_HZ, 100 * FRAME);
    let settings = EncoderSettings { fec: true, loss_percent: 10, ..EncoderSettings::default() };
    let mut original = encoder(settings);
    encode(&mut *original, &sound[..50 * FRAME]);
    let mut fork = original.fork();
    let here = encode(&mut *original, &sound[50 * FRAME..]);
    drop(original);
    assert_eq!(here, encode(&mut *fork, &sound[50 * FRAME..]));
}
