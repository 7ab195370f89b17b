//! Playout: the packets of one source become sound at the rate of the mix, 20 ms each tick.
//!
//! What stands between: a jitter buffer ([`motet_rtp::jitter`]), the decoder, concealment of what is lost,
//! correction of the sender's clock and resampling. Not here: who is mixed, levels, gains.
//!
//! A tick's journey ([`Playout::pull`]): packets are taken and decoded until 20 ms wait in the *line*
//! (`playout/line.rs`); what is missing is made up (by the codec, or `playout/conceal.rs`); `playout/pace.rs`
//! says whether sound should last longer or end earlier; the tick is read from the line.
//!
//! All that is done at the codec's own rate where it is below that of the mix. [`Playout::heard`] is a tick at that
//! rate; [`Playout::render`] brings it to the rate of the mix (`playout/render.rs`) for those who need it there.
//!
//! While something is missing and nothing later has come, time stands still: the next packet is played when it
//! comes, and the delay has grown. When what comes is later than what is missing, made-up sound stands for it.

mod conceal;
mod gap;
mod interface;
mod line;
mod noise;
mod pace;
mod render;
mod resample;
mod similar;
mod voices;

pub use interface::{
    Carries, Inserted, PayloadSetting, PlayoutConfig, PlayoutConfigError, PlayoutStats, Pulled, SourcePacket,
};

use conceal::Concealment;
use gap::Gap;
use line::Line;
use motet_rtp::Time;
use motet_rtp::jitter::{JitterBuffer, JitterConfig, JitterPacket, JitterVerdict, Taken};
use noise::Noise;
use pace::{Pace, Step};
use render::Render;
pub use resample::Resampler;
use voices::{Kind, Voices};

/// Ticks a second.
pub const TICKS_PER_SECOND: u32 = 50;
const TICK_US: i64 = 20_000;
/// So many times their jitter packets are to wait in any case.
const SPARE_JITTERS: i64 = 4;
/// The playout of one source.
pub struct Playout {
    config: PlayoutConfig,
    buffer: JitterBuffer,
    voices: Voices,
    /// Samples a second in the line.
    line_hz: u32,
    line: Line,
    render: Render,
    concealment: Concealment,
    pace: Pace,
    mode: Mode,
    taken: Taken,
    /// Sound on its way to the line.
    sound: Vec<f32>,
    /// Payload type that was decoded last, by its number in `voices`.
    voice: Option<usize>,
    gap: Gap,
    /// What was made up before the rest: for loss or for silence, the next packet tells.
    unexplained_ms: u64,
    /// The line's end is no silence.
    sounding: bool,
    /// What is put in this tick.
    tick: TickSound,
    /// The moment of the last packet that was skipped.
    skipped_at: Option<Time>,
    noise: Noise,
    stats: PlayoutStats,
    spare_us: Option<i64>,
}

/// Whether sound goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing is played until a packet is due.
    Idle,
    /// One packet follows another.
    Playing,
}

/// What a tick is made of.
#[derive(Clone, Copy, Debug, Default)]
struct TickSound {
    sent: bool,
    made_up: bool,
}

/// How sound joins what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    Seamless,
    Blend,
}

impl Playout {
    /// A playout for packets of these payload types.
    ///
    /// # Errors
    /// When the configuration makes no sense; the error names the field.
    pub fn new(config: PlayoutConfig, payloads: Vec<PayloadSetting>) -> Result<Playout, PlayoutConfigError> {
        let PlayoutConfig { mix_rate_hz, delay_ms_min, delay_ms_max } = config;
        if ![8000, 16_000, 32_000, 48_000].contains(&mix_rate_hz) {
            return Err(PlayoutConfigError::MixRate(mix_rate_hz));
        }
        if delay_ms_max < delay_ms_min || !(20..=2000).contains(&delay_ms_max) {
            return Err(PlayoutConfigError::Delays);
        }
        let jitter = JitterConfig {
            delay_us_min: u32::from(delay_ms_min) * 1000,
            delay_us_max: u32::from(delay_ms_max) * 1000,
        };
        let noise_clock = payloads.iter().find(|payload| matches!(payload.carries, Carries::ComfortNoise));
        let (number, clock_hz) =
            noise_clock.map_or((0, 8000), |payload| (payload.payload_type, payload.clock_hz));
        let (line_hz, filter) = voices::line_rate(&payloads, mix_rate_hz);
        let noise = Noise::new(clock_hz, line_hz).ok_or(PlayoutConfigError::Clock(number))?;
        Ok(Playout {
            config,
            buffer: JitterBuffer::new(jitter),
            voices: Voices::new(payloads, line_hz)?,
            line_hz,
            line: Line::new(line_hz),
            render: Render::new(line_hz, filter),
            concealment: Concealment::new(line_hz),
            pace: Pace::default(),
            mode: Mode::Idle,
            taken: Taken::default(),
            sound: Vec::with_capacity(line_hz as usize / 8),
            voice: None,
            gap: Gap::default(),
            unexplained_ms: 0,
            sounding: false,
            tick: TickSound::default(),
            skipped_at: None,
            noise,
            stats: PlayoutStats::default(),
            spare_us: None,
        })
    }

    /// Takes a packet in. `now` is when it came.
    pub fn insert(&mut self, now: Time, packet: &SourcePacket<'_>) -> Inserted {
        let Some((number, kind)) = self.voices.find(packet.payload_type) else {
            self.stats.unknown_payload_type += 1;
            return Inserted::UnknownPayloadType;
        };
        let duration_ticks = match kind {
            Kind::Events => {
                self.buffer.note(packet.ssrc, packet.sequence);
                return Inserted::Event;
            }
            Kind::ComfortNoise => Some(0).filter(|_| !packet.payload.is_empty()),
            Kind::Sound => self.voices.duration_ticks(number, packet.payload),
        };
        let Some(duration_ticks) = duration_ticks else {
            // Its number is not missing: there is nothing in it that could be waited for.
            self.buffer.note(packet.ssrc, packet.sequence);
            self.stats.bad_payload += 1;
            return Inserted::BadPayload;
        };
        let packet = JitterPacket {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            clock_hz: self.voices.clock_hz(number),
            duration_ticks,
            payload_type: packet.payload_type,
            marker: packet.marker,
            level: packet.level,
            payload: packet.payload,
        };
        match self.buffer.insert(now, &packet) {
            JitterVerdict::Queued => Inserted::Queued,
            JitterVerdict::Restarted => {
                self.rest();
                self.voice = None;
                self.skipped_at = None;
                self.noise.end();
                Inserted::Queued
            }
            JitterVerdict::Late => Inserted::Late,
            JitterVerdict::Duplicate => Inserted::Duplicate,
            JitterVerdict::Jump => Inserted::Jump,
            JitterVerdict::TooLong => {
                self.stats.bad_payload += 1;
                Inserted::BadPayload
            }
        }
    }

    /// The sound of the tick at `now`: `out` is 20 ms at the rate of the mix, from -1 to 1. Ticks come every
    /// 20 ms, with [`pull`](Self::pull) or [`skip`](Self::skip) each.
    ///
    /// After silence or skipping, sound fades in within 5 ms. Where it ends, it has faded out.
    ///
    /// # Panics
    /// When `out` is not 20 ms long.
    pub fn pull(&mut self, now: Time, out: &mut [f32]) -> Pulled {
        assert_eq!(out.len(), self.tick_samples(), "a tick is 20 ms at the rate of the mix");
        let pulled = self.listen(now);
        if pulled != Pulled::Silence {
            self.render(out);
        }
        pulled
    }

    /// The first half of [`pull`](Self::pull): the tick is there, but not at the rate of the mix.
    pub fn listen(&mut self, now: Time) -> Pulled {
        self.tick = TickSound::default();
        self.trim(now);
        self.resume(now);
        self.fill(now);
        self.keep_pace(now);
        self.end_sound();
        let pulled = if self.line.waiting() == 0 {
            self.line.clear();
            self.noise.fill(&mut self.render.tick)
        } else {
            self.line.read(&mut self.render.tick);
            if self.tick.made_up && !self.tick.sent { Pulled::Concealed } else { Pulled::Sound }
        };
        self.render.take(pulled)
    }

    /// Samples a second of what is [heard](Self::heard).
    pub const fn line_hz(&self) -> u32 {
        self.line_hz
    }

    /// The tick that was listened to, at whatever rate it has; what it holds after silence means nothing.
    pub fn heard(&self) -> &[f32] {
        &self.render.tick
    }

    /// The tick that was listened to, at the rate of the mix. Ticks before it need not have been rendered.
    ///
    /// # Panics
    /// When `out` is not 20 ms long.
    pub fn render(&self, out: &mut [f32]) {
        self.render.render(out);
    }

    /// The sound of the tick at `now` is not wanted: its packets pass by without being decoded.
    ///
    /// What was pulled before ends where it ends: fade the last tick out.
    pub fn skip(&mut self, now: Time) {
        if self.mode == Mode::Playing {
            let waiting_us = self.line.waiting() as u64 * 1_000_000 / u64::from(self.line_hz);
            let begun_us = self.taken_us().saturating_sub(waiting_us);
            self.skipped_at = Some(Time::from_nanos(now.as_nanos().saturating_sub(begun_us * 1000)));
            self.rest();
            self.line.clear();
            self.sounding = false;
        }
        self.render.reset();
        self.trim(now);
        while self.is_due(now) {
            self.take(now);
            self.skipped_at = Some(now);
        }
    }

    /// Ticks are left out, and the one at `now` is none: as many packets are passed over without being decoded. The
    /// decoder goes on with the next one, and what is heard then is joined to what was.
    pub fn miss(&mut self, now: Time, ticks: u32) {
        if self.mode == Mode::Idle {
            return self.skip(now);
        }
        let mut left_us = u64::from(ticks) * TICK_US as u64;
        while left_us > 0 && !self.buffer.is_empty() {
            let Some((_, Kind::Sound)) = self.take(now) else { return };
            left_us = left_us.saturating_sub(self.taken_us());
            self.gap.broken();
        }
        self.pace.reset();
    }

    /// The level of what the next tick will play, in dB below full scale, as its packet says (RFC 6464).
    pub fn level(&self) -> Option<u8> {
        match self.buffer.head() {
            Some(head) if self.line.waiting() < self.line_samples() => head.level,
            _ => self.taken.level,
        }
    }

    /// What was counted, and the delay at `now`.
    pub fn stats(&self, now: Time) -> PlayoutStats {
        let jitter = self.buffer.stats();
        PlayoutStats {
            received: jitter.received,
            late: jitter.late,
            lost: jitter.lost,
            duplicate: jitter.duplicate,
            reordered: jitter.reordered,
            overflow: jitter.overflow,
            jumps: jitter.jumps,
            resets: jitter.restarts,
            target_delay_ms: milliseconds(self.buffer.target_us(now)),
            jitter_ms: milliseconds(self.buffer.jitter_us()),
            ..self.stats
        }
    }

    /// By how many microseconds ticks since this was asked last could have been sooner: the least of what packets waited
    /// beyond what is aimed at and their jitter calls for. Below 0: some were wanted too soon.
    pub fn take_spare_us(&mut self) -> Option<i64> {
        self.spare_us.take()
    }

    /// Packets that wait for their moment.
    pub fn waiting_packets(&self) -> usize {
        self.buffer.len()
    }

    /// Samples of a tick.
    pub const fn tick_samples(&self) -> usize {
        (self.config.mix_rate_hz / TICKS_PER_SECOND) as usize
    }

    const fn line_samples(&self) -> usize {
        (self.line_hz / TICKS_PER_SECOND) as usize
    }

    /// Puts sound into the line until a tick is there, or nothing more can be had.
    fn fill(&mut self, now: Time) {
        while self.line.waiting() < self.line_samples() {
            let more = match self.mode {
                Mode::Idle => self.start(now),
                Mode::Playing => self.go_on(now),
            };
            if !more {
                break;
            }
        }
    }

    /// Begins with the next packet if it is due, at the beginning of a tick.
    fn start(&mut self, now: Time) -> bool {
        let Some(head) = self.buffer.head() else { return false };
        if self.line.waiting() > 0 || !self.is_due(now) {
            return false;
        }
        let follows = head.missing == 0 && head.gap_ticks == 0;
        self.explain();
        let warm = self.skipped_at.take().is_some() && follows;
        self.begin_voice(warm);
        self.play(now, Joint::Blend);
        true
    }

    /// Decodes the next packet into the line.
    fn play(&mut self, now: Time, joint: Joint) {
        let waiting_us = self.line.waiting() as i64 * 1_000_000 / i64::from(self.line_hz);
        let Some((number, Kind::Sound)) = self.take(now) else { return };
        let delay_us = self.buffer.delay_us(now, self.taken.media);
        self.pace.on_packet(delay_us, waiting_us);
        self.stats.delay_ms = milliseconds(delay_us + waiting_us);
        self.sound.clear();
        let mut joint = joint;
        if self.voice != Some(number) {
            let short = self.voices.reset(number);
            self.sound.resize(short, 0.0);
            self.voice = Some(number);
            joint = Joint::Blend;
        }
        if !self.voices.decode(number, &self.taken.payload, &mut self.sound) {
            self.stats.bad_payload += 1;
            return self.make_up_for_bad();
        }
        if joint == Joint::Blend {
            self.concealment.blend_into(self.line.past(), &mut self.sound);
        }
        self.concealment.end();
        self.noise.end();
        self.mode = Mode::Playing;
        self.gap = Gap::default();
        self.sounding = true;
        self.tick.sent = true;
        self.line.push(&self.sound);
    }

    /// Takes the next packet; what is not sound is dealt with.
    fn take(&mut self, now: Time) -> Option<(usize, Kind)> {
        if !self.buffer.take(now, &mut self.taken) {
            return None;
        }
        let early_us = self.buffer.early_us(now, self.taken.media) - SPARE_JITTERS * self.buffer.jitter_us();
        self.spare_us = self.spare_us.into_iter().chain([early_us]).min();
        let found = self.voices.find(self.taken.payload_type);
        if let Some((_, Kind::ComfortNoise)) = found {
            self.noise.begin(&self.taken.payload);
            self.rest();
        }
        found
    }

    /// The voice begins anew; `warm`: after the packet before this one, which was skipped and is at hand.
    fn begin_voice(&mut self, warm: bool) {
        self.voice = None;
        let Some((number, Kind::Sound)) = self.voices.find(self.taken.payload_type).filter(|_| warm) else {
            return;
        };
        self.voices.reset(number);
        self.sound.clear();
        if self.voices.decode(number, &self.taken.payload, &mut self.sound) {
            self.voice = Some(number);
        }
    }

    /// After skipping, plays the rest of a packet that is longer than what was skipped of it.
    fn resume(&mut self, now: Time) {
        let Some(skipped_at) = self.skipped_at else { return };
        let gone_us = now.since(skipped_at).as_micros() as u64;
        let Some(left_us) = self.taken_us().checked_sub(gone_us).filter(|left_us| *left_us >= 1000) else {
            return;
        };
        self.skipped_at = None;
        self.begin_voice(true);
        if self.voice.is_none() {
            return;
        }
        let left = (left_us * u64::from(self.line_hz) / 1_000_000) as usize;
        self.sound.drain(..self.sound.len().saturating_sub(left));
        self.concealment.blend_into(self.line.past(), &mut self.sound);
        self.line.push(&self.sound);
        self.mode = Mode::Playing;
        self.sounding = true;
        self.tick.sent = true;
    }

    /// Makes the step that the delay needs.
    fn keep_pace(&mut self, now: Time) {
        if self.mode != Mode::Playing || !self.gap.is_none() {
            return;
        }
        let rate_hz = i64::from(self.line_hz);
        match self.pace.wanted(self.buffer.target_us(now), self.grain_us(self.taken.duration_ticks)) {
            Some(Step::Stretch { likeness_min }) if self.line.stretch(likeness_min) > 0 => {
                self.stats.stretched += 1;
                self.pace.stepped();
            }
            Some(Step::Shorten { us_max, likeness_min })
                if self.buffer.head().is_some_and(|head| head.gap_ticks == 0) =>
            {
                let samples_max = (us_max.min(1_000_000) * rate_hz / 1_000_000) as usize;
                if self.line.shorten(samples_max, likeness_min) > 0 {
                    self.stats.shortened += 1;
                    self.pace.stepped();
                    self.fill(now);
                }
            }
            _ => {}
        }
    }

    /// Whether sound can begin with the next packet: those after it will be there when ticks need them.
    fn is_due(&self, now: Time) -> bool {
        self.buffer.next_up().is_some_and(|(media, duration_ticks)| {
            // Where packets and ticks do not go together, some packet is needed earlier, by so much.
            let lead_us = TICK_US - self.grain_us(duration_ticks);
            self.buffer.early_us(now, media) >= lead_us
        })
    }

    /// What the lengths of ticks and packets of this length have in common, in microseconds.
    fn grain_us(&self, packet_ticks: u32) -> i64 {
        let (mut a, mut b) = (TICK_US / 500, (self.micros(packet_ticks) as i64 + 250) / 500);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        (a * 500).max(2500)
    }

    /// How long the packet taken last sounds.
    fn taken_us(&self) -> u64 {
        self.micros(self.taken.duration_ticks)
    }

    fn micros(&self, ticks: u32) -> u64 {
        u64::from(ticks) * 1_000_000 / u64::from(self.buffer.clock_hz().unwrap_or(8000))
    }

    /// Nothing is played until the next packet is due.
    fn rest(&mut self) {
        self.mode = Mode::Idle;
        self.gap = Gap::default();
        self.concealment.end();
        self.pace.reset();
    }
}

fn milliseconds(us: i64) -> u32 {
    (us.max(0) / 1000) as u32
}
