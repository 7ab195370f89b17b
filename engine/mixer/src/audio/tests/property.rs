//! Any sequence of commands, against a mixer that does nothing but sum up.

use super::world::{World, l16, step_max, tone_at};
use crate::audio::{
    Gain, GroupId, MixCommand, MixConfig, MixError, OutputId, OutputSettings, SourceId, SourceSettings,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const RATE_HZ: u32 = 16_000;
const IDS: u32 = 5;
/// Ticks after which a command has had its effect.
const SETTLED: u32 = 4;

#[derive(Clone, Debug)]
enum Op {
    AddSource(u32, u32),
    RemoveSource(u32),
    MoveSource(u32, u32),
    SetSource(u32, bool, bool, i16),
    Speak(u32, u8),
    AddOutput(u32, u32),
    RemoveOutput(u32),
    MoveOutput(u32, u32),
    SetOutput(u32, bool, i16),
    SetPair(u32, u32, Option<i16>),
    SetFloor(u32, Option<Vec<u32>>),
    Run(u8),
}

fn gain(db: i16) -> Gain {
    if db < -20 { Gain::SILENT } else { Gain::from_db(f32::from(db)).expect("in range") }
}

fn ops() -> impl Strategy<Value = Op> {
    let id = 0..IDS;
    let group = 0..2_u32;
    let db = -24_i16..6;
    prop_oneof![
        (id.clone(), group.clone()).prop_map(|(id, group)| Op::AddSource(id, group)),
        id.clone().prop_map(Op::RemoveSource),
        (id.clone(), group.clone()).prop_map(|(id, group)| Op::MoveSource(id, group)),
        (id.clone(), any::<bool>(), any::<bool>(), db.clone())
            .prop_map(|(id, muted, private, db)| Op::SetSource(id, muted, private, db)),
        (id.clone(), 0..3_u8).prop_map(|(id, level)| Op::Speak(id, level)),
        (id.clone(), 0..3_u8).prop_map(|(id, level)| Op::Speak(id, level)),
        (id.clone(), group.clone()).prop_map(|(id, group)| Op::AddOutput(id, group)),
        (id.clone(), group.clone()).prop_map(|(id, group)| Op::AddOutput(id, group)),
        id.clone().prop_map(Op::RemoveOutput),
        (id.clone(), group.clone()).prop_map(|(id, group)| Op::MoveOutput(id, group)),
        (id.clone(), any::<bool>(), db.clone()).prop_map(|(id, deaf, db)| Op::SetOutput(id, deaf, db)),
        (id.clone(), id.clone(), prop::option::of(db)).prop_map(|(s, o, db)| Op::SetPair(s, o, db)),
        (group, prop::option::of(prop::collection::vec(id, 0..3))).prop_map(|(g, h)| Op::SetFloor(g, h)),
        (1..60_u8).prop_map(Op::Run),
    ]
}

struct NaiveSource {
    group: u32,
    settings: SourceSettings,
    amplitude: f32,
}

struct NaiveOutput {
    group: u32,
    settings: OutputSettings,
    pairs: BTreeMap<u32, Gain>,
}

/// What should be heard.
#[derive(Default)]
struct Naive {
    sources: BTreeMap<u32, NaiveSource>,
    outputs: BTreeMap<u32, NaiveOutput>,
    floors: BTreeMap<u32, Vec<u32>>,
}

impl Naive {
    fn sample(&self, output: u32, at: u64) -> f32 {
        let listener = &self.outputs[&output];
        let mut sum = 0.0;
        for (id, source) in &self.sources {
            let floor = self.floors.get(&source.group).is_none_or(|holders| holders.contains(id));
            let apart = source.group != listener.group || *id == output || listener.settings.deaf;
            if apart || source.settings.muted || !floor {
                continue;
            }
            let heard = listener.pairs.get(id).copied().unwrap_or(source.settings.heard);
            let gain = source.settings.gain.linear() * heard.linear();
            sum += gain * source.amplitude * tone_at(hz(*id), RATE_HZ, at);
        }
        sum * listener.settings.gain.linear()
    }
}

fn hz(id: u32) -> f32 {
    150.0 + 37.0 * id as f32
}

/// The command that an operation is; none for what is done otherwise.
fn command(op: &Op) -> Option<MixCommand> {
    Some(match op.clone() {
        Op::AddSource(..) | Op::AddOutput(..) | Op::Speak(..) | Op::Run(_) => return None,
        Op::RemoveSource(id) => MixCommand::RemoveSource(SourceId(id)),
        Op::MoveSource(id, group) => MixCommand::MoveSource { id: SourceId(id), group: GroupId(group) },
        Op::SetSource(id, muted, private, db) => {
            MixCommand::SetSource { id: SourceId(id), settings: source_settings(muted, private, db) }
        }
        Op::RemoveOutput(id) => MixCommand::RemoveOutput(OutputId(id)),
        Op::MoveOutput(id, group) => MixCommand::MoveOutput { id: OutputId(id), group: GroupId(group) },
        Op::SetOutput(id, deaf, db) => MixCommand::SetOutput {
            id: OutputId(id),
            settings: OutputSettings { gain: gain(db), deaf, ..OutputSettings::default() },
        },
        Op::SetPair(source, output, db) => {
            let (source, output) = (SourceId(source), OutputId(output));
            MixCommand::SetPair { source, output, gain: db.map(gain) }
        }
        Op::SetFloor(group, holders) => {
            let holders = holders.map(|ids| ids.into_iter().map(SourceId).collect());
            MixCommand::SetFloor { group: GroupId(group), holders }
        }
    })
}

fn source_settings(muted: bool, private: bool, db: i16) -> SourceSettings {
    let heard = if private { Gain::SILENT } else { Gain::UNITY };
    SourceSettings { muted, heard, gain: gain(db), ..SourceSettings::default() }
}

impl Naive {
    /// Notes what a command does that the mixer has accepted.
    fn note(&mut self, op: &Op) {
        match op.clone() {
            Op::RemoveSource(id) => {
                self.sources.remove(&id);
                for output in self.outputs.values_mut() {
                    output.pairs.remove(&id);
                }
            }
            Op::MoveSource(id, group) => self.sources.get_mut(&id).expect("there").group = group,
            Op::SetSource(id, muted, private, db) => {
                let source = self.sources.get_mut(&id).expect("there");
                source.settings = source_settings(muted, private, db);
            }
            Op::RemoveOutput(id) => drop(self.outputs.remove(&id)),
            Op::MoveOutput(id, group) => self.outputs.get_mut(&id).expect("there").group = group,
            Op::SetOutput(id, deaf, db) => {
                self.outputs.get_mut(&id).expect("there").settings =
                    OutputSettings { gain: gain(db), deaf, ..OutputSettings::default() };
            }
            Op::SetPair(source, output, db) => {
                let pairs = &mut self.outputs.get_mut(&output).expect("there").pairs;
                match db {
                    Some(db) => pairs.insert(source, gain(db)),
                    None => pairs.remove(&source),
                };
            }
            Op::SetFloor(group, Some(holders)) => drop(self.floors.insert(group, holders)),
            Op::SetFloor(group, None) => drop(self.floors.remove(&group)),
            Op::AddSource(..) | Op::AddOutput(..) | Op::Speak(..) | Op::Run(_) => {}
        }
    }
}

impl World {
    /// Carries out an operation in both; what the mixer refuses the other does not know.
    fn apply(&mut self, naive: &mut Naive, op: &Op) -> Result<(), MixError> {
        match *op {
            Op::AddSource(id, group) if !naive.sources.contains_key(&id) => {
                let settings = SourceSettings::default();
                naive.sources.insert(id, NaiveSource { group, settings, amplitude: 0.0 });
                self.add_source(World::source_config(id, group), hz(id));
            }
            Op::AddOutput(id, group) if !naive.outputs.contains_key(&id) => {
                let settings = OutputSettings::default();
                naive.outputs.insert(id, NaiveOutput { group, settings, pairs: BTreeMap::new() });
                self.add_output(World::output_config(id, group, Some(id), l16(RATE_HZ)));
            }
            Op::Speak(id, level) => {
                if let Some(source) = naive.sources.get_mut(&id) {
                    source.amplitude = [0.0, 0.02, 0.08][usize::from(level)];
                    self.knobs[&id].set(source.amplitude);
                }
            }
            Op::Run(ticks) => (0..ticks).for_each(|_| self.tick()),
            _ => {
                if let Some(command) = command(op) {
                    self.mixer.handle_command(command)?;
                    naive.note(op);
                }
            }
        }
        Ok(())
    }

    /// Runs until changes have had their effect; the last tick is as the naive mixer says.
    fn compare(&mut self, naive: &Naive) -> Result<(), TestCaseError> {
        (0..SETTLED).for_each(|_| self.tick());
        let frame = u64::from(RATE_HZ / 50);
        for id in naive.outputs.keys() {
            let receiver = self.receivers.get_mut(id).expect("there");
            let samples = receiver.take_samples();
            let last = &samples[samples.len() - frame as usize..];
            for (n, sample) in last.iter().enumerate() {
                let at = u64::from(self.ticks - 1) * frame + n as u64;
                let expected = naive.sample(*id, at);
                prop_assert!((sample - expected).abs() < 2e-4, "output {id}: {sample} for {expected}");
            }
            // Five tones of up to 334 Hz: 0.08 * 2 * 10 dB of gains make steps of at most 0.2; ramps less.
            prop_assert!(step_max(&samples) < 0.2, "output {id}: a step of {}", step_max(&samples));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_commands_sounds_like_the_sum(
        script in prop::collection::vec(prop::collection::vec(ops(), 1..4), 1..40),
    ) {
        let mut world = World::new(MixConfig { rate_hz: RATE_HZ, speakers_max: 64, ..MixConfig::default() });
        let mut naive = Naive::default();
        for ops in &script {
            for op in ops {
                let known = world.apply(&mut naive, op).is_ok();
                // Refused are only commands about what is not there, or about a voice and its own ears.
                let refusable = match op {
                    Op::RemoveSource(id) | Op::MoveSource(id, _) | Op::SetSource(id, ..) => {
                        !naive.sources.contains_key(id)
                    }
                    Op::RemoveOutput(id) | Op::MoveOutput(id, _) | Op::SetOutput(id, ..) => {
                        !naive.outputs.contains_key(id)
                    }
                    Op::SetPair(source, output, _) => {
                        let both = naive.sources.contains_key(source) && naive.outputs.contains_key(output);
                        !both || source == output
                    }
                    _ => false,
                };
                prop_assert!(known || refusable, "{op:?}");
            }
            world.compare(&naive)?;
        }
        // When all have left, nothing is left.
        for id in 0..IDS {
            let _ = world.apply(&mut naive, &Op::RemoveSource(id));
            let _ = world.apply(&mut naive, &Op::RemoveOutput(id));
        }
        (0..SETTLED).for_each(|_| world.tick());
        prop_assert_eq!(world.mixer.encoders(), 0);
        prop_assert_eq!(world.out.packets().len(), 0);
    }
}
