//! Conferences that are mixed, heard by signal: telephones, wideband telephones and browsers in one room.

use crate::world::{Css, PATIENCE, eventually, free_port, http, local};
use motet_codecs::audio::{AudioCodec, AudioDecoder, AudioEncoder, EncoderSettings};
use motet_rtp::{RtpBuilder, RtpView, WireSeq, WireTimestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Above this a tone is there, and below a quarter of it, it is not.
const PRESENT: f64 = 3_000.0;
const TONE: f64 = 8_000.0;

/// A participant that sends a tone of its own and listens.
struct Phone {
    name: &'static str,
    tone_hz: f64,
    amplitude: f64,
    socket: UdpSocket,
    target: SocketAddr,
    codec: AudioCodec,
    payload_type: u8,
    encoder: Box<dyn AudioEncoder>,
    decoder: Box<dyn AudioDecoder>,
    samples: u64,
    sequence: u16,
    /// By SSRC.
    heard: BTreeMap<u32, Vec<i16>>,
}

impl Phone {
    fn join(css: &Css, conference: &str, name: &'static str, codec: (&str, u32, u8), tone_hz: f64) -> Phone {
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

    fn talk(&mut self) {
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

    fn listen(&mut self) {
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
    fn hears(&self, tone_hz: f64) -> f64 {
        let streams = self.heard.values().filter_map(|heard| self.amplitude_in(heard, tone_hz));
        streams.fold(0.0, f64::max)
    }

    /// Amplitude of a tone in the last half second (Goertzel); none: less than that was heard.
    fn amplitude_in(&self, heard: &[i16], tone_hz: f64) -> Option<f64> {
        let count = (self.rate_hz() / 2.0) as usize;
        let samples = &heard[heard.len().checked_sub(count)?..];
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let angle = at as f64 * tone_hz / self.rate_hz() * TAU;
            real += f64::from(*sample) * angle.cos();
            imaginary += f64::from(*sample) * angle.sin();
        }
        Some(real.hypot(imaginary) * 2.0 / count as f64)
    }
}

/// Everybody talks for so long and listens.
fn talk(phones: &mut [Phone], duration: Duration) {
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
fn heard(phones: &[Phone], tones: &[(&str, f64)]) -> Option<BTreeSet<String>> {
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
fn until_heard(phones: &mut [Phone], more: &[(&'static str, f64)], expected: &[&str]) {
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

fn room(css: &Css, number: &str) -> Vec<Phone> {
    vec![
        Phone::join(css, number, "alice", ("pcmu", 8_000, 0), 440.0),
        Phone::join(css, number, "bob", ("g722", 8_000, 9), 850.0),
        Phone::join(css, number, "carol", ("opus", 48_000, 111), 1_250.0),
        Phone::join(css, number, "dave", ("pcmu", 8_000, 0), 1_700.0),
    ]
}

const ALL: [&str; 12] = [
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

#[test]
fn everybody_hears_the_others_and_the_mode_is_switched_while_they_talk() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--workers", "2", "--worker-legs-max", "2"]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8601", "--audio", "mix,speakers=4"]);
    let mut phones = room(&css, "8601");
    let info = css.json(&["conf", "show", "8601"]);
    let receives = info["participants"][1]["receives"].as_array().expect("a list").clone();
    assert_eq!(
        (receives.len(), &receives[0]["from"], &receives[0]["from_medium"]),
        (1, &"".into(), &"mix".into())
    );
    assert_eq!(receives[0]["codecs"][0]["name"], "G722");
    until_heard(&mut phones, &[], &ALL);
    assert!(phones.iter().all(|phone| phone.heard.len() == 1), "one stream each");

    // Relayed, only those hear each other who have a codec in common.
    let info = css.json(&["conf", "audio", "8601", "relay"]);
    assert_eq!(info["audio"], "relay");
    until_heard(&mut phones, &[], &["alice>dave", "dave>alice"]);
    css.json(&["conf", "audio", "8601", "mix,rate=16000,speakers=4"]);
    until_heard(&mut phones, &[], &ALL);
    css.fails(&["conf", "audio", "8601", "mix,rate=44100"], 1, "audio.mix.rate_hz");
    css.json(&["conf", "leave", "8601", "alice"]);
    let rest: Vec<&str> = ALL.into_iter().filter(|pair| !pair.contains("alice")).collect();
    until_heard(&mut phones[1..], &[], &rest);
}

#[test]
fn of_the_loudest_only_they_are_forwarded() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--workers", "2", "--worker-legs-max", "2"]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8603", "--audio", "loudest:1"]);
    let mut phones: Vec<Phone> =
        [("alice", 440.0, TONE), ("bob", 850.0, TONE / 2.0), ("carol", 1_250.0, TONE / 4.0)]
            .into_iter()
            .map(|(name, tone_hz, amplitude)| Phone {
                amplitude,
                ..Phone::join(&css, "8603", name, ("pcmu", 8_000, 0), tone_hz)
            })
            .collect();
    until_heard(&mut phones, &[], &["alice>bob", "alice>carol"]);
    css.json(&["conf", "mute", "8603", "alice"]);
    until_heard(&mut phones, &[], &["bob>alice", "bob>carol"]);
    css.json(&["conf", "audio", "8603", "relay"]);
    phones[2].amplitude = TONE;
    until_heard(&mut phones, &[], &["bob>alice", "bob>carol", "carol>alice", "carol>bob"]);
}

/// A second of a tone, again and again, as 16-bit PCM in a file.
fn write_prompt(path: &std::path::Path, tone_hz: f64, seconds: u32) {
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

#[test]
fn prompts_are_played_where_all_is_served_by_one_command() {
    let css = Css::new();
    let prompts = tempfile::tempdir().expect("a folder can be made");
    write_prompt(&prompts.path().join("gong.wav"), 2_300.0, 2);
    let folder = prompts.path().to_str().expect("text");
    let ports = crate::world::media_ports();
    let serve = ["serve", "--listen", &css.listen(), "--port-range", &ports, "--prompts", folder];
    let _server = crate::world::Process::motet(&serve);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8604", "--audio", "mix"]);
    css.json(&["conf", "join", "8604", "alice", "--audio", "pcmu"]);
    let playing = css.json(&["conf", "play", "8604", "gong.wav"]);
    assert_eq!(playing["duration_ms"], 2_000);
}

#[test]
fn a_mix_is_controlled_and_says_what_happens() {
    let (css, metrics) = (Css::new(), free_port());
    let prompts = tempfile::tempdir().expect("a folder can be made");
    write_prompt(&prompts.path().join("gong.wav"), 2_300.0, 2);
    let folder = prompts.path().to_str().expect("text");
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", &local(metrics), "--prompts", folder]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8602"]);
    css.fails(&["conf", "play", "8602", "gong.wav"], 1, "is not mixed");
    css.json(&["conf", "audio", "8602", "mix"]);
    let watch = css.command(&["conf", "watch", "8602", "--json"]);
    let watch = crate::world::Watched::start(watch);
    let mut phones = room(&css, "8602");
    let quiet = phones.pop().map(|phone| phone.name);
    assert_eq!(quiet, Some("dave"));
    let all: Vec<&str> = ALL.into_iter().filter(|pair| !pair.contains("dave")).collect();
    until_heard(&mut phones, &[], &all);

    let without =
        |part: &str| -> Vec<&str> { all.iter().copied().filter(|pair| !pair.contains(part)).collect() };
    let muted = css.json(&["conf", "mute", "8602", "alice"]);
    assert_eq!(muted["muted"], true);
    until_heard(&mut phones, &[], &without("alice>"));
    css.json(&["conf", "mute", "8602", "alice", "--off"]);
    css.json(&["conf", "mute", "8602", "bob", "--to", "carol"]);
    until_heard(&mut phones, &[], &without("bob>carol"));
    css.json(&["conf", "gain", "8602", "bob", "0", "--to", "carol"]);
    css.json(&["conf", "deaf", "8602", "bob"]);
    until_heard(&mut phones, &[], &without(">bob"));
    css.json(&["conf", "deaf", "8602", "bob", "--off"]);
    css.json(&["conf", "gain", "8602", "carol", "-40"]);
    until_heard(&mut phones, &[], &without("carol>"));
    css.json(&["conf", "gain", "8602", "carol", "0"]);

    css.fails(&["conf", "play", "8602", "../gong.wav"], 1, "--prompts");
    css.fails(&["conf", "play", "8602", "none.wav"], 1, "none.wav");
    css.fails(&["conf", "play", "8602", "gong.wav", "--to", "eve"], 1, "eve");
    let playing = css.json(&["conf", "play", "8602", "gong.wav", "--to", "alice", "--repeat"]);
    assert_eq!(playing["duration_ms"], 2_000);
    let mut with_gong = all.clone();
    with_gong.push("gong>alice");
    until_heard(&mut phones, &[("gong", 2_300.0)], &with_gong);
    let prompt = playing["prompt"].as_str().expect("a name");
    assert_eq!(css.json(&["conf", "stop", "8602", prompt])["existed"], true);
    until_heard(&mut phones, &[("gong", 2_300.0)], &all);
    assert_eq!(css.json(&["conf", "stop", "8602", prompt])["existed"], false);

    for kind in ["speaker-started", "speaker-stopped", "active-speaker", "prompt-finished"] {
        eventually(kind, || watch.lines().iter().any(|line| kind_of(line) == kind).then_some(()));
    }
    let (_, page) = http(metrics, "/metrics").expect("the node answers");
    let value = |name: &str| -> f64 {
        let sample = format!("{name}{{thread=\"0\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&sample));
        line.unwrap_or_else(|| panic!("{name}")).parse().expect("a number")
    };
    assert_eq!((value("motet_mixing_conferences"), value("motet_mixing_sources")), (1.0, 4.0));
    assert!(value("motet_mixing_ticks_total") > 100.0 && value("motet_mixing_encoded_frames_total") > 100.0);
}

fn kind_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("one JSON document each line");
    event["kind"].as_str().expect("a kind").to_owned()
}

#[test]
fn the_generator_hears_everybody_in_everybody_elses_mix() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off"]);
    css.wait_for_nodes(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (url, wav) = (css.url(), folder.path().to_string_lossy().into_owned());
    let load = ["load", "--css", &url, "--audio", "--participants", "4", "--codec", "opus,pcmu,g722,pcma"];
    let all = ["--talkers", "4", "--turn", "2.4", "--duration", "2.5", "--wav", &wav, "--json"];
    let output = css.run(&[&load[..], &all].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let count = |name: &str| report[name].as_u64().expect(name);
    assert_eq!((count("voices_expected"), count("voices_heard")), (12, 12), "{report}");
    assert_eq!((count("own_expected"), count("own_absent")), (4, 4), "{report}");
    assert!(report["level_db"]["min"].as_f64() > Some(-3.0), "{report}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it was made").count(), 4);
}
