//! The generator against a mixer that is easy to see through, in virtual time.

use crate::audio::LoadCodec;
use crate::audio::decode::Line;
use crate::audio::ear::{Counts, Ear};
use crate::audio::impair::Impairment;
use crate::audio::judge::{Scene, listen};
use crate::audio::report::{Measured, Mix, Received, Report};
use crate::audio::reports::Reported;
use crate::audio::sender::{MouthPlan, Mouths, Style, phase};
use crate::audio::stage::Stage;
use crate::audio::track::{Quiet, Tracks};
use motet_codecs::{AudioDecoder, AudioEncoder, EncoderSettings};
use motet_net::SocketId;
use motet_rtp::{RtpBuilder, RtpView, Time, WireSeq, WireTimestamp};
use std::sync::Arc;
use std::time::Duration;

/// From the last sample of a frame to the arrival of what was mixed of it.
const MIXING: Duration = Duration::from_millis(15);

/// What is wrong with the mixer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Everybody hears themselves, too.
    Echo,
    /// Participant 1 is never heard.
    Mute,
    /// Nothing is mixed for 60 ms, once.
    Gap,
}

/// Adds up what came of everybody in the same frame, and sends it at once.
struct TinyMixer {
    fault: Fault,
    codec: LoadCodec,
    decoders: Vec<Box<dyn AudioDecoder>>,
    encoders: Vec<Box<dyn AudioEncoder>>,
    /// Latest frame of each.
    frames: Vec<Vec<i16>>,
    ears: Vec<Ear>,
}

impl TinyMixer {
    fn new(fault: Fault, codec: LoadCodec, people: usize) -> TinyMixer {
        let made = codec.codec().expect("the codec is there");
        let ear = |number| {
            Ear::new(codec.payload_type(), codec.frame_ticks(), true, Impairment::default(), number as u64)
        };
        TinyMixer {
            fault,
            codec,
            decoders: (0..people).map(|_| made.decoder().expect("it decodes")).collect(),
            encoders: (0..people)
                .map(|_| made.encoder(&EncoderSettings::default()).expect("it encodes"))
                .collect(),
            frames: vec![Vec::new(); people],
            ears: (0..people).map(ear).collect(),
        }
    }

    fn handle_packet(&mut self, person: usize, packet: &[u8]) {
        let view = RtpView::new(packet).expect("the generator sends RTP");
        let mut samples = vec![0; 960];
        let count =
            self.decoders[person].decode(view.payload(), &mut samples).expect("the generator's sound");
        samples.truncate(count);
        self.frames[person] = samples;
    }

    fn tick(&mut self, now: Time, number: u64) {
        let gap = self.fault == Fault::Gap && (200..203).contains(&number);
        for own in 0..self.ears.len() {
            let heard = |other: &usize| {
                let own = *other == own && self.fault != Fault::Echo;
                let mute = *other == 1 && self.fault == Fault::Mute;
                !(own || gap || mute)
            };
            let len = self.frames[own].len();
            let mut sum = vec![0_i16; len];
            for other in (0..self.ears.len()).filter(heard) {
                sum.iter_mut().zip(&self.frames[other]).for_each(|(sum, sample)| *sum += sample);
            }
            let mut payload = vec![0; 1500];
            let bytes = self.encoders[own].encode(&sum, &mut payload).expect("a frame");
            let packet = RtpBuilder::new(7)
                .payload_type(self.codec.payload_type())
                .sequence(WireSeq(number as u16))
                .timestamp(WireTimestamp(number as u32 * self.codec.frame_ticks()))
                .payload(&payload[..bytes])
                .to_vec();
            assert!(self.ears[own].handle_packet(now, &packet));
        }
    }
}

/// Four participants, two of whom talk at once, for two turns.
fn run(fault: Fault, codec: LoadCodec) -> Report {
    const PEOPLE: usize = 4;
    let stage = Stage { speakers: PEOPLE as u32, talkers: 2, turn_frames: 150 };
    let start = Time::from_millis(1000);
    let scene = Scene { start, warm_up: Duration::ZERO, duration: Duration::from_secs(6), stage };
    let plan = |participant: usize| MouthPlan {
        participant: participant as u32,
        codec,
        socket: SocketId(participant as u32),
        destination: "127.0.0.1:9".parse().expect("an address"),
        ssrc: participant as u32,
    };
    let plans: Vec<MouthPlan> = (0..PEOPLE).map(plan).collect();
    let tracks = Arc::new(Tracks::new(&[codec], stage.speakers, Quiet::Noise, None).expect("encoded"));
    let style = Style { stage, level_extension: true, impairment: Impairment::default() };
    let mut mouths = Mouths::new(scene.start, scene.duration, &plans, tracks, style);
    let mut mixer = TinyMixer::new(fault, codec, PEOPLE);
    // All of a frame have come 20 ms after the last one's phase; mixed a little later.
    for number in 0..300_u64 {
        let all_come = scene.start + Duration::from_millis(20 * (number + 1)) + phase(PEOPLE, PEOPLE - 1);
        while mouths.handle_due(all_come, |socket, _, packet| mixer.handle_packet(socket.0 as usize, packet))
        {
        }
        mixer.tick(all_come + MIXING, number);
    }
    let mixes = mixer.ears.iter().enumerate().map(|(own, ear)| {
        let line = Line::decode(codec, ear).expect("it decodes");
        let heard = listen(&line, own as u32, &scene, |talker| phase(PEOPLE, talker as usize));
        Mix {
            room: 0,
            participant: own as u32,
            codec: codec.name(),
            seconds: 6.0,
            concealed_ms: 0.0,
            refused: 0,
            heard,
        }
    });
    let received = mixer.ears.iter().zip(0..);
    let received = received.map(|(ear, participant)| Received {
        room: 0,
        participant,
        counts: ear.counts(),
        reported: ear.reported(),
    });
    let measured = Measured {
        received: received.collect(),
        mixes: mixes.collect(),
        sent: mouths.packets(),
        senders: PEOPLE,
        elapsed_s: 6.0,
        ..Measured::default()
    };
    Report::new(measured, 0.0)
}

#[test]
fn a_good_mixer_passes_in_every_codec() {
    for codec in LoadCodec::ALL {
        let report = run(Fault::None, codec);
        assert!(report.passed, "{codec:?}: {}", report.table());
        // Two turns, two talkers each, three others; and each talker's own mix.
        assert_eq!((report.voices_heard, report.own_absent), (12, 4), "{codec:?}");
        assert!(report.level_db.min > -1.0 && report.level_db.max < 1.0, "{codec:?}: {}", report.table());
        assert!(report.gap_ms.max < 10.0, "{codec:?}: {}", report.table());
        // Frames of 20 ms, the wait for the last phase, the mixer's 15 ms; and what Opus and G.722 look ahead.
        let plain = matches!(codec, LoadCodec::Pcmu | LoadCodec::Pcma);
        let first = report.mouth_to_ear_ms.min;
        assert!(
            if plain { (34.0..36.0).contains(&first) } else { (35.0..50.0).contains(&first) },
            "{codec:?}: {first}"
        );
        assert!(report.mouth_to_ear_ms.count >= 12);
    }
}

#[test]
fn what_is_wrong_with_a_mixer_shows() {
    let echo = run(Fault::Echo, LoadCodec::Pcmu);
    assert_eq!((echo.passed, echo.own_expected, echo.own_absent, echo.voices_heard), (false, 4, 0, 12));
    let mute = run(Fault::Mute, LoadCodec::Pcmu);
    assert_eq!((mute.passed, mute.voices_expected, mute.voices_heard), (false, 12, 9));
    assert!(mute.table().contains("p1 in the mix of p0"), "{}", mute.table());
    let gap = run(Fault::Gap, LoadCodec::Pcmu);
    assert!((56.0..64.0).contains(&gap.gap_ms.max), "{}", gap.table());
}

#[test]
fn a_receiver_to_which_nothing_comes_fails_the_run() {
    let received =
        vec![Received { room: 0, participant: 0, counts: Counts::default(), reported: Reported::default() }];
    let report = Report::new(Measured { received, speech: true, ..Measured::default() }, 0.0);
    assert_eq!((report.passed, report.deaf), (false, 1));
}
