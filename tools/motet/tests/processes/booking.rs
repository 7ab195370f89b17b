//! Reservations, rooms, passwords and domains, as people type them.

use crate::world::{Css, Process, eventually, free_port, media_ports};

#[test]
fn a_reservation_begins_on_time_though_control_was_away() {
    let port = free_port();
    let _redis = Process::redis(port);
    let store = format!("redis://127.0.0.1:{port}");
    let css = Css::new();
    let first = css.start(&store);
    let _node = css.start_node("n1");
    css.wait_for_nodes(1);
    let booked = css.json(&[
        "conf",
        "create",
        "--number",
        "800",
        "--start",
        "+8s",
        "--duration",
        "1h",
        "--repeat",
        "daily",
        "--count",
        "2",
        "--password",
        "1234",
    ]);
    assert_eq!((&booked["state"], &booked["type"]), (&"booked".into(), &"reserve".into()));
    let start = booked["start_unix_ms"].as_i64().expect("a time");
    css.fails(&["conf", "join", "800", "alice", "--audio", "opus", "--password", "1234"], 1, "begins at");
    let listed = css.json(&["reservations", "list"]);
    assert_eq!(listed[0]["number"], "800");
    // Away until it is over due.
    first.kill();
    eventually("the start has gone by", || (now_unix_ms() > start).then_some(()));
    let _second = css.start(&store);
    let info = eventually("the conference runs", || {
        let list = css.run(&["conf", "list", "--json"]);
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).ok()?;
        (list[0]["state"] == "running").then(|| list[0].clone())
    });
    assert_eq!((&info["number"], &info["booking"]), (&"800".into(), &booked["id"]));
    assert_eq!(info["end_unix_ms"].as_i64(), Some(start + 3_600_000));
    css.fails(&["conf", "join", "800", "alice", "--audio", "opus", "--password", "4321"], 1, "password");
    css.json(&[
        "conf",
        "join",
        "800",
        "alice",
        "--audio",
        "opus",
        "--password",
        "1234",
        "--role",
        "listener",
    ]);
    let shown = css.json(&["conf", "show", "800"]);
    assert_eq!(
        (&shown["participants"][0]["role"], &shown["participants"][0]["muted"]),
        (&"listener".into(), &true.into())
    );
    css.json(&["reservations", "cancel", "800"]);
    css.json(&["conf", "end", "800"]);
    eventually("the reservation ends", || {
        css.json(&["reservations", "list"]).as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

#[test]
fn a_room_with_a_lock_and_an_end() {
    let css = Css::new();
    let _server = Process::motet(&["serve", "--listen", &css.listen(), "--port-range", &media_ports()]);
    css.wait_for_nodes(1);
    let room = css.json(&["rooms", "create", "--number", "900", "--end-when-empty", "1s"]);
    assert_eq!(room["state"], "booked");
    css.json(&["conf", "join", "900", "alice", "--audio", "opus", "--role", "chair"]);
    let running = css.json(&["conf", "lock", "900", "--by", "alice"]);
    assert_eq!((&running["booking"], &running["locked"]), (&room["id"], &true.into()));
    css.fails(&["conf", "join", "900", "bob", "--audio", "opus"], 1, "is locked");
    css.json(&["conf", "unlock", "900"]);
    css.json(&["conf", "join", "900", "bob", "--audio", "opus"]);
    css.fails(&["conf", "end", "900", "--by", "bob"], 1, "no chair");
    css.fails(&["conf", "extend", "900", "10m"], 1, "has no end");
    let ends = css.json(&["conf", "extend", "900", "--end", "+1h"])["end_unix_ms"].as_i64().expect("a time");
    let later = css.json(&["conf", "extend", "900", "10m"])["end_unix_ms"].as_i64();
    assert_eq!(later, Some(ends + 600_000));
    let earlier = css.json(&["conf", "shorten", "900", "10m"])["end_unix_ms"].as_i64();
    assert_eq!(earlier, Some(ends));
    css.json(&["conf", "rename", "900", "daily"]);
    assert_eq!(css.json(&["conf", "show", "900"])["name"], "daily");
    css.json(&["conf", "role", "900", "bob", "listener"]);
    css.fails(&["conf", "mute", "900", "bob", "--off"], 1, "role");
    css.json(&["conf", "leave", "900", "alice"]);
    css.json(&["conf", "leave", "900", "bob"]);
    eventually("nobody is there, and it ends", || {
        css.json(&["conf", "list"]).as_array().is_some_and(Vec::is_empty).then_some(())
    });
    css.json(&["rooms", "remove", "900"]);
    css.fails(&["conf", "join", "900", "alice", "--audio", "opus"], 1, "900");
}

#[test]
fn domains_limit_and_permit() {
    let css = Css::new();
    let _server = Process::motet(&["serve", "--listen", &css.listen(), "--port-range", &media_ports()]);
    css.wait_for_nodes(1);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("domains.toml");
    let text = r#"
[[domain]]
moid = "u"
level = "user"
parent = "s"
small_max = 1
forbid = ["mixing"]

[[domain]]
moid = "platform"
level = "platform"
parent = "s"
numbers = ["500-599"]

[[domain]]
moid = "s"
level = "service"
"#;
    std::fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("text");
    assert_eq!(css.json(&["domains", "load", file]).as_array().map(Vec::len), Some(3));
    css.fails(&["conf", "create"], 1, "user_domain");
    css.fails(&["conf", "create", "--user-domain", "u", "--audio", "mix"], 1, "mixing");
    let made = css.json(&["conf", "create", "--user-domain", "u"]);
    assert_eq!(made["number"], "500");
    css.fails(&["conf", "create", "--user-domain", "u"], 1, "all its 1 small");
    assert_eq!(css.json(&["domains", "show", "u"])["usage"][0]["small"], 1);
    css.json(&["domains", "set", "u", "--small-max", "none"]);
    css.json(&["conf", "create", "--user-domain", "u"]);
    css.fails(&["domains", "set", "s", "--parent", "s"], 1, "circle");
    css.fails(&["domains", "remove", "s"], 1, "needs it");
    css.fails(&["domains", "set", "x", "--parent", "s", "--small-max", "many"], 2, "none");
}

/// As the processes under test see it.
fn now_unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

#[test]
fn passwords_are_shown_nowhere() {
    let css = Css::new();
    let _server = Process::motet(&["serve", "--listen", &css.listen(), "--port-range", &media_ports()]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "700", "--password", "s3cret"]);
    for command in [&["conf", "show", "700"][..], &["conf", "list"], &["conf", "show", "700", "--json"]] {
        let output = css.run(command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("s3cret"), "{text}");
    }
    css.fails(&["conf", "join", "700", "alice", "--audio", "opus"], 1, "needs one");
    css.json(&["conf", "password", "700", "--password", ""]);
    css.json(&["conf", "join", "700", "alice", "--audio", "opus"]);
}
