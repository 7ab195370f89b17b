//! Packets and ticks allocate nothing once the mixer is warm, shown by an allocator that counts. (What codecs'
//! libraries take for themselves is not seen here.)

use allocation_counter::measure;
use motet_codecs::audio::AudioCodec;
use motet_mixer::audio::prompt::PromptSound;
use motet_mixer::audio::{
    AudioMixer, Gain, GroupId, MixCommand, MixConfig, MixOutbox, OutputConfig, OutputId, PromptConfig,
    PromptId, PromptRepeat, PromptTarget, SourceConfig, SourceId, SourcePayload, SourceSettings,
};
use motet_mixer::testing::ToneSender;
use motet_rtp::Time;

const CODECS: [(&str, u32); 3] = [("PCMA", 8_000), ("G722", 8_000), ("opus", 48_000)];

fn join(mixer: &mut AudioMixer, id: u32) -> ToneSender {
    let (name, clock_hz) = CODECS[id as usize % CODECS.len()];
    let codec = AudioCodec::parse(name, clock_hz, 1, "").expect("a codec");
    let mut sender = ToneSender::new(0x100 + id, 96, &codec, 300.0 + f64::from(id)).expect("a sender");
    // Half of them say their level.
    let level_extension = id.is_multiple_of(2).then_some(5);
    sender.level_extension = level_extension;
    let source = SourceConfig {
        id: SourceId(id),
        ssrc: sender.ssrc,
        group: GroupId(0),
        payloads: vec![(96, SourcePayload::Sound(codec.clone()))],
        level_extension,
        settings: SourceSettings { noise_suppression: id < 2, ..SourceSettings::default() },
    };
    mixer.handle_command(MixCommand::AddSource(source)).expect("a source");
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
    mixer.handle_command(MixCommand::AddOutput(output)).expect("an output");
    sender
}

#[test]
fn ticks_and_packets_allocate_nothing() {
    let mut mixer = AudioMixer::new(MixConfig::default()).expect("a mixer");
    let mut senders: Vec<ToneSender> = (0..18).map(|id| join(&mut mixer, id)).collect();
    for sender in senders.iter_mut().take(5) {
        sender.amplitude = 0.3;
    }
    mixer.handle_command(MixCommand::SetTap { group: GroupId(0), on: true }).expect("a tap");
    let prompt = PromptConfig {
        id: PromptId(1),
        sound: PromptSound::new(48_000, vec![1_000; 5_000].into()),
        to: PromptTarget::Outputs(vec![OutputId(1), OutputId(9)]),
        gain: Gain::UNITY,
        repeat: PromptRepeat::Forever,
        duck: None,
    };
    mixer.handle_command(MixCommand::PlayPrompt(prompt)).expect("a prompt");
    let mut out = MixOutbox::new();
    let (mut packets, mut allocations, mut before) = (0, 0, 0);
    for tick in 0..300 {
        let now = Time::from_millis(1_000 + 20 * tick);
        let datagrams: Vec<Vec<u8>> = senders.iter_mut().map(ToneSender::packet).collect();
        let mixed = measure(|| {
            for datagram in &datagrams {
                mixer.handle_packet(now, datagram);
            }
            mixer.tick(now, &mut out);
        });
        if tick >= 100 {
            allocations += mixed.count_total;
            packets += out.packets().len();
        } else {
            before += mixed.count_total;
        }
    }
    assert_eq!(packets, 200 * 18);
    assert_eq!(mixer.drops().total(), 0);
    assert!(before > 0, "the counter counts");
    assert_eq!(allocations, 0);
}
