//! What is measured.

use motet_rtpgen::audio::LoadCodec;
use motet_rtpgen::audio::impair::Impairment;
use motet_rtpgen::audio::stage::Stage;
use std::time::Duration;

/// Most that a figure may be; none: no goal.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goals {
    /// Percent of a core for each participant.
    pub core_percent_each: Option<f64>,
    /// Processor time over Janus's in the same round.
    pub janus: Option<f64>,
    /// Share of its core that the process may use.
    pub core_busy: Option<f64>,
    /// Ticks that may be late or left out.
    pub late_ticks: Option<f64>,
    /// Median from mouth to ear, in milliseconds.
    pub mouth_to_ear_ms: Option<f64>,
    /// Longest gap of any voice, in milliseconds.
    pub gap_ms: Option<f64>,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Stays the same from run to run.
    pub name: &'static str,
    /// Rooms.
    pub rooms: usize,
    /// Participants of each room.
    pub people: usize,
    /// How many of them only listen.
    pub listeners: usize,
    /// How many talk at once in each room.
    pub talkers: u32,
    /// What all send and receive.
    pub codec: LoadCodec,
    /// Samples a second in motet's mix at most; 0: automatic, as each one's codec has. Janus always has 48,000.
    pub mix_rate_hz: u32,
    /// Packets tell how loud they are (RFC 6464).
    pub level_extension: bool,
    /// Percent lost on purpose in each direction.
    pub loss_percent: f64,
    /// Milliseconds by which packets are delayed on purpose at most, in each direction.
    pub jitter_ms: u64,
    /// One talker says this long recorded speech, whose quality is measured.
    pub speech: bool,
    /// What is wanted of motet.
    pub goals: Goals,
}

const PLAIN: Row = Row {
    name: "",
    rooms: 1,
    people: 100,
    listeners: 0,
    talkers: 3,
    codec: LoadCodec::Opus,
    mix_rate_hz: 0,
    level_extension: false,
    loss_percent: 0.0,
    jitter_ms: 0,
    speech: false,
    goals: NO_GOALS,
};

const NO_GOALS: Goals = Goals {
    core_percent_each: None,
    janus: None,
    core_busy: None,
    late_ticks: None,
    mouth_to_ear_ms: None,
    gap_ms: None,
};

/// All rows.
pub const ROWS: [Row; 11] = [
    Row {
        name: "opus, 100 participants, 3 talk, with levels",
        level_extension: true,
        goals: Goals { core_percent_each: Some(0.06), janus: Some(1.0 / 12.0), ..NO_GOALS },
        ..PLAIN
    },
    Row {
        name: "opus, 100 participants, 3 talk, without levels",
        goals: Goals { janus: Some(0.25), ..NO_GOALS },
        ..PLAIN
    },
    Row {
        name: "g711, 100 participants, 3 talk",
        codec: LoadCodec::Pcmu,
        goals: Goals { janus: Some(1.0 / 3.0), ..NO_GOALS },
        ..PLAIN
    },
    Row {
        name: "g711, 100 participants, 3 talk, 48 kHz stated",
        codec: LoadCodec::Pcmu,
        mix_rate_hz: 48_000,
        goals: Goals { janus: Some(1.0 / 3.0), ..NO_GOALS },
        ..PLAIN
    },
    Row {
        name: "opus, 1000 listeners, 5 speakers",
        people: 1005,
        listeners: 1000,
        level_extension: true,
        goals: Goals { core_busy: Some(1.0), late_ticks: Some(0.0), ..NO_GOALS },
        ..PLAIN
    },
    Row {
        name: "g711, 200 rooms of 5",
        codec: LoadCodec::Pcmu,
        rooms: 200,
        people: 5,
        talkers: 1,
        level_extension: true,
        goals: Goals { late_ticks: Some(0.0), ..NO_GOALS },
        ..PLAIN
    },
    Row { name: "opus, 200 rooms of 5", rooms: 200, people: 5, talkers: 1, level_extension: true, ..PLAIN },
    Row {
        name: "opus, mouth to ear",
        people: 4,
        talkers: 2,
        goals: Goals { mouth_to_ear_ms: Some(45.0), gap_ms: Some(20.0), ..NO_GOALS },
        ..PLAIN
    },
    Row {
        name: "opus, 5 % loss, 40 ms jitter",
        people: 4,
        talkers: 2,
        loss_percent: 5.0,
        jitter_ms: 40,
        goals: Goals { gap_ms: Some(60.0), ..NO_GOALS },
        ..PLAIN
    },
    Row { name: "opus, speech", people: 3, talkers: 1, speech: true, ..PLAIN },
    Row {
        name: "opus, speech, 5 % loss, 40 ms jitter",
        people: 3,
        talkers: 1,
        loss_percent: 5.0,
        jitter_ms: 40,
        speech: true,
        ..PLAIN
    },
];

/// Frames of a turn: three seconds.
const TURN_FRAMES: u64 = 150;

impl Row {
    /// Who talks when in each room.
    pub fn stage(&self) -> Stage {
        // The scored speech is said without a break.
        let speakers = if self.speech { 1 } else { (self.people - self.listeners) as u32 };
        Stage { speakers, talkers: self.talkers, turn_frames: TURN_FRAMES }
    }

    /// Participants ask for forward error correction where packets get lost, and only there.
    pub fn wants_fec(&self) -> bool {
        self.codec == LoadCodec::Opus && self.loss_percent > 0.0
    }

    /// Time of load before measuring: jitter buffers have settled, everybody is known, and with losses some reports
    /// have told of them.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(if self.loss_percent > 0.0 { 9 } else { 2 })
    }

    /// Participants of all rooms.
    pub fn participants(&self) -> usize {
        self.rooms * self.people
    }

    /// The network between generator and mixer.
    pub fn impairment(&self, seed: u64) -> Impairment {
        let jitter = Duration::from_millis(self.jitter_ms);
        Impairment { loss: self.loss_percent / 100.0, jitter, seed }
    }

    /// The row in words.
    pub fn description(&self) -> String {
        let rooms = if self.rooms == 1 { "one room".to_owned() } else { format!("{} rooms", self.rooms) };
        let listeners = if self.listeners > 0 {
            format!(", of whom {} only listen", self.listeners)
        } else {
            String::new()
        };
        let network = if self.loss_percent > 0.0 || self.jitter_ms > 0 {
            format!("; {} % lost and up to {} ms late in each direction", self.loss_percent, self.jitter_ms)
        } else {
            String::new()
        };
        let rate = if self.mix_rate_hz > 0 {
            format!("; motet mixes at {} Hz at most", self.mix_rate_hz)
        } else {
            String::new()
        };
        format!(
            "{} in 20 ms packets, {rooms} of {} participants{listeners}; {} at once talk in each, the others send noise at -60 dB; \
             {} RFC 6464 levels{network}{rate}.",
            self.codec.encoding_name(),
            self.people,
            self.talkers,
            if self.level_extension { "with" } else { "without" },
        )
    }
}
