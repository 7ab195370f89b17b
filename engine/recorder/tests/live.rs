//! Live output: a playlist and what it names, while it grows and afterwards.

mod common;

use common::{Probe, Sent, Source, What, decode, track};
use motet_recorder::edge::{
    Backend, EventKind, Failure, Recorder, RecorderConfig, RecorderEvent, RecordingSpec,
};
use motet_recorder::{Codec, ConfigError, Container, Recording, RecordingConfig, TrackConfig};
use motet_rtp::Time;
use motet_rtp::payload::PayloadFormat::H264;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::Receiver;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

fn tracks() -> Vec<TrackConfig> {
    vec![track(Codec::H264, 0), track(Codec::Aac { config: vec![0x11, 0x88] }, 0)]
}

fn config() -> RecordingConfig {
    let segment_duration_max = Some(Duration::from_secs(3));
    let created = Duration::from_secs(1_700_000_000);
    RecordingConfig { container: Container::Hls, segment_duration_max, created, ..RecordingConfig::default() }
}

/// A playlist as its text says.
struct Read {
    sequence: u64,
    target: u64,
    headers: Vec<String>,
    pieces: Vec<(String, f64)>,
    ended: bool,
}

fn read(path: &Path) -> Read {
    let text = std::fs::read_to_string(path).expect("there is a playlist");
    assert!(text.starts_with("#EXTM3U\n"), "{text}");
    let value = |tag: &str| text.lines().find_map(|line| line.strip_prefix(tag));
    let number = |tag: &str| value(tag).and_then(|value| value.parse().ok()).expect(tag);
    let durations = text.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
    let durations = durations.map(|value| value.trim_end_matches(',').parse().expect("seconds"));
    let names = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let headers = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI="));
    Read {
        sequence: number("#EXT-X-MEDIA-SEQUENCE:"),
        target: number("#EXT-X-TARGETDURATION:"),
        headers: headers.map(|header| header.trim_matches('"').to_owned()).collect(),
        pieces: names.zip(durations).collect(),
        ended: value("#EXT-X-ENDLIST").is_some(),
    }
}

struct Stage {
    folder: tempfile::TempDir,
    clock: Arc<AtomicU64>,
    recorder: Recorder,
    events: Receiver<RecorderEvent>,
    id: u64,
}

impl Stage {
    fn new(backend: Backend, tracks: Vec<TrackConfig>) -> Stage {
        let (folder, clock) =
            (tempfile::tempdir().expect("a folder"), Arc::new(AtomicU64::new(10_000_000_000)));
        let nanos = Arc::clone(&clock);
        let clock_of_thread = move || Time::from_nanos(nanos.load(SeqCst));
        let started = Recorder::start(RecorderConfig::default(), backend, clock_of_thread);
        let (recorder, events) = started.expect("it starts");
        let spec = RecordingSpec {
            folder: folder.path().to_owned(),
            name: "web".to_owned(),
            config: config(),
            tracks,
        };
        let id = recorder.begin(spec).expect("it begins");
        // Packets that overtake the beginning are nobody's.
        recorder.settle();
        Stage { folder, clock, recorder, events, id }
    }

    fn playlist(&self) -> PathBuf {
        self.folder.path().join("web.m3u8")
    }

    /// Sends what is due from one time to another, in seconds.
    fn send(&self, sent: &[Sent], from: u64, to: u64) {
        let input = self.recorder.input();
        let at = |seconds: u64| Time::from_millis(10_000 + seconds * 1000);
        for Sent { at, track, what } in sent.iter().filter(|sent| sent.at >= at(from) && sent.at < at(to)) {
            self.clock.store(at.as_nanos(), SeqCst);
            let What::Packet(packet) = what else { continue };
            assert!(input.push_packet(self.id, *track, *at, packet), "there is room");
        }
        self.recorder.settle();
    }

    fn wait<T>(&self, wanted: impl Fn(EventKind) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("an event");
            if let Some(found) = wanted(event.kind) {
                return found;
            }
        }
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }

    fn end(&self) {
        self.recorder.stop(self.id);
        self.wait(|kind| match kind {
            EventKind::Failed { message, .. } => panic!("{message}"),
            EventKind::Stopped { .. } => Some(()),
            _ => None,
        });
    }
}

fn media(seconds: u32) -> Vec<Sent> {
    let mut sent = Source::pictures(0, H264).send(&common::h264(seconds, "160x96"));
    sent.extend(Source::sound(1, 48_000, 1024).send(&common::aac(seconds)));
    sent.sort_by_key(|sent| sent.at);
    sent
}

/// Each piece that is named is there, begins with a key frame behind its header, and lasts as long as it says.
fn check(stage: &Stage, playlist: &Read) {
    for (name, seconds) in &playlist.pieces {
        assert!(seconds.round() as u64 <= playlist.target, "RFC 8216 section 4.3.3.1: {seconds} s");
        let part = |name: &str| std::fs::read(stage.folder.path().join(name)).expect(name);
        let whole = stage.folder.path().join("whole.mp4");
        std::fs::write(&whole, [part(&playlist.headers[0]), part(name)].concat()).expect("written");
        let probe = Probe::of(&whole);
        let first = probe.packets.iter().find(|packet| packet.stream == 0).expect("a picture");
        assert!(first.key, "{name}");
        let lasts = probe.end(0) - probe.times(0)[0];
        assert!((lasts - seconds).abs() < 0.002, "{name}: {lasts} and {seconds} s");
        std::fs::remove_file(whole).expect("removed");
    }
}

#[test]
fn a_playlist_grows_and_ends_and_old_pieces_go() {
    let (best, _) = Backend::choose();
    let backends = if best == Backend::Uring { vec![best, Backend::Threads] } else { vec![best] };
    let sent = media(80);
    for backend in backends {
        let stage = Stage::new(backend, tracks());
        stage.send(&sent, 0, 10);
        let begun = stage.wait(|kind| match kind {
            EventKind::SegmentBegan { path } => Some(path),
            _ => None,
        });
        assert_eq!(begun, stage.playlist());
        let early = read(&stage.playlist());
        assert_eq!((early.sequence, early.target, early.ended), (1_700_000_000, 5, false));
        assert!((2..=3).contains(&early.pieces.len()), "{:?}", early.pieces);
        // A player opens it while it grows.
        let playlist = stage.playlist();
        let path = playlist.to_str().expect("text");
        // It reads half a second: more would be waited for, and time stands still here.
        let first = ["-live_start_index", "0", "-analyzeduration", "500000"];
        let asked = ["-show_entries", "stream=codec_name", "-of", "csv=p=0", path];
        let streams = common::run("ffprobe", &[first.as_slice(), &asked].concat());
        let streams = String::from_utf8(streams).expect("text");
        // As streams, and as those of the one program.
        assert_eq!(streams.split_whitespace().collect::<BTreeSet<_>>(), BTreeSet::from(["aac", "h264"]));
        check(&stage, &early);

        for second in 10..80 {
            stage.send(&sent, second, second + 1);
            let names = stage.names();
            assert!(names.len() <= 18, "what is there is bounded: {names:?}");
        }
        let late = read(&stage.playlist());
        assert!(
            late.pieces.len() == 6
                && late.sequence > early.sequence + 10
                && stage.names().len() < 18
                && !late.ended
        );
        check(&stage, &late);
        stage.end();
        let whole = read(&stage.playlist());
        assert!(whole.ended);
        assert!(!stage.names().iter().any(|name| name.contains(".part")), "{:?}", stage.names());
        check(&stage, &whole);

        // From end to end as players see it: no picture is missing, and sound lies beside it.
        decode(&stage.playlist());
        let probe = Probe::of(&stage.playlist());
        let seconds: f64 = whole.pieces.iter().map(|(_, seconds)| seconds).sum();
        let pictures = probe.times(0);
        assert_eq!(pictures.len(), (seconds * 25.0).round() as usize);
        assert!(pictures.windows(2).all(|pair| (pair[1] - pair[0] - 0.04).abs() < 0.002));
        let (begins, ends) = (probe.times(1)[0] - pictures[0], probe.end(1) - probe.end(0));
        // Sound is cut where it has come by then, which may be a frame off.
        assert!(begins.abs() < 0.05 && ends.abs() < 0.05, "{begins} {ends}");
    }
}

#[test]
fn sound_alone_and_parameters_that_change() {
    let stage = Stage::new(Backend::Threads, tracks()[1..].to_vec());
    let sent: Vec<Sent> = Source::sound(0, 48_000, 1024).send(&common::aac(9));
    stage.send(&sent, 0, 9);
    stage.end();
    let playlist = read(&stage.playlist());
    assert!((2..=4).contains(&playlist.pieces.len()), "{:?}", playlist.pieces);
    decode(&stage.playlist());

    // Another size: another header, and a break before it.
    let stage = Stage::new(Backend::Threads, tracks()[..1].to_vec());
    let mut source = Source::pictures(0, H264);
    let mut sent = source.send(&common::h264(5, "160x96"));
    source.begin_ms += 5_000;
    source.timestamp = source.timestamp.wrapping_add(5 * 90_000);
    sent.extend(source.send(&common::h264(5, "320x192")));
    stage.send(&sent, 0, 10);
    stage.end();
    let playlist = read(&stage.playlist());
    assert_eq!(playlist.headers, ["web-00001-init.mp4", "web-00002-init.mp4"]);
    let text = std::fs::read_to_string(stage.playlist()).expect("there is a playlist");
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert_eq!(Probe::of(&stage.playlist()).times(0).len(), 250);
}

#[test]
fn a_folder_that_is_gone_ends_it() {
    let stage = Stage::new(Backend::Threads, tracks());
    let sent = media(8);
    stage.send(&sent, 0, 4);
    std::fs::remove_dir_all(stage.folder.path()).expect("removed");
    stage.send(&sent, 4, 8);
    let reason = stage.wait(|kind| match kind {
        EventKind::Failed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason, Failure::File);
}

#[test]
fn pieces_that_are_too_long_are_refused() {
    let long = RecordingConfig { segment_duration_max: Some(Duration::from_secs(61)), ..config() };
    let refused = Recording::new(long, tracks()).err();
    assert!(matches!(refused, Some(ConfigError::Range { field: "segment_duration_max", .. })), "{refused:?}");
}
