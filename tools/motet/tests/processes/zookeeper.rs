//! Nodes that control finds in ZooKeeper (Debian's package `zookeeper`).

use crate::world::{Call, Css, Process, eventually, free_port, media_ports, text};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

const JAR: &str = "/usr/share/java/zookeeper.jar";

/// A ZooKeeper in this folder. None, said loudly: it is not installed here.
fn zookeeper(folder: &Path, port: u16) -> Option<Process> {
    if !Path::new(JAR).exists() {
        eprintln!("SKIPPED: {JAR} is not there; scripts/setup.sh installs it");
        return None;
    }
    let settings = format!(
        "tickTime=200\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
         minSessionTimeout=400\n",
        folder.display()
    );
    let file = folder.join("zoo.cfg");
    std::fs::write(&file, settings).expect("a file");
    let mut java = Command::new("java");
    java.args(["-Xmx128m", "-cp", JAR, "org.apache.zookeeper.server.quorum.QuorumPeerMain"]).arg(file);
    java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(Process::with_pipes(java))
}

fn node(id: &str, servers: &str) -> Process {
    let ports = media_ports();
    Process::motet(&[
        "node",
        "--node-id",
        id,
        "--listen",
        "127.0.0.1:0",
        "--port-range",
        &ports,
        "--metrics",
        "off",
        "--zookeeper",
        servers,
    ])
}

fn state_of(css: &Css, node: &str) -> Option<String> {
    let output = css.run(&["nodes", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).ok()?;
    let found = list.as_array()?.iter().find(|each| each["node_id"] == node)?;
    found["state"].as_str().map(str::to_owned)
}

#[test]
fn nodes_in_zookeeper_carry_conferences_with_and_without_it() {
    let (css, folder, port) = (Css::new(), tempfile::tempdir().expect("a folder"), free_port());
    let servers = format!("127.0.0.1:{port}");
    let Some(server) = zookeeper(folder.path(), port) else { return };
    let _css = css.start_with("embedded", &["--zookeeper", &servers]);
    // It is told nothing of control.
    let n1 = node("n1", &servers);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "801"]);
    let mut call = Call::join(&css, "801");
    eventually("media flows", || call.carries().then_some(()));

    // ZooKeeper is away for longer than any lease: nothing moves, everything works.
    server.kill();
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(state_of(&css, "n1").as_deref(), Some("ready"));
    assert!(call.carries(), "media does not depend on ZooKeeper");
    css.json(&["conf", "create", "--number", "802"]);

    let _server = zookeeper(folder.path(), port).expect("it was there before");
    let n2 = node("n2", &servers);
    css.wait_for_nodes(2);

    // One ends in good order and is gone at once.
    n2.signal(Signal::TERM);
    eventually("n2 is gone", || state_of(&css, "n2").is_none_or(|state| state == "lost").then_some(()));
    // One is killed, and its session outlives it.
    n1.kill();
    eventually("n1 is lost", || (state_of(&css, "n1")? == "lost").then_some(()));
}

#[test]
fn wrong_zookeeper_options_are_named() {
    for (arguments, part) in [
        (["--zookeeper", "nonsense", "--zookeeper-kind", "Mpu"], "--zookeeper: 'nonsense' must name servers"),
        (["--zookeeper", "127.0.0.1:1", "--zookeeper-kind", "a/b"], "--zookeeper-kind: 'a/b' must be"),
    ] {
        for command in ["css", "node"] {
            let output = Command::new(env!("CARGO_BIN_EXE_motet"))
                .args([command, "--listen", "127.0.0.1:0", "--metrics", "off"])
                .args(arguments)
                .output()
                .expect("motet can be started");
            assert!(!output.status.success());
            assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
        }
    }
}
