//! A node taken over by another process while it carries media.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{Call, Css, PATIENCE, Process, eventually, media_ports, signal, text};

/// Control and a node that can be taken over.
struct World {
    css: Css,
    _control: Process,
    folder: TempDir,
    ports: String,
    started: u32,
}

impl World {
    fn new() -> World {
        let css = Css::new();
        let control = css.start("embedded");
        let folder = tempfile::tempdir().expect("a folder can be made");
        World { css, _control: control, folder, ports: media_ports(), started: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a process of the node; its messages go to a file.
    fn node(&mut self, more: &[&str]) -> (Process, PathBuf) {
        self.started += 1;
        let log = self.path(&format!("node-{}.log", self.started));
        let handover = self.path("handover").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
        command.args(["node", "--node-id", "n1", "--listen", "127.0.0.1:0", "--metrics", "off"]);
        command.args(["--control", &self.css.url(), "--port-range", &self.ports]);
        command.args(["--handover-socket", &handover]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file(&log));
        (Process::with_pipes(command), log)
    }

    /// Starts participants that send to each other for so many seconds.
    fn load(&self, seconds: &str) -> Process {
        let report = self.path("report.json").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
        command.args(["load", "--css", &self.css.url(), "--conferences", "2", "--participants", "3"]);
        command.args(["--media", "video", "--burst", "4", "--duration", seconds, "--json", &report]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let load = Process::with_pipes(command);
        eventually("media flows", || {
            let list = self.css.json(&["nodes"]);
            list[0]["packets_sent"].as_u64().filter(|sent| *sent > 0)
        });
        load
    }

    /// Waits for the load to end; no packet may have been lost or have changed its place.
    fn nothing_is_lost(&self, mut load: Process) {
        load.ends();
        let report = std::fs::read(self.path("report.json")).expect("a report");
        let report: Value = serde_json::from_slice(&report).expect("JSON");
        assert!(report["received"].as_u64().is_some_and(|received| received > 1_000), "{report}");
        for count in ["lost", "reordered", "duplicated", "mislabelled", "wrongly_routed"] {
            assert_eq!(report[count], 0, "{count}: {report}");
        }
    }

    /// The one node is ready, and never was lost.
    fn control_saw_nothing(&self) {
        let nodes = self.css.json(&["nodes"]);
        assert_eq!(nodes.as_array().map(Vec::len), Some(1), "{nodes}");
        assert_eq!(nodes[0]["state"], "ready", "{nodes}");
    }
}

fn file(path: &Path) -> File {
    File::create(path).expect("a file can be made")
}

fn says(log: &Path, what: &str) {
    eventually(what, || std::fs::read_to_string(log).ok().filter(|text| text.contains(what)).map(|_| ()));
}

#[test]
fn under_load_nothing_is_lost_and_control_sees_nothing() {
    let mut world = World::new();
    let (mut running, _) = world.node(&[]);
    world.css.wait_for_nodes(1);
    let load = world.load("4");
    for _ in 0..2 {
        let (successor, log) = world.node(&["--take-over"]);
        assert_eq!(running.ends().0, Some(0), "the process before ends well");
        says(&log, "can be taken over");
        running = successor;
        world.control_saw_nothing();
    }
    world.nothing_is_lost(load);
    let created = world.css.json(&["conf", "create", "--number", "8801"]);
    assert_eq!(created["node_id"], "n1", "the node takes new conferences");
}

#[test]
fn who_hears_a_mix_goes_on_hearing_it() {
    let mut world = World::new();
    let (mut running, _) = world.node(&[]);
    world.css.wait_for_nodes(1);
    let url = world.css.url();
    let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
    command.args(["load", "--css", &url, "--audio", "--participants", "3", "--codec", "opus,pcmu,g722"]);
    let json = world.path("report.json").display().to_string();
    command.args(["--talkers", "3", "--turn", "8", "--duration", "8", "--json", &json]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut load = Process::with_pipes(command);
    eventually("media flows", || {
        let list = world.css.json(&["nodes"]);
        list[0]["packets_sent"].as_u64().filter(|sent| *sent > 0)
    });
    for _ in 0..2 {
        let (successor, _) = world.node(&["--take-over"]);
        assert_eq!(running.ends().0, Some(0), "the process before ends well");
        running = successor;
        world.control_saw_nothing();
    }
    // A tone is heard when it is there most of the time; the ends of the one voice are those of the other.
    // It ends with an error for each number that is skipped.
    load.ends();
    let report = std::fs::read(&json).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    for (counted, expected) in [("voices_heard", "voices_expected"), ("own_absent", "own_expected")] {
        assert_eq!(report[counted], report[expected], "{report}");
    }
    assert_eq!((&report["ssrc_changes"], &report["voices_expected"]), (&0.into(), &6.into()), "{report}");
}

#[test]
fn a_successor_that_is_killed_on_the_way_changes_nothing() {
    let mut world = World::new();
    let (running, log) = world.node(&[]);
    world.css.wait_for_nodes(1);
    let load = world.load("3");
    for _ in 0..2 {
        // So many workers take their time to start, between the first word and the last.
        let (successor, its_log) = world.node(&["--take-over", "--workers", "48"]);
        says(&its_log, "takes over");
        successor.kill();
        says(&log, "the take-over failed; this process goes on");
        world.control_saw_nothing();
    }
    world.nothing_is_lost(load);
    drop(running);
}

#[test]
fn a_version_that_is_not_known_is_refused_by_name() {
    let mut world = World::new();
    let (_running, log) = world.node(&[]);
    world.css.wait_for_nodes(1);
    world.css.json(&["conf", "create", "--number", "8802"]);
    let mut call = Call::join(&world.css, "8802");
    assert!(call.carries(), "media flows");
    says(&log, "can be taken over");
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
    let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    let clock = (seconds * 1e9) as u64;
    // As MessagePack: {"versions": [99], "software": "x", "clock": ...}.
    let mut hello = b"\x83\xa8versions\x91\x63\xa8software\xa1x\xa5clock\xcf".to_vec();
    hello.extend(clock.to_be_bytes());
    let mut stream = UnixStream::connect(world.path("handover")).expect("the node waits");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket can be set");
    stream.write_all(&(hello.len() as u32).to_le_bytes()).expect("said");
    stream.write_all(&hello).expect("said");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer in time");
    let answer = text(&answer);
    assert!(answer.contains("the running node knows [1, 2, 3, 4], its successor [99]"), "{answer}");
    assert!(call.carries(), "media flows on");
    says(&log, "its successor [99]");
}

#[test]
fn a_manager_reloads_a_node_by_a_signal() {
    let world = World::new();
    let manager = UnixDatagram::bind(world.path("notify")).expect("a socket can be made");
    manager.set_read_timeout(Some(PATIENCE)).expect("a socket can be set");
    let hear = |what: &str| {
        let mut word = [0; 512];
        loop {
            let bytes = manager.recv(&mut word).expect("a word in time");
            let said = text(&word[..bytes]);
            if let Some(line) = said.lines().find(|line| line.starts_with(what)) {
                return line.to_owned();
            }
        }
    };
    let handover = world.path("handover").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
    command.args(["node", "--node-id", "n1", "--listen", "127.0.0.1:0", "--metrics", "off"]);
    command.args(["--control", &world.css.url(), "--port-range", &world.ports]);
    // The conference outlives the test; the node shall not wait for it when it is told to end.
    command.args(["--handover-socket", &handover, "--drain-deadline", "100ms"]);
    command.env("NOTIFY_SOCKET", world.path("notify"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Process::with_pipes(command);
    hear("READY=1");
    world.css.wait_for_nodes(1);
    world.css.json(&["conf", "create", "--number", "8803"]);
    let mut call = Call::join(&world.css, "8803");
    assert!(call.carries(), "media flows");

    signal(running.id(), Signal::USR2);
    let main = hear("MAINPID=");
    let successor: u32 = main["MAINPID=".len()..].parse().expect("a number");
    assert_ne!(successor, running.id());
    assert_eq!(running.ends().0, Some(0), "the process before ends well");
    assert!(call.carries(), "media flows on");
    world.control_saw_nothing();

    // This test's process is not its parent, so that it is not ended with the test by itself.
    signal(successor, Signal::TERM);
    hear("STOPPING=1");
    eventually("it has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{successor}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_conference_that_is_mixed_does_not_move_between_workers() {
    let mut world = World::new();
    let (_running, _) = world.node(&["--workers", "2"]);
    world.css.wait_for_nodes(1);
    world.css.json(&["conf", "create", "--number", "8805", "--audio", "mix"]);
    world.css.json(&["conf", "join", "8805", "alice", "--audio", "pcmu"]);
    world.css.fails(&["nodes", "move", "n1", "8805", "--worker", "1"], 1, "its sound is mixed");
}
