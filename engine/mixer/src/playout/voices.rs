//! The decoders of a source: payloads become sound at the rate of the line, one channel.

use super::interface::{Carries, PayloadSetting, PlayoutConfigError};
use super::resample::Resampler;
use crate::rate::{self, Filter};
use std::sync::Arc;

/// The longest packet of any codec (RFC 6716 section 2.1.4), in milliseconds.
const PACKET_MS_MAX: u32 = 120;
const NONE: u8 = u8::MAX;

/// What a payload type is, once looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sound,
    Events,
    ComfortNoise,
}

/// All payload types of a source.
pub(super) struct Voices {
    voices: Vec<Voice>,
    by_type: [u8; 128],
    pcm: Vec<i16>,
    mono: Vec<f32>,
}

struct Voice {
    clock_hz: u32,
    carries: Carries,
    resampler: Option<Resampler>,
}

/// The rate of a source's line, and the filter from there to the rate of the mix. It is the highest of all that it may
/// send where that is below the mix's, so that nothing is converted for those who hear it at that rate, nor where
/// nobody hears it; else it is the mix's.
pub(super) fn line_rate(settings: &[PayloadSetting], mix_rate_hz: u32) -> (u32, Option<Arc<Filter>>) {
    let rates = settings.iter().filter_map(|setting| match &setting.carries {
        Carries::Sound(decoder) => Some(decoder.format().sample_rate_hz),
        Carries::Events | Carries::ComfortNoise => None,
    });
    let highest = rates.max().filter(|rate_hz| *rate_hz < mix_rate_hz);
    match highest.and_then(|rate_hz| Some((rate_hz, rate::for_sources(rate_hz, mix_rate_hz)?))) {
        Some((rate_hz, filter)) => (rate_hz, Some(filter)),
        None => (mix_rate_hz, None),
    }
}

impl Voices {
    pub(super) fn new(settings: Vec<PayloadSetting>, line_hz: u32) -> Result<Voices, PlayoutConfigError> {
        let mut by_type = [NONE; 128];
        let mut voices = Vec::with_capacity(settings.len());
        let mut samples_max = 0;
        for PayloadSetting { payload_type, clock_hz, carries } in settings {
            match by_type.get_mut(usize::from(payload_type)) {
                Some(place) if *place == NONE => *place = voices.len() as u8,
                _ => return Err(PlayoutConfigError::PayloadType(payload_type)),
            }
            if !(1000..=192_000).contains(&clock_hz) {
                return Err(PlayoutConfigError::Clock(payload_type));
            }
            let mut resampler = None;
            if let Carries::Sound(decoder) = &carries {
                let format = decoder.format();
                let rates = 8000..=48_000;
                if !rates.contains(&format.sample_rate_hz) || !(1..=2).contains(&format.channels) {
                    return Err(PlayoutConfigError::Format(payload_type));
                }
                resampler = Resampler::new(format.sample_rate_hz, line_hz);
                if resampler.is_none() {
                    return Err(PlayoutConfigError::Format(payload_type));
                }
                samples_max = samples_max.max(format.samples_in_ms(PACKET_MS_MAX));
            }
            voices.push(Voice { clock_hz, carries, resampler });
        }
        Ok(Voices { voices, by_type, pcm: vec![0; samples_max], mono: Vec::with_capacity(samples_max) })
    }

    /// The number and kind of a payload type.
    pub(super) fn find(&self, payload_type: u8) -> Option<(usize, Kind)> {
        let number = *self.by_type.get(usize::from(payload_type))?;
        let kind = match self.voices.get(usize::from(number))?.carries {
            Carries::Sound(_) => Kind::Sound,
            Carries::Events => Kind::Events,
            Carries::ComfortNoise => Kind::ComfortNoise,
        };
        Some((usize::from(number), kind))
    }

    pub(super) fn clock_hz(&self, number: usize) -> u32 {
        self.voices[number].clock_hz
    }

    /// How long a payload sounds, in ticks of its clock; `None` when that cannot be told, is nothing or too long.
    pub(super) fn duration_ticks(&self, number: usize, payload: &[u8]) -> Option<u32> {
        let Voice { clock_hz, carries: Carries::Sound(decoder), .. } = &self.voices[number] else {
            return None;
        };
        let format = decoder.format();
        let samples = decoder.samples_in(payload).ok()?;
        let per_channel = samples as u64 / u64::from(format.channels);
        let longest = u64::from(format.sample_rate_hz * PACKET_MS_MAX / 1000);
        let ticks = per_channel * u64::from(*clock_hz) / u64::from(format.sample_rate_hz);
        (ticks > 0 && per_channel <= longest).then_some(ticks as u32)
    }

    /// Decodes a payload and appends it to `sound`; false when it is not one of the codec.
    pub(super) fn decode(&mut self, number: usize, payload: &[u8], sound: &mut Vec<f32>) -> bool {
        let Voice { carries: Carries::Sound(decoder), resampler: Some(resampler), .. } =
            &mut self.voices[number]
        else {
            return false;
        };
        let Ok(samples) = decoder.decode(payload, &mut self.pcm) else { return false };
        mix_down(&self.pcm[..samples], decoder.format().channels, &mut self.mono);
        resampler.process(&self.mono, sound);
        true
    }

    /// Lets the codec stand in for `ticks` of lost sound before `next`; false when it has nothing of its own.
    pub(super) fn conceal(
        &mut self,
        number: usize,
        next: Option<&[u8]>,
        ticks: u32,
        sound: &mut Vec<f32>,
    ) -> bool {
        let Voice { clock_hz, carries: Carries::Sound(decoder), resampler: Some(resampler) } =
            &mut self.voices[number]
        else {
            return false;
        };
        let format = decoder.format();
        let wanted = u64::from(ticks) * u64::from(format.sample_rate_hz) / u64::from(*clock_hz);
        let wanted = (wanted as usize * usize::from(format.channels)).min(self.pcm.len());
        let samples = decoder.conceal(next, &mut self.pcm[..wanted]);
        mix_down(&self.pcm[..samples], format.channels, &mut self.mono);
        resampler.process(&self.mono, sound);
        samples > 0
    }

    /// Whether a payload brings the sound before it, which is lost.
    pub(super) fn holds_copy(&self, number: usize, next: &[u8]) -> bool {
        match &self.voices[number].carries {
            Carries::Sound(decoder) => decoder.holds_copy(next),
            Carries::Events | Carries::ComfortNoise => false,
        }
    }

    /// The sender starts anew, or its sound was not followed. Gives the samples that its first sound is short of.
    pub(super) fn reset(&mut self, number: usize) -> usize {
        let voice = &mut self.voices[number];
        if let Carries::Sound(decoder) = &mut voice.carries {
            decoder.reset();
        }
        voice.resampler.as_mut().map_or(0, |resampler| {
            resampler.reset();
            resampler.short()
        })
    }
}

fn mix_down(pcm: &[i16], channels: u8, mono: &mut Vec<f32>) {
    mono.clear();
    if channels == 2 {
        let (pairs, _) = pcm.as_chunks::<2>();
        mono.extend(pairs.iter().map(|[left, right]| (f32::from(*left) + f32::from(*right)) / 65_536.0));
    } else {
        mono.extend(pcm.iter().map(|sample| f32::from(*sample) / 32_768.0));
    }
}
