//! What the commands do when control is not there, does not answer or goes away, and when nobody reads
//! what they print.

use crate::world::{Css, Process, eventually, media_ports, text};
use rustix::process::Signal;
use std::net::TcpListener;
use std::process::{Command, Stdio};

const COMMANDS: [&[&str]; 4] = [
    &["nodes"],
    &["conf", "list"],
    &["conf", "watch"],
    // The URL is of the environment for the others; the load generator has no default.
    &["load", "--duration", "0.1"],
];

/// With what each of the commands needs to talk to `css`.
fn complete(css: &Css, command: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--css".to_owned(), css.url()]);
    words
}

#[track_caller]
fn every_command_exits_3(css: &Css, more: &[&str], part: &str) {
    for command in COMMANDS {
        let words = complete(css, command);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        css.fails(&words, 3, part);
    }
}

#[test]
fn control_that_is_not_there_is_exit_code_3() {
    every_command_exits_3(&Css::new(), &[], "cannot reach control");
}

#[test]
fn control_that_never_answers_is_exit_code_3() {
    let css = Css::new();
    // The kernel takes connections to it; nobody ever reads them.
    let _silent = TcpListener::bind(css.listen()).expect("the port is free");
    every_command_exits_3(&css, &["--timeout", "0.3"], "0.3 s (--timeout)");
    css.fails(&["nodes", "--timeout", "never"], 2, "--timeout");
}

fn watch(css: &Css) -> Process {
    let mut command = css.command(&["conf", "watch", "--timeout", "1"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer).stderr(Stdio::piped());
    let watch = Process::with_pipes(command);
    // The first event proves that it watches.
    let seen = std::thread::spawn(move || {
        let mut first = [0; 1];
        std::io::Read::read_exact(&mut { reader }, &mut first).is_ok()
    });
    eventually("an event is seen", || {
        css.run(&["conf", "create"]);
        seen.is_finished().then_some(())
    });
    assert!(seen.join().expect("no panic"), "the watcher says something");
    watch
}

/// A watcher whose output is still read when control goes.
fn watch_to_file(css: &Css, folder: &tempfile::TempDir) -> Process {
    let path = folder.path().join("events");
    let mut command = css.command(&["conf", "watch", "--timeout", "1"]);
    command.stdout(std::fs::File::create(&path).expect("a file can be made")).stderr(Stdio::piped());
    let watch = Process::with_pipes(command);
    eventually("an event is seen", || {
        css.run(&["conf", "create"]);
        (!std::fs::read(&path).ok()?.is_empty()).then_some(())
    });
    watch
}

#[test]
fn a_watcher_says_that_control_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let css = Css::new();
    // Killed, asked to end, and stopped: the connection breaks, ends, or stays and is silent.
    for signal in [Signal::KILL, Signal::TERM, Signal::STOP] {
        let control = css.start("embedded");
        let _node = css.start_node("n1");
        css.wait_for_nodes(1);
        let mut watch = watch_to_file(&css, &folder);
        control.signal(signal);
        let (code, error) = watch.ends();
        assert_eq!(code, Some(3), "after {signal:?}: {error}");
        assert!(error.contains("lost control at"), "after {signal:?}: {error}");
        assert_eq!(error.lines().count(), 1, "after {signal:?}: {error}");
    }
}

/// Runs a command whose standard output nobody reads.
fn unread(css: &Css, arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = css.command(arguments);
    let output = command.stdout(writer).output().expect("motet can be started");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn nobody_reading_is_a_quiet_end() {
    let css = Css::new();
    let mut command = css.command(&["serve", "--listen", &css.listen(), "--port-range", &media_ports()]);
    // Neither its greeting nor its log is read: a server goes on.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command.stdout(writer.try_clone().expect("a pipe")).stderr(writer).env("MOTET_LOG", "debug");
    let _server = Process::with_pipes(command);
    css.wait_for_nodes(1);

    let quiet = (Some(0), String::new());
    let folder = tempfile::tempdir().expect("a folder");
    let sdp = folder.path().join("alice.sdp");
    let sdp = sdp.to_str().expect("text");
    assert_eq!(unread(&css, &["conf", "create", "--number", "8501"]), quiet);
    let join = ["conf", "join", "8501", "alice", "--audio", "opus@127.0.0.1:9", "--sdp", sdp];
    assert_eq!(unread(&css, &join), quiet);
    assert!(std::fs::read_to_string(sdp).expect("it is written").contains("m=audio 9 "));
    for arguments in [
        &["nodes"][..],
        &["nodes", "--json"],
        &["conf", "list"],
        &["conf", "list", "--json"],
        &["conf", "show", "8501"],
        &["conf", "show", "8501", "--participant", "alice", "--sdp", "-"],
        &["load", "--css", &css.url(), "--participants", "2", "--media", "audio", "--duration", "0.1"],
        &["--help"],
        &["conf", "end", "8501"],
    ] {
        assert_eq!(unread(&css, arguments), quiet, "{arguments:?}");
    }
    let mut watch = watch(&css);
    // Its reader is gone: the next event ends it.
    css.run(&["conf", "create"]);
    assert_eq!(watch.ends(), quiet);
    css.wait_for_nodes(1);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let css = Css::new();
    let _server = css.start("embedded");
    eventually("control answers", || css.run(&["nodes"]).status.success().then_some(()));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = css.command(&["nodes"]).stdout(full).output().expect("motet can be started");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write to standard output"), "{}", text(&output.stderr));
    // An error that nobody reads is an error all the same.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
    let status = command.args(["conf", "show", "none", "--css", &css.url()]).stderr(writer).status();
    assert_eq!(status.expect("motet can be started").code(), Some(1));
}
