//! Who hears whom: pairs, whispers, mute, floor, rooms, prompts, keys, the recorder.

use super::world::{Knob, World, amplitude, l16, step_max};
use crate::audio::prompt::PromptSound;
use crate::audio::{
    EventHandling, Gain, GroupId, MixCommand, MixConfig, MixError, MixEvent, OutputId, OutputSettings,
    PromptConfig, PromptId, PromptRepeat, PromptTarget, SourceId, SourceSettings,
};
use motet_rtp::{RtpBuilder, WireSeq, WireTimestamp};

const TONES: [f32; 4] = [400.0, 730.0, 1_130.0, 1_910.0];

/// Four participants who all speak.
fn four() -> (World, Vec<Knob>) {
    let mut world = World::new(MixConfig { speakers_max: 8, ..MixConfig::default() });
    let knobs = (0..4).map(|id| world.join(id, 0, TONES[id as usize], l16(48_000))).collect::<Vec<_>>();
    knobs.iter().for_each(|knob| knob.set(0.1));
    world.run_ms(300);
    (world, knobs)
}

/// Who is heard by whom after 400 ms, a row for each output; 1 is the level of everybody.
fn heard(world: &mut World) -> [[f32; 4]; 4] {
    world.run_ms(400);
    let row = |output: u32| TONES.map(|hz| (world.level(output, hz) / 0.1 * 100.0).round() / 100.0);
    [row(0), row(1), row(2), row(3)]
}

const ALL: [[f32; 4]; 4] =
    [[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]];

fn no_clicks(world: &World) {
    for (id, receiver) in &world.receivers {
        // Three tones of 0.1 have steps of up to 0.05; a jump to silence would be one of 0.3.
        assert!(step_max(&receiver.samples) < 0.07, "{id}: {}", step_max(&receiver.samples));
    }
}

#[test]
fn a_coach_whispers_to_one() {
    let (mut world, _knobs) = four();
    assert_eq!(heard(&mut world), ALL);
    let private = SourceSettings { heard: Gain::SILENT, ..SourceSettings::default() };
    world.command(MixCommand::SetSource { id: SourceId(3), settings: private });
    let gain = Some(Gain::UNITY);
    world.command(MixCommand::SetPair { source: SourceId(3), output: OutputId(0), gain });
    world.command(MixCommand::SetTap { group: GroupId(0), on: true });
    let expected = [[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]];
    assert_eq!(heard(&mut world), expected);
    let (_, tap) = world.out.taps().next().expect("a tap");
    let tap: Vec<f32> = tap.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
    assert!(amplitude(&tap, TONES[3], 48_000) < 0.001, "what is whispered is not recorded");
    no_clicks(&world);
}

#[test]
fn pair_gains_mute_deaf_and_floor() {
    let (mut world, _knobs) = four();
    let half = Gain::from_db(-6.0).expect("in range");
    world.command(MixCommand::SetPair { source: SourceId(1), output: OutputId(0), gain: Some(half) });
    world.command(MixCommand::SetPair { source: SourceId(2), output: OutputId(0), gain: Some(Gain::SILENT) });
    let muted = SourceSettings { muted: true, ..SourceSettings::default() };
    world.command(MixCommand::SetSource { id: SourceId(3), settings: muted });
    let deaf = OutputSettings { deaf: true, ..OutputSettings::default() };
    world.command(MixCommand::SetOutput { id: OutputId(2), settings: deaf });
    let expected = [[0.0, 0.5, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [0.0; 4], [1.0, 1.0, 1.0, 0.0]];
    assert_eq!(heard(&mut world), expected);
    world.command(MixCommand::SetPair { source: SourceId(1), output: OutputId(0), gain: None });
    world.command(MixCommand::SetPair { source: SourceId(2), output: OutputId(0), gain: None });
    world.command(MixCommand::SetSource { id: SourceId(3), settings: SourceSettings::default() });
    world.command(MixCommand::SetOutput { id: OutputId(2), settings: OutputSettings::default() });
    assert_eq!(heard(&mut world), ALL);
    world.command(MixCommand::SetFloor { group: GroupId(0), holders: Some(vec![SourceId(1)]) });
    let expected = [[0.0, 1.0, 0.0, 0.0], [0.0; 4], [0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]];
    assert_eq!(heard(&mut world), expected);
    world.command(MixCommand::SetFloor { group: GroupId(0), holders: None });
    assert_eq!(heard(&mut world), ALL);
    no_clicks(&world);
}

#[test]
fn side_rooms_hear_themselves_only() {
    let (mut world, _knobs) = four();
    for id in [2, 3] {
        world.command(MixCommand::MoveSource { id: SourceId(id), group: GroupId(7) });
        world.command(MixCommand::MoveOutput { id: OutputId(id), group: GroupId(7) });
    }
    let expected = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]];
    assert_eq!(heard(&mut world), expected);
    for id in [2, 3] {
        world.command(MixCommand::MoveSource { id: SourceId(id), group: GroupId(0) });
        world.command(MixCommand::MoveOutput { id: OutputId(id), group: GroupId(0) });
    }
    assert_eq!(heard(&mut world), ALL);
    world.command(MixCommand::RemoveSource(SourceId(1)));
    let expected = [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]];
    assert_eq!(heard(&mut world), expected);
    no_clicks(&world);
}

#[test]
fn a_side_room_hears_the_main_one_quieter_and_is_not_heard_there() {
    let (mut world, _knobs) = four();
    let quiet = Gain::from_db(-12.0).expect("in range");
    let settings = OutputSettings { background: Some((GroupId(0), quiet)), ..OutputSettings::default() };
    for id in [2, 3] {
        world.command(MixCommand::MoveSource { id: SourceId(id), group: GroupId(7) });
        world.command(MixCommand::MoveOutput { id: OutputId(id), group: GroupId(7) });
        world.command(MixCommand::SetOutput { id: OutputId(id), settings });
    }
    let side = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.0, 1.0], [0.25, 0.25, 1.0, 0.0]];
    assert_eq!(heard(&mut world), side);
    // Pair gains hold across the rooms; one's own voice is not heard from afar.
    world.command(MixCommand::SetPair { source: SourceId(1), output: OutputId(3), gain: Some(Gain::SILENT) });
    world.command(MixCommand::MoveSource { id: SourceId(2), group: GroupId(0) });
    let expected =
        [[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0], [0.25, 0.25, 0.0, 1.0], [0.25, 0.0, 0.25, 0.0]];
    assert_eq!(heard(&mut world), expected);
    world.command(MixCommand::SetPair { source: SourceId(1), output: OutputId(3), gain: None });
    world.command(MixCommand::MoveSource { id: SourceId(2), group: GroupId(7) });
    for id in [2, 3] {
        world.command(MixCommand::SetOutput { id: OutputId(id), settings: OutputSettings::default() });
    }
    let alone = [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]];
    assert_eq!(heard(&mut world), alone);
    no_clicks(&world);
}

#[test]
fn a_room_that_somebody_leaves_is_there_until_that_is_heard() {
    let (mut world, _knobs) = four();
    world.command(MixCommand::MoveOutput { id: OutputId(3), group: GroupId(7) });
    world.run_ms(100);
    // The place of room 7 is free, and its sound is needed once more.
    world.command(MixCommand::MoveOutput { id: OutputId(3), group: GroupId(0) });
    world.command(MixCommand::MoveSource { id: SourceId(2), group: GroupId(8) });
    let expected = [[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]];
    assert_eq!(heard(&mut world), expected);
    no_clicks(&world);
}

#[test]
fn the_taps_have_the_mix_and_single_sources() {
    let (mut world, knobs) = four();
    world.command(MixCommand::SetTap { group: GroupId(0), on: true });
    for id in [1, 2] {
        world.command(MixCommand::SetSourceTap { id: SourceId(id), on: true });
    }
    // As it came, whatever is done to it for others; and though it is too quiet to be mixed.
    let quiet = Gain::from_db(-20.0).expect("in range");
    let settings = SourceSettings { gain: quiet, ..SourceSettings::default() };
    world.command(MixCommand::SetSource { id: SourceId(1), settings });
    world.run_ms(100);
    let tapped = |world: &World| {
        let levels = |samples: &[i16]| {
            let samples: Vec<f32> = samples.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
            TONES.map(|hz| (amplitude(&samples, hz, 48_000) * 100.0).round() / 10.0)
        };
        let sources: Vec<_> = world.out.source_taps().map(|(id, samples)| (id.0, levels(samples))).collect();
        (world.out.taps().map(|(_, samples)| levels(samples)).next(), sources)
    };
    let (mix, sources) = tapped(&world);
    assert_eq!(mix, Some([1.0, 0.1, 1.0, 1.0]));
    assert_eq!(sources, [(1, [0.0, 1.0, 0.0, 0.0]), (2, [0.0, 0.0, 1.0, 0.0])]);
    let muted = SourceSettings { muted: true, ..SourceSettings::default() };
    world.command(MixCommand::SetSource { id: SourceId(1), settings: muted });
    knobs[2].set(0.0);
    world.run_ms(100);
    let (_, sources) = tapped(&world);
    assert_eq!(sources, [(1, [0.0; 4]), (2, [0.0; 4])], "who is muted is not recorded; silence is said");
    world.command(MixCommand::SetSourceTap { id: SourceId(1), on: false });
    world.command(MixCommand::SetTap { group: GroupId(0), on: false });
    world.command(MixCommand::RemoveSource(SourceId(2)));
    world.run_ms(100);
    assert_eq!(tapped(&world), (None, Vec::new()));
}

fn prompt(id: u32, to: PromptTarget) -> PromptConfig {
    let samples = (0..48_000).map(|n| (super::world::tone_at(2_500.0, 48_000, n) * 3_276.8) as i16).collect();
    let sound = PromptSound::new(48_000, samples);
    let repeat = PromptRepeat::Times(1);
    PromptConfig { id: PromptId(id), sound, to, gain: Gain::UNITY, repeat, duck: None }
}

#[test]
fn prompts_reach_one_some_or_all() {
    let (mut world, _knobs) = four();
    let prompted =
        |world: &World| [0, 1, 2, 3].map(|output| (world.level(output, 2_500.0) / 0.1 * 10.0).round() / 10.0);
    world.command(MixCommand::PlayPrompt(prompt(1, PromptTarget::Outputs(vec![OutputId(2), OutputId(2)]))));
    assert_eq!(heard(&mut world), ALL);
    assert_eq!(prompted(&world), [0.0, 0.0, 1.0, 0.0]);
    world.run_ms(900);
    assert_eq!(world.events.last(), Some(&MixEvent::PromptFinished { prompt: PromptId(1), stopped: false }));
    assert_eq!(prompted(&world)[2], 0.0);
    let mut all = prompt(2, PromptTarget::Group(GroupId(0)));
    (all.repeat, all.duck) = (PromptRepeat::Forever, Some(Gain::from_db(-20.0).expect("in range")));
    world.command(MixCommand::PlayPrompt(all));
    world.run_ms(3_000);
    assert_eq!(heard(&mut world), ALL.map(|row| row.map(|level| level / 10.0)), "the others are ducked");
    assert_eq!(prompted(&world), [1.0; 4]);
    world.command(MixCommand::StopPrompt(PromptId(2)));
    assert_eq!(heard(&mut world), ALL);
    assert_eq!(world.events.last(), Some(&MixEvent::PromptFinished { prompt: PromptId(2), stopped: true }));
    let gone = world.mixer.handle_command(MixCommand::StopPrompt(PromptId(2)));
    assert_eq!(gone, Err(MixError::UnknownPrompt(PromptId(2))));
    // Steps of 0.03 more come from the prompt.
    assert!(world.receivers.values().all(|receiver| step_max(&receiver.samples) < 0.1));
}

#[test]
fn a_prompt_of_the_wrong_rate_or_nobodys_is_refused() {
    let (mut world, _knobs) = four();
    let mut wrong = prompt(1, PromptTarget::Group(GroupId(0)));
    wrong.sound = PromptSound::new(8_000, vec![0; 8].into());
    let refused = world.mixer.handle_command(MixCommand::PlayPrompt(wrong));
    assert_eq!(refused, Err(MixError::PromptRate { prompt_hz: 8_000, mix_hz: 48_000 }));
    let nobody = prompt(1, PromptTarget::Outputs(vec![OutputId(0), OutputId(77)]));
    let refused = world.mixer.handle_command(MixCommand::PlayPrompt(nobody));
    assert_eq!(refused, Err(MixError::UnknownOutput(OutputId(77))));
    let mut empty = prompt(1, PromptTarget::Group(GroupId(0)));
    empty.sound = PromptSound::new(48_000, Vec::new().into());
    assert_eq!(world.mixer.handle_command(MixCommand::PlayPrompt(empty)), Err(MixError::PromptEmpty));
}

fn press(world: &mut World, source: u32, sequence: u16, timestamp: u32, payload: [u8; 4]) {
    let packet = RtpBuilder::new(0x5000_0000 + source)
        .payload_type(101)
        .sequence(WireSeq(sequence))
        .timestamp(WireTimestamp(timestamp))
        .payload(&payload)
        .to_vec();
    world.mixer.handle_packet(world.now(), &packet);
}

#[test]
fn keys_are_reported_and_passed_on_to_those_who_take_them() {
    let (mut world, _knobs) = four();
    let mut config = World::output_config(20, 0, None, l16(48_000));
    config.events_payload_type = Some(101);
    world.add_output(config);
    world.run_ms(100);
    let settings = SourceSettings { events: EventHandling::PassOn, ..SourceSettings::default() };
    world.command(MixCommand::SetSource { id: SourceId(0), settings });
    world.events.clear();
    for tick in 0..5_u16 {
        press(&mut world, 0, tick, 16_000, [9, 10, 0, (160 * tick + 160).to_be_bytes()[1]]);
        world.tick();
    }
    for sequence in 5..8 {
        press(&mut world, 0, sequence, 16_000, [9, 0x8a, 0x03, 0xc0]);
    }
    world.tick();
    world.run_ms(100);
    let event = MixEvent::Dtmf { source: SourceId(0), event: 9, duration_ms: 120 };
    assert_eq!(world.events, [event]);
    let receiver = &world.receivers[&20];
    let events = &receiver.events;
    assert_eq!(events.len(), 5 + 3);
    assert!(events.iter().all(|(_, timestamp, payload)| *timestamp == events[0].1 && payload[0] == 9));
    assert_eq!(events.iter().map(|(marker, _, _)| *marker).filter(|marker| *marker).count(), 1);
    assert!(events[0].0 && events[0].2 == [9, 10, 3, 0xc0], "the first 20 ms at 48 kHz: {:?}", events[0]);
    // 120 ms are 5760 ticks.
    assert!(events[5..].iter().all(|(_, _, payload)| payload == &[9, 0x8a, 0x16, 0x80]), "{events:?}");
    assert!(world.receivers[&1].events.is_empty(), "who does not take events gets none");
    // Sound comes back, as a talk spurt of its own.
    assert_eq!(receiver.markers, 3);
}

#[test]
fn keys_are_stripped_or_only_reported() {
    let (mut world, _knobs) = four();
    let mut config = World::output_config(20, 0, None, l16(48_000));
    config.events_payload_type = Some(101);
    world.add_output(config);
    world.run_ms(100);
    world.events.clear();
    let settings = SourceSettings { events: EventHandling::Strip, ..SourceSettings::default() };
    world.command(MixCommand::SetSource { id: SourceId(1), settings });
    for source in [0, 1] {
        press(&mut world, source, 1, 800, [5, 0x8a, 0x03, 0x20]);
    }
    press(&mut world, 0, 2, 5_000, [1, 2, 3, 4]);
    world.run_ms(400);
    assert_eq!(world.events[0], MixEvent::Dtmf { source: SourceId(0), event: 5, duration_ms: 100 });
    assert!(
        matches!(world.events[1], MixEvent::Dtmf { source: SourceId(0), event: 1, .. }),
        "its end was lost"
    );
    assert_eq!(world.events.len(), 2);
    assert!(world.receivers[&20].events.is_empty());
}
