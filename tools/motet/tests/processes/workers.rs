//! A conference on several workers of one node.

use crate::world::{Css, eventually, free_port, http};

/// The sum of a counter over all workers, of samples with this label.
fn counted(port: u16, name: &str, label: &str) -> u64 {
    let (_, page) = http(port, "/metrics").expect("the node answers");
    let of_counter = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    let samples = page.lines().filter(of_counter);
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

#[test]
fn a_conference_larger_than_a_worker_loses_nothing() {
    let (css, metrics) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let more = ["--workers", "2", "--worker-legs-max", "4", "--metrics", &format!("127.0.0.1:{metrics}")];
    let _node = css.start_node_with("n1", &more);
    css.wait_for_nodes(1);
    let url = css.url();
    let load = ["load", "--css", &url, "--participants", "9", "--media", "audio", "--duration", "2"];
    let report = css.json(&load);
    assert_eq!(
        (&report["lost"], &report["reordered"], &report["duplicated"]),
        (&0.into(), &0.into(), &0.into()),
        "{report}"
    );
    // Nine publishers; each packet crosses once, and the reports of trunks with them. Counters are shown a moment
    // after.
    let sent = report["sent"].as_u64().expect("a number");
    let crossed = eventually("all has crossed", || {
        let crossed = counted(metrics, "motet_trunk_sent_packets_total", "");
        let arrived = counted(metrics, "motet_trunk_received_packets_total", "");
        // Goodbyes of the conference's end find their trunk closed.
        let late = counted(metrics, "motet_dropped_packets_total", "trunk_closed");
        (crossed >= sent && crossed == arrived + late).then_some(crossed)
    });
    assert!(crossed <= sent + sent / 4, "{crossed} crossed of {sent} sent");
}
