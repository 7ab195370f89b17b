//! A sender with a clock of its own, a network that loses and delays, and a playout that is pulled each 20 ms
//! of virtual time.
#![allow(dead_code, reason = "each test uses its part")]

use motet_codecs::AudioEncoder;
use motet_codecs::audio::{AudioCodec, EncoderSettings};
use motet_mixer::playout::{Inserted, PayloadSetting, Playout, PlayoutConfig, Pulled, SourcePacket};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// A small generator of numbers that look random (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What happens on the way.
#[derive(Clone, Copy)]
pub struct Network {
    pub transit_us: u64,
    /// On top of the transit time, evenly distributed.
    pub jitter_us: u64,
    pub loss_percent: f64,
}

pub const LOOPBACK: Network = Network { transit_us: 50, jitter_us: 0, loss_percent: 0.0 };

/// A packet on its way.
pub struct Sent {
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

/// One source from its microphone to the mix.
pub struct Path {
    pub playout: Playout,
    encoder: Box<dyn AudioEncoder>,
    payload_type: u8,
    clock_hz: u32,
    packet_us: u64,
    /// How much faster the sender's clock is.
    ppm: f64,
    /// When the sender's first packet is complete, by the mixer's clock.
    begin_us: f64,
    network: Network,
    dice: Dice,
    packets: u64,
    numbers: u16,
    sent_samples: u64,
    on_the_way: BTreeMap<(u64, u64), Sent>,
    ticks: u64,
    speed: f64,
    /// The sender sends nothing, and time goes on.
    pub quiet: bool,
    /// The next packet is lost.
    pub lose_next: bool,
    /// The network delivers nothing before this time.
    pub hold_until_us: u64,
    pub ssrc: u32,
    pub sequence_offset: u16,
    pub timestamp_offset: u32,
    pub tick: Vec<f32>,
}

pub struct PathConfig {
    pub payload_type: u8,
    pub clock_hz: u32,
    pub packet_us: u64,
    pub ppm: f64,
    pub phase_us: u64,
    pub network: Network,
    pub seed: u64,
    /// Packets sent for each that is due.
    pub speed: f64,
}

impl Default for PathConfig {
    fn default() -> Self {
        PathConfig {
            payload_type: 0,
            clock_hz: 8000,
            packet_us: 20_000,
            ppm: 0.0,
            phase_us: 10_000,
            network: LOOPBACK,
            seed: 1,
            speed: 1.0,
        }
    }
}

impl Path {
    pub fn new(playout: Playout, encoder: Box<dyn AudioEncoder>, config: PathConfig) -> Path {
        let tick = vec![0.0; playout.tick_samples()];
        Path {
            playout,
            encoder,
            payload_type: config.payload_type,
            clock_hz: config.clock_hz,
            packet_us: config.packet_us,
            ppm: config.ppm,
            begin_us: (20_000 + config.phase_us) as f64,
            network: config.network,
            dice: Dice(config.seed),
            packets: 0,
            numbers: 0,
            speed: config.speed,
            quiet: false,
            lose_next: false,
            hold_until_us: 0,
            sent_samples: 0,
            on_the_way: BTreeMap::new(),
            ticks: 0,
            ssrc: 7,
            sequence_offset: 65_000,
            timestamp_offset: u32::MAX - 50_000,
            tick,
        }
    }

    /// Samples a second of what goes into the encoder.
    pub fn source_rate_hz(&self) -> u32 {
        self.encoder.format().sample_rate_hz
    }

    /// One payload, which is not sent.
    pub fn encode_one(&mut self, mut sound: impl FnMut(u64) -> f64) -> Vec<u8> {
        self.send(&mut sound).map_or(Vec::new(), |sent| sent.payload)
    }

    pub fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    /// The time of the next tick.
    pub fn now(&self) -> Time {
        Time::from_millis((self.ticks + 1) * 20)
    }

    /// Everything that arrives before the next tick; `sound` gives the sender's sample of a number.
    pub fn arrive(&mut self, mut sound: impl FnMut(u64) -> f64) {
        let now_us = (self.now().as_nanos() / 1000) as f64;
        loop {
            let period_us = self.packet_us as f64 / (1.0 + self.ppm * 1e-6) / self.speed;
            let at_us = self.begin_us + self.packets as f64 * period_us;
            if at_us > now_us {
                break;
            }
            let sent = self.send(&mut sound);
            let index = self.packets;
            self.packets += 1;
            let jitter_us = (self.dice.share() * self.network.jitter_us as f64) as u64;
            let unlucky = self.dice.share() * 100.0 < self.network.loss_percent;
            let lost = std::mem::take(&mut self.lose_next) || unlucky;
            if let Some(sent) = sent.filter(|_| !lost) {
                let arrival_us = at_us as u64 + self.network.transit_us + jitter_us;
                let arrival_us = arrival_us.max(self.hold_until_us);
                self.on_the_way.insert((arrival_us, index), sent);
            }
        }
        while let Some(entry) = self.on_the_way.first_entry() {
            if entry.key().0 as f64 > now_us {
                break;
            }
            let ((arrival_us, _), sent) = entry.remove_entry();
            self.insert(Time::from_nanos(arrival_us * 1000), &sent);
        }
    }

    /// A packet that the sender's encoder did not make, with the next number.
    pub fn insert_other(&mut self, payload_type: u8, payload: &[u8]) -> Inserted {
        self.numbers = self.numbers.wrapping_add(1);
        let ticks = self.packets * self.packet_us * u64::from(self.clock_hz) / 1_000_000;
        let packet = SourcePacket {
            ssrc: self.ssrc,
            sequence: WireSeq(self.numbers.wrapping_add(self.sequence_offset)),
            timestamp: WireTimestamp((ticks as u32).wrapping_add(self.timestamp_offset)),
            marker: false,
            payload_type,
            level: None,
            payload,
        };
        let at = Time::from_nanos(self.now().as_nanos() - 10_000_000);
        self.playout.insert(at, &packet)
    }

    /// A packet of another sender.
    pub fn insert_stray(&mut self, payload_type: u8, payload: &[u8]) -> Inserted {
        let packet = SourcePacket {
            ssrc: 0xbad,
            sequence: WireSeq(self.dice.roll() as u16 & 0xfffe),
            timestamp: WireTimestamp(self.dice.roll() as u32),
            marker: false,
            payload_type,
            level: None,
            payload,
        };
        self.playout.insert(self.now(), &packet)
    }

    fn insert(&mut self, at: Time, sent: &Sent) {
        let packet = SourcePacket {
            ssrc: self.ssrc,
            sequence: WireSeq(sent.sequence),
            timestamp: WireTimestamp(sent.timestamp),
            marker: sent.marker,
            payload_type: self.payload_type,
            level: None,
            payload: &sent.payload,
        };
        self.playout.insert(at, &packet);
    }

    fn send(&mut self, sound: &mut impl FnMut(u64) -> f64) -> Option<Sent> {
        let format = self.encoder.format();
        let channels = usize::from(format.channels);
        let mut samples = Vec::new();
        for _ in 0..format.sample_rate_hz as usize * self.packet_us as usize / 1_000_000 {
            let sample = (sound(self.sent_samples) * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16;
            samples.extend(std::iter::repeat_n(sample, channels));
            self.sent_samples += 1;
        }
        let mut payload = vec![0; 4000];
        let bytes = self.encoder.encode(&samples, &mut payload).expect("a frame of the codec");
        payload.truncate(bytes);
        let ticks = self.packet_us * u64::from(self.clock_hz) / 1_000_000;
        if bytes == 0 || self.quiet {
            return None;
        }
        self.numbers = self.numbers.wrapping_add(1);
        Some(Sent {
            sequence: self.numbers.wrapping_add(self.sequence_offset),
            timestamp: ((self.packets * ticks) as u32).wrapping_add(self.timestamp_offset),
            marker: self.packets == 0,
            payload,
        })
    }

    /// Ticks that are left out.
    pub fn miss(&mut self, ticks: u32, mut sound: impl FnMut(u64) -> f64) {
        self.ticks += u64::from(ticks);
        self.arrive(&mut sound);
        self.playout.miss(self.now(), ticks);
    }

    /// One tick that is not rendered.
    pub fn listen(&mut self, sound: impl FnMut(u64) -> f64) -> Pulled {
        self.arrive(sound);
        let now = self.now();
        self.ticks += 1;
        self.playout.listen(now)
    }

    /// One tick.
    pub fn pull(&mut self, sound: impl FnMut(u64) -> f64) -> Pulled {
        self.arrive(sound);
        let now = self.now();
        self.ticks += 1;
        self.playout.pull(now, &mut self.tick)
    }

    /// One tick that nobody listens to.
    pub fn skip(&mut self, sound: impl FnMut(u64) -> f64) {
        self.arrive(sound);
        let now = self.now();
        self.ticks += 1;
        self.playout.skip(now);
    }
}

/// A tone of amplitude 0.5.
pub fn tone(tone_hz: f64, rate_hz: u32) -> impl Fn(u64) -> f64 {
    move |n| 0.5 * (TAU * tone_hz * n as f64 / f64::from(rate_hz)).sin()
}

/// Looks for clicks in what should be one tone: the largest second difference, against the tone's own (at least
/// a thousandth of full scale, which is 30 times what rounding to 16 bits makes).
pub struct ClickMeter {
    own: f64,
    last: [f64; 2],
    seen: u64,
    pub worst: f64,
    pub worst_at: u64,
}

impl ClickMeter {
    pub fn new(tone_hz: f64, rate_hz: u32, amplitude: f64) -> ClickMeter {
        let half = TAU * tone_hz / f64::from(rate_hz) / 2.0;
        ClickMeter {
            own: (amplitude * 4.0 * half.sin().powi(2)).max(1e-3),
            last: [0.0; 2],
            seen: 0,
            worst: 0.0,
            worst_at: 0,
        }
    }

    /// What was heard before does not count.
    pub fn forget(&mut self) {
        (self.worst, self.worst_at) = (0.0, 0);
    }

    pub fn hear(&mut self, sound: &[f32]) {
        for sample in sound {
            let sample = f64::from(*sample);
            let second = (sample - 2.0 * self.last[1] + self.last[0]).abs() / self.own;
            if self.seen >= 2 && second > self.worst {
                (self.worst, self.worst_at) = (second, self.seen);
            }
            self.last = [self.last[1], sample];
            self.seen += 1;
        }
    }
}

/// Level of a tone in sound, as an amplitude (Goertzel's algorithm).
pub fn tone_level(sound: &[f32], tone_hz: f64, rate_hz: u32) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (at, sample) in sound.iter().enumerate() {
        let angle = TAU * tone_hz * at as f64 / f64::from(rate_hz);
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    2.0 * re.hypot(im) / sound.len() as f64
}

/// A playout at `mix_rate_hz` for one codec, and the path to it.
pub fn path((name, clock_hz): (&str, u32), mix_rate_hz: u32, config: PathConfig) -> Path {
    path_with((name, clock_hz), mix_rate_hz, config, Vec::new())
}

/// The same, with more payload types.
pub fn path_with(
    (name, clock_hz): (&str, u32),
    mix_rate_hz: u32,
    config: PathConfig,
    mut others: Vec<PayloadSetting>,
) -> Path {
    let channels = if name == "opus" { 2 } else { 1 };
    let codec =
        AudioCodec { channels: 1, ..AudioCodec::parse(name, clock_hz, channels, "").expect("a codec") };
    let settings = EncoderSettings { fec: true, loss_percent: 10, ..EncoderSettings::default() };
    let encoder = codec.encoder(&settings).expect("an encoder");
    others.push(PayloadSetting::sound(config.payload_type, &codec, mix_rate_hz).expect("a decoder"));
    let playout = Playout::new(PlayoutConfig { mix_rate_hz, ..PlayoutConfig::default() }, others);
    Path::new(playout.expect("a configuration"), encoder, PathConfig { clock_hz, ..config })
}
