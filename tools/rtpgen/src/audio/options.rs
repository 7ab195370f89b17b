//! What `motet load --audio` can be asked for, besides what [`LoadOptions`](crate::options::LoadOptions) has.

use crate::audio::LoadCodec;
use crate::audio::abuse::Abuse;
use crate::audio::impair::Impairment;
use crate::audio::sound::VOICES;
use crate::audio::stage::Stage;
use crate::audio::track::Quiet;
use anyhow::ensure;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Shortest turn in seconds: the first one of each turn is not listened to.
const TURN_S_MIN: f64 = 2.0;
/// Most that the generator's own network may delay packets, in milliseconds.
const JITTER_MS_MAX: f64 = 200.0;

/// Shortest and longest time between two reports, in seconds.
const REPORT_S_MIN: f64 = 0.2;
const REPORT_S_MAX: f64 = 60.0;

/// Options of `motet load --audio`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sound (--audio)")]
pub struct AudioOptions {
    /// Join mixed conferences with real encoded sound, and measure who hears whom, how late and with what
    /// gaps (conference mode)
    #[arg(long, requires = "css")]
    pub audio: bool,

    /// Codecs, dealt round the participants of each conference: opus, pcmu, pcma, g722
    #[arg(long, value_name = "CODEC,...", value_delimiter = ',', default_value = "opus", requires = "audio")]
    pub codec: Vec<LoadCodec>,

    /// Participants who talk at once; all take turns
    #[arg(long, value_name = "N", default_value_t = 1, requires = "audio")]
    pub talkers: u32,

    /// Seconds of a turn; the first one of each is not listened to
    #[arg(long, value_name = "S", default_value_t = 3.0, requires = "audio")]
    pub turn: f64,

    /// Turns that begin within so many seconds are not listened to
    #[arg(long, value_name = "S", default_value_t = 0.0, requires = "audio")]
    pub warm_up: f64,

    /// How many of each conference's participants only listen
    #[arg(long, value_name = "N", default_value_t = 0, requires = "audio")]
    pub listeners: u32,

    /// What those send who do not talk: noise at -60 dB, or silence
    #[arg(long, value_enum, default_value_t = Quiet::Noise, requires = "audio")]
    pub quiet: Quiet,

    /// Tell in each packet how loud it is (RFC 6464)
    #[arg(long, value_enum, default_value_t = Switch::On, requires = "audio")]
    pub level_extension: Switch,

    /// How many voices the mix takes at once [default: as many as talk, at least 3]
    #[arg(long, value_name = "N", requires = "audio")]
    pub speakers_max: Option<u32>,

    /// Percent of packets that the generator loses on purpose, in each direction
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, requires = "audio")]
    pub loss: f64,

    /// Milliseconds by which the generator delays packets on purpose at most, in each direction
    #[arg(long, value_name = "MS", default_value_t = 0.0, requires = "audio")]
    pub jitter: f64,

    /// Seconds between two reports (RTCP) of each participant about what it gets, by which the node begins and ends
    /// error correction; 0: none
    #[arg(long, value_name = "S", default_value_t = 2.0, requires = "audio")]
    pub report_interval: f64,

    /// Seed of what is lost and delayed on purpose
    #[arg(long, value_name = "N", default_value_t = 1, requires = "audio")]
    pub seed: u64,

    /// One more participant in each conference for each of these, who sends what it should not; all others must hear
    /// each other as before
    #[arg(long, value_enum, value_name = "WHAT,...", value_delimiter = ',', requires = "audio")]
    pub abuse: Vec<Abuse>,

    /// How many receivers' mixes are decoded; packets are counted for all
    #[arg(long, value_name = "N", default_value_t = 8, requires = "audio")]
    pub decode: usize,

    /// Leave the decoded mixes in this folder
    #[arg(long, value_name = "DIR", requires = "audio")]
    pub wav: Option<PathBuf>,

    /// Talkers say this instead of tones: a WAV file, mono, 48 kHz. Nothing is listened for then
    #[arg(long, value_name = "FILE", requires = "audio")]
    pub speech: Option<PathBuf>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl AudioOptions {
    /// Refuses what makes no sense, naming the option.
    pub fn check(&self, participants: u32, duration_s: f64) -> anyhow::Result<()> {
        ensure!(!self.codec.is_empty(), "--codec: at least one");
        ensure!(self.listeners < participants, "--listeners {}: somebody must talk", self.listeners);
        let talkers = self.talkers;
        ensure!(
            (1..=VOICES).contains(&talkers),
            "--talkers {talkers}: 1 to {VOICES}, whose tones can be told apart"
        );
        ensure!(self.turn >= TURN_S_MIN, "--turn {}: at least {TURN_S_MIN} seconds", self.turn);
        ensure!(duration_s >= self.turn, "--duration {duration_s}: at least one turn (--turn {})", self.turn);
        let turns = duration_s / self.turn;
        ensure!(
            (0.0..=turns.floor() - 1.0).contains(&(self.warm_up / self.turn)),
            "--warm-up {}: at least one turn must follow (--turn {}, --duration {duration_s})",
            self.warm_up,
            self.turn
        );
        ensure!(self.speakers_max != Some(0), "--speakers-max: at least 1");
        ensure!((0.0..=100.0).contains(&self.loss), "--loss {}: 0 to 100", self.loss);
        ensure!(
            (0.0..=JITTER_MS_MAX).contains(&self.jitter),
            "--jitter {}: 0 to {JITTER_MS_MAX}",
            self.jitter
        );
        let reports = self.report_interval;
        ensure!(
            reports == 0.0 || (REPORT_S_MIN..=REPORT_S_MAX).contains(&reports),
            "--report-interval {reports}: 0, or {REPORT_S_MIN} to {REPORT_S_MAX} seconds"
        );
        let one = self.speech.is_none() || self.codec == [LoadCodec::Opus];
        ensure!(one, "--speech: needs --codec opus");
        Ok(())
    }

    /// Who talks when in each conference.
    pub fn stage(&self, participants: u32) -> Stage {
        let turn_frames = (self.turn * 1000.0 / f64::from(crate::audio::FRAME_MS)).round() as u64;
        Stage { speakers: participants - self.listeners, talkers: self.talkers, turn_frames }
    }

    /// The generator's own network.
    pub fn impairment(&self) -> Impairment {
        Impairment {
            loss: self.loss / 100.0,
            jitter: Duration::from_secs_f64(self.jitter / 1000.0),
            seed: self.seed,
        }
    }

    /// Between two reports of one participant; zero: it makes none.
    pub fn report_interval(&self) -> Duration {
        Duration::from_secs_f64(self.report_interval)
    }

    /// What the mix is asked for.
    pub fn mixed_at_once(&self) -> u32 {
        // Who may be taken for a voice must not take a talker's place.
        let abusers = self.abuse.iter().filter(|abuse| abuse.may_be_heard()).count() as u32;
        self.speakers_max.unwrap_or(self.talkers.max(3) + abusers)
    }
}
