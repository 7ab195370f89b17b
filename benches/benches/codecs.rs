//! What 20 ms of sound cost to encode and to decode, for each codec.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use motet_codecs::{AudioCodec, AudioEncoder, EncoderSettings};
use std::f64::consts::TAU;
use std::hint::black_box;

const AAC: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188";

/// Name, what SDP says, complexity.
const CODECS: [(&str, &str, u32, &str, u8); 8] = [
    ("PCMU", "PCMU", 8000, "", 0),
    ("PCMA", "PCMA", 8000, "", 0),
    ("G722", "G722", 8000, "", 0),
    ("L16 16 kHz", "L16", 16_000, "", 0),
    ("Opus, complexity 2", "opus", 48_000, "", 2),
    ("Opus, complexity 5", "opus", 48_000, "", 5),
    ("Opus, complexity 10", "opus", 48_000, "", 10),
    ("AAC-LC", "MPEG4-GENERIC", 48_000, AAC, 0),
];

fn codec(name: &str, clock_hz: u32, fmtp: &str) -> AudioCodec {
    AudioCodec::parse(name, clock_hz, 1, fmtp).expect("a codec of this workspace")
}

fn encoder(codec: &AudioCodec, complexity: u8) -> Box<dyn AudioEncoder> {
    codec.encoder(&EncoderSettings { complexity, ..EncoderSettings::default() }).expect("an encoder")
}

/// Two seconds of harmonics of a gliding pitch, something like a voice.
fn voice(rate_hz: u32) -> Vec<i16> {
    let mut phase = 0.0;
    let sample = |n: u32| {
        let seconds = f64::from(n) / f64::from(rate_hz);
        phase += (130.0 + 40.0 * (TAU * 0.5 * seconds).sin()) / f64::from(rate_hz);
        let partials = (1..20).map(|k| (TAU * phase * f64::from(k)).sin() / f64::from(k));
        (5000.0 * partials.sum::<f64>()) as i16
    };
    (0..2 * rate_hz).map(sample).collect()
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode 20 ms");
    for (label, name, clock_hz, fmtp, complexity) in CODECS {
        let mut encoder = encoder(&codec(name, clock_hz, fmtp), complexity);
        let sound = voice(encoder.format().sample_rate_hz);
        let mut frames = sound.chunks_exact(encoder.format().samples_in_ms(20)).cycle();
        let mut payload = [0; 1500];
        group.bench_function(BenchmarkId::from_parameter(label), |bencher| {
            bencher.iter(|| encoder.encode(black_box(frames.next().expect("endless")), &mut payload));
        });
    }
    group.finish();
}

/// AAC's payloads are of 1024 samples and not of 960: some 21 ms.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode 20 ms");
    for (label, name, clock_hz, fmtp, complexity) in CODECS {
        let codec = codec(name, clock_hz, fmtp);
        let (mut encoder, mut decoder) = (encoder(&codec, complexity), codec.decoder().expect("a decoder"));
        let sound = voice(encoder.format().sample_rate_hz);
        let payloads = sound.chunks_exact(encoder.format().samples_in_ms(20)).map(|frame| {
            let mut payload = [0; 1500];
            let bytes = encoder.encode(frame, &mut payload).expect("a frame");
            payload[..bytes].to_vec()
        });
        let payloads: Vec<_> = payloads.filter(|payload| !payload.is_empty()).collect();
        let mut payloads = payloads.iter().cycle();
        let mut samples = [0; 2048];
        group.bench_function(BenchmarkId::from_parameter(label), |bencher| {
            bencher.iter(|| decoder.decode(black_box(payloads.next().expect("endless")), &mut samples));
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);
