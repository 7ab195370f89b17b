//! The spine: one conference, tick by tick.

use super::feed::{Feeds, Format};
use super::group::Group;
use super::level::VoiceRule;
use super::limits::{EVENTS_MAX, SPEAKERS_MAX, TICK_MS};
use super::outbox::SourceTaps;
use super::output::{Output, Wire};
use super::prompt::Playing;
use super::slots::{NumberMap, Slots};
use super::source::Source;
use super::stage::Rules;
use super::strip::Strips;
use super::{
    Effort, GroupId, MixConfig, MixDrop, MixDrops, MixError, MixEvent, MixOutbox, MixStats, SourceId,
    SourceStatus,
};
use crate::playout::{Inserted, SourcePacket};
use motet_rtp::{RtpView, Time};

/// The audio mix of one conference.
///
/// Calling order: [`handle_command`](Self::handle_command) and [`handle_packet`](Self::handle_packet) as they
/// come, [`tick`](Self::tick) every 20 ms.
pub struct AudioMixer {
    pub(super) config: MixConfig,
    pub(super) rules: Rules,
    pub(super) voice_rule: VoiceRule,
    pub(super) effort: Effort,
    pub(super) tick: u64,
    pub(super) sources: Slots<Source>,
    pub(super) by_ssrc: NumberMap,
    /// By place; empty ones are used again.
    pub(super) groups: Vec<Group>,
    pub(super) strips: Strips,
    pub(super) prompts: Slots<Playing>,
    pub(super) outputs: Slots<Output>,
    /// What sending needs to know of each output, close together.
    pub(super) wires: Vec<Wire>,
    pub(super) formats: Vec<Option<Format>>,
    pub(super) feeds: Feeds,
    /// Outputs that are to hear something else.
    pub(super) dirty: Vec<u32>,
    pub(super) events: Vec<MixEvent>,
    pub(super) drops: MixDrops,
    pub(super) stats: MixStats,
    pub(super) buffers: Buffers,
}

/// Memory that is used again in every tick.
#[derive(Default)]
pub(super) struct Buffers {
    pub mix: Vec<f32>,
    pub before: Vec<f32>,
    pub pcm: Vec<i16>,
    pub source_taps: SourceTaps,
}

impl AudioMixer {
    /// A mix without anybody.
    ///
    /// # Errors
    /// When a value of the configuration is out of its range.
    pub fn new(config: MixConfig) -> Result<Self, MixError> {
        check(&config)?;
        Ok(AudioMixer {
            rules: rules(&config),
            voice_rule: VoiceRule {
                level_db_min: config.voice_db_min,
                above_floor_db: config.voice_above_noise_db,
            },
            effort: Effort::default(),
            tick: 0,
            sources: Slots::new(),
            by_ssrc: NumberMap::default(),
            groups: Vec::new(),
            strips: Strips::new(config.rate_hz),
            prompts: Slots::new(),
            outputs: Slots::new(),
            wires: Vec::new(),
            formats: Vec::new(),
            feeds: Feeds::new(),
            dirty: Vec::new(),
            events: Vec::with_capacity(64),
            drops: MixDrops::default(),
            stats: MixStats::default(),
            buffers: Buffers::default(),
            config,
        })
    }

    /// Takes a datagram with RTP of a source. What cannot be used is counted.
    pub fn handle_packet(&mut self, now: Time, datagram: &[u8]) {
        if let Err((reason, source)) = self.take_packet(now, datagram) {
            self.drops.add(reason);
            if let Some(place) = source {
                self.sources[place].drops.add(reason);
            }
        }
    }

    /// An error says why, and whose it is, if that is known.
    fn take_packet(&mut self, now: Time, datagram: &[u8]) -> Result<(), (MixDrop, Option<u32>)> {
        let view = RtpView::new(datagram).map_err(|error| (error.into(), None))?;
        let place = *self.by_ssrc.get(&view.ssrc()).ok_or((MixDrop::UnknownSsrc, None))?;
        let source = &mut self.sources[place];
        let packet = SourcePacket {
            ssrc: view.ssrc(),
            sequence: view.sequence(),
            timestamp: view.timestamp(),
            marker: view.marker(),
            payload_type: view.payload_type(),
            level: source.read_level(&view),
            payload: view.payload(),
        };
        let taken = match source.voice.insert(now, &packet) {
            Inserted::Queued => {
                source.claim(packet.level, self.tick);
                Ok(())
            }
            Inserted::Event => self.take_telephone_event(place, &packet),
            Inserted::UnknownPayloadType => Err(MixDrop::UnknownPayloadType),
            Inserted::BadPayload => Err(MixDrop::BadPayload),
            Inserted::Late => Err(MixDrop::Late),
            Inserted::Duplicate => Err(MixDrop::Duplicate),
            Inserted::Jump => Err(MixDrop::Jump),
        };
        taken.map_err(|reason| (reason, Some(place)))
    }

    /// Makes one tick of 20 ms: takes that much sound of every source, and leaves in `out` what is to be sent
    /// and reported. What was in `out` is forgotten.
    pub fn tick(&mut self, now: Time, out: &mut MixOutbox) {
        out.clear();
        self.tick += 1;
        self.stats.ticks += 1;
        self.listen(now);
        self.play_prompts();
        self.blend(out);
        self.assign();
        self.encode(out);
        self.send(out);
        self.settle();
        out.take_source_taps(&mut self.buffers.source_taps);
        out.take_events(&mut self.events);
    }

    /// Leaves out `ticks` ticks that the caller was too late for: nothing is sent, time goes on.
    pub fn miss(&mut self, now: Time, ticks: u32) {
        self.stats.ticks_missed += u64::from(ticks);
        for format in self.formats.iter_mut().flatten() {
            format.timestamp = format.timestamp.wrapping_add(ticks.wrapping_mul(format.clock_per_tick));
        }
        for (_, source) in self.sources.iter_mut() {
            source.voice.miss(now, ticks);
        }
    }

    /// What was done since the mixer was made.
    pub fn stats(&self) -> MixStats {
        let mut stats = self.stats;
        (stats.forks, stats.joins) = (self.feeds.forks, self.feeds.joins);
        stats
    }

    /// Packets that were dropped, by reason.
    pub fn drops(&self) -> MixDrops {
        let mut drops = self.drops;
        self.sources.iter().for_each(|(_, source)| source.add_later_drops(&mut drops));
        drops
    }

    /// The configuration that the mixer was made with.
    pub fn config(&self) -> &MixConfig {
        &self.config
    }

    /// How one source is doing; `None` when it is not there.
    pub fn source_status(&self, now: Time, id: SourceId) -> Option<SourceStatus> {
        let source = &self.sources[self.sources.place(id.0)?];
        Some(SourceStatus {
            mixed: source.strip.is_some_and(|strip| self.strips.at(strip).fade.to > 0.0),
            speaking: source.speaking,
            level_db: source.activity.loudness_db(),
            playout: source.voice.stats(now),
            drops: source_drops(source),
        })
    }

    /// How much sooner all ticks since this was asked last could have been without a packet too late for them, in
    /// microseconds. Below 0: some were wanted too soon. `None`: no packet was taken.
    pub fn take_spare_us(&mut self) -> Option<i64> {
        self.sources.iter_mut().filter_map(|(_, source)| source.voice.take_spare_us()).min()
    }

    /// The active speaker of a room; `None` before anybody spoke.
    pub fn active_speaker(&self, group: GroupId) -> Option<SourceId> {
        let group = self.groups.iter().find(|found| found.id == group)?;
        self.sources.at(group.active?).map(|source| source.id)
    }

    /// Samples a second at which sound is summed up in this moment: those of the outputs, and the mix's own while a room
    /// is tapped. In order.
    pub fn rates_hz(&self) -> Vec<u32> {
        let mask = self.groups.iter().fold(0, |mask, group| mask | group.mask());
        let mut rates_hz: Vec<u32> = self.strips.rates_of(mask).collect();
        rates_hz.sort_unstable();
        rates_hz
    }

    /// Encoders at work: one for each mix and codec that is heard.
    pub fn encoders(&self) -> usize {
        self.feeds.len()
    }

    /// Keeps an event for the next tick.
    pub(super) fn report(&mut self, event: MixEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        } else {
            self.stats.events_lost += 1;
        }
    }

    pub(super) fn hold_ticks(&self) -> u32 {
        self.rules.hold_ticks
    }
}

fn source_drops(source: &Source) -> MixDrops {
    let mut drops = source.drops;
    source.add_later_drops(&mut drops);
    drops
}

/// Whole ticks, at least one.
pub(super) fn ticks(ms: u16) -> u32 {
    u32::from(ms).div_ceil(TICK_MS).max(1)
}

fn rules(config: &MixConfig) -> Rules {
    Rules {
        seats: usize::from(config.speakers_max),
        hold_ticks: ticks(config.hold_ms),
        challenge_ticks: ticks(config.challenge_ms),
        safe_ticks: ticks(config.safe_ms),
        margin_db: config.margin_db,
    }
}

fn check(config: &MixConfig) -> Result<(), MixError> {
    if ![8_000, 16_000, 32_000, 48_000].contains(&config.rate_hz) {
        return Err(MixError::MixRate(config.rate_hz));
    }
    let refuse = |right: bool, field: &'static str, takes: &'static str| {
        if right { Ok(()) } else { Err(MixError::Config { field, takes }) }
    };
    refuse((1..=SPEAKERS_MAX).contains(&usize::from(config.speakers_max)), "speakers_max", "1 to 1024")?;
    for (field, ms) in [
        ("hold_ms", config.hold_ms),
        ("challenge_ms", config.challenge_ms),
        ("safe_ms", config.safe_ms),
        ("share_after_ms", config.share_after_ms),
        ("active_speaker_ms", config.active_speaker_ms),
    ] {
        refuse(ms <= 10_000, field, "0 to 10000 milliseconds")?;
    }
    refuse((0.0..=40.0).contains(&config.margin_db), "margin_db", "0 to 40")?;
    refuse((-127.0..=0.0).contains(&config.voice_db_min), "voice_db_min", "-127 to 0")?;
    let above = (0.0..=60.0).contains(&config.voice_above_noise_db);
    refuse(above, "voice_above_noise_db", "0 to 60")?;
    refuse(config.delay_ms_min <= config.delay_ms_max, "delay_ms_min", "at most delay_ms_max")?;
    refuse((20..=2_000).contains(&config.delay_ms_max), "delay_ms_max", "20 to 2000")
}
