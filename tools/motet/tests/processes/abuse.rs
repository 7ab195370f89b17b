//! Bad input to mixes, end to end: clear errors for the caller, counted drops for the sender, and everybody else's sound as
//! it was, by signal.

use crate::phones::{ALL, room, until_heard, write_prompt};
use crate::world::{Css, eventually, free_port, http, local, text};
use serde_json::Value;
use std::path::Path;

/// Sum of a counter's samples whose labels hold all of `labels`.
fn counted(page: &str, name: &str, labels: &[&str]) -> f64 {
    let samples =
        page.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn whatever_some_send_all_others_hear_each_other() {
    let (css, metrics) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", &local(metrics)]);
    css.wait_for_nodes(1);
    let url = css.url();
    let load = ["load", "--css", &url, "--audio", "--participants", "4", "--codec", "opus,pcmu,g722,pcma"];
    let abuse = ["--talkers", "2", "--turn", "2.4", "--duration", "4.9", "--json", "--abuse"];
    let all = "channels,frames,codec,type,empty,large,fast,loud,garbage";
    let output = css.run(&[&load[..], &abuse, &[all]].concat());
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&output.stdout), text(&output.stderr)));
    let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
    assert_eq!(count("receivers"), 4 + 9, "{report}");
    assert!(count("voices_expected") >= 10, "{report}");
    assert_eq!(count("voices_heard"), count("voices_expected"), "{report}");
    assert_eq!(count("own_absent"), count("own_expected"), "{report}");
    let (_, page) = http(metrics, "/metrics").expect("the node answers");
    let dropped = |reason: &str| {
        let reason = format!("reason=\"{reason}\"");
        ["motet_mixing_dropped_packets_total", "motet_dropped_packets_total"]
            .map(|name| counted(&page, name, &[&reason]))
            .iter()
            .sum::<f64>()
    };
    let said: Vec<&str> =
        page.lines().filter(|line| line.contains("reason=") && !line.ends_with(" 0")).collect();
    // No bytes, 1,500 bytes that are no Opus, G.711 that is none either.
    assert!(dropped("bad_payload") > 300.0, "{said:#?}");
    assert!(dropped("overflow") > 100.0, "three times real time: {said:#?}");
    assert!(dropped("unknown_payload_type") > 100.0, "{said:#?}");
}

/// A WAV file's header for so many samples of 16 bits in one channel.
fn wav_header(rate_hz: u32, samples: u32) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + 2 * samples).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((2 * rate_hz).to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend((2 * samples).to_le_bytes());
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("a file can be written");
}

#[test]
fn files_that_cannot_be_played_are_refused_by_name_and_full_scale_is_borne() {
    let css = Css::new();
    let prompts = tempfile::tempdir().expect("a folder can be made");
    write_prompt(&prompts.path().join("good.wav"), 2_300.0, 2);
    write(prompts.path(), "cut.wav", &[wav_header(8_000, 8_000), vec![0; 900]].concat());
    write(prompts.path(), "odd.wav", &[wav_header(1_234, 100), vec![0; 200]].concat());
    write(prompts.path(), "empty.wav", &wav_header(8_000, 0));
    write(prompts.path(), "text.wav", b"these are not the samples you are looking for");
    let folder = prompts.path().to_str().expect("text");
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--prompts", folder]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8611", "--audio", "mix,speakers=4"]);
    let mut phones = room(&css, "8611");
    phones.iter_mut().for_each(|phone| phone.amplitude = 32_767.0);
    until_heard(&mut phones, &[], &ALL);
    for (file, part) in [
        ("none.wav", "none.wav"),
        ("cut.wav", "cut.wav"),
        ("odd.wav", "1234"),
        ("empty.wav", "empty.wav"),
        ("text.wav", "text.wav"),
    ] {
        css.fails(&["conf", "play", "8611", file], 1, part);
    }
    // All as loud as can be, and what is played besides.
    let playing = css.json(&["conf", "play", "8611", "good.wav", "--repeat", "--gain", "12"]);
    let with: Vec<&str> =
        ALL.into_iter().chain(["good>alice", "good>bob", "good>carol", "good>dave"]).collect();
    until_heard(&mut phones, &[("good", 2_300.0)], &with);
    let prompt = playing["prompt"].as_str().expect("a name");
    css.json(&["conf", "stop", "8611", prompt]);
    until_heard(&mut phones, &[("good", 2_300.0)], &ALL);
}

#[test]
fn who_loses_is_guarded_and_what_is_mixed_is_counted() {
    let css = Css::new();
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off"]);
    css.wait_for_nodes(1);
    let url = css.url();
    let load = ["load", "--css", &url, "--audio", "--participants", "3", "--loss", "20", "--duration", "60"];
    let mut command = css.command(&[&load[..], &["--report-interval", "0.5", "--json"]].concat());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let load = crate::world::Process::with_pipes(command);
    let number =
        eventually("a conference", || Some(css.json(&["conf", "list"])[0]["number"].as_str()?.to_owned()));
    eventually("the mixes of who loses are guarded", || {
        let stats = css.json(&["nodes", "stats", "n1", &number]);
        let outputs = stats["mix"]["outputs"].as_array()?;
        let guarded =
            outputs.iter().filter(|output| output["guarded_loss_percent"].as_u64() >= Some(10)).count();
        let from_mix = stats["routes"].as_array()?.iter().filter(|route| route["from_medium"] == "mix");
        let reported = from_mix.filter(|route| route["fraction_lost"].as_f64() > Some(0.02)).count();
        (guarded == 3 && reported == 3).then_some(())
    });
    let stats = css.json(&["nodes", "stats", "n1", &number]);
    let sources = stats["mix"]["sources"].as_array().expect("who is heard").clone();
    assert_eq!(sources.len(), 3, "{stats}");
    assert!(sources.iter().all(|source| source["packets"].as_u64() > Some(50)), "{stats}");
    assert!(sources.iter().any(|source| source["lost"].as_u64() > Some(0)), "{stats}");
    let page = css.run(&["nodes", "stats", "n1", &number]);
    assert!(text(&page.stdout).contains("HEARS THE MIX"), "{}", text(&page.stdout));
    load.signal(rustix::process::Signal::INT);
}
