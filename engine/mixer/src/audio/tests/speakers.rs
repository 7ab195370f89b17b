//! Everybody hears everybody but themselves; the loudest are heard; nobody clips.

use super::world::{World, db, l16, step_max};
use crate::audio::{MixConfig, MixEvent, OutputId, SourceId};
use motet_codecs::audio::AudioCodec;

fn codec(name: &str, clock_hz: u32) -> AudioCodec {
    AudioCodec::parse(name, clock_hz, 1, "").expect("a codec")
}

/// Tones that all codecs carry, and no harmonic of one is another.
const TONES: [f32; 4] = [400.0, 730.0, 1_130.0, 1_910.0];

#[test]
fn each_hears_the_others_and_not_itself_in_every_codec_and_rate() {
    for rate_hz in [8_000, 16_000, 32_000, 48_000] {
        let mut world = World::new(MixConfig { rate_hz, speakers_max: 4, ..MixConfig::default() });
        let codecs = [codec("PCMA", 8_000), codec("G722", 8_000), codec("opus", 48_000), l16(44_100)];
        for (id, (hz, codec)) in TONES.iter().zip(codecs).enumerate() {
            let id = id as u32;
            world.add_source(World::source_config(id, 0), *hz).set(0.2);
            let mut config = World::output_config(id, 0, Some(id), codec);
            // Enough for Opus to keep four tones' levels.
            config.encoder.bitrate_bps = Some(64_000);
            world.add_output(config.clone());
            if id == 2 {
                (config.id, config.own) = (OutputId(9), None);
                world.add_output(config);
            }
        }
        world.run_ms(1_000);
        for output in [0, 1, 2, 3, 9] {
            for (source, hz) in TONES.iter().enumerate() {
                let level = db(world.level(output, *hz) / 0.2);
                if output == source as u32 {
                    assert!(level < -40.0, "mix of {rate_hz}: {output} hears itself at {level} dB");
                } else {
                    assert!(level.abs() < 1.0, "mix of {rate_hz}: {output} hears {source} at {level} dB");
                }
            }
        }
    }
}

#[test]
fn a_thousand_at_full_scale_neither_clip_nor_wrap() {
    let config = MixConfig { speakers_max: 1_024, rate_hz: 16_000, ..MixConfig::default() };
    let mut world = World::new(config);
    world.add_output(World::output_config(0, 0, None, l16(16_000)));
    for id in 1..=1_000 {
        world.add_source(World::source_config(id, 0), 440.0).set(1.0);
    }
    world.run_ms(1_000);
    // The limiter has a tick to find its gain; before, it bends what is too loud.
    let (first, samples) = world.receivers[&0].samples.split_at(320);
    assert!(step_max(first) < 1.0, "{}", step_max(first));
    let peak = samples.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    assert!((0.9..0.98).contains(&peak), "{peak}");
    // A wrap is a step over the whole scale; the tone's own steps are below 0.17.
    assert!(step_max(samples) < 0.2, "{}", step_max(samples));
    // And what is left is the tone: nothing but a part of a thousandth in its third harmonic.
    assert!(db(world.level(0, 1_320.0) / world.level(0, 440.0)) < -40.0);
    assert!(world.mixer.stats().limited > 40);
}

#[test]
fn the_loudest_are_mixed_and_a_louder_one_gets_in_within_100_ms() {
    let mut world = World::new(MixConfig { speakers_max: 2, ..MixConfig::default() });
    world.add_output(World::output_config(9, 0, None, l16(48_000)));
    let knobs: Vec<_> = TONES
        .iter()
        .enumerate()
        .map(|(id, hz)| world.add_source(World::source_config(id as u32, 0), *hz))
        .collect();
    for (knob, amplitude) in knobs.iter().zip([0.2, 0.05, 0.02]) {
        knob.set(amplitude);
    }
    world.run_ms(1_000);
    assert!(db(world.level(9, TONES[0]) / 0.2).abs() < 0.1);
    assert!(db(world.level(9, TONES[1]) / 0.05).abs() < 0.1);
    assert!(db(world.level(9, TONES[2]) / 0.02) < -60.0, "the third is not mixed");
    knobs[3].set(0.3);
    let waited = (0..).take_while(|_| {
        world.tick();
        !world.mixer.source_status(world.now(), SourceId(3)).expect("there").mixed
    });
    let waited = waited.count();
    assert!((2..5).contains(&waited), "{waited} ticks");
    world.run_ms(400);
    assert!(db(world.level(9, TONES[3]) / 0.3).abs() < 0.1);
    assert!(db(world.level(9, TONES[1]) / 0.05) < -60.0, "the quieter of the two made room");
    assert_eq!(world.mixer.stats().displacements, 1);
    assert!(step_max(&world.receivers[&9].samples) < 0.09, "{}", step_max(&world.receivers[&9].samples));
}

#[test]
fn a_pause_in_speech_keeps_the_place() {
    let mut world = World::new(MixConfig { speakers_max: 1, ..MixConfig::default() });
    let knobs: Vec<_> =
        (0..2).map(|id| world.add_source(World::source_config(id, 0), TONES[id as usize])).collect();
    knobs[0].set(0.1);
    world.run_ms(500);
    for _ in 0..20 {
        knobs[0].set(0.0);
        world.run_ms(200);
        knobs[0].set(0.1);
        world.run_ms(200);
    }
    let started =
        world.events.iter().filter(|event| matches!(event, MixEvent::SpeakerStarted { .. })).count();
    assert_eq!(started, 1, "{:?}", world.events);
    knobs[0].set(0.0);
    world.run_ms(700);
    assert_eq!(world.events.last(), Some(&MixEvent::SpeakerStopped { source: SourceId(0) }));
}

#[test]
fn the_active_speaker_changes_with_who_is_louder_for_longer() {
    let mut world = World::new(MixConfig::default());
    let knobs: Vec<_> =
        (0..2).map(|id| world.add_source(World::source_config(id, 0), TONES[id as usize])).collect();
    knobs[0].set(0.1);
    world.run_ms(2_000);
    let active = |world: &World| world.mixer.active_speaker(Default::default());
    assert_eq!(active(&world), Some(SourceId(0)));
    // A cough does not do it.
    knobs[1].set(0.3);
    world.run_ms(100);
    knobs[1].set(0.0);
    world.run_ms(1_000);
    assert_eq!(active(&world), Some(SourceId(0)));
    knobs[1].set(0.3);
    world.run_ms(2_000);
    assert_eq!(active(&world), Some(SourceId(1)));
    // Silence keeps the picture.
    knobs.iter().for_each(|knob| knob.set(0.0));
    world.run_ms(3_000);
    assert_eq!(active(&world), Some(SourceId(1)));
    let changes = world.events.iter().filter(|event| matches!(event, MixEvent::ActiveSpeaker { .. })).count();
    assert_eq!(changes, 2);
}
