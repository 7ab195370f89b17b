//! A prompt that plays.

use super::PromptSound;
use crate::audio::group::Group;
use crate::audio::strip::RateMask;
use crate::audio::{Gain, PromptId, PromptRepeat};

/// Who hears it, by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Group(u32),
    Outputs(Vec<u32>),
}

pub(crate) struct Playing {
    pub id: PromptId,
    pub target: Target,
    pub duck: Option<Gain>,
    pub strip: u32,
    /// It was stopped before its end.
    pub stopped: bool,
    sound: PromptSound,
    at: usize,
    repeat: PromptRepeat,
    /// All of it was played.
    ended: bool,
}

impl Playing {
    pub(crate) fn new(
        id: PromptId,
        sound: PromptSound,
        repeat: PromptRepeat,
        target: Target,
        duck: Option<Gain>,
        strip: u32,
    ) -> Self {
        Playing { id, target, duck, strip, stopped: false, sound, at: 0, repeat, ended: false }
    }

    /// Whether it still ducks what it is heard above.
    pub(crate) fn is_heard(&self) -> bool {
        !self.ended && !self.stopped
    }

    /// Whether the last sample was given.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next tick; silence after the end.
    pub(crate) fn fill(&mut self, samples: &mut [f32]) {
        let mut filled = 0;
        while filled < samples.len() && !self.ended {
            let rest = &self.sound.samples()[self.at..];
            let taken = rest.len().min(samples.len() - filled);
            for (out, sample) in samples[filled..].iter_mut().zip(&rest[..taken]) {
                *out = f32::from(*sample) / 32_768.0;
            }
            filled += taken;
            self.at += taken;
            if self.at == self.sound.samples().len() {
                self.at = 0;
                self.ended = match &mut self.repeat {
                    PromptRepeat::Forever => false,
                    PromptRepeat::Times(times) => {
                        *times = times.saturating_sub(1);
                        *times == 0
                    }
                };
            }
        }
        samples[filled..].fill(0.0);
    }

    /// The rates at which it is needed.
    pub(crate) fn mask(&self, groups: &[Group]) -> RateMask {
        match self.target {
            Target::Group(group) => groups[group as usize].mask(),
            // Whoever hears it, of whichever room.
            Target::Outputs(_) => groups.iter().fold(0, |mask, group| mask | group.mask()),
        }
    }
}
