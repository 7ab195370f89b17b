//! Everybody at one UDP port for each worker.

use crate::world::{Css, Process, eventually, media_ports, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::UdpSocket;

/// A port that no other test uses, with the next ones.
fn first_port() -> String {
    media_ports().split('-').next().expect("a range").to_owned()
}

/// Runs `motet load`; every packet must have come to everybody it was for.
#[track_caller]
fn load(css: &Css, arguments: &[&str]) -> Value {
    let output = css.run(&[&["load", "--css", &css.url(), "--json"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    for count in ["lost", "wrongly_routed", "duplicated"] {
        assert_eq!(report[count], 0, "{report}");
    }
    report
}

#[test]
fn everybody_sends_to_one_port() {
    let (css, port) = (Css::new(), first_port());
    let _server = Process::motet(&["serve", "--listen", &css.listen(), "--shared-port", &port]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8601"]);
    css.fails(
        &["conf", "join", "8601", "carol", "--audio", "pcmu"],
        1,
        "give the remote address, or the ssrc",
    );

    let alice = ["--audio", "opus@127.0.0.1:5004", "--video", "h264@127.0.0.1:5006"];
    css.json(&[&["conf", "join", "8601", "alice"], &alice[..]].concat());
    css.fails(&[&["conf", "join", "8601", "dave"], &alice[..]].concat(), 1, "leg 'alice'");
    css.json(&[
        "conf",
        "join",
        "8601",
        "bob",
        "--audio",
        "opus,ssrc=71,bundle=b",
        "--video",
        "h264,bundle=b",
    ]);
    let shown = css.json(&["conf", "show", "8601"]);
    let addresses = shown["participants"].as_array().expect("a list").iter().flat_map(|participant| {
        let media = participant["media"].as_array().expect("a list").iter();
        media.flat_map(|medium| [medium["send_rtp_to"].clone(), medium["send_rtcp_to"].clone()])
    });
    let addresses: BTreeSet<String> = addresses.map(|address| address.to_string()).collect();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    assert!(addresses.first().expect("one").contains(&format!("127.0.0.1:{port}")), "{addresses:?}");

    // 50 audio packets and 100 bursts of 10 video packets, each to two others.
    let report = load(&css, &["--participants", "3", "--duration", "1"]);
    assert_eq!((&report["sent"], &report["received"]), (&3150.into(), &6300.into()), "{report}");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    stranger.send_to(&[0x80; 12], format!("127.0.0.1:{port}")).expect("loopback takes packets");
    eventually("the stranger's packet is counted, and no other", || {
        let dropped = css.json(&["nodes"])[0]["drops"]["unknown_source"].clone();
        assert!(dropped.is_null() || dropped == 1, "{dropped}");
        dropped.is_u64().then_some(())
    });
}

#[test]
fn each_worker_has_a_port_and_many_legs() {
    let (css, port) = (Css::new(), first_port());
    let _css = css.start("embedded");
    let node = ["node", "--node-id", "n1", "--listen", "127.0.0.1:0", "--metrics", "off"];
    let url = css.url();
    let more = ["--control", &url, "--shared-port", &port, "--workers", "2", "--io", "mmsg"];
    let _node = Process::motet(&[&node[..], &more[..]].concat());
    css.wait_for_nodes(1);
    // A packet in 200 ms from each of 200 participants.
    let load = load(
        &css,
        &["--conferences", "50", "--participants", "4", "--media", "audio", "--interval-ms", "200"],
    );
    assert_eq!(load["received"].as_u64(), load["sent"].as_u64().map(|sent| 3 * sent), "{load}");
    let mut ports = BTreeSet::new();
    for number in ["8611", "8612"] {
        css.json(&["conf", "create", "--number", number]);
        let medium = format!("pcmu@127.0.0.1:{number}");
        let info = css.json(&["conf", "join", number, "alice", "--audio", &medium]);
        ports.insert(info["media"][0]["send_rtp_to"].as_str().expect("an address").to_owned());
    }
    let first: u16 = port.parse().expect("a number");
    let expected = [first, first + 1].map(|port| format!("127.0.0.1:{port}"));
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let css = Css::new();
    let both = ["node", "--shared-port", "20000", "--port-range", "20000-20010"];
    css.fails(&both, 2, "--shared-port");
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let port = held.local_addr().expect("it is bound").port().to_string();
    css.fails(&["node", "--listen", "127.0.0.1:0", "--shared-port", &port], 1, "--shared-port: cannot open");
}
