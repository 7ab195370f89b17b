//! For tests and benchmarks: senders whose sound is a tone or whose picture is a test card, by real encoders, and
//! receivers that decode; and the bodies of the fuzz targets `mixer`, `canvas` and `layout`.

mod canvas;
mod cards;
mod fuzz;
mod layout;

pub use canvas::{canvas_seeds, fuzz_canvas};
pub use cards::{CardReceiver, CardSender};
pub use fuzz::fuzz_mixer;
pub use layout::fuzz_layout;

use motet_codecs::audio::{AudioCodec, AudioDecoder, AudioEncoder, CodecError, EncoderSettings};
use motet_rtp::ext::{Extension, Form, write_elements};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};

/// Bytes of the largest payload that is made here.
const PAYLOAD_BYTES_MAX: usize = 4_096;
/// Samples of the longest payload that is decoded here: 120 ms, 48 kHz, stereo.
const SAMPLES_MAX: usize = 11_520;

/// A participant that sends a tone, 20 ms in each packet.
pub struct ToneSender {
    /// The SSRC of its packets.
    pub ssrc: u32,
    /// The payload type of its packets.
    pub payload_type: u8,
    /// The tone's frequency.
    pub hz: f64,
    /// The tone's amplitude, 0.0 to 1.0.
    pub amplitude: f64,
    /// The identifier of the header extension that says the level (RFC 6464), if it is sent.
    pub level_extension: Option<u8>,
    /// The next packet's sequence number.
    pub sequence: u16,
    /// The next packet's timestamp.
    pub timestamp: u32,
    encoder: Box<dyn AudioEncoder>,
    clock_per_packet: u32,
    /// Samples of one channel since the beginning.
    at: u64,
    samples: Vec<i16>,
    payload: Vec<u8>,
}

impl ToneSender {
    /// A sender, silent so far.
    ///
    /// # Errors
    /// When the codec has no such encoder.
    pub fn new(ssrc: u32, payload_type: u8, codec: &AudioCodec, hz: f64) -> Result<Self, CodecError> {
        Ok(ToneSender {
            ssrc,
            payload_type,
            hz,
            amplitude: 0.0,
            level_extension: None,
            sequence: ssrc as u16,
            timestamp: ssrc.wrapping_mul(2_654_435_761),
            encoder: codec.encoder(&EncoderSettings::default())?,
            clock_per_packet: codec.clock_hz / 50,
            at: 0,
            samples: Vec::new(),
            payload: vec![0; PAYLOAD_BYTES_MAX],
        })
    }

    /// The next 20 ms as a packet.
    ///
    /// # Panics
    /// When the encoder fails.
    pub fn packet(&mut self) -> Vec<u8> {
        let format = self.encoder.format();
        let rate_hz = f64::from(format.sample_rate_hz);
        self.samples.clear();
        for n in 0..u64::from(format.sample_rate_hz / 50) {
            let turns = (self.hz * (self.at + n) as f64 / rate_hz).fract();
            let sample = self.amplitude * (turns * std::f64::consts::TAU).sin() * 32_767.0;
            self.samples.extend(std::iter::repeat_n(sample as i16, usize::from(format.channels)));
        }
        self.at += u64::from(format.sample_rate_hz / 50);
        let encoded =
            self.encoder.encode(&self.samples, &mut self.payload).expect("the encoder takes a tick");
        let mut level = Vec::new();
        if let Some(id) = self.level_extension {
            let element = [self.level_dbov()];
            write_elements(&mut level, Form::OneByte, &[(id, &element)]).expect("an identifier below 15");
        }
        let mut packet = RtpBuilder::new(self.ssrc)
            .payload_type(self.payload_type)
            .sequence(WireSeq(self.sequence))
            .timestamp(WireTimestamp(self.timestamp))
            .payload(&self.payload[..encoded]);
        if !level.is_empty() {
            packet = packet.extension(Extension { profile: Form::OneByte.profile(), data: &level });
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.clock_per_packet);
        packet.to_vec()
    }

    /// The tone's level as RFC 6464 says it: dB below full scale, 127 for silence.
    fn level_dbov(&self) -> u8 {
        let power = self.amplitude * self.amplitude / 2.0;
        if power > 0.0 { (-10.0 * power.log10()).round().clamp(0.0, 127.0) as u8 } else { 127 }
    }
}

/// A receiver of one stream, which checks that sequence numbers go on, and keeps the sound.
pub struct ToneReceiver {
    /// Samples a second, of one channel.
    pub rate_hz: u32,
    /// What was decoded, in -1.0 to 1.0; the first channel of several.
    pub samples: Vec<f32>,
    /// Packets received.
    pub packets: u64,
    /// Packets that were not the next in the sequence.
    pub jumps: u64,
    decoder: Box<dyn AudioDecoder>,
    sequence: Option<WireSeq>,
    decoded: Vec<i16>,
}

impl ToneReceiver {
    /// A receiver of payloads of this codec.
    ///
    /// # Errors
    /// When the codec has no decoder.
    pub fn new(codec: &AudioCodec) -> Result<Self, CodecError> {
        let decoder = codec.decoder()?;
        Ok(ToneReceiver {
            rate_hz: decoder.format().sample_rate_hz,
            samples: Vec::new(),
            packets: 0,
            jumps: 0,
            decoder,
            sequence: None,
            decoded: vec![0; SAMPLES_MAX],
        })
    }

    /// Takes a packet.
    ///
    /// # Panics
    /// When it is no RTP packet, or its payload none of the codec.
    pub fn take(&mut self, packet: &[u8]) {
        let packet = RtpView::new(packet).expect("RTP");
        let next = self.sequence.is_none_or(|before| packet.sequence() == before.next());
        self.jumps += u64::from(!next);
        self.sequence = Some(packet.sequence());
        self.packets += 1;
        let decoded =
            self.decoder.decode(packet.payload(), &mut self.decoded).expect("a payload of the codec");
        let channels = usize::from(self.decoder.format().channels);
        let samples = self.decoded[..decoded].iter().step_by(channels);
        self.samples.extend(samples.map(|sample| f32::from(*sample) / 32_768.0));
    }

    /// The amplitude of a tone in the last `ms` milliseconds.
    ///
    /// # Panics
    /// When less was received.
    pub fn amplitude(&self, hz: f64, ms: usize) -> f64 {
        let last = self.samples.len() - self.rate_hz as usize * ms / 1000;
        amplitude(&self.samples[last..], hz, self.rate_hz)
    }
}

/// The amplitude of a tone in `samples`: Goertzel's sum, written out, under a raised cosine that keeps neighbours
/// apart.
pub fn amplitude(samples: &[f32], hz: f64, rate_hz: u32) -> f64 {
    let (mut re, mut im, mut weights) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let phase = (hz * n as f64 / f64::from(rate_hz)).fract() * std::f64::consts::TAU;
        let weight = 0.5 - 0.5 * (n as f64 / samples.len() as f64 * std::f64::consts::TAU).cos();
        re += weight * f64::from(*sample) * phase.cos();
        im += weight * f64::from(*sample) * phase.sin();
        weights += weight;
    }
    2.0 * re.hypot(im) / f64::max(weights, f64::MIN_POSITIVE)
}

/// Decibels of a ratio of amplitudes; -180 for nothing.
pub fn db(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-9).log10()
}
