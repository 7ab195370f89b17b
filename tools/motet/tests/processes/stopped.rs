//! A node that was stopped and goes on: it holds media back until it knows what it may go on with.

use crate::world::{Call, Css, Process, eventually, free_port, http, local};
use rustix::process::Signal;
use std::time::Duration;

/// Longer than `--fence-after`, and shorter than what control waits for a node.
const STOP: Duration = Duration::from_millis(1_500);

/// Packets that worker 0 held back.
fn fenced(metrics: u16) -> Option<u64> {
    let (_, page) = http(metrics, "/metrics")?;
    let name = "motet_dropped_packets_total{worker=\"0\",reason=\"fenced\"} ";
    page.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}

/// Stops the node while packets come, and lets it go on.
fn stop_for_a_while(node: &Process, call: &mut Call) {
    node.signal(Signal::STOP);
    // How long a process does not run is what is tested.
    std::thread::sleep(STOP);
    assert!(!call.carries(), "who does not run carries nothing");
    node.signal(Signal::CONT);
}

#[test]
fn a_node_that_was_stopped_drops_what_came_meanwhile_and_goes_on() {
    let (css, metrics) = (Css::new(), free_port());
    let control = css.start("embedded");
    let node = css.start_node_with("n1", &["--metrics", &local(metrics)]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8501"]);
    let mut call = Call::join(&css, "8501");
    assert!(call.carries(), "media flows");
    assert_eq!(fenced(metrics), Some(0), "it ran all the time");

    stop_for_a_while(&node, &mut call);
    eventually("media flows again", || call.carries().then_some(()));
    let first = eventually("what was held back is counted", || fenced(metrics).filter(|count| *count > 0));
    // All that came during the stop was old: a hundred packets of the call.
    assert!(first >= 50, "{first}");

    // Without control it goes on, too, when the fence time is over.
    control.kill();
    stop_for_a_while(&node, &mut call);
    eventually("media flows without control", || call.carries().then_some(()));
    eventually("what was held back is counted", || fenced(metrics).filter(|count| *count > first));
}
