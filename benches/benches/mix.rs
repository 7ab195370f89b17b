//! What a tick of the audio mix costs: everybody's packets of 20 ms in, everybody's packets out.
//!
//! An element is one participant's tick: of 20 ms on one core it is `time / 20 ms`. Voices are harmonics and noise,
//! so that codecs have what they have with speech; who is silent sends the noise of a room.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use motet_codecs::audio::{AudioCodec, EncoderSettings};
use motet_mixer::audio::{
    AudioMixer, GroupId, MixCommand, MixConfig, MixOutbox, OutputConfig, OutputId, SourceConfig, SourceId,
    SourcePayload, SourceSettings,
};
use motet_rtp::ext::{Extension, Form};
use motet_rtp::{RtpBuilder, Time};
use std::time::Duration;

const LEVEL: u8 = 3;
/// Packets that a sender repeats.
const LOOP: usize = 50;

struct Sender {
    packets: Vec<Vec<u8>>,
    sent: u32,
    clock_per_packet: u32,
}

impl Sender {
    fn new(ssrc: u32, codec: &AudioCodec, speaks: bool, level: bool) -> Self {
        let mut encoder = codec.encoder(&EncoderSettings::default()).expect("an encoder");
        let rate_hz = f64::from(encoder.format().sample_rate_hz);
        let mut noise = ssrc | 1;
        let mut payload = [0; 4_096];
        // The identifier, one byte; then the level.
        let element = [LEVEL << 4, if speaks { 24 } else { 90 }, 0, 0];
        let packets = (0..LOOP).map(|packet| {
            let samples: Vec<i16> = (0..rate_hz as usize / 50)
                .map(|n| {
                    let at = (packet * rate_hz as usize / 50 + n) as f64 / rate_hz * std::f64::consts::TAU;
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let hiss = f64::from(noise >> 16) - 32_768.0;
                    let base = 110.0 + f64::from(ssrc % 7) * 13.0;
                    let voice: f64 = (1..20).map(|k| (at * base * f64::from(k)).sin() / f64::from(k)).sum();
                    let swell = 0.6 + 0.4 * (at * 3.0).sin();
                    if speaks { voice * swell * 5_000.0 + hiss * 0.02 } else { hiss * 0.001 }
                })
                .map(|sample| sample as i16)
                .collect();
            let bytes = encoder.encode(&samples, &mut payload).expect("encodes");
            let extension = Extension { profile: Form::OneByte.profile(), data: &element };
            let packet = RtpBuilder::new(ssrc).payload_type(96).payload(&payload[..bytes]);
            if level { packet.extension(extension).to_vec() } else { packet.to_vec() }
        });
        Sender { packets: packets.collect(), sent: 0, clock_per_packet: codec.clock_hz / 50 }
    }

    fn next(&mut self) -> &[u8] {
        let packet = &mut self.packets[self.sent as usize % LOOP];
        packet[2..4].copy_from_slice(&(self.sent as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(self.sent.wrapping_mul(self.clock_per_packet)).to_be_bytes());
        self.sent += 1;
        packet
    }
}

struct Room {
    mixer: AudioMixer,
    senders: Vec<Sender>,
    out: MixOutbox,
    now: Time,
}

impl Room {
    /// The first `speakers` of `senders` speak; `listeners` send nothing.
    fn new(
        codec: &AudioCodec,
        rate_hz: u32,
        (speakers, senders, listeners): (u32, u32, u32),
        level: bool,
    ) -> Self {
        let config = MixConfig { rate_hz, speakers_max: 5, ..MixConfig::default() };
        let mut room = Room {
            mixer: AudioMixer::new(config).expect("a mixer"),
            senders: Vec::new(),
            out: MixOutbox::new(),
            now: Time::from_millis(1_000),
        };
        for id in 0..senders + listeners {
            if id < senders {
                let source = SourceConfig {
                    id: SourceId(id),
                    ssrc: id,
                    group: GroupId(0),
                    payloads: vec![(96, SourcePayload::Sound(codec.clone()))],
                    level_extension: level.then_some(LEVEL),
                    settings: SourceSettings::default(),
                };
                room.mixer.handle_command(MixCommand::AddSource(source)).expect("a source");
                room.senders.push(Sender::new(id, codec, id < speakers, level));
            }
            let output = OutputConfig {
                id: OutputId(id),
                group: GroupId(0),
                own: Some(SourceId(id)),
                ssrc: id,
                payload_type: 96,
                first_sequence: 0,
                first_timestamp: 0,
                codec: codec.clone(),
                encoder: EncoderSettings::default(),
                events_payload_type: None,
                settings: Default::default(),
            };
            room.mixer.handle_command(MixCommand::AddOutput(output)).expect("an output");
        }
        (0..100).for_each(|_| room.tick());
        let mixed = (0..senders).filter(|id| {
            let status = room.mixer.source_status(room.now, SourceId(*id));
            status.is_some_and(|status| status.mixed)
        });
        assert_eq!(mixed.count() as u32, speakers);
        assert_eq!(room.out.packets().len() as u32, senders + listeners);
        room
    }

    fn tick(&mut self) {
        self.now += Duration::from_millis(20);
        for sender in &mut self.senders {
            self.mixer.handle_packet(self.now, sender.next());
        }
        self.mixer.tick(self.now, &mut self.out);
    }
}

fn mix(criterion: &mut Criterion) {
    let opus = AudioCodec::parse("opus", 48_000, 2, "").expect("Opus");
    let g711 = AudioCodec::parse("PCMA", 8_000, 1, "").expect("G.711");
    let mut group = criterion.benchmark_group("mix");
    group.sample_size(20).measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    for (name, codec, rate_hz, people, level) in [
        ("Opus, 3 of so many speak, level said", &opus, 48_000, (3, 100, 0), true),
        ("Opus, 3 of so many speak, level not said", &opus, 48_000, (3, 100, 0), false),
        ("G.711, 3 of so many speak, level said", &g711, 8_000, (3, 100, 0), true),
        ("G.711, 3 of so many speak, level not said", &g711, 8_000, (3, 100, 0), false),
        ("G.711, 3 of so many speak, level not said, at 48 kHz", &g711, 48_000, (3, 100, 0), false),
        ("Opus, 5 speakers and as many listeners as make", &opus, 48_000, (5, 5, 995), true),
        ("Opus, 2 of so many speak, level not said", &opus, 48_000, (2, 5, 0), false),
    ] {
        let (_, senders, listeners) = people;
        let everybody = u64::from(senders + listeners);
        group.throughput(Throughput::Elements(everybody));
        let mut room = None;
        group.bench_function(BenchmarkId::new(name, everybody), |bencher| {
            // Rows that are not asked for make none.
            let room = room.get_or_insert_with(|| Room::new(codec, rate_hz, people, level));
            bencher.iter(|| room.tick());
        });
    }
    group.finish();
}

criterion_group!(benches, mix);
criterion_main!(benches);
