//! Nodes that drain: by a command, by a signal, to a deadline, and not after all.

use crate::world::{Call, Css, Process, eventually, free_port, http, local};
use rustix::process::Signal;

/// State of each node, in the order of their names.
fn states(css: &Css) -> Option<Vec<String>> {
    let output = css.run(&["nodes", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let state = |node: &serde_json::Value| Some(node["state"].as_str()?.to_owned());
    list.as_array()?.iter().map(state).collect()
}

#[track_caller]
fn wait_for_states(css: &Css, wanted: &[&str]) {
    eventually(&format!("nodes are {wanted:?}"), || (states(css)? == wanted).then_some(()));
}

/// A node with a conference of two on it.
fn busy_node(css: &Css, number: &str, more: &[&str]) -> (Process, Call) {
    let node = css.start_node_with("n1", more);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", number]);
    let mut call = Call::join(css, number);
    assert!(call.carries(), "media flows");
    (node, call)
}

#[test]
fn a_draining_node_keeps_its_conferences_and_gets_no_new_ones() {
    let (css, metrics) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let (_first, mut call) = busy_node(&css, "8401", &["--metrics", &local(metrics)]);
    let drained = css.json(&["nodes", "drain", "n1"]);
    assert_eq!(drained["conferences_left"], 1);
    wait_for_states(&css, &["draining"]);
    css.fails(&["conf", "create", "--number", "8402"], 1, "n1: drains");
    let ready =
        |status| eventually("/readyz follows", || (http(metrics, "/readyz")?.0 == status).then_some(()));
    ready(503);
    assert_eq!(http(metrics, "/healthz").map(|answer| answer.0), Some(200));

    let _second = css.start_node("n2");
    wait_for_states(&css, &["draining", "ready"]);
    assert_eq!(css.json(&["conf", "create", "--number", "8402"])["node_id"], "n2");
    assert_eq!(css.json(&["conf", "create", "--number", "8403"])["node_id"], "n2");
    css.json(&["conf", "join", "8401", "carol", "--audio", "pcmu"]);
    assert!(call.carries(), "media flows on");

    css.json(&["nodes", "undrain", "n1"]);
    wait_for_states(&css, &["ready", "ready"]);
    ready(200);
    css.fails(&["nodes", "drain", "n3"], 1, "n3");
    css.fails(&["nodes", "drain", "n1", "--deadline", "soon"], 2, "--deadline");
}

#[test]
fn a_drain_with_a_deadline_ends_an_empty_node() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut node, mut call) = busy_node(&css, "8411", &[]);
    css.json(&["nodes", "drain", "n1", "--deadline", "1h"]);
    assert!(call.carries(), "media flows on");
    css.json(&["conf", "end", "8411"]);
    assert_eq!(node.ends().0, Some(0));
    // It said goodbye: nobody is to look for it.
    wait_for_states(&css, &[]);
}

#[test]
fn a_drain_ends_at_its_deadline_whatever_runs() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut node, _call) = busy_node(&css, "8421", &[]);
    css.json(&["nodes", "drain", "n1", "--deadline", "300ms"]);
    assert_eq!(node.ends().0, Some(0));
    let info = css.wait_for_state("8421", "pending-restore");
    assert!(info["reason"].as_str().is_some_and(|why| why.contains("n1")), "{info}");
}

#[test]
fn a_signal_drains_and_can_be_taken_back() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut node, mut call) = busy_node(&css, "8431", &["--drain-deadline", "1h"]);
    node.signal(Signal::TERM);
    wait_for_states(&css, &["draining"]);
    assert!(call.carries(), "media flows on");
    css.json(&["nodes", "undrain", "n1"]);
    wait_for_states(&css, &["ready"]);

    node.signal(Signal::TERM);
    wait_for_states(&css, &["draining"]);
    assert!(call.carries(), "media flows on");
    css.json(&["conf", "end", "8431"]);
    assert_eq!(node.ends().0, Some(0));
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut node, _call) = busy_node(&css, "8441", &["--drain-deadline", "1h"]);
    node.signal(Signal::TERM);
    wait_for_states(&css, &["draining"]);
    node.signal(Signal::INT);
    assert_eq!(node.ends().0, Some(0));
    css.wait_for_state("8441", "pending-restore");
}

#[test]
fn a_signal_drains_to_its_deadline() {
    let css = Css::new();
    let _control = css.start("embedded");
    let (mut node, _call) = busy_node(&css, "8451", &["--drain-deadline", "300ms"]);
    node.signal(Signal::TERM);
    assert_eq!(node.ends().0, Some(0));
}
