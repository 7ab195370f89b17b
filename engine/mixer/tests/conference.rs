//! A conference of real packets: encoded, jittered by nothing, mixed, encoded and decoded, in virtual time.

use motet_codecs::audio::AudioCodec;
use motet_mixer::audio::{
    AudioMixer, GroupId, MixCommand, MixConfig, MixDrop, MixOutbox, OutputConfig, OutputId, SourceConfig,
    SourceId, SourcePayload, SourceSettings,
};
use motet_mixer::testing::{ToneReceiver, ToneSender, db};
use motet_rtp::{RtpBuilder, Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;

const SSRC: u32 = 0x7100_0000;
const LEVEL: u8 = 3;

fn codec(name: &str) -> AudioCodec {
    let clock_hz = if name == "opus" { 48_000 } else { 8_000 };
    AudioCodec::parse(name, clock_hz, 1, "").expect("a codec")
}

struct Conference {
    mixer: AudioMixer,
    out: MixOutbox,
    senders: BTreeMap<u32, ToneSender>,
    receivers: BTreeMap<u32, ToneReceiver>,
    ticks: u64,
    /// Packets that come just before each tick, beside everybody's.
    extra: Vec<Vec<u8>>,
}

impl Conference {
    fn new(config: MixConfig) -> Self {
        Conference {
            mixer: AudioMixer::new(config).expect("a mixer"),
            out: MixOutbox::new(),
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
            ticks: 0,
            extra: Vec::new(),
        }
    }

    fn join(&mut self, id: u32, name: &str, hz: f64, level: bool) {
        let codec = codec(name);
        let mut sender = ToneSender::new(SSRC + id, 100, &codec, hz).expect("a sender");
        sender.level_extension = level.then_some(LEVEL);
        self.senders.insert(id, sender);
        self.receivers.insert(id, ToneReceiver::new(&codec).expect("a receiver"));
        let source = SourceConfig {
            id: SourceId(id),
            ssrc: SSRC + id,
            group: GroupId(0),
            payloads: vec![(100, SourcePayload::Sound(codec.clone()))],
            level_extension: level.then_some(LEVEL),
            settings: SourceSettings::default(),
        };
        self.mixer.handle_command(MixCommand::AddSource(source)).expect("a source");
        let mut output = OutputConfig {
            id: OutputId(id),
            group: GroupId(0),
            own: Some(SourceId(id)),
            ssrc: 0x7200_0000 + id,
            payload_type: 100,
            first_sequence: 65_000,
            first_timestamp: 7,
            codec,
            encoder: Default::default(),
            events_payload_type: None,
            settings: Default::default(),
        };
        output.encoder.bitrate_bps = Some(64_000);
        self.mixer.handle_command(MixCommand::AddOutput(output)).expect("an output");
    }

    fn speak(&mut self, id: u32, amplitude: f64) {
        self.senders.get_mut(&id).expect("there").amplitude = amplitude;
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let now = Time::from_millis(5_000 + 20 * self.ticks);
        for sender in self.senders.values_mut() {
            self.mixer.handle_packet(now, &sender.packet());
        }
        for packet in self.extra.drain(..) {
            self.mixer.handle_packet(now, &packet);
        }
        self.mixer.tick(now, &mut self.out);
        for packet in self.out.packets() {
            let bytes = [packet.header.as_slice(), packet.payload].concat();
            self.receivers.get_mut(&packet.output.0).expect("there").take(&bytes);
        }
    }

    fn run_ms(&mut self, ms: u64) {
        (0..ms / 20).for_each(|_| self.tick());
    }

    fn level(&self, output: u32, hz: f64) -> f64 {
        self.receivers[&output].amplitude(hz, 200)
    }
}

const TONES: [f64; 3] = [440.0, 820.0, 1_310.0];

/// Each tone is in everyone else's mix at its level, and not in its own.
fn check_n_minus_one(conference: &Conference) {
    for output in 0..3 {
        for (source, hz) in TONES.iter().enumerate() {
            let level = db(conference.level(output, *hz) / 0.2);
            if source as u32 == output {
                assert!(level < -40.0, "{output} hears itself at {level} dB");
            } else {
                assert!(level.abs() < 1.0, "{output} hears {source} at {level} dB");
            }
        }
        assert_eq!(conference.receivers[&output].jumps, 0);
    }
}

#[test]
fn telephones_terminals_and_browsers_hear_each_other() {
    for (rate_hz, level) in [(48_000, true), (16_000, false), (8_000, true)] {
        let mut conference = Conference::new(MixConfig { rate_hz, ..MixConfig::default() });
        for (id, name) in ["PCMA", "G722", "opus"].into_iter().enumerate() {
            conference.join(id as u32, name, TONES[id], level);
            conference.speak(id as u32, 0.2);
        }
        conference.run_ms(1_500);
        check_n_minus_one(&conference);
        assert_eq!(conference.mixer.drops().total(), 0, "{:?}", conference.mixer.drops());
    }
}

#[test]
fn who_says_to_be_silent_is_not_decoded() {
    let mut conference = Conference::new(MixConfig::default());
    for id in 0..20 {
        conference.join(id, "opus", 400.0, true);
    }
    conference.speak(0, 0.2);
    conference.run_ms(500);
    let before = conference.mixer.stats();
    conference.run_ms(1_000);
    let stats = conference.mixer.stats();
    assert_eq!(stats.decodes - before.decodes, 50);
    assert_eq!(stats.decodes_skipped - before.decodes_skipped, 19 * 50);
    assert_eq!(stats.encodes - before.encodes, 2 * 50);
    // Who was not decoded so far is heard from the first tick on.
    conference.speak(0, 0.0);
    conference.speak(7, 0.2);
    conference.run_ms(400);
    assert!(db(conference.level(3, 400.0) / 0.2).abs() < 1.0);
}

#[test]
fn bad_packets_are_counted_and_nobody_else_hears_of_them() {
    let mut conference = Conference::new(MixConfig::default());
    for (id, name) in ["PCMA", "G722", "opus"].into_iter().enumerate() {
        conference.join(id as u32, name, TONES[id], false);
        conference.speak(id as u32, 0.2);
    }
    // A fourth one, whose packets are all wrong.
    conference.join(3, "opus", 3_000.0, false);
    conference.senders.remove(&3);
    conference.run_ms(500);
    let bad = |payload_type: u8, sequence: u64, payload: &[u8]| {
        RtpBuilder::new(SSRC + 3)
            .payload_type(payload_type)
            .sequence(WireSeq(sequence as u16))
            .timestamp(WireTimestamp(sequence as u32 * 960))
            .payload(payload)
            .to_vec()
    };
    let noise: Vec<u8> = (0..1_500_u32).map(|n| (n * n * 31 + 7) as u8).collect();
    for tick in 0..100 {
        // Opus with three frames that are not there, nothing at all, a payload type of nobody's, no RTP, and an
        // SSRC of nobody's.
        conference.extra.push(bad(100, 10 * tick, &[0xff, 0xff, 0xff]));
        conference.extra.push(bad(100, 10 * tick + 1, &[]));
        conference.extra.push(bad(101, 10 * tick + 2, &noise[..160]));
        conference.extra.push(vec![0x80; 11]);
        let mut stranger = bad(100, tick, &noise);
        stranger[8..12].copy_from_slice(&[9; 4]);
        conference.extra.push(stranger);
        conference.tick();
        assert!(conference.out.packets().len() == 4);
    }
    let drops = conference.mixer.drops();
    assert_eq!(drops.count(MixDrop::Malformed), 100);
    assert_eq!(drops.count(MixDrop::UnknownSsrc), 100);
    assert_eq!(drops.count(MixDrop::UnknownPayloadType), 100);
    assert_eq!(drops.count(MixDrop::BadPayload), 200, "{drops:?}");
    check_n_minus_one(&conference);
}

#[test]
fn a_payload_type_that_lies_harms_nobody_else() {
    let mut conference = Conference::new(MixConfig { speakers_max: 2, ..MixConfig::default() });
    for (id, name) in ["PCMA", "G722", "opus"].into_iter().enumerate() {
        conference.join(id as u32, name, TONES[id], false);
    }
    conference.speak(0, 0.2);
    // It says Opus, and sends A-law; and it says A-law in 1,500 bytes, which is noise of 187 ms.
    let mut liar = ToneSender::new(SSRC + 2, 100, &codec("PCMA"), 3_000.0).expect("a sender");
    liar.amplitude = 0.5;
    conference.senders.insert(2, liar);
    for _ in 0..100 {
        conference.tick();
    }
    // The liar may be heard, as what its bytes come to; the others are as they were.
    let heard = db(conference.level(1, TONES[0]) / 0.2);
    assert!(heard.abs() < 1.0, "{heard} dB");
    let peak = conference.receivers[&1].samples.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    assert!(peak <= 1.0);
    assert!(conference.receivers.values().all(|receiver| receiver.jumps == 0));
}

#[test]
fn a_flood_of_oversized_packets_is_dropped() {
    let mut conference = Conference::new(MixConfig::default());
    conference.join(0, "PCMU", TONES[0], false);
    conference.join(1, "PCMU", TONES[1], false);
    conference.speak(0, 0.2);
    for sequence in 0..100_u16 {
        let packet = RtpBuilder::new(SSRC + 1)
            .payload_type(100)
            .sequence(WireSeq(sequence))
            .timestamp(WireTimestamp(u32::from(sequence) * 1_500))
            .payload(&[0x55; 1_500])
            .to_vec();
        conference.extra.push(packet);
        conference.tick();
    }
    // 1,500 bytes of G.711 are 187 ms: no packet has so much.
    assert_eq!(conference.mixer.drops().count(MixDrop::BadPayload), 100);
    assert!(db(conference.level(1, TONES[0]) / 0.2).abs() < 1.0);
}
