//! What people notice when a process dies: media goes on, and control says what happened.

use std::process::{Command, Stdio};

use crate::world::{Call, Css, Process, eventually, free_port, text};

#[test]
fn control_that_is_killed_adopts_what_runs() {
    let css = Css::new();
    let control = css.start("embedded");
    let _node = css.start_node("n1");
    css.wait_for_nodes(1);
    let created = css.json(&["conf", "create", "--number", "8101"]);
    let mut call = Call::join(&css, "8101");
    assert!(call.carries(), "media flows");

    control.kill();
    assert!(call.carries(), "media flows without control");
    css.fails(&["conf", "list"], 3, "cannot reach");

    let _control = css.start("embedded");
    let adopted = css.wait_for_state("8101", "running");
    assert_eq!(adopted["id"], created["id"]);
    assert_eq!(adopted["participants"].as_array().map(Vec::len), Some(2));
    assert!(call.carries(), "media flows on after adoption");
    css.json(&["conf", "leave", "8101", "bob"]);
    assert_eq!(css.json(&["conf", "end", "8101"])["state"], "ended");
}

#[test]
fn a_node_that_dies_is_told_to_those_who_watch() {
    let css = Css::new();
    let _control = css.start("embedded");
    let node = css.start_node("n1");
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8102"]);

    let folder = tempfile::tempdir().expect("a folder for the events");
    let events = folder.path().join("events");
    let file = std::fs::File::create(&events).expect("a file can be made");
    let mut watch = Command::new(env!("CARGO_BIN_EXE_motet"))
        .args(["conf", "watch", "--json", "--css", &css.url()])
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("motet can be started");
    // The first event proves that it watches.
    eventually("an event is seen", || {
        css.json(&["conf", "create"]);
        std::fs::read_to_string(&events).ok().filter(|seen| !seen.is_empty())
    });

    node.kill();
    let info = css.wait_for_state("8102", "pending-restore");
    assert!(info["reason"].as_str().is_some_and(|why| why.contains("n1")), "{info}");
    eventually("the loss is seen by the watcher", || {
        let seen = std::fs::read_to_string(&events).ok()?;
        (seen.contains("\"node-lost\"") && seen.contains("\"pending-restore\"")).then_some(())
    });
    let _ = watch.kill();
    let _ = watch.wait();
    css.fails(&["conf", "create"], 1, "n1");
}

#[test]
fn two_nodes_share_and_outlive_redis() {
    let (css, port) = (Css::new(), free_port());
    let redis = Process::redis(port);
    let _control = css.start(&format!("redis://127.0.0.1:{port}"));
    let _nodes = [css.start_node("n1"), css.start_node("n2")];
    css.wait_for_nodes(2);
    let mut homes: Vec<String> = ["8201", "8202"]
        .iter()
        .map(|number| {
            eventually("the store can be used", || {
                let output = css.run(&["conf", "create", "--number", number, "--json"]);
                let info: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
                Some(text(info["node_id"].as_str()?.as_bytes()))
            })
        })
        .collect();
    homes.sort();
    assert_eq!(homes, ["n1", "n2"], "conferences go to the least loaded node");

    let mut call = Call::join(&css, "8201");
    assert!(call.carries(), "media flows");
    redis.kill();
    css.fails(&["conf", "create", "--number", "8203"], 1, "store");
    assert!(call.carries(), "media flows without Redis");

    let _redis = Process::redis(port);
    eventually("conferences can be created again", || {
        css.run(&["conf", "create", "--number", "8203"]).status.success().then_some(())
    });
    assert!(call.carries(), "media flows on");
}
