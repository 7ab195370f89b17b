//! Nodes that control finds in ZooKeeper (Debian's package `zookeeper`).

use crate::world::{Call, Css, Process, eventually, free_port, media_ports, text};
use motet_registry::{Applicant, Function, Kinds, Wanted, ZooKeeperOptions};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

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
    node_with(id, servers, &[])
}

fn node_with(id: &str, servers: &str, more: &[&str]) -> Process {
    let ports = media_ports();
    let mut arguments = vec![
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
    ];
    arguments.extend(more);
    Process::motet(&arguments)
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
    // What it can beside relaying is in entries of their own, and control knows of all.
    let mixed = css.json(&["conf", "create", "--number", "800", "--audio", "mix"]);
    assert_eq!(mixed["node_id"], "n1");
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
fn what_is_promised_to_others_is_not_given_to_a_new_conference() {
    let (css, folder, port) = (Css::new(), tempfile::tempdir().expect("a folder"), free_port());
    let servers = format!("127.0.0.1:{port}");
    let Some(_server) = zookeeper(folder.path(), port) else { return };
    let _css = css.start_with("embedded", &["--zookeeper", &servers]);
    let state = folder.path().join("state");
    let state = state.to_str().expect("a name");
    // It measures itself, so that it can be full.
    let calibrate = ["--calibrate-tries", "1", "--calibrate-loss", "100", "--calibrate-delay-ms", "60000"];
    let mut more = vec!["--state-dir", state, "--calibrate", "auto"];
    more.extend(calibrate);
    let _node = node_with("n1", &servers, &more);
    css.wait_for_nodes(1);
    let units = css.json(&["nodes"])[0]["units"].as_u64().expect("it was measured");

    // Another platform is promised all of it.
    let options = ZooKeeperOptions::new(&servers, Kinds::default(), None, Duration::from_secs(4));
    let options = options.expect("an address");
    let other = Applicant::new(options, "another platform");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let wanted = Wanted {
        function: Function::Relay,
        conference: "theirs".into(),
        units,
        time_to_live: Duration::from_secs(600),
    };
    let reserved = runtime.block_on(other.reserve(&wanted, now, Duration::from_secs(30), |_| Some(0)));
    let reserved = reserved.expect("n1 is there");
    css.fails(&["conf", "create", "--number", "801"], 1, "n1: ");
    let refused = css.run(&["conf", "create", "--number", "801"]);
    assert!(text(&refused.stderr).contains("promised in ZooKeeper"), "{}", text(&refused.stderr));

    runtime.block_on(other.release(&reserved)).expect("ZooKeeper is there");
    css.json(&["conf", "create", "--number", "801"]);
    // What runs needs no promise: all of it can be promised again.
    eventually("nothing is promised", || {
        let mut promised = None;
        let looked = runtime.block_on(other.reserve(&wanted, now, Duration::from_secs(30), |candidates| {
            promised = candidates.first().map(|candidate| candidate.promised);
            None
        }));
        assert!(looked.is_err(), "none was chosen");
        (promised == Some(0)).then_some(())
    });
}

#[test]
fn wrong_zookeeper_options_are_named() {
    for (arguments, part) in [
        (
            ["--zookeeper", "nonsense", "--zookeeper-kind", "mixing=Mpu"],
            "--zookeeper: 'nonsense' must name servers",
        ),
        (
            ["--zookeeper", "127.0.0.1:1", "--zookeeper-kind", "relay=a/b"],
            "--zookeeper-kind: 'relay=a/b' must be",
        ),
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
