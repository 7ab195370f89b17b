//! Commands about sources.

use crate::audio::agc::Agc;
use crate::audio::level::{Activity, SILENCE_DB};
use crate::audio::limits::SOURCES_MAX;
use crate::audio::mixer::AudioMixer;
use crate::audio::source::{Leaving, Source, Voice};
use crate::audio::suppress::{self, Suppressor};
use crate::audio::{
    Gain, GroupId, MixDrops, MixError, SourceConfig, SourceId, SourcePayload, SourceSettings,
};

impl AudioMixer {
    /// Adds a source whose sound comes from `voice`.
    pub(crate) fn add_voice(&mut self, config: SourceConfig, voice: Box<dyn Voice>) -> Result<(), MixError> {
        let SourceConfig { id, ssrc, group, ref payloads, level_extension, settings } = config;
        if self.sources.place(id.0).is_some() {
            return Err(MixError::SourceExists(id));
        }
        if let Some(taken) = self.by_ssrc.get(&ssrc) {
            return Err(MixError::SsrcTaken { ssrc, source_id: self.sources[*taken].id });
        }
        if self.sources.len() >= SOURCES_MAX {
            return Err(MixError::too_many_sources());
        }
        // RFC 8285 section 4.2 keeps 15 for itself in the one-byte form.
        if let Some(extension @ (0 | 15)) = level_extension {
            return Err(MixError::LevelExtension(extension));
        }
        self.check_settings(&settings)?;
        let group = self.group(group)?;
        let rate_hz = voice.rate_hz();
        self.strips.prepare(rate_hz);
        let event_clocks = payloads.iter().filter_map(|(payload_type, payload)| match payload {
            SourcePayload::Events { clock_hz } => Some((*payload_type, *clock_hz)),
            _ => None,
        });
        let source = Source {
            id,
            ssrc,
            group,
            settings,
            level_extension,
            event_clocks: event_clocks.collect(),
            voice,
            activity: Activity::new(),
            agc: Agc::new(),
            claim: None,
            heard_db: SILENCE_DB,
            lie_ticks: 0,
            suppressor: settings.noise_suppression.then(|| Suppressor::new(rate_hz)),
            challenge: 0,
            strip: None,
            leaving: None,
            has_floor: true,
            dependents: Vec::new(),
            speaking: false,
            voice_ticks: 0,
            quiet_ticks: 0,
            keypad: Default::default(),
            tap: false,
            drops: MixDrops::default(),
        };
        let place = self.sources.insert(id.0, source);
        self.by_ssrc.insert(ssrc, place);
        self.groups[group as usize].members += 1;
        self.take_floor(place);
        for (output_place, output) in self.outputs.iter_mut() {
            if output.own != Some(id) {
                continue;
            }
            self.sources[place].dependents.push(output_place);
            if let Some(before) = output.own_place.replace(place) {
                // The one before fades out still; it is no less the receiver's own.
                match output.pairs.binary_search_by_key(&before, |(source, _)| *source) {
                    Ok(at) => output.pairs[at].1 = Gain::SILENT,
                    Err(at) => output.pairs.insert(at, (before, Gain::SILENT)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn set_source(&mut self, id: SourceId, settings: SourceSettings) -> Result<(), MixError> {
        let place = self.source(id)?;
        self.check_settings(&settings)?;
        let source = &mut self.sources[place];
        source.settings = settings;
        if source.suppressor.is_some() != settings.noise_suppression {
            let rate_hz = source.voice.rate_hz();
            source.suppressor = settings.noise_suppression.then(|| Suppressor::new(rate_hz));
        }
        // Pair gains may differ from what all hear now, and have not before.
        self.mark_dependents(place);
        Ok(())
    }

    fn check_settings(&self, settings: &SourceSettings) -> Result<(), MixError> {
        let rate_hz = self.config.rate_hz;
        if settings.noise_suppression && rate_hz != suppress::RATE_HZ {
            return Err(MixError::NoiseSuppression { rate_hz });
        }
        Ok(())
    }

    pub(super) fn set_source_tap(&mut self, id: SourceId, on: bool) -> Result<(), MixError> {
        let place = self.source(id)?;
        self.sources[place].tap = on;
        Ok(())
    }

    pub(super) fn move_source(&mut self, id: SourceId, group: GroupId) -> Result<(), MixError> {
        let place = self.source(id)?;
        let group = self.group(group)?;
        let source = &mut self.sources[place];
        let target = match source.leaving {
            Some(Leaving::Moves(target)) => target,
            _ => source.group,
        };
        if target == group {
            return Ok(());
        }
        // Counted where it goes from now on, and where it is until it has left.
        if target != source.group {
            self.groups[target as usize].members -= 1;
        }
        source.leaving = (source.group != group).then_some(Leaving::Moves(group));
        if source.group != group {
            self.groups[group as usize].members += 1;
        }
        Ok(())
    }

    pub(super) fn remove_source(&mut self, id: SourceId) -> Result<(), MixError> {
        let place = self.source(id)?;
        let source = &mut self.sources[place];
        if let Some(Leaving::Moves(target)) = source.leaving {
            self.groups[target as usize].members -= 1;
        }
        source.leaving = Some(Leaving::Gone);
        self.by_ssrc.remove(&source.ssrc);
        self.sources.forget(id.0);
        Ok(())
    }

    /// A source that was removed and is heard no more.
    pub(in crate::audio) fn forget_source(&mut self, place: u32) {
        let id = self.sources[place].id;
        let Some(source) = self.sources.remove(id.0, place) else { return };
        source.add_later_drops(&mut self.drops);
        for output in source.dependents {
            let output = &mut self.outputs[output];
            output.pairs.retain(|(source, _)| *source != place);
            // The number may be another source's already.
            if output.own_place == Some(place) {
                output.own_place = None;
            }
        }
    }

    /// Whether a source has the floor of its group.
    pub(in crate::audio) fn take_floor(&mut self, place: u32) {
        let source = &mut self.sources[place];
        let floor = &self.groups[source.group as usize].floor;
        source.has_floor = floor.as_ref().is_none_or(|holders| holders.contains(&source.id));
    }

    pub(super) fn source(&self, id: SourceId) -> Result<u32, MixError> {
        self.sources.place(id.0).ok_or(MixError::UnknownSource(id))
    }
}
