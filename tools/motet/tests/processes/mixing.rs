//! Conferences that are mixed, heard by signal: telephones, wideband telephones and browsers in one room.

use crate::phones::{ALL, Phone, TONE, room, until_heard, write_prompt};
use crate::world::{Css, eventually, free_port, http, local};
use serde_json::Value;

#[test]
fn everybody_hears_the_others_and_the_mode_is_switched_while_they_talk() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--workers", "2", "--worker-legs-max", "2"]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8601", "--audio", "mix,speakers=4"]);
    let mut phones = room(&css, "8601");
    let info = css.json(&["conf", "show", "8601"]);
    let receives = info["participants"][1]["receives"].as_array().expect("a list").clone();
    assert_eq!(
        (receives.len(), &receives[0]["from"], &receives[0]["from_medium"]),
        (1, &"".into(), &"mix".into())
    );
    assert_eq!(receives[0]["codecs"][0]["name"], "G722");
    until_heard(&mut phones, &[], &ALL);
    assert!(phones.iter().all(|phone| phone.heard.len() == 1), "one stream each");

    // Relayed, only those hear each other who have a codec in common.
    let info = css.json(&["conf", "audio", "8601", "relay"]);
    assert_eq!(info["audio"], "relay");
    until_heard(&mut phones, &[], &["alice>dave", "dave>alice"]);
    css.json(&["conf", "audio", "8601", "mix,rate=16000,speakers=4"]);
    until_heard(&mut phones, &[], &ALL);
    css.fails(&["conf", "audio", "8601", "mix,rate=44100"], 1, "audio.mix.rate_hz");
    css.json(&["conf", "leave", "8601", "alice"]);
    let rest: Vec<&str> = ALL.into_iter().filter(|pair| !pair.contains("alice")).collect();
    until_heard(&mut phones[1..], &[], &rest);
}

#[test]
fn of_the_loudest_only_they_are_forwarded() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--workers", "2", "--worker-legs-max", "2"]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8603", "--audio", "loudest:1"]);
    let mut phones: Vec<Phone> =
        [("alice", 440.0, TONE), ("bob", 850.0, TONE / 2.0), ("carol", 1_250.0, TONE / 4.0)]
            .into_iter()
            .map(|(name, tone_hz, amplitude)| Phone {
                amplitude,
                ..Phone::join(&css, "8603", name, ("pcmu", 8_000, 0), tone_hz)
            })
            .collect();
    until_heard(&mut phones, &[], &["alice>bob", "alice>carol"]);
    css.json(&["conf", "mute", "8603", "alice"]);
    until_heard(&mut phones, &[], &["bob>alice", "bob>carol"]);
    css.json(&["conf", "audio", "8603", "relay"]);
    phones[2].amplitude = TONE;
    until_heard(&mut phones, &[], &["bob>alice", "bob>carol", "carol>alice", "carol>bob"]);
}

#[test]
fn prompts_are_played_where_all_is_served_by_one_command() {
    let css = Css::new();
    let prompts = tempfile::tempdir().expect("a folder can be made");
    write_prompt(&prompts.path().join("gong.wav"), 2_300.0, 2);
    let folder = prompts.path().to_str().expect("text");
    let ports = crate::world::media_ports();
    let serve = ["serve", "--listen", &css.listen(), "--port-range", &ports, "--prompts", folder];
    let _server = crate::world::Process::motet(&serve);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8604", "--audio", "mix"]);
    css.json(&["conf", "join", "8604", "alice", "--audio", "pcmu"]);
    let playing = css.json(&["conf", "play", "8604", "gong.wav"]);
    assert_eq!(playing["duration_ms"], 2_000);
}

#[test]
fn a_mix_is_controlled_and_says_what_happens() {
    let (css, metrics) = (Css::new(), free_port());
    let prompts = tempfile::tempdir().expect("a folder can be made");
    write_prompt(&prompts.path().join("gong.wav"), 2_300.0, 2);
    let folder = prompts.path().to_str().expect("text");
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", &local(metrics), "--prompts", folder]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8602"]);
    css.fails(&["conf", "play", "8602", "gong.wav"], 1, "is not mixed");
    css.json(&["conf", "audio", "8602", "mix"]);
    let watch = css.command(&["conf", "watch", "8602", "--json"]);
    let watch = crate::world::Watched::start(watch);
    let mut phones = room(&css, "8602");
    let quiet = phones.pop().map(|phone| phone.name);
    assert_eq!(quiet, Some("dave"));
    let all: Vec<&str> = ALL.into_iter().filter(|pair| !pair.contains("dave")).collect();
    until_heard(&mut phones, &[], &all);

    let without =
        |part: &str| -> Vec<&str> { all.iter().copied().filter(|pair| !pair.contains(part)).collect() };
    let muted = css.json(&["conf", "mute", "8602", "alice"]);
    assert_eq!(muted["muted"], true);
    until_heard(&mut phones, &[], &without("alice>"));
    css.json(&["conf", "mute", "8602", "alice", "--off"]);
    css.json(&["conf", "mute", "8602", "bob", "--to", "carol"]);
    until_heard(&mut phones, &[], &without("bob>carol"));
    css.json(&["conf", "gain", "8602", "bob", "0", "--to", "carol"]);
    css.json(&["conf", "deaf", "8602", "bob"]);
    until_heard(&mut phones, &[], &without(">bob"));
    css.json(&["conf", "deaf", "8602", "bob", "--off"]);
    css.json(&["conf", "gain", "8602", "carol", "-40"]);
    until_heard(&mut phones, &[], &without("carol>"));
    css.json(&["conf", "gain", "8602", "carol", "0"]);

    css.fails(&["conf", "play", "8602", "../gong.wav"], 1, "--prompts");
    css.fails(&["conf", "play", "8602", "none.wav"], 1, "none.wav");
    css.fails(&["conf", "play", "8602", "gong.wav", "--to", "eve"], 1, "eve");
    let playing = css.json(&["conf", "play", "8602", "gong.wav", "--to", "alice", "--repeat"]);
    assert_eq!(playing["duration_ms"], 2_000);
    let mut with_gong = all.clone();
    with_gong.push("gong>alice");
    until_heard(&mut phones, &[("gong", 2_300.0)], &with_gong);
    let prompt = playing["prompt"].as_str().expect("a name");
    assert_eq!(css.json(&["conf", "stop", "8602", prompt])["existed"], true);
    until_heard(&mut phones, &[("gong", 2_300.0)], &all);
    assert_eq!(css.json(&["conf", "stop", "8602", prompt])["existed"], false);

    for kind in ["speaker-started", "speaker-stopped", "active-speaker", "prompt-finished"] {
        eventually(kind, || watch.lines().iter().any(|line| kind_of(line) == kind).then_some(()));
    }
    let (_, page) = http(metrics, "/metrics").expect("the node answers");
    let value = |name: &str| -> f64 {
        let sample = format!("{name}{{thread=\"0\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&sample));
        line.unwrap_or_else(|| panic!("{name}")).parse().expect("a number")
    };
    assert_eq!((value("motet_mixing_conferences"), value("motet_mixing_sources")), (1.0, 4.0));
    assert!(value("motet_mixing_ticks_total") > 100.0 && value("motet_mixing_encoded_frames_total") > 100.0);
}

fn kind_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("one JSON document each line");
    event["kind"].as_str().expect("a kind").to_owned()
}

#[test]
fn the_generator_hears_everybody_in_everybody_elses_mix() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off"]);
    css.wait_for_nodes(1);
    let folder = tempfile::tempdir().expect("a folder");
    let (url, wav) = (css.url(), folder.path().to_string_lossy().into_owned());
    let load = ["load", "--css", &url, "--audio", "--participants", "4", "--codec", "opus,pcmu,g722,pcma"];
    let all = ["--talkers", "4", "--turn", "2.4", "--duration", "2.5", "--wav", &wav, "--json"];
    let output = css.run(&[&load[..], &all].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let count = |name: &str| report[name].as_u64().expect(name);
    assert_eq!((count("voices_expected"), count("voices_heard")), (12, 12), "{report}");
    assert_eq!((count("own_expected"), count("own_absent")), (4, 4), "{report}");
    assert!(report["level_db"]["min"].as_f64() > Some(-3.0), "{report}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it was made").count(), 4);
}
