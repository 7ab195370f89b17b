//! Any packets and commands to a mixer with a few participants, against what must hold whatever comes.

use crate::audio::prompt::PromptSound;
use crate::audio::{
    AudioMixer, Effort, EventHandling, Gain, GroupId, MixCommand, MixConfig, MixDrop, MixDrops, MixOutbox,
    OutputConfig, OutputId, OutputSettings, PromptConfig, PromptId, PromptRepeat, PromptTarget, SourceConfig,
    SourceId, SourcePayload, SourceSettings,
};
use motet_codecs::audio::{AudioCodec, EncoderSettings};
use motet_rtp::ext::{Extension, Form};
use motet_rtp::{RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// SDP's encoding name, RTP clock, channels and `a=fmtp` of what each participant sends under payload type 96. G.711
/// for who is not in the list.
const CODECS: [(&str, u32, u8); 4] =
    [("opus", 48_000, 2), ("PCMU", 8_000, 1), ("G722", 8_000, 1), ("L16", 44_100, 2)];
const SOUND: u8 = 96;
const EVENTS: u8 = 97;
const NOISE: u8 = 13;
const PEOPLE: u32 = CODECS.len() as u32;
const LEVEL_EXTENSION: u8 = 1;
/// Ticks that one input may ask for: more only takes time.
const TICKS_MAX: u64 = 120;
const TICK: Duration = Duration::from_millis(20);

/// Reads operations from `bytes`, does them, and looks at what comes of each tick.
///
/// # Panics
/// When the mixer is wrong.
pub fn fuzz_mixer(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut run = Run::new(bytes.next());
    while !bytes.0.is_empty() && run.ticks < TICKS_MAX {
        run.operate(&mut bytes);
    }
    // Whatever came, everybody is served on.
    run.tick(0);
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// 0 at the end.
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Run {
    mixer: AudioMixer,
    out: MixOutbox,
    now: Time,
    ticks: u64,
    /// What each participant would send next.
    next: [(u16, u32); PEOPLE as usize],
    /// By output: what comes next.
    expected: BTreeMap<u32, u16>,
    prompts: u32,
    rate_hz: u32,
    tap: bool,
    /// Who hears nobody may get nothing.
    skips: bool,
}

impl Run {
    fn new(first: u8) -> Run {
        let rate_hz = [8_000, 16_000, 32_000, 48_000][usize::from(first & 3)];
        let config = MixConfig { rate_hz, speakers_max: 1 + u16::from(first >> 6), ..MixConfig::default() };
        let mut run = Run {
            mixer: AudioMixer::new(config).expect("the configuration is in range"),
            out: MixOutbox::new(),
            now: Time::from_millis(1_000),
            ticks: 0,
            next: [(65_530, u32::MAX - 2_000); PEOPLE as usize],
            expected: BTreeMap::new(),
            prompts: 0,
            rate_hz,
            tap: false,
            skips: false,
        };
        for person in 0..PEOPLE {
            run.add_source(person);
            run.add_output(person);
        }
        run
    }

    fn operate(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.next() % 16 {
            0..=5 => self.packet(bytes),
            6 => {
                let count = usize::from(bytes.next());
                self.hand_over(bytes.take(count));
            }
            7..=9 => {
                // Time need not go on as ticks do.
                let late_us = bytes.next();
                (0..=late_us % 4).for_each(|_| self.tick(late_us));
            }
            10 => self.mixer.miss(self.now, u32::from(bytes.next())),
            11 => self.prompt(bytes),
            12 => self.come_and_go(bytes),
            _ => self.command(bytes),
        }
    }

    /// A packet that goes on from the last one of its sender, or does not.
    fn packet(&mut self, bytes: &mut Bytes<'_>) {
        let (who, kind, len) = (bytes.next(), bytes.next(), bytes.next());
        let person = usize::from(who) % PEOPLE as usize;
        let (sequence, timestamp) = self.next[person];
        let (sequence, timestamp) = match kind >> 5 {
            0..=4 => (sequence, timestamp),
            5 => (sequence.wrapping_add(u16::from(len)), timestamp.wrapping_add(u32::from(len) * 960)),
            6 => (sequence.wrapping_sub(u16::from(len % 8)), timestamp),
            _ => (sequence, timestamp.wrapping_mul(2_654_435_761)),
        };
        let ticks = CODECS[person].1 / 50;
        self.next[person] = (sequence.wrapping_add(1), timestamp.wrapping_add(ticks));
        let payload_type = match kind & 7 {
            0..=4 => SOUND,
            5 => EVENTS,
            6 => NOISE,
            _ => who >> 1,
        };
        // The bytes of a short payload, again and again, up to a packet that fills the network's largest.
        let given = bytes.take(usize::from(len & 31) + 1);
        let wanted = [given.len(), 80, 160, 1_500][usize::from(len >> 6)];
        let payload: Vec<u8> =
            given.iter().copied().cycle().take(wanted * usize::from(!given.is_empty())).collect();
        let level = [LEVEL_EXTENSION << 4, len, 0, 0];
        let mut packet = RtpBuilder::new(ssrc(person as u32))
            .marker(kind & 8 != 0)
            .payload_type(payload_type & 0x7f)
            .sequence(WireSeq(sequence))
            .timestamp(WireTimestamp(timestamp))
            .payload(&payload);
        if kind & 16 != 0 {
            packet = packet.extension(Extension { profile: Form::OneByte.profile(), data: &level });
        }
        self.hand_over(&packet.to_vec());
    }

    fn hand_over(&mut self, datagram: &[u8]) {
        // Who sends too fast loses what it sent before.
        let at_once = |drops: MixDrops| drops.total() - drops.count(MixDrop::Overflow);
        let before = at_once(self.mixer.drops());
        self.mixer.handle_packet(self.now, datagram);
        let dropped = at_once(self.mixer.drops()) - before;
        assert!(dropped <= 1, "a packet is dropped for one reason");
    }

    fn tick(&mut self, late_us: u8) {
        self.now += TICK + Duration::from_micros(u64::from(late_us) * 40);
        self.ticks += 1;
        self.mixer.tick(self.now, &mut self.out);
        let mut served = BTreeMap::new();
        for packet in self.out.packets() {
            let mut bytes = packet.header.to_vec();
            bytes.extend_from_slice(packet.payload);
            let view = RtpView::new(&bytes).expect("what is sent is RTP");
            let sequence = view.sequence().0;
            let expected = self.expected.insert(packet.output.0, sequence.wrapping_add(1));
            assert_eq!(expected.unwrap_or(sequence), sequence, "numbers go on");
            assert_eq!(view.ssrc(), ssrc(packet.output.0) + PEOPLE, "each output has its own SSRC");
            assert!(!packet.payload.is_empty(), "a packet holds something");
            *served.entry(packet.output.0).or_insert(0) += 1;
        }
        // A key's end is said three times at once (RFC 4733 section 2.5.1.4), to the one who takes keys.
        let alone = |(person, packets): (&u32, &u32)| *packets == 1 || (*person == 1 && *packets == 3);
        assert!(served.iter().all(alone), "one packet a tick: {served:?}");
        let all = served.len() == self.expected.len();
        assert!(all || self.skips, "everybody gets something in each tick");
        let taps: Vec<usize> = self.out.taps().map(|(_, samples)| samples.len()).collect();
        let wanted = if self.tap { vec![self.rate_hz as usize / 50] } else { Vec::new() };
        assert_eq!(taps, wanted, "the tap has all of the tick");
    }

    fn command(&mut self, bytes: &mut Bytes<'_>) {
        let (what, who, how) = (bytes.next(), bytes.next(), bytes.next());
        let (source, output) = (SourceId(u32::from(who) % PEOPLE), OutputId(u32::from(how) % PEOPLE));
        let gain = Gain::from_db(f32::from(what.cast_signed()).clamp(Gain::DB_MIN, Gain::DB_MAX));
        let gain = if who > 127 { Gain::SILENT } else { gain.expect("it is in range") };
        let command = match what % 10 {
            0 => {
                let events = [EventHandling::Report, EventHandling::PassOn, EventHandling::Strip];
                let settings = SourceSettings {
                    gain,
                    muted: how & 1 != 0,
                    heard: if how & 2 == 0 { Gain::UNITY } else { gain },
                    automatic_gain: how & 4 != 0,
                    noise_suppression: how & 8 != 0,
                    events: events[usize::from(how >> 6) % events.len()],
                };
                MixCommand::SetSource { id: source, settings }
            }
            1 => {
                let background = (how & 64 != 0).then_some((GroupId(u32::from(how >> 7)), gain));
                let settings = OutputSettings { gain, deaf: how & 32 != 0, background };
                MixCommand::SetOutput { id: output, settings }
            }
            2 => MixCommand::SetOutputLoss { id: output, percent: who },
            3 => MixCommand::SetPair { source, output, gain: (how < 200).then_some(gain) },
            4 => MixCommand::MoveSource { id: source, group: GroupId(u32::from(how >> 6)) },
            5 => MixCommand::MoveOutput { id: output, group: GroupId(u32::from(who >> 6)) },
            6 => {
                let holders = (who < 200).then(|| vec![source]);
                MixCommand::SetFloor { group: GroupId(u32::from(how >> 7)), holders }
            }
            7 => {
                self.tap = how & 1 != 0;
                MixCommand::SetTap { group: GroupId(0), on: self.tap }
            }
            8 => MixCommand::SetSourceTap { id: source, on: how & 1 != 0 },
            _ => {
                self.skips |= who & 1 != 0;
                MixCommand::SetEffort(Effort {
                    speakers_max: (who > 99).then_some(u16::from(how)),
                    complexity_max: (how > 99).then_some(who),
                    skip_silence: who & 1 != 0,
                    listen_every: how % 8,
                })
            }
        };
        let before = self.mixer.drops();
        // What does not go is refused, such as noise suppression at 8 kHz.
        let _ = self.mixer.handle_command(command);
        assert_eq!(self.mixer.drops(), before, "commands drop no packets");
    }

    fn prompt(&mut self, bytes: &mut Bytes<'_>) {
        let (how, which) = (bytes.next(), bytes.next());
        if how & 1 == 0 {
            let _ = self.mixer.handle_command(MixCommand::StopPrompt(PromptId(u32::from(which))));
            return;
        }
        self.prompts += 1;
        let samples: Vec<i16> =
            bytes.take(usize::from(which & 15)).iter().map(|byte| i16::from(*byte) << 7).collect();
        let to = if how & 2 == 0 {
            PromptTarget::Group(GroupId(0))
        } else {
            PromptTarget::Outputs(vec![OutputId(u32::from(which) % PEOPLE)])
        };
        let prompt = PromptConfig {
            id: PromptId(self.prompts & 7),
            sound: PromptSound::new(self.rate_hz, Arc::from(samples)),
            to,
            gain: Gain::UNITY,
            repeat: if how & 4 == 0 {
                PromptRepeat::Times(u32::from(how >> 3))
            } else {
                PromptRepeat::Forever
            },
            duck: (how & 128 != 0).then_some(Gain::SILENT),
        };
        let _ = self.mixer.handle_command(MixCommand::PlayPrompt(prompt));
    }

    fn come_and_go(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.next();
        let person = u32::from(what) % PEOPLE;
        match what >> 6 {
            0 => self.add_source(person),
            1 => self.add_output(person),
            2 => drop(self.mixer.handle_command(MixCommand::RemoveSource(SourceId(person)))),
            _ => {
                drop(self.mixer.handle_command(MixCommand::RemoveOutput(OutputId(person))));
                self.expected.remove(&person);
            }
        }
    }

    /// Who is there already stays as it is.
    fn add_source(&mut self, person: u32) {
        let (_, clock_hz, _) = CODECS[person as usize];
        let config = SourceConfig {
            id: SourceId(person),
            ssrc: ssrc(person),
            group: GroupId(0),
            payloads: vec![
                (SOUND, SourcePayload::Sound(codec(person))),
                (EVENTS, SourcePayload::Events { clock_hz }),
                (NOISE, SourcePayload::ComfortNoise { clock_hz }),
            ],
            level_extension: person.is_multiple_of(2).then_some(LEVEL_EXTENSION),
            settings: SourceSettings { events: EventHandling::PassOn, ..SourceSettings::default() },
        };
        let _ = self.mixer.handle_command(MixCommand::AddSource(config));
    }

    fn add_output(&mut self, person: u32) {
        // Cheap to encode, so that there is time for more packets.
        let sent = AudioCodec::parse(["PCMA", "G722", "L16"][person as usize % 3], 8_000, 1, "");
        let config = OutputConfig {
            id: OutputId(person),
            group: GroupId(0),
            own: Some(SourceId(person)),
            ssrc: ssrc(person) + PEOPLE,
            payload_type: SOUND,
            first_sequence: 65_530,
            first_timestamp: u32::MAX,
            codec: sent.expect("a codec that there is"),
            encoder: EncoderSettings::default(),
            events_payload_type: (person == 1).then_some(EVENTS),
            settings: OutputSettings::default(),
        };
        if self.mixer.handle_command(MixCommand::AddOutput(config)).is_ok() {
            self.expected.insert(person, 65_530);
        }
    }
}

fn ssrc(person: u32) -> u32 {
    0x4d00_0000 + person
}

fn codec(person: u32) -> AudioCodec {
    let (name, clock_hz, channels) = CODECS[person as usize];
    AudioCodec::parse(name, clock_hz, channels, "").expect("a codec that there is")
}
