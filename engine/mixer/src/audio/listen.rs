//! The first half of a tick: how loud everybody is, who is mixed, and their sound.

use super::kernel::Ramp;
use super::level::SILENCE_DB;
use super::mixer::{AudioMixer, ticks};
use super::source::Leaving;
use super::stage::{Candidate, Verdict};
use super::{MixEvent, MixOutbox, kernel};
use crate::playout::Pulled;
use motet_rtp::Time;

/// Ticks of voice that make a speaker.
const SPEAKER_TICKS: u32 = 3;
/// Ticks of silence that are part of a voice that begins.
const SPEAKER_GAP_TICKS: u32 = 2;
/// A rival for active speaker is louder by so much.
const ACTIVE_MARGIN_DB: f32 = 2.0;

/// What is known of a source's tick before it is known whether it is mixed.
struct Heard {
    level_db: f32,
    /// Whether its sound was taken, and what it was.
    pulled: Option<Pulled>,
}

impl AudioMixer {
    /// Takes a tick of every source.
    pub(super) fn listen(&mut self, now: Time) {
        for group in &mut self.groups {
            group.best = None;
            while let Some(source) = group.stage.pop_excess(&self.rules) {
                fade_out(&self.sources[source], &mut self.strips);
            }
        }
        for place in 0..self.sources.places() {
            if self.sources.at(place).is_some() {
                self.listen_to(now, place);
            }
        }
        for group in 0..self.groups.len() {
            self.find_active_speaker(group);
        }
    }

    fn listen_to(&mut self, now: Time, place: u32) {
        if let Some(ended) = self.sources[place].keypad.wait(self.tick) {
            // Only a beginning can find another event on its way.
            let _ = self.take_change(place, ended);
        }
        if self.sources[place].strip.is_some_and(|strip| self.strips.at_mut(strip).is_over()) {
            self.leave_mix(place);
        }
        if self.sources[place].strip.is_none() && self.finish_leaving(place) {
            return;
        }
        let heard = if self.sources[place].tap { self.tap(now, place) } else { self.hear(now, place) };
        let verdict = self.judge(place, heard.level_db);
        let seated = verdict.seated;
        if seated && self.sources[place].strip.is_none() {
            self.enter_mix(place);
        }
        self.fill_strip(now, place, &heard, seated);
        let source = &self.sources[place];
        let voice = source.activity.is_voice() && source.may_speak();
        self.note_speaking(place, voice);
    }

    /// The level of a source, from its packets' headers if they say it, from its sound otherwise.
    fn hear(&mut self, now: Time, place: u32) -> Heard {
        let source = &mut self.sources[place];
        if let Some(level_db) = source.claimed_db(self.tick) {
            return Heard { level_db, pulled: None };
        }
        let audible = source.strip.is_some_and(|strip| self.strips.at(strip).is_audible());
        if !source.may_speak() && !audible {
            return Heard { level_db: SILENCE_DB, pulled: None };
        }
        // Not all in the same tick.
        let turn = (self.tick + u64::from(place)).is_multiple_of(u64::from(self.effort.listen_every.max(1)));
        if !turn && source.strip.is_none() && !source.activity.is_voice() {
            return Heard { level_db: source.heard_db, pulled: None };
        }
        let (pulled, level_db) = source.listen(now);
        source.heard_db = level_db;
        self.stats.decodes += 1;
        Heard { level_db, pulled: Some(pulled) }
    }

    /// The same of a source whose sound is wanted by itself, which is decoded whatever its packets say.
    fn tap(&mut self, now: Time, place: u32) -> Heard {
        let source = &mut self.sources[place];
        let samples = self.strips.frame(0);
        let tapped = self.buffers.source_taps.add(source.id, samples);
        if !source.may_speak() || source.is_private() {
            return self.hear(now, place);
        }
        let (pulled, sound_db) = source.listen(now);
        source.heard_db = sound_db;
        self.stats.decodes += 1;
        if pulled != Pulled::Silence {
            let sound = &mut self.buffers.mix;
            sound.clear();
            sound.resize(samples, 0.0);
            source.render(sound);
            kernel::to_i16(sound, tapped);
        }
        Heard { level_db: source.claimed_db(self.tick).unwrap_or(sound_db), pulled: Some(pulled) }
    }

    /// Whether a source is mixed in this tick.
    fn judge(&mut self, place: u32, level_db: f32) -> Verdict {
        let source = &mut self.sources[place];
        let voice = source.activity.update(level_db, &self.voice_rule);
        let group = &mut self.groups[source.group as usize];
        if !source.may_speak() {
            group.stage.remove(place);
            return Verdict::default();
        }
        if voice && source.settings.automatic_gain {
            source.agc.update(level_db);
        }
        // Nobody asks how loud those are who neither speak nor are mixed: most.
        let matters = voice || source.strip.is_some();
        let loudness_db = if matters { source.activity.loudness_db() } else { SILENCE_DB };
        let who = Candidate { source: place, private: source.is_private(), voice, loudness_db };
        let verdict = group.stage.consider(&self.rules, who, &mut source.challenge);
        if let Some(displaced) = verdict.displaced {
            self.stats.displacements += 1;
            fade_out(&self.sources[displaced], &mut self.strips);
        }
        verdict
    }

    /// The sound of a source that is mixed goes to its strip; that of others is passed over.
    fn fill_strip(&mut self, now: Time, place: u32, heard: &Heard, seated: bool) {
        let source = &mut self.sources[place];
        let audible = source.strip.is_some_and(|strip| {
            let strip = self.strips.at_mut(strip);
            strip.fade.to = if seated { 1.0 } else { 0.0 };
            strip.is_audible()
        });
        let Some(strip) = source.strip else {
            if heard.pulled.is_none() {
                source.voice.skip(now);
                self.stats.decodes_skipped += 1;
            }
            return;
        };
        let strip = self.strips.at_mut(strip);
        strip.gain.to = source.gain();
        strip.heard.to = source.settings.heard.linear();
        let pulled = match heard.pulled {
            Some(pulled) => pulled,
            None if audible => {
                self.stats.decodes += 1;
                let (pulled, sound_db) = source.listen(now);
                if source.is_liar(heard.level_db, sound_db) {
                    (source.level_extension, source.claim) = (None, None);
                    self.stats.levels_distrusted += 1;
                }
                pulled
            }
            None => {
                source.voice.skip(now);
                self.stats.decodes_skipped += 1;
                Pulled::Silence
            }
        };
        if pulled == Pulled::Silence || !audible {
            strip.samples.fill(0.0);
        } else {
            source.fill(&mut strip.samples);
        }
    }

    fn enter_mix(&mut self, place: u32) {
        let source = &mut self.sources[place];
        let (rate_hz, heard) = (source.voice.rate_hz(), source.settings.heard.linear());
        let strip = self.strips.acquire(rate_hz, source.gain(), heard);
        source.strip = Some(strip);
        self.groups[source.group as usize].strips.push(strip);
        self.mark_dependents(place);
    }

    fn leave_mix(&mut self, place: u32) {
        let source = &mut self.sources[place];
        let Some(strip) = source.strip.take() else { return };
        self.groups[source.group as usize].strips.retain(|other| *other != strip);
        self.strips.release(strip);
        self.mark_dependents(place);
    }

    /// Those who hear the source otherwise than all do may hear something else from now on.
    pub(super) fn mark_dependents(&mut self, place: u32) {
        for output in &self.sources[place].dependents {
            mark(&mut self.outputs[*output], *output, &mut self.dirty);
        }
    }

    /// A source that is heard no more goes where it is going; whether it is gone.
    fn finish_leaving(&mut self, place: u32) -> bool {
        match self.sources[place].leaving {
            None => false,
            Some(Leaving::Moves(group)) => {
                self.leave_group(place);
                let source = &mut self.sources[place];
                (source.group, source.leaving) = (group, None);
                self.take_floor(place);
                self.mark_dependents(place);
                false
            }
            Some(Leaving::Gone) => {
                self.note_silence(place);
                self.leave_group(place);
                self.forget_source(place);
                true
            }
        }
    }

    /// Takes a source off its group; that it is counted in another one was done by the command.
    fn leave_group(&mut self, place: u32) {
        let group = &mut self.groups[self.sources[place].group as usize];
        group.members -= 1;
        group.stage.remove(place);
        if group.rival.is_some_and(|(rival, _)| rival == place) {
            group.rival = None;
        }
        if let Some(relay) = group.relay.as_mut().filter(|relay| relay.source == place) {
            relay.ended_ms.get_or_insert(0);
        }
        if group.active == Some(place) {
            group.active = None;
            let group = group.id;
            self.report(MixEvent::ActiveSpeaker { group, source: None });
        }
    }

    fn note_speaking(&mut self, place: u32, voice: bool) {
        let hold_ticks = self.hold_ticks();
        let source = &mut self.sources[place];
        if voice {
            (source.voice_ticks, source.quiet_ticks) = (source.voice_ticks.saturating_add(1), 0);
        } else {
            source.quiet_ticks = source.quiet_ticks.saturating_add(1);
            if source.quiet_ticks > SPEAKER_GAP_TICKS {
                source.voice_ticks = 0;
            }
        }
        if !source.speaking && source.voice_ticks >= SPEAKER_TICKS {
            source.speaking = true;
            let event = MixEvent::SpeakerStarted { source: source.id };
            self.report(event);
        } else if source.speaking && source.quiet_ticks > hold_ticks {
            self.note_silence(place);
        }
        let source = &self.sources[place];
        if source.speaking && voice && !source.is_private() {
            let best = &mut self.groups[source.group as usize].best;
            let prominence_db = source.activity.prominence_db();
            if best.is_none_or(|(_, db)| prominence_db > db) {
                *best = Some((place, prominence_db));
            }
        }
    }

    fn note_silence(&mut self, place: u32) {
        let source = &mut self.sources[place];
        if std::mem::replace(&mut source.speaking, false) {
            let event = MixEvent::SpeakerStopped { source: source.id };
            self.report(event);
        }
    }

    /// The active speaker changes when the old one is silent, or another one is louder for some time.
    fn find_active_speaker(&mut self, group: usize) {
        let change_ticks = ticks(self.config.active_speaker_ms);
        let group = &mut self.groups[group];
        let Some((best, db)) = group.best.filter(|(best, _)| group.active != Some(*best)) else {
            group.rival = None;
            return;
        };
        let speaking = group.active.map(|active| &self.sources[active]).filter(|active| active.speaking);
        if let Some(active) = speaking {
            if db < active.activity.prominence_db() + ACTIVE_MARGIN_DB {
                group.rival = None;
                return;
            }
            let ticks = match group.rival {
                Some((rival, ticks)) if rival == best => ticks + 1,
                _ => 1,
            };
            group.rival = Some((best, ticks));
            if ticks < change_ticks {
                return;
            }
        }
        (group.active, group.rival) = (Some(best), None);
        let (group, source) = (group.id, Some(self.sources[best].id));
        self.report(MixEvent::ActiveSpeaker { group, source });
    }

    /// Gives what was taken its gains and rates, sums it up by room, and leaves the recorder its part.
    pub(super) fn blend(&mut self, out: &mut MixOutbox) {
        for (_, source) in self.sources.iter() {
            if let Some(strip) = source.strip {
                self.strips.finish(strip, self.groups[source.group as usize].mask());
            }
        }
        for (_, prompt) in self.prompts.iter() {
            self.strips.finish(prompt.strip, prompt.mask(&self.groups));
        }
        for group in &mut self.groups {
            group.sum(&self.strips);
            if !group.tap {
                continue;
            }
            let mix = &mut self.buffers.mix;
            mix.clear();
            mix.extend_from_slice(group.sources_at(0));
            group.duck.apply(mix);
            Ramp::at(1.0).add(mix, group.prompts_at(0));
            self.stats.limited += u64::from(group.tap_limiter.process(mix));
            kernel::to_i16(mix, out.tap(group.id, mix.len()));
        }
    }

    /// The tick is over.
    pub(super) fn settle(&mut self) {
        for (_, source) in self.sources.iter() {
            if let Some(strip) = source.strip {
                self.strips.settle(strip);
            }
        }
        for (_, prompt) in self.prompts.iter() {
            self.strips.settle(prompt.strip);
        }
        self.groups.iter_mut().for_each(|group| group.duck.settle());
    }
}

fn fade_out(source: &super::source::Source, strips: &mut super::strip::Strips) {
    if let Some(strip) = source.strip {
        strips.at_mut(strip).fade.to = 0.0;
    }
}

/// An output waits to be given another feed.
pub(super) fn mark(output: &mut super::output::Output, place: u32, dirty: &mut Vec<u32>) {
    if !std::mem::replace(&mut output.dirty, true) {
        dirty.push(place);
    }
}
