//! The generator's own thread and sockets, with sound. Of two participants each one's mix is what the other
//! says, so that they need no mixer: they send to each other.

use motet_net::IoChoice;
use motet_rtpgen::audio::LoadCodec;
use motet_rtpgen::audio::impair::Impairment;
use motet_rtpgen::audio::report::Report;
use motet_rtpgen::audio::run::{Person, Plan, execute};
use motet_rtpgen::audio::stage::Stage;
use motet_rtpgen::audio::track::{Quiet, Tracks};
use motet_rtpgen::run::{Control, Wait};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// Both talk all the time; `echo`: to themselves.
fn plan(codec: LoadCodec, echo: bool, impairment: Impairment, wav: Option<PathBuf>) -> Plan {
    let (first, second) = (socket(), socket());
    let (to_second, to_first) = if echo { (first.1, second.1) } else { (second.1, first.1) };
    let person = |participant, socket, destination| Person {
        room: 0,
        participant,
        codec,
        socket,
        relay: destination,
        speaks: true,
        abuse: None,
        ssrc: 77 + participant,
    };
    Plan {
        people: vec![person(0, first.0, to_second), person(1, second.0, to_first)],
        stage: Stage { speakers: 2, talkers: 2, turn_frames: 125 },
        tracks: Arc::new(Tracks::new(&[codec], 2, Quiet::Noise, None).expect("encoded")),
        speech: false,
        level_extension: true,
        impairment,
        report_interval: Duration::from_millis(500),
        decoded: 8,
        wav,
        io: IoChoice::Auto,
        wait: Wait::Block,
        core: None,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(2600),
        drain: Duration::from_millis(200),
        loss_percent_max: 0.0,
    }
}

fn run(plan: Plan) -> Report {
    execute(plan, &Control::default()).expect("it runs")
}

#[test]
fn two_who_send_to_each_other_hear_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = run(plan(LoadCodec::Opus, false, Impairment::default(), Some(folder.path().to_owned())));
    assert!(report.passed, "{}", report.table());
    assert_eq!((report.sent, report.received, report.voices_heard, report.own_absent), (260, 260, 2, 2));
    // A frame's time at least; what the codec looks ahead besides.
    assert!(report.mouth_to_ear_ms.min > 20.0, "{}", report.table());
    let wav = hound::WavReader::open(folder.path().join("room0-p1.wav")).expect("it was left");
    assert_eq!((wav.spec().sample_rate, wav.duration()), (48_000, 130 * 960));
}

#[test]
fn what_is_lost_on_purpose_is_concealed_and_not_missing() {
    let impairment = Impairment { loss: 0.1, jitter: Duration::from_millis(40), seed: 3 };
    let report = run(plan(LoadCodec::Opus, false, impairment, None));
    // What was lost on its way to the other is missing there; what was lost after it came is not.
    assert!(report.missing > 0 && report.received < 260, "{}", report.table());
    // Who loses says so, what is lost on purpose after it came included.
    assert!(report.reports >= 8 && (0.1..0.35).contains(&report.reported_loss), "{}", report.table());
    assert!(report.reordered > 0 && report.concealed_share > 0.05, "{}", report.table());
    assert_eq!(report.voices_heard, 2, "{}", report.table());
}

#[test]
fn an_echo_fails_the_run() {
    let report = run(plan(LoadCodec::Pcmu, true, Impairment::default(), None));
    let heard = (report.voices_expected, report.voices_heard, report.own_expected, report.own_absent);
    assert_eq!((report.passed, heard), (false, (2, 0, 2, 0)), "{}", report.table());
}
