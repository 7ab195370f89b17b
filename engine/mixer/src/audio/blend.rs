//! The second half of a tick: prompts, who takes which feed, encoding, packets.

use super::feed::{Feed, Format, Recipe};
use super::group::Group;
use super::kernel::{self, Ramp};
use super::limits::PAYLOAD_BYTES_MAX;
use super::listen::mark;
use super::mixer::{AudioMixer, Buffers, ticks};
use super::outbox::Span;
use super::output::{NO_FEED, Output};
use super::prompt::{Playing, Target};
use super::slots::Slots;
use super::source::Source;
use super::strip::{Strip, Strips};
use super::{Gain, MixEvent, MixOutbox, MixStats, OutputId};

/// What is no more than this becomes zero in 16 bits.
const SILENT_BELOW: f32 = 0.5 / 32_768.0;
/// So long silence is encoded before it is not sent: what encoders look ahead comes out.
const SILENT_TICKS_SENT: u32 = 3;

/// What there is to be mixed.
struct Sounds<'a> {
    groups: &'a [Group],
    sources: &'a Slots<Source>,
    prompts: &'a Slots<Playing>,
    strips: &'a Strips,
}

impl AudioMixer {
    /// Takes a tick of every prompt, and ends those that are over.
    pub(super) fn play_prompts(&mut self) {
        for group in &mut self.groups {
            group.duck.to = 1.0;
        }
        for place in 0..self.prompts.places() {
            let Some(prompt) = self.prompts.at_mut(place) else { continue };
            let strip = self.strips.at_mut(prompt.strip);
            if prompt.has_ended() {
                // All was said; there is nothing to fade.
                strip.fade = Ramp::at(0.0);
            }
            if strip.is_over() {
                self.end_prompt(place);
                continue;
            }
            prompt.fill(&mut strip.samples);
            if let (Target::Group(group), Some(duck), true) = (&prompt.target, prompt.duck, prompt.is_heard())
            {
                let ramp = &mut self.groups[*group as usize].duck;
                ramp.to = ramp.to.min(duck.linear());
            }
        }
    }

    fn end_prompt(&mut self, place: u32) {
        let prompt = &self.prompts[place];
        let (id, strip, stopped) = (prompt.id, prompt.strip, prompt.stopped);
        match &prompt.target {
            Target::Group(group) => {
                let group = &mut self.groups[*group as usize];
                group.prompts.retain(|other| *other != strip);
                group.members -= 1;
            }
            Target::Outputs(outputs) => {
                for output in outputs {
                    let listener = &mut self.outputs[*output];
                    listener.prompts.retain(|prompt| *prompt != place);
                    mark(listener, *output, &mut self.dirty);
                }
            }
        }
        self.strips.release(strip);
        self.prompts.remove(id.0, place);
        self.report(MixEvent::PromptFinished { prompt: id, stopped });
    }

    /// Gives outputs that are to hear something else their feeds, and brings together what is the same.
    pub(super) fn assign(&mut self) {
        while let Some(place) = self.dirty.pop() {
            let Some(output) = self.outputs.at_mut(place) else { continue };
            output.dirty = false;
            let recipe = recipe(output, &self.sources);
            let wire = &mut self.wires[output.wire as usize];
            wire.feed = if wire.feed == NO_FEED {
                let format = self.formats[wire.format as usize].as_ref();
                let format = format.expect("an output's format is there");
                self.feeds.begin(recipe, wire.format, format, self.tick)
            } else {
                self.feeds.change(wire.feed, recipe, self.tick)
            };
        }
        self.feeds.join(self.tick, u64::from(ticks(self.config.share_after_ms)));
        if self.feeds.joined.is_empty() {
            return;
        }
        for wire in &mut self.wires {
            if let Some((_, to)) = self.feeds.joined.iter().find(|(from, _)| *from == wire.feed) {
                wire.feed = *to;
            }
        }
    }

    /// Mixes and encodes every feed.
    pub(super) fn encode(&mut self, out: &mut MixOutbox) {
        for format in self.formats.iter_mut().flatten() {
            let samples = self.strips.frame(format.rate);
            format.advance(samples);
        }
        let sounds = Sounds {
            groups: &self.groups,
            sources: &self.sources,
            prompts: &self.prompts,
            strips: &self.strips,
        };
        for feed in self.feeds.iter_mut() {
            let format = self.formats[feed.format as usize].as_ref().expect("a feed's format is there");
            let buffers = &mut self.buffers;
            sounds.mix(&feed.recipe, None, format.rate, &mut buffers.mix);
            if let Some(before) = feed.before.take() {
                sounds.mix(&before, Some(&feed.recipe), format.rate, &mut buffers.before);
                Ramp { from: 0.0, to: 1.0 }.apply(&mut buffers.mix);
                Ramp { from: 1.0, to: 0.0 }.add(&mut buffers.mix, &buffers.before);
            }
            self.stats.limited += u64::from(feed.limiter.process(&mut buffers.mix));
            // An encoder that collects samples must have all.
            let may_skip = self.effort.skip_silence && format.frame == buffers.mix.len();
            let silent = may_skip && kernel::peak(&buffers.mix) < SILENT_BELOW;
            feed.silent_ticks = if silent { feed.silent_ticks + 1 } else { 0 };
            if feed.silent_ticks > SILENT_TICKS_SENT {
                feed.payload = Span::default();
                continue;
            }
            encode(feed, format, buffers, out, &mut self.stats);
        }
    }

    /// A packet for every output whose feed has something to say.
    pub(super) fn send(&mut self, out: &mut MixOutbox) {
        let events = self.begin_events();
        let packets_before = out.packets().len();
        let mut payloads = 0;
        for feed in self.feeds.iter_mut() {
            payloads += usize::from(feed.payload.len > 0);
        }
        for index in 0..self.wires.len() {
            if events && self.send_event(index, out) {
                continue;
            }
            let wire = &mut self.wires[index];
            let format = self.formats[wire.format as usize].as_ref().expect("an output's format is there");
            let payload = self.feeds.at(wire.feed).payload;
            if payload.len > 0 {
                let header = wire.next(format.timestamp);
                out.packet(wire.output, header, payload);
            } else if format.due {
                wire.marker = true;
            }
        }
        let packets = out.packets().len() - packets_before;
        self.stats.packets += packets as u64;
        self.stats.shared += packets.saturating_sub(payloads) as u64;
        if events {
            self.end_events();
        }
    }

    /// Which output a wire belongs to, for events.
    pub(super) fn output_of(&self, wire: usize) -> (&Output, OutputId) {
        let wire = &self.wires[wire];
        (&self.outputs[wire.place], wire.output)
    }
}

/// What an output is to hear in this tick. Only differences that make one are named, so that all who hear the same
/// have the same recipe.
fn recipe(output: &Output, sources: &Slots<Source>) -> Recipe {
    let loud = output.settings.background.map(|(_, gain)| gain);
    let mut recipe = Recipe {
        group: output.group,
        background: None,
        deaf: output.settings.deaf,
        gain: output.settings.gain,
        changes: Vec::new(),
        prompts: output.prompts.clone(),
        loss_percent: output.loss_percent,
    };
    if recipe.deaf {
        return recipe;
    }
    recipe.background = output.background.zip(loud);
    let own = output.own_place.map(|place| (place, Gain::SILENT));
    for (place, gain) in output.pairs.iter().copied().chain(own) {
        let source = &sources[place];
        let hears = source.group == output.group || Some(source.group) == output.background;
        if source.strip.is_some() && hears && source.settings.heard != gain {
            recipe.changes.push((place, gain));
        }
    }
    recipe.changes.sort_unstable();
    recipe
}

impl Sounds<'_> {
    /// What a recipe sounds like in this tick. `next` is the recipe that takes its place, if one does: what enters
    /// the mix in this tick was never heard otherwise.
    fn mix(&self, recipe: &Recipe, next: Option<&Recipe>, rate: usize, mix: &mut Vec<f32>) {
        let group = &self.groups[recipe.group as usize];
        mix.clear();
        if recipe.deaf {
            mix.resize(self.strips.frame(rate), 0.0);
        } else {
            mix.extend_from_slice(group.sources_at(rate));
            if let Some((other, gain)) = recipe.background {
                Ramp::at(gain.linear()).add(mix, self.groups[other as usize].sources_at(rate));
            }
            for change in &recipe.changes {
                self.add_change(recipe, change, rate, mix);
            }
            for change in next.iter().flat_map(|next| &next.changes) {
                let named = recipe.changes.iter().any(|(place, _)| *place == change.0);
                if !named && self.strip_of(recipe, change.0).is_some_and(|(strip, _)| strip.fade.from == 0.0)
                {
                    self.add_change(recipe, change, rate, mix);
                }
            }
            group.duck.apply(mix);
            Ramp::at(self.own_duck(recipe)).apply(mix);
        }
        if !group.prompts.is_empty() {
            Ramp::at(1.0).add(mix, group.prompts_at(rate));
        }
        for place in &recipe.prompts {
            if let Some(prompt) = self.prompts.at(*place) {
                Ramp::at(1.0).add(mix, self.strips.at(prompt.strip).at(rate));
            }
        }
        Ramp::at(recipe.gain.linear()).apply(mix);
    }

    /// The strip of a source of the recipe's rooms, while it is mixed, and how loud that room is.
    fn strip_of(&self, recipe: &Recipe, place: u32) -> Option<(&Strip, f32)> {
        let source = self.sources.at(place)?;
        let loud = if source.group == recipe.group {
            1.0
        } else {
            recipe.background.filter(|(group, _)| *group == source.group)?.1.linear()
        };
        source.strip.map(|strip| (self.strips.at(strip), loud))
    }

    /// Brings a source from the gain for all, at which the sum has it, to another one.
    fn add_change(&self, recipe: &Recipe, (place, gain): &(u32, Gain), rate: usize, mix: &mut [f32]) {
        if let Some((strip, loud)) = self.strip_of(recipe, *place) {
            let (gain, heard) = (gain.linear(), strip.heard);
            Ramp { from: loud * (gain - heard.from), to: loud * (gain - heard.to) }.add(mix, strip.at(rate));
        }
    }

    /// How far the recipe's own prompts bring down the conference.
    fn own_duck(&self, recipe: &Recipe) -> f32 {
        let prompts = recipe.prompts.iter().filter_map(|place| self.prompts.at(*place));
        prompts.filter_map(|prompt| prompt.duck).map(Gain::linear).fold(1.0, f32::min)
    }
}

/// Makes this tick's payload of a feed from its mix.
fn encode(
    feed: &mut Feed,
    format: &Format,
    buffers: &mut Buffers,
    out: &mut MixOutbox,
    stats: &mut MixStats,
) {
    let pcm = &mut buffers.pcm;
    pcm.clear();
    pcm.resize(buffers.mix.len() * format.channels, 0);
    kernel::to_i16(&buffers.mix, pcm);
    if format.channels > 1 {
        // From the end, so that nothing is overwritten before it is read.
        for index in (0..pcm.len()).rev() {
            pcm[index] = pcm[index / format.channels];
        }
    }
    let encoded = out.payload(PAYLOAD_BYTES_MAX, |payload| feed.encoder.encode(pcm, payload));
    feed.payload = encoded.unwrap_or_else(|_| {
        stats.encode_failures += 1;
        Span::default()
    });
    stats.encodes += u64::from(format.due);
}
