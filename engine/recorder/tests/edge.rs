//! Real files, full and slow disks, and a process that is killed.

mod common;

use common::{Probe, Sent, Source, What, decode, track};
use motet_recorder::edge::{
    Backend, BeginError, EventKind, Failure, Recorder, RecorderConfig, RecorderEvent, RecordingSpec, Storage,
    ThreadStorage,
};
use motet_recorder::{Codec, Container, RecordingConfig};
use motet_rtp::Time;
use motet_rtp::payload::PayloadFormat::H264;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);
/// When media begins to come.
const BEGIN_MS: u64 = 10_000;

/// A clock that tests set.
#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn new() -> TestClock {
        TestClock(Arc::new(AtomicU64::new(BEGIN_MS * 1_000_000)))
    }

    fn read(&self) -> impl Fn() -> Time + Send + 'static {
        let nanos = Arc::clone(&self.0);
        move || Time::from_nanos(nanos.load(SeqCst))
    }

    fn set(&self, at: Time) {
        self.0.store(at.as_nanos(), SeqCst);
    }
}

fn spec(folder: &Path, name: &str) -> RecordingSpec {
    RecordingSpec {
        folder: folder.to_owned(),
        name: name.to_owned(),
        config: RecordingConfig::default(),
        tracks: vec![track(Codec::H264, 0), track(Codec::Opus { channels: 1 }, 0)],
    }
}

fn media(seconds: u32) -> Vec<Sent> {
    let mut sent = Source::pictures(0, H264).send(&common::h264(seconds, "160x96"));
    sent.extend(Source::sound(1, 48_000, 960).send(&common::opus(seconds)));
    sent.sort_by_key(|sent| sent.at);
    sent
}

/// Sends to recordings at the pace of the test's clock.
fn feed(recorder: &Recorder, clock: &TestClock, recordings: &[u64], sent: &[Sent]) {
    let input = recorder.input();
    for Sent { at, track, what } in sent {
        clock.set(*at);
        let What::Packet(packet) = what else { continue };
        for recording in recordings {
            assert!(input.push_packet(*recording, *track, *at, packet), "there is room");
        }
    }
}

fn wait_for<T>(
    events: &Receiver<RecorderEvent>,
    what: &str,
    mut wanted: impl FnMut(&RecorderEvent) -> Option<T>,
) -> T {
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event: {what}"));
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

fn wait_stopped(events: &Receiver<RecorderEvent>, recording: u64) {
    wait_for(events, "stopped", |event| match &event.kind {
        EventKind::Failed { message, .. } if event.recording == recording => panic!("{message}"),
        EventKind::Stopped { tracks } if event.recording == recording => {
            assert_eq!(tracks.len(), 2);
            Some(())
        }
        _ => None,
    });
}

fn wait_failed(events: &Receiver<RecorderEvent>, recording: u64) -> (Failure, String) {
    wait_for(events, "failed", |event| match &event.kind {
        EventKind::Failed { reason, message } if event.recording == recording => {
            Some((*reason, message.clone()))
        }
        _ => None,
    })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).expect("text")).collect();
    names.sort();
    names
}

#[test]
fn both_backends_write_whole_files() {
    let (best, why) = Backend::choose();
    println!("the better backend here: {best:?} {why:?}");
    let backends = if best == Backend::Uring { vec![best, Backend::Threads] } else { vec![best] };
    for backend in backends {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = TestClock::new();
        let (recorder, events) =
            Recorder::start(RecorderConfig::default(), backend, clock.read()).expect("it starts");
        let ids = ["one", "two"].map(|name| recorder.begin(spec(folder.path(), name)).expect("it begins"));
        feed(&recorder, &clock, &ids, &media(3));
        recorder.settle();
        assert_eq!(names(folder.path()), ["one-00001.part.mp4", "two-00001.part.mp4"]);
        recorder.stop(ids[0]);
        wait_stopped(&events, ids[0]);
        // The other one is ended by the end of all.
        drop(recorder);
        wait_stopped(&events, ids[1]);
        assert_eq!(names(folder.path()), ["one-00001.mp4", "two-00001.mp4"]);
        for name in names(folder.path()) {
            let path = folder.path().join(name);
            decode(&path);
            let probe = Probe::of(&path);
            assert_eq!((probe.times(0).len(), probe.times(1).len()), (75, common::opus(3).len()));
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let (recorder, events) =
        Recorder::start(RecorderConfig::default(), Backend::Threads, clock.read()).expect("it starts");
    for name in ["", "a/b", ".hidden", &"x".repeat(201)] {
        assert!(matches!(recorder.begin(spec(folder.path(), name)), Err(BeginError::Name(_))), "{name}");
    }
    let nowhere = folder.path().join("nowhere");
    assert!(matches!(recorder.begin(spec(&nowhere, "a")), Err(BeginError::Folder(_))));
    let mut empty = spec(folder.path(), "a");
    empty.tracks.clear();
    assert!(matches!(recorder.begin(empty), Err(BeginError::Config(_))));
    // A file of that name is not written over.
    std::fs::write(folder.path().join("taken-00001.mp4"), b"whole").expect("written");
    let taken = recorder.begin(spec(folder.path(), "taken")).expect("it begins");
    feed(&recorder, &clock, &[taken], &media(1));
    recorder.stop(taken);
    let (reason, message) = wait_failed(&events, taken);
    assert_eq!(reason, Failure::File, "{message}");
    assert_eq!(std::fs::read(folder.path().join("taken-00001.mp4")).expect("there"), b"whole");
    assert!(folder.path().join("taken-00001.part.mp4").exists(), "what was recorded is kept");
}

/// Files whose name begins with `full` take 40,000 bytes, those with `slow` none, ever. Writes of others are counted.
#[derive(Clone, Default)]
struct Fake(Arc<AtomicU64>);

impl Storage for Fake {
    type File = (<ThreadStorage as Storage>::File, String);

    async fn create(&self, path: &Path) -> io::Result<Self::File> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        Ok((ThreadStorage.create(path).await?, name))
    }

    async fn write(&self, file: &mut Self::File, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        if file.1.starts_with("slow") {
            std::future::pending::<()>().await;
        }
        if file.1.starts_with("full") && at + bytes.len() as u64 > 40_000 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        ThreadStorage.write(&mut file.0, at, bytes).await?;
        if file.1.starts_with("good") {
            self.0.fetch_add(1, SeqCst);
        }
        Ok(())
    }

    async fn sync(&self, file: &mut Self::File) -> io::Result<()> {
        ThreadStorage.sync(&mut file.0).await
    }

    async fn finish(&self, file: Self::File, from: &Path, to: &Path) -> io::Result<()> {
        ThreadStorage.finish(file.0, from, to).await
    }

    async fn replace(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        ThreadStorage.replace(path, bytes).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        ThreadStorage.remove(path).await
    }
}

/// Runs one recording on a bad file beside one on a good file, and lets `after` pass once all has come; what became of
/// the bad one.
fn beside(
    name: &str,
    config: RecorderConfig,
    after: Duration,
) -> (Failure, String, PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let (clock, fake) = (TestClock::new(), Fake::default());
    let (recorder, events) = Recorder::start_with(config, fake.clone(), clock.read()).expect("it starts");
    let ids = [name, "good"].map(|name| recorder.begin(spec(folder.path(), name)).expect("it begins"));
    let sent = media(4);
    for half in 0..8 {
        let ms = BEGIN_MS + half * 500;
        let now = |sent: &&Sent| sent.at >= Time::from_millis(ms) && sent.at < Time::from_millis(ms + 500);
        let part: Vec<Sent> = sent.iter().filter(now).cloned().collect();
        feed(&recorder, &clock, &ids, &part);
        // The good file's disk keeps pace: the header, and a fragment for each half second that is over.
        let deadline = std::time::Instant::now() + PATIENCE;
        while fake.0.load(SeqCst) < half + 1 {
            assert!(std::time::Instant::now() < deadline, "the good file is written");
            std::thread::yield_now();
        }
    }
    clock.set(sent[sent.len() - 1].at + after);
    let (reason, message) = wait_failed(&events, ids[0]);
    // Packets of who is gone do no harm.
    feed(&recorder, &clock, &ids[..1], &sent[sent.len() - 1..]);
    recorder.stop(ids[1]);
    wait_stopped(&events, ids[1]);
    let good = folder.path().join("good-00001.mp4");
    assert_eq!(Probe::of(&good).times(0).len(), 100, "the other one is unharmed");
    (reason, message, folder.path().join(format!("{name}-00001.part.mp4")), folder)
}

#[test]
fn a_full_disk_ends_its_recording_alone() {
    let (reason, message, path, _folder) = beside("full", RecorderConfig::default(), Duration::ZERO);
    assert_eq!(reason, Failure::DiskFull, "{message}");
    assert!(message.contains("make room"), "{message}");
    assert!(!Probe::of(&path).packets.is_empty(), "what was written plays");
}

#[test]
fn a_slow_disk_ends_its_recording_alone() {
    let small = RecorderConfig { write_bytes_max: 70_000, ..RecorderConfig::default() };
    let (reason, message, ..) = beside("slow", small, Duration::ZERO);
    assert_eq!(reason, Failure::SlowDisk);
    assert!(message.contains("wait to be written"), "{message}");
    let (reason, message, ..) = beside("slow", RecorderConfig::default(), Duration::from_secs(11));
    assert_eq!(reason, Failure::SlowDisk);
    assert!(message.contains("answered nothing"), "{message}");
}

#[test]
fn a_queue_that_is_full_drops_and_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let config = RecorderConfig { packets_waiting_max: 8, ..RecorderConfig::default() };
    let (recorder, _events) = Recorder::start(config, Backend::Threads, clock.read()).expect("it starts");
    let id = recorder.begin(spec(folder.path(), "a")).expect("it begins");
    let input = recorder.input();
    let pushed = (0..100_000).filter(|_| input.push_packet(id, 0, Time::ZERO, &[0; 20])).count() as u64;
    assert!(pushed >= 8 && input.dropped() > 0);
    assert_eq!(pushed + input.dropped(), 100_000);
}

/// Packets may be there before the thread has looked at the command that begins.
#[test]
fn what_comes_right_after_the_beginning_is_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = TestClock::new();
    let config = RecorderConfig::default();
    let (recorder, events) = Recorder::start(config, Backend::Threads, clock.read()).expect("it starts");
    let (input, sent) = (recorder.input(), media(1));
    for number in 0..20 {
        let id = recorder.begin(spec(folder.path(), &format!("r{number}"))).expect("it begins");
        feed(&recorder, &clock, &[id], &sent);
        recorder.stop(id);
        let packets = wait_for(&events, "stopped", |event| match &event.kind {
            EventKind::Stopped { tracks } => Some(tracks.iter().map(|track| track.packets).sum::<u64>()),
            _ => None,
        });
        assert_eq!((packets, input.unclaimed()), (sent.len() as u64, 0));
    }
    assert!(input.push_packet(9_999, 0, Time::ZERO, &[0; 20]));
    recorder.settle();
    assert_eq!(input.unclaimed(), 1);
}

/// Runs a test of this file, which is ignored otherwise, in a process of its own.
fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// A process is killed at any moment: at most a second of what it had taken in is lost.
#[test]
fn a_kill_takes_a_second_at_most() {
    kill_while(Container::Mp4);
}

#[test]
fn a_kill_takes_a_second_of_matroska_at_most() {
    kill_while(Container::Matroska);
}

fn kill_while(container: Container) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = child("killed")
        .env("MOTET_TEST_FOLDER", folder.path())
        .env("MOTET_TEST_MATROSKA", if container == Container::Matroska { "1" } else { "" })
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(recording.stdout.take().expect("piped")).lines();
    let taken = |line: io::Result<String>| line.ok()?.strip_prefix("taken ")?.parse::<u64>().ok();
    let mut last_ms = 0;
    while last_ms < 3_400 {
        let line = lines.next().expect("it goes on until it is killed");
        last_ms = taken(line).unwrap_or(last_ms);
    }
    recording.kill().expect("SIGKILL");
    recording.wait().expect("it is dead");
    last_ms = lines.filter_map(taken).last().unwrap_or(last_ms);
    let path = folder.path().join(format!("killed-00001.part.{}", container.extension()));
    let out = Command::new("ffmpeg")
        .args(["-v", "fatal", "-i", path.to_str().expect("a path"), "-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let json = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .expect("ffprobe");
    let text = String::from_utf8(json.stdout).expect("text");
    let times = text.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    let recorded_ms = times.fold(0.0, f64::max) * 1000.0;
    println!("taken in: {last_ms} ms, recorded: {recorded_ms} ms");
    assert!(recorded_ms > last_ms as f64 - 1000.0, "{recorded_ms} of {last_ms} ms");
}

#[test]
#[ignore = "the other half of kill_while"]
fn killed() {
    let Some(folder) = std::env::var_os("MOTET_TEST_FOLDER") else { return };
    let clock = TestClock::new();
    let (backend, _) = Backend::choose();
    let (recorder, _events) =
        Recorder::start(RecorderConfig::default(), backend, clock.read()).expect("it starts");
    let mut spec = spec(Path::new(&folder), "killed");
    if std::env::var_os("MOTET_TEST_MATROSKA").is_some_and(|value| value == "1") {
        spec.config.container = Container::Matroska;
    }
    let id = recorder.begin(spec).expect("it begins");
    for sent in media(60) {
        feed(&recorder, &clock, &[id], std::slice::from_ref(&sent));
        recorder.settle();
        let taken = sent.at.since(Time::from_millis(BEGIN_MS)).as_millis();
        // Whoever reads this may be gone.
        let _ = writeln!(io::stdout(), "taken {taken}");
    }
}

/// A file system of 64 KiB in a mount namespace of its own.
#[test]
fn a_file_system_that_is_full_ends_its_recording_alone() {
    let small = tempfile::tempdir().expect("a folder");
    let large = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=64k tmpfs \"$1\" && shift && exec \"$@\"";
    let unshare = |command: &[&std::ffi::OsStr]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(small.path());
        unshare.args(command);
        unshare
    };
    let possible = unshare(&["true".as_ref()]).output().is_ok_and(|out| out.status.success());
    if !possible {
        return eprintln!("skipped: no mount namespaces here");
    }
    let test = child("full");
    let command: Vec<&std::ffi::OsStr> = std::iter::once(test.get_program()).chain(test.get_args()).collect();
    let out = unshare(&command)
        .env("MOTET_TEST_FOLDER", small.path())
        .env("MOTET_TEST_LARGE", large.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("both backends were full"), "{text}");
}

#[test]
#[ignore = "the other half of a_file_system_that_is_full_ends_its_recording_alone"]
fn full() {
    let (Some(small), Some(large)) =
        (std::env::var_os("MOTET_TEST_FOLDER"), std::env::var_os("MOTET_TEST_LARGE"))
    else {
        return;
    };
    for (backend, name) in [(Backend::choose().0, "one"), (Backend::Threads, "two")] {
        let clock = TestClock::new();
        let (recorder, events) =
            Recorder::start(RecorderConfig::default(), backend, clock.read()).expect("it starts");
        let bad = recorder.begin(spec(Path::new(&small), name)).expect("it begins");
        let good = recorder.begin(spec(Path::new(&large), name)).expect("it begins");
        feed(&recorder, &clock, &[bad, good], &media(5));
        let (reason, message) = wait_failed(&events, bad);
        assert_eq!(reason, Failure::DiskFull, "{message}");
        recorder.stop(good);
        wait_stopped(&events, good);
        let part = Path::new(&small).join(format!("{name}-00001.part.mp4"));
        let _ = std::fs::remove_file(part);
        assert!(Probe::of(&Path::new(&large).join(format!("{name}-00001.mp4"))).times(0).len() == 125);
    }
    println!("both backends were full");
}
