//! A conference on a mixing thread, by signal, in virtual time: real codecs, a real exchange, no thread.

use super::room::Room;
use super::tap::{Tap, TapOf, tap};
use super::{MixingEvent, MixingEventKind};
use crate::exchange::{Desk, Exchange};
use crate::model::{Codec, Id, MixSettings};
use crate::plan::{MixForm, OutputForm, SourceForm, TrunkEnd};
use crate::testing::codec;
use motet_codecs::audio::{AudioDecoder, AudioEncoder, EncoderSettings};
use motet_mixer::audio::{Effort, MixOutbox};
use motet_relay::PortId;
use motet_rtp::{Ntp, RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

mod phase;

/// The worker's port and the mixing thread's.
const NEAR: PortId = PortId(3);
const FAR: PortId = PortId(5);
/// Some time of day.
const WALL: Ntp = Ntp(0xec00_0000_4000_0000);
const TICK: Duration = Duration::from_millis(20);

/// A participant with a tone of its own.
struct Talker {
    codec: Arc<Codec>,
    tone_hz: f64,
    amplitude: f64,
    encoder: Box<dyn AudioEncoder>,
    decoder: Box<dyn AudioDecoder>,
    samples: u64,
    sequence: u16,
    /// What it heard, and the sequence numbers under which.
    heard: Vec<i16>,
    numbers: Vec<u16>,
    /// The first byte of the last payload.
    first_byte: u8,
}

impl Talker {
    fn new(number: u32, name: &str, clock_hz: u32, tone_hz: f64) -> Talker {
        let fmtp = if name == "opus" { "useinbandfec=1" } else { "" };
        let codec = Arc::new(Codec::read(&codec(number, name, clock_hz, fmtp)).expect("a codec"));
        let sound = codec.sound().expect("the mixer has it");
        let encoder = sound.encoder(&EncoderSettings::default()).expect("an encoder");
        let decoder = sound.decoder().expect("a decoder");
        let (heard, numbers) = (Vec::new(), Vec::new());
        Talker {
            codec,
            tone_hz,
            amplitude: 8_000.0,
            encoder,
            decoder,
            samples: 0,
            sequence: 7,
            heard,
            numbers,
            first_byte: 0,
        }
    }

    fn rate_hz(&self) -> f64 {
        f64::from(self.encoder.format().sample_rate_hz)
    }

    /// The next 20 ms, as an RTP packet.
    fn talk(&mut self, ssrc: u32) -> Vec<u8> {
        let format = self.encoder.format();
        let samples: Vec<i16> = (0..format.samples_in_ms(20) as u64)
            .map(|at| {
                let turns = (self.samples + at) as f64 * self.tone_hz / self.rate_hz();
                ((turns * TAU).sin() * self.amplitude) as i16
            })
            .collect();
        let mut payload = vec![0; 2_000];
        let bytes = self.encoder.encode(&samples, &mut payload).expect("it is encoded");
        let timestamp = self.samples * u64::from(self.codec.clock_hz) / u64::from(format.sample_rate_hz);
        self.samples += samples.len() as u64;
        self.sequence += 1;
        RtpBuilder::new(ssrc)
            .payload_type(self.codec.payload_type)
            .sequence(WireSeq(self.sequence))
            .timestamp(WireTimestamp(timestamp as u32))
            .payload(&payload[..bytes])
            .to_vec()
    }

    fn hear(&mut self, packet: &RtpView<'_>) {
        assert_eq!(packet.payload_type(), self.codec.payload_type);
        let mut samples = vec![0; 5_760];
        let count = self.decoder.decode(packet.payload(), &mut samples).expect("it is decoded");
        self.heard.extend(&samples[..count]);
        self.numbers.push(packet.sequence().0);
        self.first_byte = packet.payload()[0];
    }

    /// Amplitude of a tone in the last half second of what it heard (Goertzel).
    fn hears(&self, tone_hz: f64) -> f64 {
        let count = (self.rate_hz() / 2.0) as usize;
        amplitude(&self.heard[self.heard.len() - count..], tone_hz, self.rate_hz())
    }
}

/// Amplitude of a tone (Goertzel).
fn amplitude(samples: &[i16], tone_hz: f64, rate_hz: f64) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = at as f64 * tone_hz / rate_hz * TAU;
        (real, imaginary) =
            (real + f64::from(*sample) * angle.cos(), imaginary + f64::from(*sample) * angle.sin());
    }
    real.hypot(imaginary) * 2.0 / samples.len() as f64
}

struct World {
    room: Room,
    worker: Desk,
    mixing: Desk,
    out: MixOutbox,
    now: Time,
    talkers: BTreeMap<&'static str, Talker>,
    events: Vec<MixingEventKind>,
}

fn settings() -> MixSettings {
    MixSettings { rate_hz: 48_000, speakers_max: 3, hold_ms: 500, strip_dtmf: false, floor: false }
}

/// The SSRC under which a leg's packets come, and the one under which those to it leave.
fn ssrcs(leg: &str) -> (u32, u32) {
    let number = u32::from(leg.as_bytes()[0]);
    (number, 1_000 + number)
}

impl World {
    fn new() -> World {
        World::at(WALL)
    }

    fn at(wall: Ntp) -> World {
        let exchange = Exchange::new(2);
        let (mut worker, mut mixing) = (Desk::new(0, Arc::clone(&exchange)), Desk::new(1, exchange));
        worker.open(TrunkEnd { port: NEAR, worker: 1, peer: FAR });
        mixing.open(TrunkEnd { port: FAR, worker: 0, peer: NEAR });
        let talkers = BTreeMap::from([
            ("a", Talker::new(0, "PCMU", 8_000, 440.0)),
            ("b", Talker::new(9, "G722", 8_000, 850.0)),
            ("c", Talker::new(111, "opus", 48_000, 1_250.0)),
        ]);
        let form = form(&talkers);
        let mut room = Room::new(Id::from("room"), 0, &form).expect("good settings");
        assert_eq!(room.put(Arc::new(form), Effort::default(), wall), Ok(vec![]));
        let (out, now) = (MixOutbox::new(), Time::from_millis(1_000_000));
        World { room, worker, mixing, out, now, talkers, events: Vec::new() }
    }

    fn put(&mut self, change: impl FnOnce(&mut MixForm)) -> Vec<MixingEvent> {
        let mut form = (*self.room.form).clone();
        change(&mut form);
        self.room.put(Arc::new(form), Effort::default(), WALL).expect("the mixer takes it")
    }

    /// Everybody talks, and hears what comes.
    fn pass(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += TICK;
            for (leg, talker) in &mut self.talkers {
                self.room.mixer.handle_packet(self.now, &talker.talk(ssrcs(leg).0));
            }
            self.tick();
        }
    }

    /// Everybody hears what comes.
    fn tick(&mut self) {
        let events = &mut self.events;
        self.room.tick(self.now, &mut self.out, &mut self.mixing, |event| {
            events.push(event.kind);
            true
        });
        self.mixing.flush();
        while let Some(parcel) = self.worker.take() {
            for run in &parcel.runs {
                assert_eq!((run.from, run.to), (FAR, NEAR));
                let bytes = &parcel.bytes[run.offset as usize..][..run.len as usize];
                for datagram in bytes.chunks(run.segment_bytes as usize) {
                    let packet = RtpView::new(datagram).expect("RTP");
                    let mut talkers = self.talkers.iter_mut();
                    let known = talkers.find(|(leg, _)| ssrcs(leg).1 == packet.ssrc());
                    known.expect("a known receiver").1.hear(&packet);
                }
            }
            self.worker.give_back(parcel);
        }
    }

    /// Who hears whom.
    fn heard(&self) -> Vec<String> {
        let tones = || self.talkers.iter().map(|(leg, talker)| (leg, talker.tone_hz));
        let mut heard = Vec::new();
        for (to, talker) in &self.talkers {
            for (from, tone_hz) in tones() {
                let amplitude = talker.hears(tone_hz);
                assert!(!(400.0..4_000.0).contains(&amplitude), "{from} to {to}: {amplitude} is neither");
                heard.extend((amplitude > 4_000.0).then(|| format!("{from}>{to}")));
            }
        }
        heard
    }
}

fn form(talkers: &BTreeMap<&'static str, Talker>) -> MixForm {
    let mut form = MixForm::empty(settings());
    form.ends.push(TrunkEnd { port: FAR, worker: 0, peer: NEAR });
    for (leg, talker) in talkers {
        let codecs = vec![Arc::clone(&talker.codec)];
        let source = SourceForm {
            port: FAR,
            ssrc: ssrcs(leg).0,
            codecs: codecs.clone(),
            audio_level_id: None,
            muted: false,
            gain_db: 0.0,
            automatic_gain: false,
            noise_suppression: false,
            private: false,
            room: None,
        };
        form.sources.insert(Id::from(*leg), source);
        let output = OutputForm {
            port: FAR,
            ssrc: ssrcs(leg).1,
            codecs,
            deaf: false,
            room: None,
            main_room_db: None,
            loss_percent: 0,
        };
        form.outputs.insert(Id::from(*leg), output);
    }
    form
}

const ALL: [&str; 6] = ["b>a", "c>a", "a>b", "c>b", "a>c", "b>c"];

#[test]
fn everybody_hears_the_others_whatever_the_codec() {
    let mut world = World::new();
    world.pass(100);
    assert_eq!(world.heard(), ALL);
    let speaks = |leg: &str| MixingEventKind::Speaker { leg: Id::from(leg), speaking: true };
    assert!(["a", "b", "c"].iter().all(|leg| world.events.contains(&speaks(leg))), "{:?}", world.events);
    assert!(world.room.speakers(world.now) == 3 && world.room.mixer.drops().total() == 0);
}

#[test]
fn who_is_mute_deaf_or_silent_to_one_is_so_within_a_moment() {
    let mut world = World::new();
    world.pass(100);
    world.put(|form| form.sources.get_mut("a").expect("a").muted = true);
    world.pass(60);
    assert_eq!(world.heard(), ["b>a", "c>a", "c>b", "b>c"]);
    world.put(|form| {
        form.sources.get_mut("a").expect("a").muted = false;
        form.outputs.get_mut("b").expect("b").deaf = true;
        form.pair_gains.insert((Id::from("a"), Id::from("c")), None);
    });
    world.pass(100);
    assert_eq!(world.heard(), ["b>a", "c>a", "b>c"]);
    world.put(|form| {
        form.outputs.get_mut("b").expect("b").deaf = false;
        form.pair_gains.clear();
    });
    world.pass(100);
    assert_eq!(world.heard(), ALL);
}

#[test]
fn who_leaves_is_not_heard_and_who_comes_back_is() {
    let mut world = World::new();
    world.pass(100);
    let before = world.room.form.clone();
    world.put(|form| {
        form.sources.remove("a");
        form.outputs.remove("a");
    });
    let heard = world.talkers["a"].heard.len();
    world.pass(60);
    assert_eq!(world.talkers["a"].heard.len(), heard, "nothing goes to who left");
    assert!(world.talkers["b"].hears(440.0) < 400.0 && world.talkers["b"].hears(1_250.0) > 4_000.0);
    world.put(|form| *form = (*before).clone());
    world.pass(100);
    assert_eq!(world.heard(), ALL);
}

#[test]
fn other_settings_make_another_mixer_and_receivers_cannot_tell() {
    let mut world = World::new();
    world.pass(60);
    world.put(|form| form.settings.rate_hz = 16_000);
    world.pass(100);
    assert_eq!(world.heard(), ALL);
    for (leg, talker) in &world.talkers {
        let goes_on = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
        assert!(talker.numbers.windows(2).all(goes_on), "{leg}: {:?}", talker.numbers);
        assert_eq!(talker.numbers.len(), 160, "one packet each tick");
    }
}

#[test]
fn a_codec_that_changes_is_heard_on() {
    let mut world = World::new();
    world.pass(60);
    let talker = Talker::new(8, "PCMA", 8_000, 440.0);
    world.put(|form| {
        form.sources.get_mut("a").expect("a").codecs = vec![Arc::clone(&talker.codec)];
        form.outputs.get_mut("a").expect("a").codecs = vec![Arc::clone(&talker.codec)];
    });
    world.talkers.insert("a", talker);
    world.pass(100);
    assert_eq!(world.heard(), ALL);
}

#[test]
fn who_loses_packets_gets_error_correction_until_that_is_over() {
    let mut world = World::new();
    // RFC 6716 section 3.1: configurations below 16 have a SILK layer, which alone has in-band FEC.
    let corrects = |world: &World| world.talkers["c"].first_byte >> 3 < 16;
    let lose = |percent| {
        move |form: &mut MixForm| form.outputs.values_mut().for_each(|output| output.loss_percent = percent)
    };
    world.pass(60);
    assert!(!corrects(&world));
    world.put(lose(10));
    world.pass(60);
    assert!(corrects(&world) && world.room.mixer.stats().encode_failures == 0);
    world.put(|form| form.settings.rate_hz = 16_000);
    world.pass(60);
    assert!(corrects(&world), "in another mixer too");
    world.put(lose(0));
    world.pass(100);
    assert!(!corrects(&world));
    assert_eq!(world.heard(), ALL);
    let goes_on = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
    assert!(world.talkers.values().all(|talker| talker.numbers.windows(2).all(goes_on)));
}

#[test]
fn the_loudest_are_told_where_nobody_hears_the_mix() {
    let mut world = World::new();
    world.put(|form| {
        form.outputs.clear();
        (form.finds_loudest, form.settings.speakers_max) = (true, 1);
    });
    world.talkers.get_mut("b").expect("b").amplitude = 24_000.0;
    world.pass(60);
    let last = |world: &World| {
        let mut told = world.events.iter().filter_map(|event| match event {
            MixingEventKind::Loudest { legs } => Some(legs.clone()),
            _ => None,
        });
        told.next_back().expect("it is told")
    };
    assert_eq!(last(&world), [Id::from("b")]);
    world.events.clear();
    world.pass(60);
    assert!(
        !world.events.iter().any(|event| matches!(event, MixingEventKind::Loudest { .. })),
        "only changes"
    );
    world.put(|form| form.sources.get_mut("b").expect("b").muted = true);
    world.pass(60);
    assert!(matches!(last(&world).as_slice(), [leg] if *leg != *"b"));
}

#[test]
fn another_mix_begun_later_goes_on_with_the_clock() {
    let later = Duration::from_millis(3_210);
    let first_numbers = |wall: Ntp| {
        let mut world = World::at(wall);
        world.pass(10);
        world.talkers.values().map(|talker| talker.numbers[0]).collect::<Vec<_>>()
    };
    let (first, second) = (first_numbers(WALL), first_numbers(WALL.plus(later)));
    for (first, second) in first.iter().zip(&second) {
        let ahead = second.wrapping_sub(*first);
        assert!((160..=161).contains(&ahead), "{ahead} rounds of 20 ms in 3.21 s");
    }
}

#[test]
fn side_rooms_coaches_and_the_floor_are_as_the_form_says() {
    let mut world = World::new();
    world.pass(100);
    let side = Some(Id::from("side"));
    world.put(|form| {
        form.sources.get_mut("c").expect("c").room = side.clone();
        let c = form.outputs.get_mut("c").expect("c");
        (c.room, c.main_room_db) = (side.clone(), Some(0.0));
    });
    world.pass(100);
    assert_eq!(world.heard(), ["b>a", "a>b", "a>c", "b>c"], "who is in a side room hears the main one, too");
    world.put(|form| form.outputs.get_mut("c").expect("c").main_room_db = None);
    world.pass(100);
    assert_eq!(world.heard(), ["b>a", "a>b"]);
    world.put(|form| {
        form.sources.get_mut("c").expect("c").room = None;
        form.outputs.get_mut("c").expect("c").room = None;
        form.floor = Some(["a", "c"].map(Id::from).into());
    });
    world.pass(100);
    assert_eq!(world.heard(), ["c>a", "a>b", "c>b", "a>c"], "b has no floor");
    world.put(|form| {
        form.floor = None;
        form.sources.get_mut("c").expect("c").private = true;
        form.pair_gains.insert((Id::from("c"), Id::from("a")), Some(0.0));
    });
    world.pass(100);
    assert_eq!(world.heard(), ["b>a", "c>a", "a>b", "a>c", "b>c"], "c whispers to a");
    assert!(world.room.mixer.stats().encode_failures == 0);
    let goes_on = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
    assert!(world.talkers.values().all(|talker| talker.numbers.windows(2).all(goes_on)));
}

#[test]
fn who_listens_gets_the_mix_or_one_who_speaks() {
    let mut world = World::new();
    world.pass(50);
    let ((end, mut mix), (of_b, mut only_b)) = (tap(TapOf::Mix), tap(TapOf::Leg(Id::from("b"))));
    let (of_nobody, _nobody) = tap(TapOf::Leg(Id::from("x")));
    assert_eq!([end, of_b, of_nobody].map(|end| world.room.tap(end)), [true, true, false]);
    world.pass(50);
    let mut context = Context::from_waker(Waker::noop());
    let mut tones = |tap: &mut Tap| {
        let mut samples: Vec<i16> = Vec::new();
        while let Poll::Ready(Some(frame)) = tap.poll_next(&mut context) {
            assert_eq!((frame.samples.len(), frame.rate_hz), (960, 48_000));
            samples.extend_from_slice(&frame.samples);
            tap.give_back(frame);
        }
        let last = &samples[samples.len() - 24_000..];
        let heard = world.talkers.values().map(|talker| amplitude(last, talker.tone_hz, 48_000.0) > 4_000.0);
        heard.collect::<Vec<_>>()
    };
    assert_eq!((tones(&mut mix), tones(&mut only_b)), (vec![true; 3], vec![false, true, false]));
    assert_eq!((mix.dropped(), only_b.dropped()), (0, 0));
    // Other settings make another mixer, which is listened to as well; who leaves has nothing more to say.
    world.put(|form| {
        form.settings.hold_ms = 200;
        form.sources.remove("b");
        form.outputs.remove("b");
    });
    world.pass(10);
    assert!(matches!(mix.poll_next(&mut context), Poll::Ready(Some(_))));
    assert!(matches!(only_b.poll_next(&mut context), Poll::Ready(None)));
}

#[test]
fn an_old_terminal_hears_the_mix_in_aac() {
    let mut world = World::new();
    let fmtp = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188";
    let aac = Arc::new(Codec::read(&codec(0, "MPEG4-GENERIC", 48_000, fmtp)).expect("a codec"));
    let terminal = world.talkers.get_mut("a").expect("a");
    assert_eq!(terminal.codec.payload_type, aac.payload_type);
    terminal.decoder = aac.sound().and_then(|sound| sound.decoder().ok()).expect("AAC is decoded");
    world.put(|form| form.outputs.get_mut("a").expect("a").codecs = vec![aac]);
    world.pass(100);
    let terminal = &world.talkers["a"];
    let last = &terminal.heard[terminal.heard.len() - 24_000..];
    let heard = world.talkers.values().map(|talker| amplitude(last, talker.tone_hz, 48_000.0) > 6_000.0);
    assert_eq!(heard.collect::<Vec<_>>(), [false, true, true]);
    // Frames of 1024 samples: fewer packets than ticks, and none missing.
    let goes_on = |pair: &[u16]| pair[1] == pair[0].wrapping_add(1);
    assert!((90..100).contains(&terminal.numbers.len()) && terminal.numbers.windows(2).all(goes_on));
    assert!(world.talkers["b"].hears(440.0) > 4_000.0, "and is heard");
}
