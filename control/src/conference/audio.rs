//! What becomes of a conference's sound: checked once, kept in records, and told to nodes.

use super::domains::Feature;
use super::media::check_identifier;
use super::model::{Record, RequestId, Work};
use super::requests::Response;
use super::step::Step;
use crate::refusal::Refusal;
use motet_proto::{conference as wire, media};
use serde::{Deserialize, Serialize};
use tonic::Code;
use wire::ConferenceEventKind as Kind;

/// A conference's audio mode; see `media.proto`. Enumerations are the numbers of the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// `AudioMode`.
    pub mode: i32,
    /// With LOUDEST: how many.
    pub loudest: u32,
    /// With MIX: how.
    pub mix: Option<Mix>,
}

/// How a conference is mixed. 0 is read as what is usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// Samples a second at most; 0: automatic.
    pub rate_hz: u32,
    /// Heard at once.
    pub speakers_max: u32,
    /// Milliseconds that a voice stays.
    pub hold_ms: u32,
    /// Keys are told and not heard.
    pub strip_dtmf: bool,
    /// Of the main room only those are heard who have the floor.
    #[serde(default)]
    pub floor: bool,
}

/// What becomes of a participant's sound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParticipantAudio {
    /// Nobody hears it.
    pub muted: bool,
    /// It hears nobody.
    pub deaf: bool,
    /// For all others, in decibels.
    pub gain_db: f64,
    /// Brought to a common loudness.
    pub automatic_gain: bool,
    /// What is no voice is taken out of it.
    pub noise_suppression: bool,
    /// Heard only by those for whom a pair gain says so.
    pub private: bool,
    /// It has the floor.
    pub floor: bool,
    /// Its side conference; empty: the main room.
    pub room: String,
    /// How loud it hears the main room from there, in decibels; none: not at all.
    pub main_room_db: Option<f64>,
}

/// How one participant hears another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairGain {
    /// Who is heard.
    pub from: String,
    /// Who hears.
    pub to: String,
    /// In decibels.
    pub gain_db: f64,
    /// Not at all.
    pub silent: bool,
    /// Though who is heard is private.
    #[serde(default)]
    pub heard: bool,
}

/// A change of what becomes of sound or pictures, or of what is recorded.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AudioChange {
    /// Of the mode.
    Mode,
    /// Of a participant.
    Participant(String),
    /// Of what a participant may do.
    Role(String),
    /// Of a pair.
    Pair,
    /// Of what becomes of pictures.
    Pictures,
    /// Of who shares content: what is told, of whom, and how for people.
    Content(Kind, String, String),
    /// Of what a participant sees; for people.
    View(String, String),
    /// Of what is recorded; for people.
    Recording(String),
}

const GAINS_DB: std::ops::RangeInclusive<f64> = -60.0..=20.0;
const RATES_HZ: [u32; 5] = [0, 8_000, 16_000, 32_000, 48_000];
const SPEAKERS_MAX: u32 = 32;
/// The only rate at which noise can be taken out.
const SUPPRESSION_HZ: u32 = 48_000;

impl Audio {
    /// Each participant is mixed.
    pub fn is_mixed(&self) -> bool {
        self.mode == media::AudioMode::Mix as i32
    }

    /// Streams of sound that each participant gets from all others at most.
    pub(crate) fn voices_max(&self) -> u64 {
        match media::AudioMode::try_from(self.mode) {
            Ok(media::AudioMode::Mix) => 1,
            Ok(media::AudioMode::Loudest) => u64::from(self.loudest),
            _ => u64::MAX,
        }
    }

    /// Checks what was given; errors name the field, beginning with `audio`.
    pub(super) fn check(given: Option<&media::AudioSettings>) -> Result<Audio, Refusal> {
        let Some(given) = given else { return Ok(Audio::default()) };
        let bad = |field: &str, why: String| Err(Refusal::invalid(format!("audio.{field}"), why));
        let Ok(mode) = media::AudioMode::try_from(given.mode) else {
            return bad("mode", format!("{} is not known", given.mode));
        };
        match (mode, given.loudest) {
            (media::AudioMode::Loudest, 1..=SPEAKERS_MAX) => {}
            (media::AudioMode::Loudest, other) => {
                return bad("loudest", format!("{other}; must be 1 to {SPEAKERS_MAX}"));
            }
            (_, 0) => {}
            _ => return bad("loudest", "is given, but the mode is not LOUDEST".to_owned()),
        }
        if given.mix.is_some() && mode != media::AudioMode::Mix {
            return bad("mix", "is given, but the mode is not MIX".to_owned());
        }
        let mix = given.mix.unwrap_or_default();
        if !RATES_HZ.contains(&mix.rate_hz) {
            return bad("mix.rate_hz", format!("{} Hz; must be 8000, 16000, 32000 or 48000", mix.rate_hz));
        }
        if mix.speakers_max > SPEAKERS_MAX {
            return bad("mix.speakers_max", format!("{}; at most {SPEAKERS_MAX}", mix.speakers_max));
        }
        if !matches!(mix.hold_ms, 0 | 20..=10_000) {
            return bad("mix.hold_ms", format!("{} ms; must be 20 to 10000", mix.hold_ms));
        }
        let media::MixSettings { rate_hz, speakers_max, hold_ms, strip_dtmf, floor } = mix;
        let mix = Mix { rate_hz, speakers_max, hold_ms, strip_dtmf, floor };
        let mix = (mode == media::AudioMode::Mix).then_some(mix);
        Ok(Audio { mode: given.mode, loudest: given.loudest, mix })
    }

    /// As applications and nodes see it; none: as usual.
    pub(super) fn to_wire(&self) -> Option<media::AudioSettings> {
        let mix = self.mix.map(|mix| media::MixSettings {
            rate_hz: mix.rate_hz,
            speakers_max: mix.speakers_max,
            hold_ms: mix.hold_ms,
            strip_dtmf: mix.strip_dtmf,
            floor: mix.floor,
        });
        let audio = media::AudioSettings { mode: self.mode, loudest: self.loudest, mix };
        (*self != Audio::default()).then_some(audio)
    }
}

impl ParticipantAudio {
    pub(super) fn check(given: Option<&media::ParticipantAudio>) -> Result<ParticipantAudio, Refusal> {
        let given = given.cloned().unwrap_or_default();
        let audio = ParticipantAudio {
            muted: given.muted,
            deaf: given.deaf,
            gain_db: given.gain_db,
            automatic_gain: given.automatic_gain,
            noise_suppression: given.noise_suppression,
            private: given.private,
            floor: given.floor,
            room: given.room,
            main_room_db: given.main_room_db,
        };
        audio.check_values("audio.")?;
        Ok(audio)
    }

    /// Errors name the field, after `path`.
    fn check_values(&self, path: &str) -> Result<(), Refusal> {
        let field = |name: &str| format!("{path}{name}");
        check_gain(&field("gain_db"), self.gain_db)?;
        if !self.room.is_empty() {
            check_identifier(&field("room"), &self.room)?;
        }
        match self.main_room_db {
            Some(_) if self.room.is_empty() => Err(Refusal::invalid(
                field("main_room_db"),
                "is given, but the participant is in the main room",
            )),
            Some(gain_db) => check_below_all(&field("main_room_db"), gain_db),
            None => Ok(()),
        }
    }

    /// As a request changes it: what is not given stays.
    fn changed(&self, set: &wire::SetParticipantAudioRequest) -> ParticipantAudio {
        let room = set.room.clone().unwrap_or_else(|| self.room.clone());
        let stays = set.room.is_none() || !room.is_empty();
        ParticipantAudio {
            muted: set.muted.unwrap_or(self.muted),
            deaf: set.deaf.unwrap_or(self.deaf),
            gain_db: set.gain_db.unwrap_or(self.gain_db),
            automatic_gain: set.automatic_gain.unwrap_or(self.automatic_gain),
            noise_suppression: set.noise_suppression.unwrap_or(self.noise_suppression),
            private: set.private.unwrap_or(self.private),
            floor: set.floor.unwrap_or(self.floor),
            room,
            // Another room begins without.
            main_room_db: set.main_room_db.or(self.main_room_db.filter(|_| stays && set.room.is_none())),
        }
    }

    /// As applications and nodes see it; none: as usual.
    pub(super) fn to_wire(&self) -> Option<media::ParticipantAudio> {
        let audio = media::ParticipantAudio {
            muted: self.muted,
            deaf: self.deaf,
            gain_db: self.gain_db,
            automatic_gain: self.automatic_gain,
            noise_suppression: self.noise_suppression,
            private: self.private,
            floor: self.floor,
            room: self.room.clone(),
            main_room_db: self.main_room_db,
        };
        (*self != ParticipantAudio::default()).then_some(audio)
    }
}

impl PairGain {
    pub(super) fn to_wire(&self) -> media::PairGain {
        let PairGain { from, to, gain_db, silent, heard } = self.clone();
        media::PairGain { from, to, gain_db, silent, heard }
    }

    pub(super) fn from_wire(given: &media::PairGain) -> PairGain {
        let media::PairGain { from, to, gain_db, silent, heard } = given.clone();
        PairGain { from, to, gain_db, silent, heard }
    }
}

/// Not a number is in no range.
pub(super) fn check_gain(field: &str, gain_db: f64) -> Result<(), Refusal> {
    if GAINS_DB.contains(&gain_db) {
        return Ok(());
    }
    let why = format!("{gain_db} dB; must be {} to {}", GAINS_DB.start(), GAINS_DB.end());
    Err(Refusal::invalid(field, why))
}

/// How loud something is below something else.
pub(super) fn check_below_all(field: &str, gain_db: f64) -> Result<(), Refusal> {
    if (*GAINS_DB.start()..=0.0).contains(&gain_db) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("{gain_db} dB; must be {} to 0", GAINS_DB.start())))
}

impl Record {
    /// Noise is taken out at one rate only; errors name the field.
    fn check_suppression(&self) -> Result<(), Refusal> {
        let rate_hz = self.audio.mix.map_or(0, |mix| mix.rate_hz);
        let suppressed = self.participants.iter().find(|(_, who)| who.audio.noise_suppression);
        match suppressed.filter(|_| ![0, SUPPRESSION_HZ].contains(&rate_hz)) {
            Some((who, _)) => {
                let why = format!(
                    "of {who} needs a mix at {SUPPRESSION_HZ} Hz, and audio.mix.rate_hz is {rate_hz}"
                );
                Err(Refusal::invalid("noise_suppression", why))
            }
            None => Ok(()),
        }
    }

    /// What is told of a change of modes.
    pub(super) fn news(&self, what: &AudioChange) -> Option<(Kind, String)> {
        let number = &self.number;
        match what {
            AudioChange::Mode => {
                let mode = mode_name(&self.audio);
                Some((Kind::AudioChanged, format!("the sound of conference {number} is {mode} now")))
            }
            AudioChange::Pictures => {
                let mode = self.video.mode_name();
                Some((Kind::VideoChanged, format!("the pictures of conference {number} are {mode} now")))
            }
            AudioChange::Recording(told) => Some((Kind::RecordingChanged, told.clone())),
            AudioChange::Content(kind, _, told) => Some((*kind, told.clone())),
            AudioChange::View(_, told) => Some((Kind::VideoChanged, told.clone())),
            AudioChange::Participant(_) | AudioChange::Role(_) | AudioChange::Pair => None,
        }
    }

    /// Forgets how a participant who left was heard.
    pub(super) fn forget_pairs(&mut self, participant: &str) {
        self.pair_gains.retain(|pair| pair.from != participant && pair.to != participant);
    }
}

/// The participant, if it is there.
pub(super) fn find<'a>(
    record: &'a Record,
    field: &str,
    participant: &str,
) -> Result<&'a super::Participant, Refusal> {
    record.participants.get(participant).ok_or_else(|| {
        let why = format!("'{participant}' is not in conference {}", record.number);
        Refusal::at(Code::NotFound, field, why)
    })
}

impl Step<'_> {
    /// Another audio mode.
    pub(super) fn set_audio(
        &mut self,
        request: RequestId,
        moid: &str,
        given: Option<media::AudioSettings>,
    ) -> Result<Option<Response>, Refusal> {
        let audio = Audio::check(given.as_ref())?;
        let before = self.changeable(moid)?.record.clone();
        if audio.is_mixed() {
            self.permits(&before.user_domain, Feature::Mixing, "audio.mode")?;
        }
        let next = Record { audio, ..before.clone() };
        next.check_suppression()?;
        self.check_growth(&before, &next)?;
        self.change_audio(request, moid, next, AudioChange::Mode)
    }

    /// Mutes, deafens and so on.
    pub(super) fn set_participant_audio(
        &mut self,
        request: RequestId,
        moid: &str,
        set: wire::SetParticipantAudioRequest,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.changeable(moid)?.record.clone();
        find(&next, "participant", &set.participant)?;
        let participant = next.participants.get_mut(&set.participant).expect("found a moment ago");
        let (role, audio) = (participant.role, &mut participant.audio);
        *audio = audio.changed(&set);
        audio.check_values("")?;
        if role.is_silent() && !audio.muted {
            let why = format!("{} may not be heard; change the role first", set.participant);
            return Err(Refusal::at(Code::FailedPrecondition, "muted", why));
        }
        next.check_suppression()?;
        self.change_audio(request, moid, next, AudioChange::Participant(set.participant))
    }

    /// How one participant hears another.
    pub(super) fn set_pair_gain(
        &mut self,
        request: RequestId,
        moid: &str,
        pair: Option<media::PairGain>,
    ) -> Result<Option<Response>, Refusal> {
        let pair = pair.ok_or_else(|| Refusal::invalid("pair_gain", "is missing"))?;
        let mut next = self.changeable(moid)?.record.clone();
        find(&next, "pair_gain.from", &pair.from)?;
        find(&next, "pair_gain.to", &pair.to)?;
        if pair.from == pair.to {
            return Err(Refusal::invalid("pair_gain.to", "nobody hears itself"));
        }
        check_gain("pair_gain.gain_db", pair.gain_db)?;
        next.pair_gains.retain(|known| (&known.from, &known.to) != (&pair.from, &pair.to));
        if pair.silent || pair.heard || pair.gain_db != 0.0 {
            next.pair_gains.push(PairGain::from_wire(&pair));
        }
        self.change_audio(request, moid, next, AudioChange::Pair)
    }

    /// Begins the change, unless it is none.
    pub(super) fn change_audio(
        &mut self,
        request: RequestId,
        moid: &str,
        mut next: Record,
        what: AudioChange,
    ) -> Result<Option<Response>, Refusal> {
        let conference = self.conference(moid).expect("it runs");
        if next == conference.record {
            return Ok(Some(conference.audio_response(&what)));
        }
        next.revision += 1;
        self.start(moid, next, Work::Audio { request, what });
        Ok(None)
    }
}

impl super::Conference {
    /// What who changed something is told.
    pub(super) fn audio_response(&self, what: &AudioChange) -> Response {
        match what {
            AudioChange::Participant(participant)
            | AudioChange::Role(participant)
            | AudioChange::View(participant, _) => {
                let info = self.participant_info(participant).expect("it was found before it was changed");
                Response::Participant(Box::new(info))
            }
            AudioChange::Mode
            | AudioChange::Pair
            | AudioChange::Pictures
            | AudioChange::Content(..)
            | AudioChange::Recording(_) => Response::Conference(Box::new(self.info())),
        }
    }
}

/// For people.
pub(super) fn mode_name(audio: &Audio) -> String {
    match media::AudioMode::try_from(audio.mode) {
        Ok(media::AudioMode::Mix) => "mixed".to_owned(),
        Ok(media::AudioMode::Loudest) => format!("that of the {} loudest", audio.loudest),
        _ => "relayed".to_owned(),
    }
}
