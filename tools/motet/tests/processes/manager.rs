//! systemd: what processes tell it, and the units that it gets.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::world::{PATIENCE, eventually, media_ports, signal, text};

/// Runs a command as systemd would; gives what it said, up to its end after SIGTERM.
fn words_of(arguments: &[&str], until: &str) -> (Vec<String>, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket can be set");
    let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
    command.args(arguments).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1500000");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().expect("motet can be started");
    let mut said = Vec::new();
    let mut listen = |wanted: &str| {
        let mut word = [0; 512];
        loop {
            let Ok(bytes) = socket.recv(&mut word) else { return false };
            let lines: Vec<String> = text(&word[..bytes]).lines().map(str::to_owned).collect();
            let found = lines.iter().any(|line| line == wanted);
            said.extend(lines);
            if found {
                return true;
            }
        }
    };
    let heard = listen(until);
    signal(process.id(), Signal::TERM);
    let heard = heard && listen("STOPPING=1");
    if !heard {
        let _ = process.kill();
    }
    let code = eventually("it has ended", || process.try_wait().expect("it can be waited for")).code();
    (said, code)
}

#[test]
fn a_node_says_that_it_is_ready_well_and_ending() {
    let arguments = ["node", "--listen", "127.0.0.1:0", "--workers", "2", "--port-range", &media_ports()];
    let (said, code) = words_of(&arguments, "WATCHDOG=1");
    assert_eq!((said.first().map(String::as_str), code), (Some("READY=1"), Some(0)), "{said:?}");
    assert!(said.iter().any(|word| word.starts_with("STATUS=listens on 127.0.0.1:")), "{said:?}");
    assert!(said.contains(&"STOPPING=1".to_owned()), "{said:?}");
}

#[test]
fn control_and_the_supervisor_say_that_they_are_ready() {
    let (said, code) = words_of(&["css", "--listen", "127.0.0.1:0"], "READY=1");
    assert_eq!(code, Some(0), "{said:?}");
    let arguments = ["up", "--listen", "127.0.0.1:0", "--port-range", &media_ports()];
    let (said, code) = words_of(&arguments, "READY=1");
    assert_eq!(code, Some(0), "{said:?}");
    assert!(said.iter().any(|word| word.ends_with("ready")), "{said:?}");
}

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd")
}

/// Services by file name.
fn services() -> BTreeMap<String, String> {
    let files = fs::read_dir(units()).expect("the units are there").flatten();
    let services = files.filter(|file| file.path().extension().is_some_and(|end| end == "service"));
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).expect("it can be read");
        (file.file_name().into_string().expect("a name"), text)
    };
    services.map(read).collect()
}

#[test]
fn every_option_in_the_units_is_one_of_the_command() {
    let services = services();
    assert!(services.len() >= 3, "{:?}", services.keys());
    for (name, unit) in services {
        let commands: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("Exec")).collect();
        assert!(!commands.is_empty(), "{name} runs nothing");
        for command in commands.iter().filter(|command| command.contains("/usr/bin/motet ")) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let output = Command::new(env!("CARGO_BIN_EXE_motet")).args([words[1], "--help"]).output();
            let output = output.expect("motet can be started");
            assert!(output.status.success(), "{name}: motet {} is not a command", words[1]);
            let help = text(&output.stdout);
            let known: Vec<&str> = help.split(|c: char| c.is_whitespace() || c == ',').collect();
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(known.contains(option), "{name}: motet {} has no {option}", words[1]);
            }
        }
    }
}

#[test]
fn every_variable_in_the_units_has_a_default() {
    for (name, unit) in services() {
        for command in unit.lines().filter(|line| line.starts_with("Exec")) {
            for variable in command.split('$').skip(1) {
                let end = |c: char| !(c.is_ascii_uppercase() || c == '_');
                let variable = variable.trim_start_matches('{').split(end).next().unwrap_or_default();
                // The manager's own.
                if variable == "MAINPID" {
                    continue;
                }
                assert!(
                    unit.contains(&format!("\nEnvironment={variable}=")),
                    "{name}: {variable} is not set"
                );
            }
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("systemd-analyze is not installed; the units are not checked by it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, unit) in services() {
        // The program must exist, and an instance needs a name.
        let unit = unit.replace("/usr/bin/motet ", &format!("{} ", env!("CARGO_BIN_EXE_motet")));
        fs::write(folder.path().join(name.replace("@.", "@0.")), unit).expect("a file can be written");
    }
    let files: Vec<PathBuf> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|file| file.path()).collect();
    fs::copy(units().join("motet.target"), folder.path().join("motet.target")).expect("the target is there");
    let output =
        Command::new("systemd-analyze").arg("verify").args(&files).output().expect("it can be started");
    let said = text(&output.stderr);
    // What it says of the machine's own units is no concern of ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("motet")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}
