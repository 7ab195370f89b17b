//! Commands about rooms, prompts and the mixer as a whole.

use crate::audio::group::Group;
use crate::audio::limits::{GROUPS_MAX, PROMPTS_MAX};
use crate::audio::mixer::AudioMixer;
use crate::audio::prompt::{Playing, Target};
use crate::audio::{Effort, GroupId, MixError, PromptConfig, PromptId, PromptTarget, SourceId};

impl AudioMixer {
    /// The place of a room, which is made when it is not there.
    pub(super) fn group(&mut self, id: GroupId) -> Result<u32, MixError> {
        if let Some(place) = self.groups.iter().position(|group| group.id == id) {
            return Ok(place as u32);
        }
        if let Some(place) = self.groups.iter().position(|group| group.is_empty(self.tick)) {
            self.groups[place] = Group::new(id);
            return Ok(place as u32);
        }
        if self.groups.len() >= GROUPS_MAX {
            return Err(MixError::too_many_groups());
        }
        self.groups.push(Group::new(id));
        Ok(self.groups.len() as u32 - 1)
    }

    pub(super) fn set_floor(
        &mut self,
        group: GroupId,
        holders: Option<Vec<SourceId>>,
    ) -> Result<(), MixError> {
        let group = self.group(group)?;
        self.groups[group as usize].floor = holders;
        for place in 0..self.sources.places() {
            if self.sources.at(place).is_some_and(|source| source.group == group) {
                self.take_floor(place);
            }
        }
        Ok(())
    }

    pub(super) fn set_tap(&mut self, group: GroupId, on: bool) -> Result<(), MixError> {
        let group = self.group(group)?;
        self.groups[group as usize].tap = on;
        Ok(())
    }

    pub(super) fn play_prompt(&mut self, config: PromptConfig) -> Result<(), MixError> {
        let PromptConfig { id, sound, to, gain, repeat, duck } = config;
        if self.prompts.place(id.0).is_some() {
            return Err(MixError::PromptExists(id));
        }
        if self.prompts.len() >= PROMPTS_MAX {
            return Err(MixError::too_many_prompts());
        }
        if sound.rate_hz() != self.config.rate_hz {
            return Err(MixError::PromptRate { prompt_hz: sound.rate_hz(), mix_hz: self.config.rate_hz });
        }
        if sound.samples().is_empty() {
            return Err(MixError::PromptEmpty);
        }
        let target = match to {
            PromptTarget::Group(group) => Target::Group(self.group(group)?),
            PromptTarget::Outputs(outputs) => {
                let places = outputs.into_iter().map(|output| self.output(output));
                let mut places = places.collect::<Result<Vec<_>, _>>()?;
                places.sort_unstable();
                places.dedup();
                Target::Outputs(places)
            }
        };
        let strip = self.strips.acquire(self.config.rate_hz, gain.linear(), 1.0);
        // A prompt begins as it was recorded.
        self.strips.at_mut(strip).fade.from = 1.0;
        let place = self.prompts.insert(id.0, Playing::new(id, sound, repeat, target.clone(), duck, strip));
        match target {
            Target::Group(group) => {
                let group = &mut self.groups[group as usize];
                group.prompts.push(strip);
                group.members += 1;
            }
            Target::Outputs(outputs) => {
                for output in outputs {
                    let prompts = &mut self.outputs[output].prompts;
                    prompts.push(place);
                    prompts.sort_unstable();
                    self.mark_output(output);
                }
            }
        }
        Ok(())
    }

    pub(super) fn stop_prompt(&mut self, id: PromptId) -> Result<(), MixError> {
        let place = self.prompts.place(id.0).ok_or(MixError::UnknownPrompt(id))?;
        let prompt = &mut self.prompts[place];
        if prompt.is_heard() {
            prompt.stopped = true;
            self.strips.at_mut(prompt.strip).fade.to = 0.0;
        }
        Ok(())
    }

    /// What overload takes away, or gives back.
    pub(super) fn set_effort(&mut self, effort: Effort) {
        let seats = self.config.speakers_max.min(effort.speakers_max.unwrap_or(u16::MAX)).max(1);
        self.rules.seats = usize::from(seats);
        self.effort = effort;
        let complexity_max = effort.complexity_max.unwrap_or(10);
        for format in self.formats.iter_mut().flatten() {
            format.template.set_complexity(format.settings.complexity.min(complexity_max));
        }
        for feed in self.feeds.iter_mut() {
            if let Some(format) = &self.formats[feed.format as usize] {
                feed.encoder.set_complexity(format.settings.complexity.min(complexity_max));
            }
        }
    }
}
