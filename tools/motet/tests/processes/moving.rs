//! Conferences that move between the workers of a node.

use crate::world::{Css, Process, eventually, free_port, http, local, text};
use rustix::process::Signal;
use serde_json::Value;
use std::process::Stdio;

/// Starts participants that send to each other until they are told to end.
fn load(css: &Css, conferences: &str) -> Process {
    let url = css.url();
    let load = ["load", "--css", &url, "--conferences", conferences, "--participants", "3", "--json"];
    let mut command = css.command(&load);
    command.args(["--media", "video", "--burst", "4", "--duration", "600"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let load = Process::with_pipes(command);
    eventually("media flows", || {
        let list = css.json(&["nodes"]);
        list[0]["packets_sent"].as_u64().filter(|sent| *sent > 0)
    });
    load
}

/// Ends the load; no packet may have been lost or have changed its place.
fn nothing_is_lost(load: Process) {
    load.signal(Signal::INT);
    let report = load.output();
    let report: Value = serde_json::from_str(&report).expect("one JSON document");
    assert!(report["received"].as_u64().is_some_and(|received| received > 1_000), "{report}");
    for count in ["lost", "reordered", "duplicated", "mislabelled", "wrongly_routed"] {
        assert_eq!(report[count], 0, "{count}: {report}");
    }
}

/// What runs on the node: id and worker.
fn places(css: &Css) -> Vec<(String, u64)> {
    let list = css.json(&["nodes", "conferences", "n1"]);
    let list = list.as_array().expect("a list").clone();
    let place = |running: Value| {
        let id = running["id"].as_str().expect("an id").to_owned();
        (id, running["workers"][0].as_u64().expect("it is on a worker"))
    };
    list.into_iter().map(place).collect()
}

/// Value of a sample; 0: there is none yet.
fn counted(port: u16, sample: &str) -> u64 {
    let (_, page) = http(port, "/metrics").expect("the node answers");
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
    line.unwrap_or(0)
}

fn to_and_fro_under_load(io: &str) {
    let (css, metrics) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let more = ["--workers", "2", "--rebalance-above", "off", "--io", io, "--metrics", &local(metrics)];
    let _node = css.start_node_with("n1", &more);
    css.wait_for_nodes(1);
    let load = load(&css, "2");
    let places = places(&css);
    assert_eq!(places.len(), 2, "{places:?}");
    // One goes, the other is left alone; their workers are not the same at first.
    let (id, mut worker) = places[0].clone();
    for _ in 0..20 {
        let to = (1 - worker).to_string();
        let moved = css.json(&["nodes", "move", "n1", &id, "--worker", &to]);
        assert_eq!((&moved["from_worker"], &moved["id"]), (&worker.into(), &id.clone().into()));
        worker = 1 - worker;
    }
    nothing_is_lost(load);
    assert_eq!(counted(metrics, "motet_moves_total{result=\"moved\"}"), 20);
    assert_eq!(counted(metrics, "motet_moves_total{result=\"put_back\"}"), 0);
}

#[test]
fn a_conference_that_moves_under_load_loses_nothing() {
    to_and_fro_under_load("auto");
}

#[test]
fn a_conference_that_moves_under_load_loses_nothing_by_mmsg() {
    to_and_fro_under_load("mmsg");
}

#[test]
fn a_move_that_makes_no_sense_is_refused_in_one_line() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--workers", "2", "--metrics", "off"]);
    css.wait_for_nodes(1);
    let created = css.json(&["conf", "create", "--number", "8901"]);
    css.json(&["conf", "join", "8901", "alice", "--audio", "pcmu"]);
    css.fails(&["nodes", "move", "n1", "8902", "--worker", "1"], 1, "8902");
    css.fails(&["nodes", "move", "n2", "8901", "--worker", "1"], 1, "control knows no node 'n2'");
    css.fails(&["nodes", "move", "n1", "8901", "--worker", "2"], 1, "has workers 0 to 1");
    css.fails(&["nodes", "move", "n1", "8901", "--worker", "0"], 1, "is on worker 0 already");
    css.fails(&["nodes", "move", "n1", "8901"], 2, "--worker");
    for nonsense in ["1.5", "often"] {
        css.fails(&["node", "--rebalance-above", nonsense], 2, "must be a share of the time, 0 to 1, or off");
    }
    let said = css.run(&["nodes", "move", "n1", "8901", "--worker", "1"]);
    assert!(text(&said.stdout).contains("8901 moved from worker 0 to worker 1 of n1"), "{said:?}");
    let table = text(&css.run(&["nodes", "conferences", "n1"]).stdout);
    assert!(table.lines().nth(1).is_some_and(|line| line.ends_with("  1")), "{table}");
    let id = created["id"].as_str().expect("an id");
    css.json(&["conf", "end", id]);
    css.fails(&["nodes", "move", "n1", id, "--worker", "0"], 1, "it is ended");
}
