//! Receivers that lose packets: error correction for them, the same as before for all others.

use super::world::{Knob, World, db, l16, step_max};
use crate::audio::{MixCommand, MixConfig, MixError, OutputId};
use motet_codecs::audio::{AudioCodec, EncoderSettings};

/// Opus, 20 ms.
const FRAME: usize = 960;

fn opus() -> AudioCodec {
    AudioCodec::parse("opus", 48_000, 1, "useinbandfec=1").expect("Opus")
}

fn listen(world: &mut World, id: u32, codec: AudioCodec, fec: bool) {
    let mut config = World::output_config(id, 0, None, codec);
    config.encoder = EncoderSettings { fec, ..EncoderSettings::default() };
    world.add_output(config);
}

fn lose(world: &mut World, id: u32, percent: u8) {
    world.command(MixCommand::SetOutputLoss { id: OutputId(id), percent });
}

/// Three voices that change their loudness all the time, so that nobody can guess how they go on.
struct Voices {
    knobs: Vec<Knob>,
    random: u32,
}

impl Voices {
    fn new(world: &mut World) -> Voices {
        let add = |(id, hz)| world.add_source(World::source_config(id, 0), hz);
        Voices { knobs: [(1, 310.0), (2, 870.0), (3, 1_730.0)].map(add).into(), random: 1 }
    }

    /// Payloads of some outputs, tick by tick.
    fn run(&mut self, world: &mut World, ms: u32, outputs: &[u32]) -> Vec<Vec<Vec<u8>>> {
        let mut payloads = vec![Vec::new(); outputs.len()];
        for tick in 0..ms / 20 {
            for knob in self.knobs.iter().filter(|_| tick % 3 == 0) {
                self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                knob.set(0.02 + 0.2 * (self.random >> 24) as f32 / 256.0);
            }
            world.tick();
            for (output, payloads) in outputs.iter().zip(&mut payloads) {
                let packet = world.out.packets().find(|packet| packet.output.0 == *output);
                payloads.push(packet.expect("one each tick").payload.to_vec());
            }
        }
        payloads
    }
}

/// RFC 6716 section 3.1: configurations from 16 on are CELT, the others have a SILK layer.
fn has_silk(payload: &[u8]) -> bool {
    payload[0] >> 3 < 16
}

/// RFC 6716 section 4.2.3: of one channel and 20 ms, the first two bits are VAD and LBRR.
fn has_copy(payload: &[u8]) -> bool {
    has_silk(payload) && payload[1] & 0x40 != 0
}

fn decode(payloads: &[Vec<u8>], lost: impl Fn(usize) -> bool, fec: bool) -> Vec<i16> {
    let mut decoder = opus().decoder().expect("a decoder");
    let mut sound = Vec::new();
    for (at, payload) in payloads.iter().enumerate() {
        let mut samples = [0; FRAME];
        if lost(at) {
            let next = payloads.get(at + 1).filter(|_| fec).map(Vec::as_slice);
            assert_eq!(decoder.conceal(next, &mut samples), FRAME);
        } else {
            assert_eq!(decoder.decode(payload, &mut samples), Ok(FRAME));
        }
        sound.extend(samples);
    }
    sound
}

#[test]
fn who_loses_packets_finds_them_in_the_next_ones_and_others_get_what_they_got() {
    let mut worlds = [(); 2].map(|()| World::new(MixConfig::default()));
    let [mut heard, mut before] = [Vec::new(), Vec::new()];
    for (loses, (world, kept)) in worlds.iter_mut().zip([&mut heard, &mut before]).enumerate() {
        (10..13).for_each(|id| listen(world, id, opus(), true));
        let mut voices = Voices::new(world);
        voices.run(world, 1_000, &[]);
        assert_eq!(world.mixer.encoders(), 1);
        if loses == 0 {
            lose(world, 10, 5);
        }
        *kept = voices.run(world, 8_000, &[10, 11]);
    }
    assert_eq!((worlds[0].mixer.encoders(), worlds[1].mixer.encoders()), (2, 1));
    assert_eq!(heard[1], before[1], "to the others nothing has happened");
    assert!(!heard[1].iter().any(|payload| has_silk(payload)));
    // Nothing is kept of what does not sound like a voice.
    let after = &heard[0][2..];
    let copies = after.iter().filter(|payload| has_copy(payload)).count();
    assert!(after.iter().all(|payload| has_silk(payload)) && copies * 10 > after.len() * 8, "{copies}");
    let lost = |at: usize| at % 20 == 10;
    let whole = decode(after, |_| false, true);
    let error_db = |fec| {
        let sound = decode(after, lost, fec);
        let (mut noise, mut all) = (0.0_f32, 0.0_f32);
        for (at, (sample, truth)) in sound.iter().zip(&whole).enumerate() {
            if lost(at / FRAME) {
                noise += (f32::from(*sample) - f32::from(*truth)).powi(2);
                all += f32::from(*truth).powi(2);
            }
        }
        db((noise / all).sqrt())
    };
    let (found, guessed) = (error_db(true), error_db(false));
    assert!(found < guessed - 3.0, "{found:.1} dB with the copy, {guessed:.1} dB without");
}

#[test]
fn there_are_no_more_encoders_than_steps() {
    let mut world = World::new(MixConfig::default());
    world.add_source(World::source_config(1, 0), 400.0).set(0.2);
    (100..150).for_each(|id| listen(&mut world, id, opus(), true));
    (200..220).for_each(|id| listen(&mut world, id, opus(), false));
    let pcmu = AudioCodec::parse("PCMU", 8_000, 1, "").expect("G.711");
    (300..320).for_each(|id| listen(&mut world, id, pcmu.clone(), true));
    (400..410).for_each(|id| listen(&mut world, id, l16(16_000), true));
    world.run_ms(100);
    assert_eq!(world.mixer.encoders(), 4);
    let receivers: Vec<u32> = world.receivers.keys().copied().collect();
    for (percent, id) in receivers.iter().enumerate() {
        lose(&mut world, *id, percent as u8);
    }
    world.run_ms(1_000);
    assert_eq!(world.mixer.encoders(), 7, "four steps, and one for each of those that correct nothing");
    // Who comes late finds its step; more than all is the last one.
    let mut config = World::output_config(500, 0, None, opus());
    config.encoder = EncoderSettings { fec: true, loss_percent: 255, ..EncoderSettings::default() };
    world.add_output(config);
    world.run_ms(1_000);
    assert_eq!(world.mixer.encoders(), 7);
    for id in receivers.into_iter().chain([500]) {
        lose(&mut world, id, 0);
    }
    world.run_ms(1_500);
    assert_eq!(world.mixer.encoders(), 4, "all as before");
    let unknown = world.mixer.handle_command(MixCommand::SetOutputLoss { id: OutputId(9), percent: 5 });
    assert_eq!(unknown, Err(MixError::UnknownOutput(OutputId(9))));
}

#[test]
fn steps_are_not_heard() {
    let mut world = World::new(MixConfig::default());
    world.add_source(World::source_config(1, 0), 300.0).set(0.2);
    (1..=4).for_each(|id| listen(&mut world, id, opus(), true));
    world.run_ms(1_000);
    world.clear();
    for percents in [[0, 5, 10, 20], [0, 20, 0, 5], [10, 10, 10, 10], [0, 0, 0, 5], [0, 0, 0, 0]] {
        for (id, percent) in (1..).zip(percents) {
            lose(&mut world, id, percent);
        }
        // Within a tick too, and while the last one is still on its way.
        world.run_ms(100);
        world.run_ms(1_400);
    }
    assert_eq!(world.mixer.encoders(), 1);
    for id in 1..=4 {
        let step = step_max(&world.receivers[&id].samples);
        assert!(step < 0.012, "output {id}: a step of {step}");
        assert!(db(world.level(id, 300.0) / 0.2).abs() < 1.0);
    }
}
