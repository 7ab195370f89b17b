//! A conference in virtual time. Each source is a tone of its own; each output is decoded and kept.

use crate::audio::source::Voice;
use crate::audio::{
    AudioMixer, GroupId, MixCommand, MixConfig, MixEvent, MixOutbox, OutputConfig, OutputId, OutputSettings,
    SourceConfig, SourceId, SourcePayload, SourceSettings,
};
use crate::playout::{Inserted, PlayoutStats, Pulled, SourcePacket};
use motet_codecs::audio::{AudioCodec, AudioDecoder, EncoderSettings};
use motet_rtp::{RtpView, Time};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How loud a test's tone is.
#[derive(Clone, Debug, Default)]
pub(super) struct Knob(Arc<AtomicU32>);

impl Knob {
    pub(super) fn set(&self, amplitude: f32) {
        self.0.store(amplitude.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn amplitude(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A tone that goes on whether it is pulled or skipped.
struct Tone {
    hz: f32,
    rate_hz: u32,
    at: u64,
    knob: Knob,
    tick: Vec<f32>,
}

impl Voice for Tone {
    fn insert(&mut self, _now: Time, packet: &SourcePacket<'_>) -> Inserted {
        match packet.payload_type {
            101 => Inserted::Event,
            0 => Inserted::Queued,
            _ => Inserted::UnknownPayloadType,
        }
    }

    fn listen(&mut self, now: Time) -> Pulled {
        let amplitude = self.knob.amplitude();
        if amplitude == 0.0 {
            self.skip(now);
            return Pulled::Silence;
        }
        for sample in &mut self.tick {
            *sample = amplitude * tone_at(self.hz, self.rate_hz, self.at);
            self.at += 1;
        }
        Pulled::Sound
    }

    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn heard(&self) -> &[f32] {
        &self.tick
    }

    fn render(&self, samples: &mut [f32]) {
        samples.copy_from_slice(&self.tick);
    }

    fn skip(&mut self, _now: Time) {
        self.at += u64::from(self.rate_hz / 50);
    }

    fn miss(&mut self, now: Time, ticks: u32) {
        (0..ticks).for_each(|_| self.skip(now));
    }

    fn take_spare_us(&mut self) -> Option<i64> {
        None
    }

    fn stats(&self, _now: Time) -> PlayoutStats {
        PlayoutStats::default()
    }
}

pub(super) fn tone_at(hz: f32, rate_hz: u32, at: u64) -> f32 {
    let turns = f64::from(hz) * at as f64 / f64::from(rate_hz);
    (turns.fract() * std::f64::consts::TAU).sin() as f32
}

/// One output, as its receiver gets it.
pub(super) struct Receiver {
    pub rate_hz: u32,
    ssrc: u32,
    clock_per_tick: u32,
    decoder: Box<dyn AudioDecoder>,
    sequence: Option<u16>,
    timestamp: Option<u32>,
    pub samples: Vec<f32>,
    pub packets: usize,
    pub markers: usize,
    pub events: Vec<(bool, u32, Vec<u8>)>,
}

impl Receiver {
    fn take(&mut self, header: &[u8; 12], payload: &[u8], tick: u32) {
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(payload);
        let packet = RtpView::new(&bytes).expect("RTP");
        assert_eq!(packet.ssrc(), self.ssrc);
        if let Some(before) = self.sequence {
            assert_eq!(packet.sequence().0, before.wrapping_add(1), "sequence numbers go on");
        }
        self.sequence = Some(packet.sequence().0);
        self.packets += 1;
        self.markers += usize::from(packet.marker());
        if packet.payload_type() == 101 {
            self.events.push((packet.marker(), packet.timestamp().0, payload.to_vec()));
            return;
        }
        let first = *self
            .timestamp
            .get_or_insert(packet.timestamp().0.wrapping_sub(tick.wrapping_mul(self.clock_per_tick)));
        let expected = first.wrapping_add(tick.wrapping_mul(self.clock_per_tick));
        assert_eq!(packet.timestamp().0, expected, "timestamps are of the tick");
        let mut samples = [0_i16; 5760];
        let decoded = self.decoder.decode(payload, &mut samples).expect("decodes");
        self.samples.extend(samples[..decoded].iter().map(|sample| f32::from(*sample) / 32_768.0));
    }

    /// What was received since the last call.
    pub(super) fn take_samples(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.samples)
    }

    /// The amplitude of a tone in what was received last: `ms` milliseconds.
    pub(super) fn level(&self, hz: f32, ms: usize) -> f32 {
        let last = self.samples.len() - self.rate_hz as usize * ms / 1000..self.samples.len();
        amplitude(&self.samples[last], hz, self.rate_hz)
    }
}

/// The amplitude of a tone (Goertzel's sum, written out), under a window that keeps neighbours apart.
pub(super) fn amplitude(samples: &[f32], hz: f32, rate_hz: u32) -> f32 {
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let turns = f64::from(hz) * n as f64 / f64::from(rate_hz);
        let phase = turns.fract() * std::f64::consts::TAU;
        let window = 0.5 - 0.5 * (n as f64 / samples.len() as f64 * std::f64::consts::TAU).cos();
        re += window * f64::from(*sample) * phase.cos();
        im += window * f64::from(*sample) * phase.sin();
        weights += window;
    }
    (2.0 * re.hypot(im) / weights) as f32
}

pub(super) fn db(ratio: f32) -> f32 {
    20.0 * ratio.max(1e-9).log10()
}

/// The greatest step from one sample to the next.
pub(super) fn step_max(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

pub(super) fn l16(rate_hz: u32) -> AudioCodec {
    AudioCodec::parse("L16", rate_hz, 1, "").expect("L16")
}

pub(super) struct World {
    pub mixer: AudioMixer,
    pub out: MixOutbox,
    pub knobs: BTreeMap<u32, Knob>,
    pub receivers: BTreeMap<u32, Receiver>,
    pub events: Vec<MixEvent>,
    pub ticks: u32,
}

impl World {
    pub(super) fn new(config: MixConfig) -> Self {
        World {
            mixer: AudioMixer::new(config).expect("a mixer"),
            out: MixOutbox::new(),
            knobs: BTreeMap::new(),
            receivers: BTreeMap::new(),
            events: Vec::new(),
            ticks: 0,
        }
    }

    pub(super) fn now(&self) -> Time {
        Time::from_millis(1_000_000 + 20 * u64::from(self.ticks))
    }

    pub(super) fn source_config(id: u32, group: u32) -> SourceConfig {
        SourceConfig {
            id: SourceId(id),
            ssrc: 0x5000_0000 + id,
            group: GroupId(group),
            payloads: vec![(101, SourcePayload::Events { clock_hz: 8000 })],
            level_extension: None,
            settings: SourceSettings::default(),
        }
    }

    /// A source with a tone, silent so far.
    pub(super) fn add_source(&mut self, config: SourceConfig, hz: f32) -> Knob {
        let knob = Knob::default();
        let rate_hz = self.mixer.config().rate_hz;
        let tone = Tone {
            hz,
            rate_hz,
            at: u64::from(self.ticks) * u64::from(rate_hz / 50),
            knob: knob.clone(),
            tick: vec![0.0; rate_hz as usize / 50],
        };
        self.knobs.insert(config.id.0, knob.clone());
        self.mixer.add_voice(config, Box::new(tone)).expect("added");
        knob
    }

    pub(super) fn output_config(id: u32, group: u32, own: Option<u32>, codec: AudioCodec) -> OutputConfig {
        OutputConfig {
            id: OutputId(id),
            group: GroupId(group),
            own: own.map(SourceId),
            ssrc: 0x0a00_0000 + id,
            payload_type: 96,
            // Both wrap soon.
            first_sequence: 65_530,
            first_timestamp: u32::MAX - 5_000,
            codec,
            encoder: EncoderSettings::default(),
            events_payload_type: None,
            settings: OutputSettings::default(),
        }
    }

    pub(super) fn add_output(&mut self, config: OutputConfig) {
        let decoder = config.codec.decoder().expect("a decoder");
        let receiver = Receiver {
            rate_hz: decoder.format().sample_rate_hz,
            ssrc: config.ssrc,
            clock_per_tick: config.codec.clock_hz / 50,
            decoder,
            sequence: None,
            timestamp: None,
            samples: Vec::new(),
            packets: 0,
            markers: 0,
            events: Vec::new(),
        };
        self.receivers.insert(config.id.0, receiver);
        self.command(MixCommand::AddOutput(config));
    }

    /// A participant: source and output with one number.
    pub(super) fn join(&mut self, id: u32, group: u32, hz: f32, codec: AudioCodec) -> Knob {
        let knob = self.add_source(Self::source_config(id, group), hz);
        self.add_output(Self::output_config(id, group, Some(id), codec));
        knob
    }

    pub(super) fn command(&mut self, command: MixCommand) {
        self.mixer.handle_command(command).expect("accepted");
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.mixer.tick(self.now(), &mut self.out);
        for packet in self.out.packets() {
            let receiver = self.receivers.get_mut(&packet.output.0).expect("an output that is there");
            receiver.take(packet.header, packet.payload, self.ticks);
        }
        self.events.extend_from_slice(self.out.events());
    }

    pub(super) fn run_ms(&mut self, ms: u32) {
        (0..ms / 20).for_each(|_| self.tick());
    }

    /// The amplitude of a tone in the last 200 ms of an output.
    pub(super) fn level(&self, output: u32, hz: f32) -> f32 {
        self.receivers[&output].level(hz, 200)
    }

    pub(super) fn clear(&mut self) {
        self.receivers.values_mut().for_each(|receiver| receiver.samples.clear());
    }
}
