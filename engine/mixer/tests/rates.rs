//! Everybody is mixed at the rate of the own codec, whoever comes and goes. Real packets, virtual time.

use motet_codecs::audio::AudioCodec;
use motet_mixer::audio::{
    AudioMixer, GroupId, MixCommand, MixConfig, MixOutbox, OutputConfig, OutputId, SourceConfig, SourceId,
    SourcePayload, SourceSettings,
};
use motet_mixer::testing::{ToneReceiver, ToneSender, db};
use motet_rtp::Time;
use std::collections::BTreeMap;
use std::f64::consts::TAU;

const TONE_HZ: f64 = 400.0;
const AMPLITUDE: f64 = 0.2;

struct Member {
    sender: ToneSender,
    receiver: ToneReceiver,
    payloads: Vec<Vec<u8>>,
}

struct Conference {
    mixer: AudioMixer,
    out: MixOutbox,
    members: BTreeMap<u32, Member>,
    tapped: Vec<f32>,
    ticks: u64,
}

impl Conference {
    /// Three telephones, of which the first speaks.
    fn new(rate_hz: u32) -> Conference {
        let mixer = AudioMixer::new(MixConfig { rate_hz, ..MixConfig::default() }).expect("a mixer");
        let (members, tapped) = (BTreeMap::new(), Vec::new());
        let mut conference = Conference { mixer, out: MixOutbox::new(), members, tapped, ticks: 0 };
        (0..3).for_each(|id| conference.join(id, "PCMA"));
        conference.member(0).sender.amplitude = AMPLITUDE;
        conference
    }

    fn join(&mut self, id: u32, name: &str) {
        let clock_hz = if name == "opus" { 48_000 } else { 8_000 };
        let codec = AudioCodec::parse(name, clock_hz, 1, "").expect("a codec");
        let sender = ToneSender::new(0x100 + id, 96, &codec, TONE_HZ).expect("a sender");
        let receiver = ToneReceiver::new(&codec).expect("a receiver");
        self.members.insert(id, Member { sender, receiver, payloads: Vec::new() });
        let source = SourceConfig {
            id: SourceId(id),
            ssrc: 0x100 + id,
            group: GroupId(0),
            payloads: vec![(96, SourcePayload::Sound(codec.clone()))],
            level_extension: None,
            settings: SourceSettings::default(),
        };
        self.mixer.handle_command(MixCommand::AddSource(source)).expect("a source");
        let output = OutputConfig {
            id: OutputId(id),
            group: GroupId(0),
            own: Some(SourceId(id)),
            ssrc: 0x200 + id,
            payload_type: 96,
            first_sequence: 1,
            first_timestamp: 1,
            codec,
            encoder: Default::default(),
            events_payload_type: None,
            settings: Default::default(),
        };
        self.mixer.handle_command(MixCommand::AddOutput(output)).expect("an output");
    }

    fn leave(&mut self, id: u32) {
        self.mixer.handle_command(MixCommand::RemoveSource(SourceId(id))).expect("it is there");
        self.mixer.handle_command(MixCommand::RemoveOutput(OutputId(id))).expect("it is there");
        self.members.remove(&id);
    }

    fn member(&mut self, id: u32) -> &mut Member {
        self.members.get_mut(&id).expect("it is there")
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms / 20 {
            self.ticks += 1;
            let now = Time::from_millis(5_000 + 20 * self.ticks);
            for member in self.members.values_mut() {
                self.mixer.handle_packet(now, &member.sender.packet());
            }
            self.mixer.tick(now, &mut self.out);
            for packet in self.out.packets() {
                let member = self.members.get_mut(&packet.output.0).expect("it is there");
                member.payloads.push(packet.payload.to_vec());
                member.receiver.take(&[packet.header.as_slice(), packet.payload].concat());
            }
            for (_, samples) in self.out.taps() {
                self.tapped.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0));
            }
        }
    }
}

/// The largest second difference, against that of the tone.
fn roughness(samples: &[f32], rate_hz: u32) -> f64 {
    let own = AMPLITUDE * 4.0 * (TAU * TONE_HZ / f64::from(rate_hz) / 2.0).sin().powi(2);
    let second = |part: &[f32]| f64::from((part[2] - 2.0 * part[1] + part[0]).abs()) / own;
    samples.windows(3).map(second).fold(0.0, f64::max)
}

#[test]
fn telephones_do_not_hear_that_better_codecs_come_and_go() {
    let (mut changing, mut steady) = (Conference::new(48_000), Conference::new(48_000));
    let mut run = |ms, change: &mut dyn FnMut(&mut Conference)| {
        change(&mut changing);
        changing.run_ms(ms);
        steady.run_ms(ms);
        for id in 0..3 {
            let (other, own) = (&steady.members[&id].payloads, &changing.members[&id].payloads);
            assert!(own == other, "what {id} gets is not the same, byte by byte");
        }
        changing.mixer.rates_hz()
    };
    assert_eq!(run(1_000, &mut |_| {}), [8_000]);
    assert_eq!(run(1_000, &mut |room| room.join(3, "G722")), [8_000, 16_000]);
    assert_eq!(run(1_000, &mut |room| room.join(4, "opus")), [8_000, 16_000, 48_000]);
    let heard = &mut |room: &mut Conference| {
        for id in [1, 2, 3, 4] {
            let level = db(room.members[&id].receiver.amplitude(TONE_HZ, 400) / AMPLITUDE);
            assert!(level.abs() < 1.0, "{id} hears it at {level} dB");
        }
        room.leave(3);
    };
    assert_eq!(run(1_000, heard), [8_000, 48_000]);
    assert_eq!(run(1_000, &mut |room| room.leave(4)), [8_000]);
}

#[test]
fn a_tap_has_one_rate_and_no_click_whoever_comes() {
    for rate_hz in [8_000, 48_000] {
        let mut room = Conference::new(rate_hz);
        room.mixer.handle_command(MixCommand::SetTap { group: GroupId(0), on: true }).expect("a tap");
        room.run_ms(1_000);
        for (id, name) in [(3, "G722"), (4, "opus")] {
            room.join(id, name);
            room.run_ms(1_000);
        }
        room.leave(4);
        room.run_ms(1_000);
        assert_eq!(room.tapped.len(), 4 * rate_hz as usize);
        let steady = &room.tapped[rate_hz as usize / 2..];
        for (at, part) in steady.chunks_exact(rate_hz as usize / 10).enumerate() {
            let level = db(motet_mixer::testing::amplitude(part, TONE_HZ, rate_hz) / AMPLITUDE);
            assert!(level.abs() < 1.0, "{rate_hz}: {level} dB at {at}");
        }
        // G.711's own steps are as rough at 8 kHz as they are without anybody.
        let (before, after) = steady.split_at(rate_hz as usize / 2);
        let (before, after) = (roughness(before, rate_hz), roughness(after, rate_hz));
        assert!(after < before * 1.05, "{rate_hz}: {after} after {before}");
    }
}

#[test]
fn a_limit_holds_for_whoever_has_more() {
    let mut room = Conference::new(8_000);
    room.join(3, "opus");
    room.member(3).sender = {
        let codec = AudioCodec::parse("opus", 48_000, 1, "").expect("Opus");
        ToneSender::new(0x103, 96, &codec, 6_000.0).expect("a sender")
    };
    room.member(3).sender.amplitude = AMPLITUDE;
    room.join(4, "opus");
    room.run_ms(1_000);
    let heard = &room.members[&4].receiver;
    assert!(db(heard.amplitude(TONE_HZ, 400) / AMPLITUDE).abs() < 1.0);
    assert!(db(heard.amplitude(6_000.0, 400) / AMPLITUDE) < -30.0, "{}", heard.amplitude(6_000.0, 400));
}
