//! Conferences of nodes that die or hang go on elsewhere, and those who watch are told where.

use crate::world::{Call, Css, Process, Watched, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// Control with two nodes, a call of two, and the node that carries it.
fn call(css: &Css, number: &str) -> (Vec<(String, Process)>, Call, String) {
    let nodes = ["n1", "n2"].map(|name| (name.to_owned(), css.start_node(name)));
    css.wait_for_nodes(2);
    let created = css.json(&["conf", "create", "--number", number]);
    let mut call = Call::join(css, number);
    assert!(call.carries(), "media flows");
    (nodes.into(), call, created["node_id"].as_str().expect("a node").to_owned())
}

fn take(nodes: &mut Vec<(String, Process)>, name: &str) -> Process {
    let at = nodes.iter().position(|(known, _)| known == name).expect("one of them");
    nodes.remove(at).1
}

/// Events of the conference so far.
fn events(watch: &Watched) -> Vec<Value> {
    watch.lines().iter().map(|line| serde_json::from_str(line).expect("one JSON document a line")).collect()
}

/// A watcher that has seen its first event.
fn watch(css: &Css, conference: &str) -> Watched {
    let watch = Watched::start(css.command(&["conf", "watch", conference, "--json"]));
    eventually("the watcher sees something", || {
        css.json(&["conf", "mute", conference, "bob"]);
        css.json(&["conf", "audio", conference, "loudest:1"]);
        css.json(&["conf", "audio", conference, "relay"]);
        (!watch.lines().is_empty()).then_some(())
    });
    watch
}

#[test]
fn a_node_that_is_killed_is_replaced_and_all_are_told_where_to_send() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut nodes, mut call, home) = call(&css, "8801");
    let watch = watch(&css, "8801");

    take(&mut nodes, &home).kill();
    let moved = |who: &'static str| {
        let of = move |event: &Value| event["kind"] == "participant-moved" && event["participant"] == who;
        move || events(&watch).into_iter().find(of)
    };
    let alice = eventually("alice is told where to send", moved("alice"));
    let info = css.wait_for_state("8801", "running");
    assert_eq!((&info["epoch"], info["node_id"] == home.as_str()), (&2.into(), false), "{info}");
    assert_eq!(info["participants"].as_array().map(Vec::len), Some(2));
    assert!(info["participants"][1]["muted"] == true, "settings go along: {info}");
    call.follow(&alice["participant_info"]);
    assert!(call.carries(), "media flows again");
}

#[test]
fn the_events_of_a_restore_come_in_order() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut nodes, _call, home) = call(&css, "8802");
    let watch = watch(&css, "8802");
    take(&mut nodes, &home).kill();
    let seen = eventually("bob, the last, is told where to send", || {
        let seen = events(&watch);
        seen.iter()
            .any(|event| event["participant"] == "bob" && event["kind"] == "participant-moved")
            .then_some(seen)
    });
    let expected = [
        ("node-suspect", ""),
        ("node-lost", ""),
        ("pending-restore", ""),
        ("restoring", ""),
        ("running", ""),
        ("participant-moved", "alice"),
        ("participant-moved", "bob"),
    ];
    let at = expected.map(|(kind, who)| {
        let is = |event: &Value| event["kind"] == kind && event["participant"] == who;
        seen.iter().position(is).unwrap_or_else(|| panic!("{kind} {who} is missing: {seen:?}"))
    });
    assert!(at.is_sorted(), "{seen:?}");
}

#[test]
fn a_node_that_hangs_and_wakes_up_is_told_to_let_go() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut nodes, mut call, home) = call(&css, "8803");
    let hung = take(&mut nodes, &home);
    hung.signal(Signal::STOP);
    let moved = eventually("it runs on the other node", || {
        let info = css.json(&["conf", "show", "8803"]);
        (info["state"] == "running" && info["node_id"] != home.as_str()).then_some(info)
    });
    call.follow(&moved["participants"][0]);
    assert!(call.carries(), "media flows again");
    hung.signal(Signal::CONT);
    css.wait_for_nodes(2);
    eventually("the node that woke up runs nothing", || {
        let list = css.json(&["nodes", "conferences", &home]);
        list.as_array().is_some_and(Vec::is_empty).then_some(())
    });
    let info = css.json(&["conf", "show", "8803"]);
    assert_eq!((&info["state"], &info["node_id"]), (&moved["state"], &moved["node_id"]));
    assert!(call.carries(), "media flows on");
}
