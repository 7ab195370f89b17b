//! Overload, missed ticks, restarts, levels that are not true, automatic gain, codecs with frames of their own.

use super::world::{World, amplitude, db, l16};
use crate::audio::{
    Effort, Gain, MixCommand, MixConfig, MixError, MixEvent, OutputId, OutputSettings, SourceId,
    SourceSettings,
};
use motet_codecs::audio::{AudioCodec, AudioDecoder};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};

const TONES: [f32; 3] = [400.0, 730.0, 1_130.0];

#[test]
fn overload_takes_voices_away_but_never_the_last() {
    let mut world = World::new(MixConfig::default());
    world.add_output(World::output_config(9, 0, None, l16(48_000)));
    for (id, hz) in TONES.iter().enumerate() {
        world.add_source(World::source_config(id as u32, 0), *hz).set([0.1, 0.2, 0.05][id]);
    }
    world.run_ms(400);
    let heard = |world: &World| TONES.map(|hz| world.level(9, hz) > 0.01);
    assert_eq!(heard(&world), [true; 3]);
    for (speakers_max, expected) in [(Some(2), [true, true, false]), (Some(0), [false, true, false])] {
        let effort = Effort { speakers_max, complexity_max: Some(0), ..Effort::default() };
        world.command(MixCommand::SetEffort(effort));
        world.run_ms(400);
        assert_eq!(heard(&world), expected);
    }
    world.command(MixCommand::SetEffort(Effort::default()));
    world.run_ms(400);
    assert_eq!(heard(&world), [true; 3]);
}

#[test]
fn under_overload_who_hears_nobody_gets_nothing_and_the_rest_goes_on() {
    for codec in [("PCMU", 8_000), ("opus", 48_000)] {
        let codec = || AudioCodec::parse(codec.0, codec.1, 1, "").expect("a codec");
        let mut world = World::new(MixConfig::default());
        let talker = world.join(1, 0, 400.0, codec());
        world.join(2, 0, 730.0, codec());
        world.command(MixCommand::SetEffort(Effort { skip_silence: true, ..Effort::default() }));
        talker.set(0.2);
        world.run_ms(1_000);
        let packets = |world: &World, id| world.receivers[&id].packets;
        // Three ticks of silence are sent. Numbers go on and timestamps are of the tick, as receivers check.
        assert_eq!((packets(&world, 1), packets(&world, 2)), (3, 50), "{:?}", codec());
        assert!(world.level(2, 400.0) > 0.15);
        world.receivers.get_mut(&1).expect("it is there").markers = 0;
        world.knobs[&2].set(0.2);
        world.run_ms(500);
        assert!(world.level(1, 730.0) > 0.15, "{:?}", codec());
        assert_eq!(world.receivers[&1].markers, 1, "the first after a silence");
        world.knobs[&2].set(0.0);
        world.run_ms(3_000);
        world.command(MixCommand::SetEffort(Effort::default()));
        let before = packets(&world, 1);
        world.run_ms(200);
        assert_eq!(packets(&world, 1) - before, 10, "silence is sent again");
    }
}

#[test]
fn under_overload_who_is_silent_is_listened_to_now_and_then() {
    let mut world = World::new(MixConfig::default());
    world.add_output(World::output_config(9, 0, None, l16(48_000)));
    for id in 0..40 {
        world.add_source(World::source_config(id, 0), 300.0 + 50.0 * id as f32).set(0.000_1);
    }
    world.command(MixCommand::SetEffort(Effort { listen_every: 8, ..Effort::default() }));
    world.run_ms(400);
    let decodes = world.mixer.stats().decodes;
    world.run_ms(1_600);
    assert_eq!(world.mixer.stats().decodes - decodes, 40 * 10);
    world.knobs[&7].set(0.2);
    world.run_ms(160 + 200);
    assert!(world.level(9, 650.0) > 0.15, "found in its turn");
    let before = world.mixer.stats().decodes;
    world.run_ms(160);
    assert_eq!(world.mixer.stats().decodes - before, 39 + 8, "and heard all the time since");
}

#[test]
fn missed_ticks_are_a_gap_in_time_and_not_in_numbers() {
    let mut world = World::new(MixConfig::default());
    world.join(1, 0, 400.0, l16(48_000)).set(0.2);
    world.add_output(World::output_config(
        2,
        0,
        None,
        AudioCodec::parse("PCMU", 8_000, 1, "").expect("a codec"),
    ));
    world.run_ms(200);
    world.mixer.miss(world.now(), 7);
    // The receivers check that timestamps are of the tick, and numbers the next.
    world.ticks += 7;
    world.run_ms(200);
    assert_eq!(world.receivers[&2].packets, 20);
    assert_eq!(world.mixer.stats().ticks_missed, 7);
}

#[test]
fn a_source_that_begins_anew_is_still_the_receivers_own() {
    let mut world = World::new(MixConfig::default());
    world.join(1, 0, 400.0, l16(48_000)).set(0.3);
    world.run_ms(400);
    for _ in 0..3 {
        world.command(MixCommand::RemoveSource(SourceId(1)));
        world.add_source(World::source_config(1, 0), 400.0).set(0.3);
        world.run_ms(400);
    }
    let peak = world.receivers[&1].samples.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    assert!(peak < 1e-3, "it hears itself: {peak}");
    let stopped =
        world.events.iter().filter(|event| matches!(event, MixEvent::SpeakerStopped { .. })).count();
    assert_eq!(stopped, 3);
}

#[test]
fn who_says_to_be_loud_and_is_not_is_found_out() {
    let mut world = World::new(MixConfig { speakers_max: 1, ..MixConfig::default() });
    world.add_output(World::output_config(9, 0, None, l16(48_000)));
    let mut config = World::source_config(0, 0);
    config.level_extension = Some(4);
    world.add_source(config, TONES[0]).set(0.002);
    world.add_source(World::source_config(1, 0), TONES[1]).set(0.1);
    for sequence in 0..300_u16 {
        // One-byte elements (RFC 8285): -1 dBov.
        let data = [4 << 4, 1, 0, 0];
        let packet = RtpBuilder::new(0x5000_0000)
            .sequence(WireSeq(sequence))
            .timestamp(WireTimestamp(u32::from(sequence) * 960))
            .extension(motet_rtp::Extension { profile: 0xbede, data: &data })
            .to_vec();
        world.mixer.handle_packet(world.now(), &packet);
        world.tick();
    }
    assert_eq!(world.mixer.stats().levels_distrusted, 1);
    assert!(db(world.level(9, TONES[1]) / 0.1).abs() < 0.1, "who speaks is heard");
    assert!(world.level(9, TONES[0]) < 1e-4);
}

#[test]
fn automatic_gain_brings_voices_to_one_level() {
    let mut world = World::new(MixConfig::default());
    world.add_output(World::output_config(9, 0, None, l16(48_000)));
    for (id, loud) in [(0, 0.02), (1, 0.4)] {
        let mut config = World::source_config(id, 0);
        config.settings = SourceSettings { automatic_gain: true, ..SourceSettings::default() };
        world.add_source(config, TONES[id as usize]).set(loud);
    }
    world.run_ms(8_000);
    // -23 dBov is an amplitude of 0.1.
    for hz in &TONES[..2] {
        assert!(db(world.level(9, *hz) / 0.1).abs() < 1.5, "{hz} Hz at {}", world.level(9, *hz));
    }
}

#[test]
fn aac_is_sent_by_its_own_frames() {
    let fmtp = "streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; \
                config=1188";
    let codec = AudioCodec::parse("MPEG4-GENERIC", 48_000, 1, fmtp).expect("AAC");
    let mut decoder: Box<dyn AudioDecoder> = codec.decoder().expect("a decoder");
    let mut world = World::new(MixConfig::default());
    world.add_source(World::source_config(1, 0), 1_000.0).set(0.2);
    let config = World::output_config(1, 0, None, codec.clone());
    world.command(MixCommand::AddOutput(config));
    // Another one, which is given its own mix and taken back, all between the same frames.
    world.command(MixCommand::AddOutput(World::output_config(2, 0, None, codec)));
    let (mut samples, mut last) = (Vec::new(), [None; 3]);
    let mut decoded = [0; 2_048];
    for tick in 0..150 {
        if tick == 30 || tick == 60 {
            let gain = if tick == 30 { Gain::SILENT } else { Gain::UNITY };
            let settings = OutputSettings { gain, ..OutputSettings::default() };
            world.command(MixCommand::SetOutput { id: OutputId(2), settings });
        }
        world.mixer.tick(world.now(), &mut world.out);
        world.ticks += 1;
        for packet in world.out.packets() {
            let bytes = [packet.header.as_slice(), packet.payload].concat();
            let view = RtpView::new(&bytes).expect("RTP");
            let at = &mut last[packet.output.0 as usize];
            if let Some((sequence, timestamp)) = *at {
                assert_eq!(view.sequence(), WireSeq::next(sequence));
                assert_eq!(view.timestamp(), WireTimestamp::plus(timestamp, 1_024), "tick {tick}");
            }
            *at = Some((view.sequence(), view.timestamp()));
            let count = decoder.decode(view.payload(), &mut decoded).expect("AAC");
            if packet.output.0 == 1 {
                samples.extend(decoded[..count].iter().map(|sample| f32::from(*sample) / 32_768.0));
            } else {
                decoder.reset();
            }
        }
    }
    assert!(samples.len() > 140 * 960);
    assert_eq!(world.mixer.encoders(), 1);
    let level = amplitude(&samples[20_000..30_000], 1_000.0, 48_000);
    assert!(level > 0.05, "{level}");
}

#[test]
fn noise_suppression_is_for_48_khz() {
    let mut world = World::new(MixConfig { rate_hz: 16_000, ..MixConfig::default() });
    world.add_source(World::source_config(1, 0), 400.0);
    let settings = SourceSettings { noise_suppression: true, ..SourceSettings::default() };
    let refused = world.mixer.handle_command(MixCommand::SetSource { id: SourceId(1), settings });
    assert_eq!(refused, Err(MixError::NoiseSuppression { rate_hz: 16_000 }));
    let mut world = World::new(MixConfig::default());
    world.add_source(World::source_config(1, 0), 400.0).set(0.2);
    world.add_output(World::output_config(1, 0, None, l16(48_000)));
    world.run_ms(200);
    world.command(MixCommand::SetSource { id: SourceId(1), settings });
    world.run_ms(3_000);
    // What it lets through is heard on, as loud.
    assert!(db(world.level(1, 400.0) / 0.2).abs() < 3.0, "{}", world.level(1, 400.0));
}
