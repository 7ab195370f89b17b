//! What is heard of Opus with in-band error correction under loss and jitter, by the sound's level. Virtual time, many
//! seeds.

mod support;

use motet_codecs::audio::{AudioCodec, EncoderSettings};
use motet_mixer::playout::{PayloadSetting, Playout, PlayoutConfig, Pulled, SourcePacket};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use support::{Dice, tone_level};

const RATE_HZ: u32 = 48_000;
const FRAME: usize = 960;
const PACKET_US: u64 = 20_000;
const JITTER_US: f64 = 40_000.0;
const LOSS: f64 = 0.05;
/// A minute for each tone and seed.
const TICKS: u64 = 3_000;
const SEEDS: u64 = 5;
/// The jitter buffer has settled.
const SETTLED: usize = 100;
/// Sound so much softer than usual is a gap: 20 dB.
const SOFT: f64 = 0.1;

/// A tone with syllables, a second of it in packets that can be repeated. Encoders take a part of it for speech.
fn frames(codec: &AudioCodec, tone_hz: f64) -> Vec<Vec<u8>> {
    let settings = EncoderSettings { fec: true, loss_percent: 5, ..EncoderSettings::default() };
    let mut encoder = codec.encoder(&settings).expect("an encoder");
    let sample = |n: usize| {
        let seconds = n as f64 / f64::from(RATE_HZ);
        let syllable = 1.0 + 0.5 * (TAU * 4.0 * seconds).sin();
        (0.14 * syllable * (TAU * tone_hz * seconds).sin() * 32_767.0) as i16
    };
    let mut encode = |frame: usize| {
        let sound: Vec<i16> = (frame * FRAME..(frame + 1) * FRAME).map(sample).collect();
        let mut payload = vec![0; 1_500];
        let bytes = encoder.encode(&sound, &mut payload).expect("it is encoded");
        payload.truncate(bytes);
        payload
    };
    // The second time its beginning goes on where its end was.
    (0..100).map(&mut encode).collect::<Vec<_>>().split_off(50)
}

/// What is heard, and the longest run of packets that were lost.
fn heard(codec: &AudioCodec, frames: &[Vec<u8>], seed: u64) -> (Vec<f32>, u64) {
    let payloads = vec![PayloadSetting::sound(111, codec, RATE_HZ).expect("a decoder")];
    let mut playout = Playout::new(PlayoutConfig::default(), payloads).expect("a configuration");
    let mut dice = Dice(seed);
    let phase_us = dice.roll() % PACKET_US;
    let (mut on_the_way, mut sound, mut tick) = (BTreeMap::new(), Vec::new(), vec![0.0; FRAME]);
    let (mut sent, mut run, mut run_max) = (0_u64, 0, 0);
    for now_us in (1..=TICKS).map(|tick| tick * PACKET_US) {
        while sent * PACKET_US + phase_us <= now_us {
            let at_us = sent * PACKET_US + phase_us + (dice.share() * JITTER_US) as u64;
            run = if dice.share() < LOSS { run + 1 } else { 0 };
            run_max = run_max.max(run);
            if run == 0 {
                on_the_way.insert((at_us, sent), sent);
            }
            sent += 1;
        }
        while let Some(entry) = on_the_way.first_entry().filter(|entry| entry.key().0 <= now_us) {
            let ((at_us, _), number) = entry.remove_entry();
            let packet = SourcePacket {
                ssrc: 7,
                sequence: WireSeq(number as u16),
                timestamp: WireTimestamp(number as u32 * FRAME as u32),
                marker: number == 0,
                payload_type: 111,
                level: None,
                payload: &frames[number as usize % frames.len()],
            };
            playout.insert(Time::from_nanos(at_us * 1_000), &packet);
        }
        if playout.pull(Time::from_nanos(now_us * 1_000), &mut tick) == Pulled::Silence {
            tick.fill(0.0);
        }
        sound.extend_from_slice(&tick);
    }
    (sound.split_off(SETTLED * FRAME), run_max)
}

/// Gaps in a tone by their length in milliseconds, looked at in windows of 10 ms.
fn gaps_ms(sound: &[f32], tone_hz: f64) -> Vec<usize> {
    let (window, step) = (RATE_HZ as usize / 100, RATE_HZ as usize / 1_000);
    let levels: Vec<f64> =
        sound.windows(window).step_by(step).map(|part| tone_level(part, tone_hz, RATE_HZ)).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f64::total_cmp);
    let soft = sorted[sorted.len() / 2] * SOFT;
    let runs = levels.chunk_by(|a, b| (*a < soft) == (*b < soft));
    runs.filter(|run| run[0] < soft).map(<[f64]>::len).collect()
}

#[test]
fn a_tone_is_hardly_ever_gone_for_longer_than_60_ms() {
    let codec = AudioCodec::parse("opus", RATE_HZ, 2, "useinbandfec=1").expect("Opus");
    let codec = AudioCodec { channels: 1, ..codec };
    let (mut by_length, mut long) = (BTreeMap::new(), Vec::new());
    for tone_hz in [400.0, 820.0, 1_240.0, 1_660.0] {
        let frames = frames(&codec, tone_hz);
        for seed in 0..SEEDS {
            let (sound, run_max) = heard(&codec, &frames, seed * 7_919 + tone_hz as u64);
            for ms in gaps_ms(&sound, tone_hz) {
                *by_length.entry(ms / 10 * 10).or_insert(0) += 1;
                // What is lost three times in a row is gone for that long, and the codec has to find it again.
                let bound = 20 * run_max.max(3) as usize + 20;
                assert!(ms <= bound, "{tone_hz} Hz, seed {seed}: {ms} ms; {run_max} lost in a row");
                if ms > 60 {
                    long.push((tone_hz, seed, ms, run_max));
                }
            }
        }
    }
    println!("gaps by length in ms: {by_length:?}; longer than 60: {long:?}");
    // With the codec's own guess alone there were some 16, and some 310 of 30 ms and more.
    assert!(long.len() <= 4, "{long:?}");
    let noticed: u32 = by_length.range(30..).map(|(_, count)| count).sum();
    assert!(noticed <= 40, "{noticed} gaps of 30 ms and more: {by_length:?}");
}
