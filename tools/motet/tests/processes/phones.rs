//! Participants that send a tone each and listen for those of the others, and files to be played to them.

use crate::world::{Css, PATIENCE};
use motet_codecs::audio::{AudioCodec, AudioDecoder, AudioEncoder, EncoderSettings};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Above this a tone is there, and below a quarter of it, it is not.
pub const PRESENT: f64 = 3_000.0;
pub const TONE: f64 = 8_000.0;

/// A participant that sends a tone of its own and listens.
pub struct Phone {
    pub name: &'static str,
    pub tone_hz: f64,
    pub amplitude: f64,
    pub socket: UdpSocket,
    pub target: SocketAddr,
    pub codec: AudioCodec,
    pub payload_type: u8,
    pub encoder: Box<dyn AudioEncoder>,
    pub decoder: Box<dyn AudioDecoder>,
    pub samples: u64,
    pub sequence: u16,
    /// By SSRC.
    pub heard: BTreeMap<u32, Vec<i16>>,
}

impl Phone {
    pub fn join(
        css: &Css,
        conference: &str,
        name: &'static str,
        codec: (&str, u32, u8),
        tone_hz: f64,
    ) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.set_nonblocking(true).expect("a socket can be set");
        let address = socket.local_addr().expect("it is bound");
        let (encoding, clock_hz, payload_type) = codec;
        let medium = format!("{encoding}/{payload_type},mux@{address}");
        let info = css.json(&["conf", "join", conference, name, "--audio", &medium]);
        let target = info["media"][0]["send_rtp_to"].as_str().expect("an address to send to");
        let codec = AudioCodec::parse(encoding, clock_hz, 1, "").expect("a codec");
        Phone {
            name,
            tone_hz,
            amplitude: TONE,
            target: target.parse().expect("an address"),
            encoder: codec.encoder(&EncoderSettings::default()).expect("an encoder"),
            decoder: codec.decoder().expect("a decoder"),
            socket,
            codec,
            payload_type,
            samples: 0,
            sequence: 0,
            heard: BTreeMap::new(),
        }
    }

    fn rate_hz(&self) -> f64 {
        f64::from(self.encoder.format().sample_rate_hz)
    }

    pub fn talk(&mut self) {
        let format = self.encoder.format();
        let sample =
            |at: u64| ((at as f64 * self.tone_hz / self.rate_hz() * TAU).sin() * self.amplitude) as i16;
        let samples: Vec<i16> =
            (0..format.samples_in_ms(20) as u64).map(|at| sample(self.samples + at)).collect();
        let mut payload = vec![0; 2_000];
        let bytes = self.encoder.encode(&samples, &mut payload).expect("it is encoded");
        let timestamp = self.samples * u64::from(self.codec.clock_hz) / u64::from(format.sample_rate_hz);
        self.samples += samples.len() as u64;
        self.sequence = self.sequence.wrapping_add(1);
        let packet = RtpBuilder::new(self.name.as_bytes()[0].into())
            .payload_type(self.payload_type)
            .sequence(WireSeq(self.sequence))
            .timestamp(WireTimestamp(timestamp as u32))
            .payload(&payload[..bytes])
            .to_vec();
        self.socket.send_to(&packet, self.target).expect("loopback takes packets");
    }

    pub fn listen(&mut self) {
        let (mut bytes, mut samples) = ([0; 2_048], [0; 5_760]);
        while let Ok(length) = self.socket.recv(&mut bytes) {
            // Reports are not for the ear.
            if (192..=223).contains(&bytes[1]) {
                continue;
            }
            let packet = RtpView::new(&bytes[..length]).expect("RTP");
            if packet.payload_type() == self.payload_type {
                let count = self.decoder.decode(packet.payload(), &mut samples).expect("it is decoded");
                self.heard.entry(packet.ssrc()).or_default().extend(&samples[..count]);
            }
        }
    }

    /// Amplitude of a tone in the last half second of the stream that has most of it.
    pub fn hears(&self, tone_hz: f64) -> f64 {
        let streams = self.heard.values().filter_map(|heard| self.amplitude_in(heard, tone_hz));
        streams.fold(0.0, f64::max)
    }

    /// Amplitude of a tone in the last half second; none: less than that was heard.
    fn amplitude_in(&self, heard: &[i16], tone_hz: f64) -> Option<f64> {
        let count = (self.rate_hz() / 2.0) as usize;
        Some(amplitude(&heard[heard.len().checked_sub(count)?..], tone_hz, self.rate_hz()))
    }
}

/// Amplitude of a tone (Goertzel).
pub fn amplitude(samples: &[i16], tone_hz: f64, rate_hz: f64) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = at as f64 * tone_hz / rate_hz * TAU;
        real += f64::from(*sample) * angle.cos();
        imaginary += f64::from(*sample) * angle.sin();
    }
    real.hypot(imaginary) * 2.0 / samples.len() as f64
}

/// Everybody talks for so long and listens.
pub fn talk(phones: &mut [Phone], duration: Duration) {
    let begun = Instant::now();
    phones.iter_mut().for_each(|phone| phone.heard.clear());
    for tick in 1.. {
        phones.iter_mut().for_each(Phone::talk);
        let next = begun + Duration::from_millis(20) * tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        phones.iter_mut().for_each(Phone::listen);
        if begun.elapsed() > duration {
            return;
        }
    }
}

/// Who hears which tones clearly; none: something is neither there nor absent.
pub fn heard(phones: &[Phone], tones: &[(&str, f64)]) -> Option<BTreeSet<String>> {
    let mut heard = BTreeSet::new();
    for to in phones {
        for (from, tone_hz) in tones {
            match to.hears(*tone_hz) {
                amplitude if amplitude > PRESENT => heard.insert(format!("{from}>{}", to.name)),
                amplitude if amplitude < PRESENT / 4.0 => false,
                _ => return None,
            };
        }
    }
    Some(heard)
}

/// Lets everybody talk until exactly this is heard.
#[track_caller]
pub fn until_heard(phones: &mut [Phone], more: &[(&'static str, f64)], expected: &[&str]) {
    let tones: Vec<_> = phones.iter().map(|phone| (phone.name, phone.tone_hz)).chain(more.to_vec()).collect();
    let expected: BTreeSet<String> = expected.iter().map(|pair| (*pair).to_owned()).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        talk(phones, Duration::from_millis(900));
        let now = heard(phones, &tones);
        if now.as_ref() == Some(&expected) {
            return;
        }
        assert!(Instant::now() < end, "{now:?} is heard, not {expected:?}");
    }
}

pub fn room(css: &Css, number: &str) -> Vec<Phone> {
    vec![
        Phone::join(css, number, "alice", ("pcmu", 8_000, 0), 440.0),
        Phone::join(css, number, "bob", ("g722", 8_000, 9), 850.0),
        Phone::join(css, number, "carol", ("opus", 48_000, 111), 1_250.0),
        Phone::join(css, number, "dave", ("pcmu", 8_000, 0), 1_700.0),
    ]
}

pub const ALL: [&str; 12] = [
    "alice>bob",
    "alice>carol",
    "alice>dave",
    "bob>alice",
    "bob>carol",
    "bob>dave",
    "carol>alice",
    "carol>bob",
    "carol>dave",
    "dave>alice",
    "dave>bob",
    "dave>carol",
];

/// A second of a tone, again and again, as 16-bit PCM in a file.
pub fn write_prompt(path: &std::path::Path, tone_hz: f64, seconds: u32) {
    let rate_hz = 16_000_u32;
    let samples = (0..rate_hz * seconds).flat_map(|at| {
        (((f64::from(at) * tone_hz / f64::from(rate_hz) * TAU).sin() * TONE) as i16).to_le_bytes()
    });
    let samples: Vec<u8> = samples.collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((2 * rate_hz).to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples);
    std::fs::write(path, bytes).expect("a file can be written");
}
