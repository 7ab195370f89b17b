//! What becomes of a conference's sound, checked.

use super::Id;
use super::check::{Path, identifier};
use crate::error::NodeError;
use motet_proto::media as wire;

/// How sound reaches participants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum AudioMode {
    /// Each to each, as it is.
    #[default]
    Relay,
    /// The loudest so many, each to each, as they are.
    Loudest(u32),
    /// Mixed.
    Mix(MixSettings),
}

/// How a conference is mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixSettings {
    /// Samples a second in the mix at most: 8,000, 16,000, 32,000 or 48,000.
    pub rate_hz: u32,
    /// Heard at once, 1 to 32.
    pub speakers_max: u32,
    /// Milliseconds that somebody stays in the mix after the last word.
    pub hold_ms: u32,
    /// Keys pressed are told and not heard.
    pub strip_dtmf: bool,
    /// Of the main room only those are heard who have the floor.
    pub floor: bool,
}

/// What becomes of a leg's sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegAudio {
    /// Nobody hears it.
    pub muted: bool,
    /// It hears nobody.
    pub deaf: bool,
    /// For all others, in decibels.
    pub gain_db: f32,
    /// Brought to a common loudness.
    pub automatic_gain: bool,
    /// What is no voice is taken out of it.
    pub noise_suppression: bool,
    /// Heard only by those for whom a pair gain says so.
    pub private: bool,
    /// It has the floor.
    pub floor: bool,
    /// The side conference that it is in; none: the main room.
    pub room: Option<Id>,
    /// How loud it hears the main room from there, in decibels; none: not at all.
    pub main_room_db: Option<f32>,
}

/// Heard at once at most.
const SPEAKERS_MAX: u32 = 32;
/// Heard at once unless told.
const SPEAKERS_USUAL: u32 = 3;
const HOLD_MS: std::ops::RangeInclusive<u32> = 20..=10_000;
const HOLD_MS_USUAL: u32 = 500;
/// Receivers are told of a change by a gap, so that who talks is not cut off at each breath.
const HOLD_MS_LOUDEST: u32 = 1_500;
const RATES_HZ: [u32; 4] = [8_000, 16_000, 32_000, 48_000];
/// Gains that can be asked for, in decibels.
const GAINS_DB: std::ops::RangeInclusive<f64> = -60.0..=20.0;

impl AudioMode {
    /// The settings of a mix; none: it is not mixed.
    pub fn mix(&self) -> Option<&MixSettings> {
        match self {
            AudioMode::Mix(settings) => Some(settings),
            _ => None,
        }
    }

    /// How the mixer listens, to mix or only to find the loudest; none: it does not.
    pub fn listening(&self) -> Option<MixSettings> {
        match self {
            AudioMode::Relay => None,
            AudioMode::Mix(settings) => Some(*settings),
            AudioMode::Loudest(count) => Some(MixSettings::to_find(*count)),
        }
    }

    pub(super) fn from_wire(at: &Path, audio: Option<&wire::AudioSettings>) -> Result<AudioMode, NodeError> {
        let Some(audio) = audio else { return Ok(AudioMode::Relay) };
        let mode = wire::AudioMode::try_from(audio.mode)
            .map_err(|_| at.field("mode").error(format!("{} is not known", audio.mode)))?;
        if audio.mix.is_some() && mode != wire::AudioMode::Mix {
            return Err(at.field("mix").error("is given, but the mode is not MIX"));
        }
        if audio.loudest != 0 && mode != wire::AudioMode::Loudest {
            return Err(at.field("loudest").error("is given, but the mode is not LOUDEST"));
        }
        match mode {
            wire::AudioMode::Unspecified | wire::AudioMode::Relay => Ok(AudioMode::Relay),
            wire::AudioMode::Loudest if (1..=SPEAKERS_MAX).contains(&audio.loudest) => {
                Ok(AudioMode::Loudest(audio.loudest))
            }
            wire::AudioMode::Loudest => {
                let why = format!("{}; must be 1 to {SPEAKERS_MAX}", audio.loudest);
                Err(at.field("loudest").error(why))
            }
            wire::AudioMode::Mix => {
                let settings = audio.mix.unwrap_or_default();
                MixSettings::from_wire(&at.field("mix"), &settings).map(AudioMode::Mix)
            }
        }
    }
}

impl MixSettings {
    /// For who only has to be found: the loudest so many.
    pub(super) fn to_find(speakers_max: u32) -> MixSettings {
        // The rate is enough to tell how loud a voice is.
        let (rate_hz, hold_ms) = (8_000, HOLD_MS_LOUDEST);
        MixSettings { rate_hz, speakers_max, hold_ms, strip_dtmf: true, floor: false }
    }

    fn from_wire(at: &Path, given: &wire::MixSettings) -> Result<MixSettings, NodeError> {
        let or = |value: u32, usual: u32| if value == 0 { usual } else { value };
        let settings = MixSettings {
            // Automatic: everybody has the rate of the own codec, and no codec has more.
            rate_hz: or(given.rate_hz, 48_000),
            speakers_max: or(given.speakers_max, SPEAKERS_USUAL),
            hold_ms: or(given.hold_ms, HOLD_MS_USUAL),
            strip_dtmf: given.strip_dtmf,
            floor: given.floor,
        };
        if !RATES_HZ.contains(&settings.rate_hz) {
            let why = format!("{} Hz; must be 8000, 16000, 32000 or 48000", settings.rate_hz);
            return Err(at.field("rate_hz").error(why));
        }
        if settings.speakers_max > SPEAKERS_MAX {
            let why = format!("{}; at most {SPEAKERS_MAX}", settings.speakers_max);
            return Err(at.field("speakers_max").error(why));
        }
        if !HOLD_MS.contains(&settings.hold_ms) {
            return Err(at.field("hold_ms").error(format!("{} ms; must be 20 to 10000", settings.hold_ms)));
        }
        Ok(settings)
    }
}

impl LegAudio {
    pub(super) fn from_wire(at: &Path, given: Option<&wire::ParticipantAudio>) -> Result<Self, NodeError> {
        let Some(given) = given else { return Ok(LegAudio::default()) };
        Ok(LegAudio {
            muted: given.muted,
            deaf: given.deaf,
            gain_db: gain(&at.field("gain_db"), given.gain_db)?,
            automatic_gain: given.automatic_gain,
            noise_suppression: given.noise_suppression,
            private: given.private,
            floor: given.floor,
            room: room(at, &given.room)?,
            main_room_db: main_room_db(at, given)?,
        })
    }
}

fn room(at: &Path, room: &str) -> Result<Option<Id>, NodeError> {
    if room.is_empty() {
        return Ok(None);
    }
    identifier(&at.field("room"), room)?;
    Ok(Some(Id::from(room)))
}

fn main_room_db(at: &Path, given: &wire::ParticipantAudio) -> Result<Option<f32>, NodeError> {
    let at = at.field("main_room_db");
    let Some(gain_db) = given.main_room_db else { return Ok(None) };
    if given.room.is_empty() {
        return Err(at.error("is given, but the participant is in the main room"));
    }
    below_all(&at, gain_db).map(Some)
}

/// How loud something is below something else, in decibels.
pub(crate) fn below_all(at: &Path, gain_db: f64) -> Result<f32, NodeError> {
    if !(*GAINS_DB.start()..=0.0).contains(&gain_db) {
        return Err(at.error(format!("{gain_db} dB; must be {} to 0", GAINS_DB.start())));
    }
    gain(at, gain_db)
}

/// A gain in decibels that can be asked for.
pub(crate) fn gain(at: &Path, gain_db: f64) -> Result<f32, NodeError> {
    // Not a number is in no range.
    if GAINS_DB.contains(&gain_db) {
        return Ok(gain_db as f32);
    }
    Err(at.error(format!("{gain_db} dB; must be {} to {}", GAINS_DB.start(), GAINS_DB.end())))
}
