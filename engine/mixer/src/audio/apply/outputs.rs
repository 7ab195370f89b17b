//! Commands about outputs, and about who hears whom.

use crate::audio::feed::Format;
use crate::audio::limits::{OUTPUTS_MAX, PAIRS_PER_OUTPUT_MAX, TICKS_PER_SECOND};
use crate::audio::listen::mark;
use crate::audio::mixer::AudioMixer;
use crate::audio::output::{NO_FEED, Output, Wire};
use crate::audio::prompt::Target;
use crate::audio::{Gain, GroupId, MixError, OutputConfig, OutputId, OutputSettings, SourceId};
use motet_codecs::audio::EncoderSettings;

impl AudioMixer {
    pub(super) fn add_output(&mut self, config: OutputConfig) -> Result<(), MixError> {
        if self.outputs.place(config.id.0).is_some() {
            return Err(MixError::OutputExists(config.id));
        }
        if self.outputs.len() >= OUTPUTS_MAX {
            return Err(MixError::too_many_outputs());
        }
        check_payload_types(&config)?;
        let group = self.group(config.group)?;
        // Held, or the next one may be given the same place.
        self.groups[group as usize].members += 1;
        let background = self.background(&config.settings);
        self.groups[group as usize].members -= 1;
        let background = background?;
        let format = self.format(&config)?;
        let shared = self.formats[format as usize].as_mut().expect("just found");
        shared.outputs += 1;
        let OutputConfig { id, own, ssrc, first_sequence, first_timestamp, settings, .. } = config;
        // The first tick that it hears is the next one.
        let timestamp = shared.next_timestamp();
        let loss_percent = shared.loss_step(config.encoder.loss_percent);
        let own_place = own.and_then(|own| self.sources.place(own.0));
        let output = Output {
            group,
            background: None,
            settings,
            own,
            own_place,
            pairs: Vec::new(),
            prompts: Vec::new(),
            events_payload_type: config.events_payload_type,
            loss_percent,
            wire: self.wires.len() as u32,
            dirty: false,
        };
        let place = self.outputs.insert(id.0, output);
        self.wires.push(Wire {
            output: id,
            place,
            feed: NO_FEED,
            format,
            ssrc,
            timestamp_offset: first_timestamp.wrapping_sub(timestamp),
            sequence: first_sequence,
            payload_type: config.payload_type,
            marker: true,
        });
        if let Some(own) = own_place {
            self.sources[own].dependents.push(place);
        }
        self.groups[group as usize].members += 1;
        self.note_rates(group);
        self.set_background(place, background);
        self.mark_output(place);
        Ok(())
    }

    pub(super) fn set_output(&mut self, id: OutputId, settings: OutputSettings) -> Result<(), MixError> {
        let place = self.output(id)?;
        let background = self.background(&settings)?;
        self.outputs[place].settings = settings;
        self.set_background(place, background);
        self.mark_output(place);
        Ok(())
    }

    /// The place of the room that is to be heard as well.
    fn background(&mut self, settings: &OutputSettings) -> Result<Option<u32>, MixError> {
        settings.background.map(|(group, _)| self.group(group)).transpose()
    }

    fn set_background(&mut self, place: u32, background: Option<u32>) {
        let before = std::mem::replace(&mut self.outputs[place].background, background);
        if let Some(group) = background {
            self.groups[group as usize].members += 1;
            self.note_rates(group);
        }
        if let Some(group) = before {
            self.leave_room(group);
        }
    }

    /// An output hears a room no more, but for crossing over in the next tick: its rates stay until somebody else
    /// comes or goes.
    fn leave_room(&mut self, group: u32) {
        let group = &mut self.groups[group as usize];
        group.members -= 1;
        group.needed_tick = self.tick + 1;
    }

    pub(super) fn set_output_loss(&mut self, id: OutputId, percent: u8) -> Result<(), MixError> {
        let place = self.output(id)?;
        let output = &mut self.outputs[place];
        let format = self.formats[self.wires[output.wire as usize].format as usize].as_ref();
        let step = format.expect("an output's format is there").loss_step(percent);
        if step != output.loss_percent {
            output.loss_percent = step;
            self.mark_output(place);
        }
        Ok(())
    }

    pub(super) fn move_output(&mut self, id: OutputId, group: GroupId) -> Result<(), MixError> {
        let place = self.output(id)?;
        let to = self.group(group)?;
        let from = std::mem::replace(&mut self.outputs[place].group, to);
        self.groups[to as usize].members += 1;
        self.note_rates(to);
        self.leave_room(from);
        self.mark_output(place);
        Ok(())
    }

    pub(super) fn remove_output(&mut self, id: OutputId) -> Result<(), MixError> {
        let place = self.output(id)?;
        let Some(output) = self.outputs.remove(id.0, place) else { return Err(MixError::UnknownOutput(id)) };
        let wire = self.wires.swap_remove(output.wire as usize);
        if let Some(moved) = self.wires.get(output.wire as usize) {
            self.outputs[moved.place].wire = output.wire;
        }
        if wire.feed != NO_FEED {
            self.feeds.end(wire.feed);
        }
        let sources = output.pairs.iter().map(|(source, _)| *source).chain(output.own_place);
        for source in sources {
            self.sources[source].dependents.retain(|other| *other != place);
        }
        for prompt in output.prompts {
            let prompt = &mut self.prompts[prompt];
            if let Target::Outputs(outputs) = &mut prompt.target {
                outputs.retain(|other| *other != place);
                if outputs.is_empty() {
                    prompt.stopped = true;
                    self.strips.at_mut(prompt.strip).fade.to = 0.0;
                }
            }
        }
        self.dirty.retain(|other| *other != place);
        let slot = &mut self.formats[wire.format as usize];
        if let Some(format) = slot {
            format.outputs -= 1;
            if format.outputs == 0 {
                *slot = None;
            }
        }
        for group in [output.group].into_iter().chain(output.background) {
            self.groups[group as usize].members -= 1;
            self.note_rates(group);
        }
        Ok(())
    }

    pub(super) fn set_pair(
        &mut self,
        source_id: SourceId,
        output_id: OutputId,
        gain: Option<Gain>,
    ) -> Result<(), MixError> {
        let source = self.source(source_id)?;
        let place = self.output(output_id)?;
        let output = &mut self.outputs[place];
        if output.own == Some(source_id) {
            return Err(MixError::OwnVoice { output: output_id, source_id });
        }
        let found = output.pairs.binary_search_by_key(&source, |(source, _)| *source);
        match (found, gain) {
            (Ok(at), Some(gain)) => output.pairs[at].1 = gain,
            (Ok(at), None) => {
                output.pairs.remove(at);
                self.sources[source].dependents.retain(|other| *other != place);
            }
            (Err(_), None) => {}
            (Err(_), Some(_)) if output.pairs.len() >= PAIRS_PER_OUTPUT_MAX => {
                return Err(MixError::too_many_pairs());
            }
            (Err(at), Some(gain)) => {
                output.pairs.insert(at, (source, gain));
                self.sources[source].dependents.push(place);
            }
        }
        self.mark_output(place);
        Ok(())
    }

    /// The codec with its settings, new or as others have it.
    fn format(&mut self, config: &OutputConfig) -> Result<u32, MixError> {
        // Loss is a receiver's own, and told to each feed's encoder.
        let settings = EncoderSettings { loss_percent: 0, ..config.encoder };
        let same = |format: &Format| format.codec == config.codec && format.settings == settings;
        if let Some(at) = self.formats.iter().position(|format| format.as_ref().is_some_and(same)) {
            return Ok(at as u32);
        }
        let mut template = config.codec.encoder(&settings)?;
        let sound = template.format();
        let (rate_hz, channels) = (sound.sample_rate_hz, sound.channels);
        if rate_hz == 0 || !rate_hz.is_multiple_of(TICKS_PER_SECOND) || channels == 0 {
            return Err(MixError::OutputFormat { rate_hz, channels });
        }
        if !self.strips.has_room_for(rate_hz) {
            return Err(MixError::too_many_rates());
        }
        let samples = rate_hz / TICKS_PER_SECOND;
        let frame = template.frame_samples().map_or(samples, |all| (all / usize::from(channels)) as u32);
        // At most one payload a tick.
        if frame < samples {
            return Err(MixError::OutputFormat { rate_hz, channels });
        }
        if let Some(complexity) = self.effort.complexity_max {
            template.set_complexity(complexity.min(settings.complexity));
        }
        let ticks_of = |samples: u32| {
            (u64::from(samples) * u64::from(config.codec.clock_hz) / u64::from(rate_hz)) as u32
        };
        let format = Format {
            codec: config.codec.clone(),
            settings,
            template,
            rate: self.strips.rate(rate_hz),
            channels: usize::from(channels),
            frame: frame as usize,
            clock_per_frame: ticks_of(frame),
            clock_per_tick: ticks_of(samples),
            pending: 0,
            due: false,
            timestamp: 0,
            outputs: 0,
        };
        let free = self.formats.iter().position(Option::is_none);
        let at = free.unwrap_or(self.formats.len());
        if at == self.formats.len() {
            self.formats.push(None);
        }
        self.formats[at] = Some(format);
        Ok(at as u32)
    }

    /// At which rates a room is needed.
    fn note_rates(&mut self, group: u32) {
        let hears = |wire: &&Wire| {
            let output = &self.outputs[wire.place];
            output.group == group || output.background == Some(group)
        };
        let room = &self.groups[group as usize];
        let mut rates = if room.needed_tick > self.tick { room.rates } else { 0 };
        for wire in self.wires.iter().filter(hears) {
            let format = self.formats[wire.format as usize].as_ref().expect("an output's format is there");
            rates |= 1 << format.rate;
        }
        self.groups[group as usize].rates = rates;
    }

    pub(super) fn mark_output(&mut self, place: u32) {
        mark(&mut self.outputs[place], place, &mut self.dirty);
    }

    pub(super) fn output(&self, id: OutputId) -> Result<u32, MixError> {
        self.outputs.place(id.0).ok_or(MixError::UnknownOutput(id))
    }
}

fn check_payload_types(config: &OutputConfig) -> Result<(), MixError> {
    let events = config.events_payload_type;
    for payload_type in events.into_iter().chain([config.payload_type]) {
        if payload_type > 127 {
            return Err(MixError::PayloadType(payload_type));
        }
    }
    if events == Some(config.payload_type) { Err(MixError::PayloadType(config.payload_type)) } else { Ok(()) }
}
