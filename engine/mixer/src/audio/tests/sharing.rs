//! One encode for all who hear the same, and switches that nobody hears.

use super::world::{World, db, l16, step_max};
use crate::audio::{MixCommand, MixConfig, OutputId, OutputSettings};
use motet_codecs::audio::{AudioCodec, EncoderSettings};

fn codec(name: &str, clock_hz: u32) -> AudioCodec {
    AudioCodec::parse(name, clock_hz, 1, "").expect("a codec")
}

#[test]
fn listeners_share_one_encode_for_each_codec() {
    let mut world = World::new(MixConfig::default());
    world.join(1, 0, 400.0, codec("opus", 48_000)).set(0.2);
    for id in 100..200 {
        world.join(id, 0, 1_000.0, codec("opus", 48_000));
    }
    for id in 200..250 {
        world.join(id, 0, 1_000.0, codec("PCMU", 8_000));
    }
    world.run_ms(100);
    assert_eq!(world.mixer.encoders(), 3, "the speaker's own, and one for each codec");
    let before = world.mixer.stats();
    world.run_ms(200);
    let stats = world.mixer.stats();
    assert_eq!(stats.encodes - before.encodes, 30);
    assert_eq!(stats.packets - before.packets, 151 * 10);
    assert_eq!(stats.shared - before.shared, (151 - 3) * 10);
}

/// Who begins to speak gets an own encoder, and goes back to the shared one; with the largest step between
/// samples around each switch.
fn switches(codec: AudioCodec, step_bound: f32) {
    let mut world = World::new(MixConfig::default());
    world.join(1, 0, 300.0, codec.clone()).set(0.2);
    let speaker = world.join(2, 0, 800.0, codec.clone());
    world.join(3, 0, 500.0, codec.clone());
    world.run_ms(1_000);
    assert_eq!(world.mixer.encoders(), 2, "the speaker's, and the one for 2 and 3");
    world.clear();
    for turn in 0..4 {
        world.run_ms(300);
        // It coughs: only itself is spared that.
        speaker.set(0.02);
        world.run_ms(200);
        assert_eq!(world.mixer.encoders(), 3);
        speaker.set(0.0);
        world.run_ms(1_800);
        assert_eq!(world.mixer.encoders(), 2, "turn {turn}: it listens with the others again");
    }
    let stats = world.mixer.stats();
    assert!(stats.forks >= 4 && stats.joins >= 4, "{stats:?}");
    let heard = &world.receivers[&2].samples;
    assert!(db(super::world::amplitude(heard, 300.0, world.receivers[&2].rate_hz) / 0.2).abs() < 1.0);
    let step = step_max(heard);
    assert!(step < step_bound, "{codec:?}: a step of {step}");
    assert_eq!(world.receivers[&2].packets, world.ticks as usize);
    assert_eq!(world.receivers[&2].markers, 1);
}

// A tone of 300 Hz and amplitude 0.2 has steps of 0.047 at 8 kHz, 0.024 at 16 and 0.008 at 48; what comes on top is
// the codec's own noise, which is as large without any switch.
#[test]
fn switches_are_not_heard_in_l16() {
    switches(l16(48_000), 0.0085);
}

#[test]
fn switches_are_not_heard_in_g711() {
    switches(codec("PCMA", 8_000), 0.055);
}

#[test]
fn switches_are_not_heard_in_g722() {
    switches(codec("G722", 8_000), 0.030);
}

#[test]
fn switches_are_not_heard_in_opus() {
    switches(codec("opus", 48_000), 0.012);
}

#[test]
fn outputs_with_equal_differences_share_too() {
    let mut world = World::new(MixConfig::default());
    world.add_source(World::source_config(1, 0), 400.0).set(0.2);
    for id in 0..10 {
        world.add_output(World::output_config(id, 0, None, l16(48_000)));
    }
    world.run_ms(100);
    assert_eq!(world.mixer.encoders(), 1);
    let quiet = OutputSettings {
        gain: crate::audio::Gain::from_db(-12.0).expect("in range"),
        ..OutputSettings::default()
    };
    for id in 0..4 {
        world.command(MixCommand::SetOutput { id: OutputId(id), settings: quiet });
    }
    for id in 4..7 {
        let settings = OutputSettings { deaf: true, ..OutputSettings::default() };
        world.command(MixCommand::SetOutput { id: OutputId(id), settings });
    }
    world.run_ms(300);
    assert_eq!(world.mixer.encoders(), 3);
    assert!((db(world.level(0, 400.0) / 0.2) + 12.0).abs() < 0.1);
    assert!(db(world.level(5, 400.0) / 0.2) < -60.0);
    for id in 0..7 {
        world.command(MixCommand::SetOutput { id: OutputId(id), settings: OutputSettings::default() });
    }
    world.run_ms(1_000);
    assert_eq!(world.mixer.encoders(), 1, "all the same again");
    assert!((0..10).all(|id| step_max(&world.receivers[&id].samples) < 0.011));
}

#[test]
fn silence_is_not_sent_where_the_codec_says_so() {
    let mut world = World::new(MixConfig::default());
    let knob = world.add_source(World::source_config(1, 0), 400.0);
    let mut config = World::output_config(1, 0, None, codec("opus", 48_000));
    config.encoder = EncoderSettings { dtx: true, ..EncoderSettings::default() };
    world.add_output(config);
    knob.set(0.3);
    world.run_ms(1_000);
    assert_eq!(world.receivers[&1].packets, 50);
    knob.set(0.0);
    world.run_ms(4_000);
    let silent = world.receivers[&1].packets - 50;
    assert!(silent < 80, "{silent} packets of 200");
    let markers = world.receivers[&1].markers;
    knob.set(0.3);
    world.run_ms(1_000);
    // Timestamps are checked by the receiver; the talk spurt is marked.
    assert_eq!(world.receivers[&1].markers, markers + 1);
    assert!(world.receivers[&1].packets - silent - 50 >= 49);
}
