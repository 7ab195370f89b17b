//! Metrics and health of real processes.

use crate::world::{Call, Css, Process, eventually, free_port, http, local};

/// Asks until a page has all of these lines.
#[track_caller]
fn shows(port: u16, wanted: &[&str]) {
    eventually(&format!("{wanted:?} is shown"), || {
        let (status, page) = http(port, "/metrics")?;
        let found = wanted.iter().all(|line| page.lines().any(|have| have == *line));
        (status == 200 && found).then_some(())
    });
}

#[test]
fn control_counts_nodes_and_conferences() {
    let (css, node_metrics) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let node = css.start_node_with("n1", &["--metrics", &local(node_metrics)]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8301"]);
    let mut call = Call::join(&css, "8301");
    assert!(call.carries(), "media flows");
    let wanted = [
        "motet_control_conferences{state=\"running\"} 1.0",
        "motet_control_conferences{state=\"pending-restore\"} 0.0",
        "motet_control_nodes{state=\"ready\"} 1.0",
        "motet_control_participants 2.0",
        "motet_control_store_usable 1.0",
        "motet_control_requests_total{request=\"create\",result=\"Ok\"} 1",
        "motet_control_requests_total{request=\"add\",result=\"Ok\"} 2",
        "motet_control_events_total{kind=\"node-ready\"} 1",
    ];
    shows(css.metrics, &wanted);
    shows(node_metrics, &["motet_node_conferences 1.0", "motet_relay_legs{worker=\"0\"} 2.0"]);
    node.kill();
    let lost = [
        "motet_control_nodes{state=\"lost\"} 1.0",
        "motet_control_conferences{state=\"pending-restore\"} 1.0",
    ];
    shows(css.metrics, &lost);
}

#[test]
fn control_without_its_store_lives_and_is_not_ready() {
    let (css, port) = (Css::new(), free_port());
    let redis = Process::redis(port);
    let _control = css.start(&format!("redis://127.0.0.1:{port}"));
    let _node = css.start_node("n1");
    css.wait_for_nodes(1);
    eventually("control is ready", || (http(css.metrics, "/readyz")?.0 == 200).then_some(()));
    redis.kill();
    // What cannot be written shows that the store is away.
    let why = eventually("control is not ready", || {
        css.run(&["conf", "create"]);
        let (status, why) = http(css.metrics, "/readyz")?;
        (status == 503).then_some(why)
    });
    assert!(why.contains("cannot be used"), "{why}");
    assert_eq!(http(css.metrics, "/healthz").map(|answer| answer.0), Some(200));
    shows(css.metrics, &["motet_control_store_usable 0.0"]);
    let _redis = Process::redis(port);
    eventually("control is ready again", || (http(css.metrics, "/readyz")?.0 == 200).then_some(()));
}
