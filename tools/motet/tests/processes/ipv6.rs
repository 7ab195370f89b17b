//! Everything over IPv6: control, the node's media, the participants.

use crate::world::{Css, Process, media_ports, text};

#[test]
fn a_conference_over_ipv6_loses_nothing() {
    let Some(css) = Css::over_ipv6() else {
        eprintln!("this machine has no [::1]: not tested");
        return;
    };
    let _server = Process::motet(&[
        "serve",
        "--listen",
        &css.listen(),
        "--node-listen",
        "[::1]:0",
        "--media-ip",
        "::1",
        "--port-range",
        &media_ports(),
    ]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8601"]);
    let joined = css.json(&["conf", "join", "8601", "alice", "--audio", "pcmu@[::1]:9"]);
    let medium = &joined["media"][0];
    for local in ["send_rtp_to", "send_rtcp_to"].map(|name| medium[name].as_str().expect("an address")) {
        assert!(local.starts_with("[::1]:"), "media at {local}");
    }

    let url = css.url();
    let load = ["load", "--css", &url, "--participants", "2", "--receive", "[::1]:0", "--duration", "1"];
    let output = css.run(&[&load[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    // 50 audio packets and 100 bursts of 10 video packets, each way.
    assert_eq!((&report["sent"], &report["received"]), (&2100.into(), &2100.into()), "{report}");
    assert_eq!((&report["lost"], &report["wrongly_routed"]), (&0.into(), &0.into()), "{report}");
}
