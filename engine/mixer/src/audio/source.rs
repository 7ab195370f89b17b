//! One source: where its sound comes from, how loud it is, and what is to become of it.

use super::agc::Agc;
use super::dtmf::Keypad;
use super::level::{Activity, SILENCE_DB, level_db, level_of_element};
use super::limits::{LEVEL_TICKS_MAX, LIE_DB, LIE_TICKS};
use super::suppress::Suppressor;
use super::{MixDrop, MixDrops, SourceId, SourceSettings};
use crate::playout::{Inserted, PlayoutStats, Pulled, SourcePacket};
use motet_rtp::{RtpView, Time};

/// What turns a source's packets into sound, 20 ms each tick.
pub(crate) trait Voice: Send {
    /// Takes a packet.
    fn insert(&mut self, now: Time, packet: &SourcePacket<'_>) -> Inserted;
    /// Takes one tick.
    fn listen(&mut self, now: Time) -> Pulled;
    /// Samples a second of what is heard.
    fn rate_hz(&self) -> u32;
    /// The tick that was taken, unless it is silence, at its own rate.
    fn heard(&self) -> &[f32];
    /// The same at the rate of the mix.
    fn render(&self, samples: &mut [f32]);
    /// The tick's sound is not wanted.
    fn skip(&mut self, now: Time);
    /// So many ticks are left out.
    fn miss(&mut self, now: Time, ticks: u32);
    /// How much sooner all ticks since it was asked last could have been, in microseconds.
    fn take_spare_us(&mut self) -> Option<i64>;
    /// What was counted; `now` matters to the delays only.
    fn stats(&self, now: Time) -> PlayoutStats;
}

/// Where a source goes when it has faded out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It was removed.
    Gone,
    /// To another group.
    Moves(u32),
}

/// The level that a source said last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub level_db: f32,
    pub tick: u64,
}

pub(crate) struct Source {
    pub id: SourceId,
    pub ssrc: u32,
    pub group: u32,
    pub settings: SourceSettings,
    pub level_extension: Option<u8>,
    /// Clock of the telephone events of each payload type.
    pub event_clocks: Vec<(u8, u32)>,
    pub voice: Box<dyn Voice>,
    pub activity: Activity,
    pub agc: Agc,
    /// The level in its last packet, if it had one.
    pub claim: Option<Claim>,
    /// The level of its sound when it was listened to last.
    pub heard_db: f32,
    /// Ticks for which it was not as loud as it said.
    pub lie_ticks: u32,
    /// What takes its noise out.
    pub suppressor: Option<Suppressor>,
    /// Ticks for which it was louder than who is mixed.
    pub challenge: u32,
    /// Where it is mixed.
    pub strip: Option<u32>,
    pub leaving: Option<Leaving>,
    /// It may speak: the floor is open, or its own.
    pub has_floor: bool,
    /// Outputs that hear it otherwise than all do: its own, and those with pair gains.
    pub dependents: Vec<u32>,
    pub speaking: bool,
    pub voice_ticks: u32,
    pub quiet_ticks: u32,
    pub keypad: Keypad,
    /// Its sound is wanted by itself.
    pub tap: bool,
    /// Its packets that were dropped as they came.
    pub drops: MixDrops,
}

impl Source {
    /// The level that a packet says, in -dBov.
    pub(crate) fn read_level(&self, packet: &RtpView<'_>) -> Option<u8> {
        let element = packet.extension()?.element(self.level_extension?)?;
        level_of_element(element)
    }

    /// Notes the level of a packet that was taken. A sender that stops saying it is listened to.
    pub(crate) fn claim(&mut self, level: Option<u8>, tick: u64) {
        self.claim = level.map(|level| Claim { level_db: -f32::from(level), tick });
    }

    /// The level that the source says it has; silence when its packets stopped.
    pub(crate) fn claimed_db(&self, tick: u64) -> Option<f32> {
        let claim = self.claim?;
        let stale = tick.saturating_sub(claim.tick) > LEVEL_TICKS_MAX;
        Some(if stale { SILENCE_DB } else { claim.level_db })
    }

    /// Takes one tick of its sound; gives its level, too.
    pub(crate) fn listen(&mut self, now: Time) -> (Pulled, f32) {
        let mut pulled = self.voice.listen(now);
        let heard = match &mut self.suppressor {
            Some(suppressor) => {
                if pulled != Pulled::Silence {
                    self.voice.render(&mut suppressor.samples);
                }
                pulled = suppressor.process(pulled);
                &suppressor.samples
            }
            None => self.voice.heard(),
        };
        let level_db = if pulled == Pulled::Silence { SILENCE_DB } else { level_db(heard) };
        (pulled, level_db)
    }

    /// The tick that was taken, unless it is silence, at its own rate.
    pub(crate) fn fill(&self, samples: &mut [f32]) {
        match &self.suppressor {
            Some(suppressor) => suppressor.fill(samples),
            None => samples.copy_from_slice(self.voice.heard()),
        }
    }

    /// The same at the rate of the mix.
    pub(crate) fn render(&self, samples: &mut [f32]) {
        match &self.suppressor {
            Some(suppressor) => samples.copy_from_slice(&suppressor.samples),
            None => self.voice.render(samples),
        }
    }

    /// Adds its packets that were taken in and dropped later.
    pub(crate) fn add_later_drops(&self, drops: &mut MixDrops) {
        let stats = self.voice.stats(Time::ZERO);
        drops.add_many(MixDrop::Overflow, stats.overflow);
        let at_once = self.drops.count(MixDrop::BadPayload);
        drops.add_many(MixDrop::Undecodable, stats.bad_payload.saturating_sub(at_once));
    }

    /// Compares what its packets say with its sound; whether they are not to be believed.
    pub(crate) fn is_liar(&mut self, claimed_db: f32, sound_db: f32) -> bool {
        self.lie_ticks = if claimed_db > sound_db + LIE_DB { self.lie_ticks + 1 } else { 0 };
        self.lie_ticks > LIE_TICKS
    }

    /// Whether it may be mixed at all.
    pub(crate) fn may_speak(&self) -> bool {
        self.has_floor && !self.settings.muted && self.leaving.is_none()
    }

    /// Heard only by chosen outputs.
    pub(crate) fn is_private(&self) -> bool {
        self.settings.heard == super::Gain::SILENT
    }

    /// The gain of the sound, automatic gain included.
    pub(crate) fn gain(&self) -> f32 {
        let automatic = if self.settings.automatic_gain { self.agc.factor() } else { 1.0 };
        self.settings.gain.linear() * automatic
    }
}
