//! Recordings by command: listed, paused, ended; after a crash, and on a disk that is full.

use crate::phones::Phone;
use crate::world::{Css, Process, Watched, eventually, media_ports, text};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A phone that talks on a thread of its own.
struct Talking {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Phone>,
}

impl Talking {
    fn start(mut phone: Phone) -> Talking {
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        let talk = move || {
            let begun = Instant::now();
            for tick in 1.. {
                phone.talk();
                let next = begun + Duration::from_millis(20) * tick;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                if asked.load(Relaxed) {
                    break;
                }
            }
            phone
        };
        Talking { ends, thread: std::thread::spawn(talk) }
    }

    fn end(self) -> Phone {
        self.ends.store(true, Relaxed);
        self.thread.join().expect("it talks to its end")
    }
}

fn join(css: &Css, conference: &str) -> Phone {
    Phone::join(css, conference, "alice", ("pcmu", 8_000, 0), 440.0)
}

fn list(css: &Css, conference: &str) -> Value {
    css.json(&["conf", "record", "list", conference])[0].clone()
}

/// What is listed once this is so.
#[track_caller]
fn listed(css: &Css, conference: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let output = css.run(&["conf", "record", "list", conference, "--json"]);
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        is(&list[0]).then(|| list[0].clone())
    })
}

fn packets(recording: &Value) -> u64 {
    recording["files"][0]["packets"].as_u64().unwrap_or_default()
}

fn has_event(watch: &Watched, kind: &str) -> bool {
    let kind_of = |line: &String| serde_json::from_str::<Value>(line).map(|event| event["kind"] == kind);
    watch.lines().iter().any(|line| kind_of(line).unwrap_or_default())
}

/// The codec of a file's only stream, and how long it plays, in seconds.
fn probe(path: &Path) -> (String, f64) {
    let entries = ["-v", "error", "-show_entries", "stream=codec_name:packet=pts_time", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(entries).arg(path).output().expect("ffprobe is there");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    let lines: Vec<&str> = lines.lines().map(|line| line.trim_end_matches(',')).collect();
    let times = lines.iter().filter_map(|line| line.parse::<f64>().ok());
    let codec = lines.iter().find(|line| line.parse::<f64>().is_err()).expect("a stream");
    ((*codec).to_owned(), times.fold(0.0, f64::max))
}

#[test]
fn a_recording_is_begun_listed_paused_and_ended() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--recordings", path]);
    css.wait_for_nodes(1);
    let id = css.json(&["conf", "create", "--number", "8701"])["id"].as_str().expect("an id").to_owned();
    let watch = Watched::start(css.command(&["conf", "watch", "8701", "--json"]));
    let started = css.json(&["conf", "record", "start", "8701", "--segment", "1h"]);
    assert_eq!(started["recordings"][0], "main");
    let talking = Talking::start(join(&css, "8701"));
    let recording = listed(&css, "8701", "alice is written", |recording| packets(recording) > 20);
    assert_eq!((&recording["state"], &recording["segment_seconds"]), (&"recording".into(), &3_600.into()));
    eventually("the file is there", || {
        (list(&css, "8701")["files"][0]["file"] == "alice-00001.part.mp4").then_some(())
    });
    css.json(&["conf", "record", "pause", "8701"]);
    assert_eq!(list(&css, "8701")["state"], "paused");
    css.json(&["conf", "record", "resume", "8701"]);
    assert_eq!(list(&css, "8701")["state"], "recording");
    css.fails(&["conf", "record", "pause", "8701", "--recording", "other"], 1, "no recording 'other'");
    css.fails(&["conf", "record", "start", "8701", "--folder", "../x"], 1, "recording.folder");
    css.json(&["conf", "record", "stop", "8701"]);
    eventually("a file is whole", || has_event(&watch, "recording-segment").then_some(()));
    assert!(has_event(&watch, "recording-changed"));
    assert_eq!(css.json(&["conf", "record", "list", "8701"]), Value::Array(Vec::new()));
    let file = folder.path().join(format!("{id}+main/alice-00001.mp4"));
    let (codec, seconds) = probe(&file);
    assert!(codec == "pcm_mulaw" && seconds > 0.1, "{codec} {seconds}");
    talking.end();
}

#[test]
fn a_node_without_a_folder_says_so_at_once() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node("n1");
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8702"]);
    css.fails(&["conf", "record", "start", "8702"], 1, "--recordings");
}

#[test]
fn a_recording_outlives_its_node() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let _control = css.start("embedded");
    let start = |name: &str| css.start_node_with(name, &["--metrics", "off", "--recordings", path]);
    let first_node = start("n1");
    css.wait_for_nodes(1);
    let info = css.json(&["conf", "create", "--number", "8703"]);
    css.json(&["conf", "record", "start", "8703", "--folder", "crash"]);
    let talking = Talking::start(join(&css, "8703"));
    listed(&css, "8703", "alice is written", |recording| packets(recording) > 100);
    // Only now: on a busy machine the conference might go there before its time.
    let _second_node = start("n2");
    css.wait_for_nodes(2);
    let recording = list(&css, "8703");
    std::thread::sleep(Duration::from_millis(300));
    first_node.kill();

    let first = folder.path().join("crash/alice-00001.part.mp4");
    let (codec, seconds) = probe(&first);
    let taken = packets(&recording) as f64 * 0.02;
    assert_eq!(codec, "pcm_mulaw");
    assert!(seconds > taken - 1.0, "{seconds} s are left of {taken} s");

    // It goes on where the conference does.
    let mut phone = talking.end();
    let moved = eventually("the conference runs on the other node", || {
        let moved = css.json(&["conf", "show", "8703"]);
        (moved["state"] == "running" && moved["node_id"] != info["node_id"]).then_some(moved)
    });
    let target = moved["participants"][0]["media"][0]["send_rtp_to"].as_str().expect("an address");
    phone.target = target.parse().expect("an address");
    let talking = Talking::start(phone);
    listed(&css, "8703", "alice is written again", |recording| {
        recording["files"][0]["file"] == "alice-00002.part.mp4"
    });
    talking.end();
}

/// A node on which files of more than some kilobytes are refused by the system, as on a disk that is full.
fn start_on_full_disk(css: &Css, path: &Path) -> Process {
    let (path, url, ports) = (path.to_str().expect("text"), css.url(), media_ports());
    let node =
        ["node", "--node-id", "n1", "--listen", "127.0.0.1:0", "--control", &url, "--port-range", &ports];
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_motet")]);
    limited.args(node).args(["--metrics", "off", "--recordings", path]);
    limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process::with_pipes(limited)
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_not_the_conference() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder");
    let _control = css.start("embedded");
    let _node = start_on_full_disk(&css, folder.path());
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8704"]);
    let watch = Watched::start(css.command(&["conf", "watch", "8704", "--json"]));
    css.json(&["conf", "record", "start", "8704", "--folder", "full"]);
    let talking = Talking::start(join(&css, "8704"));
    let failed = listed(&css, "8704", "the recording has ended", |recording| recording["state"] == "failed");
    assert!(failed["failed"].as_str().is_some_and(|why| why.contains("make room")), "{failed}");
    eventually("watchers are told", || has_event(&watch, "recording-failed").then_some(()));
    let (codec, seconds) = probe(&folder.path().join("full/alice-00001.part.mp4"));
    assert!(codec == "pcm_mulaw" && seconds > 0.4, "what was written plays: {seconds} s");
    let mut phones = [talking.end(), Phone::join(&css, "8704", "bob", ("pcmu", 8_000, 0), 850.0)];
    crate::phones::until_heard(&mut phones, &[], &["alice>bob", "bob>alice"]);
    // Where there is room again, it is begun again.
    css.json(&["conf", "record", "stop", "8704"]);
    css.json(&["conf", "record", "start", "8704", "--folder", "full"]);
    assert_eq!(list(&css, "8704")["state"], "recording");
}

#[test]
fn a_disk_that_is_full_ends_live_output_and_not_the_conference() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder");
    let _control = css.start("embedded");
    let _node = start_on_full_disk(&css, folder.path());
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8705", "--audio", "mix,rate=48000"]);
    let watch = Watched::start(css.command(&["conf", "watch", "8705", "--json"]));
    // One piece is more than there is room for.
    let live = ["--live", "--mix", "--segment", "30s", "--folder", "full"];
    css.json(&[&["conf", "record", "start", "8705"], &live[..]].concat());
    let talking = Talking::start(join(&css, "8705"));
    let failed = listed(&css, "8705", "live output has ended", |recording| recording["state"] == "failed");
    assert!(failed["failed"].as_str().is_some_and(|why| why.contains("make room")), "{failed}");
    eventually("watchers are told", || has_event(&watch, "recording-failed").then_some(()));
    let playlist = std::fs::read_to_string(folder.path().join("full/+mix.m3u8")).unwrap_or_default();
    assert!(!playlist.contains("#EXT-X-ENDLIST"), "nobody said that it is whole: {playlist}");
    let mut phones = [talking.end(), Phone::join(&css, "8705", "bob", ("pcmu", 8_000, 0), 850.0)];
    crate::phones::until_heard(&mut phones, &[], &["alice>bob", "bob>alice"]);
    // Shorter pieces fit.
    css.json(&["conf", "record", "stop", "8705"]);
    css.json(&["conf", "record", "start", "8705", "--live", "--mix", "--segment", "1s", "--folder", "again"]);
    let talking = Talking::start(phones.into_iter().next().expect("alice"));
    eventually("pieces come", || {
        let text = std::fs::read_to_string(folder.path().join("again/+mix.m3u8")).ok()?;
        (text.matches("#EXTINF").count() >= 2).then_some(())
    });
    assert_eq!(list(&css, "8705")["state"], "recording");
    talking.end();
}
