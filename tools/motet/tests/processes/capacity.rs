//! A node measures itself, keeps the result, and control places by it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::world::{Css, Process, eventually, media_ports, text};

/// One try at a low rate, and bounds that every machine keeps to: the figure says nothing.
const ONE_TRY: [&str; 6] =
    ["--calibrate-tries", "1", "--calibrate-loss", "100", "--calibrate-delay-ms", "60000"];

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("it is there")).expect("it is JSON")
}

/// A node with a folder; gives it and what control hears of it when it is ready.
fn node(css: &Css, folder: &str, calibrate: &str) -> (Process, Value) {
    let (url, ports) = (css.url(), media_ports());
    let mut arguments = vec!["node", "--node-id", "n1", "--listen", "127.0.0.1:0", "--control", &url];
    arguments.extend(["--port-range", &ports, "--state-dir", folder, "--calibrate", calibrate]);
    arguments.extend(ONE_TRY);
    let process = Process::motet(&arguments);
    css.wait_for_nodes(1);
    let described = eventually("the node is described", || css.json(&["nodes"]).get(0).cloned());
    (process, described)
}

#[test]
fn what_was_measured_is_kept_described_and_placed_by() {
    let css = Css::new();
    let _control = css.start("embedded");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (path, file) = (folder.path().to_str().expect("a name"), folder.path().join("calibration.json"));

    // The first start measures.
    let (first, described) = node(&css, path, "auto");
    let kept = read(&file);
    let units = kept["packets_per_second"].as_u64().expect("a number");
    assert!(units > 0, "{kept}");
    assert_eq!(described["units"].as_u64(), Some(units), "one worker");
    assert_eq!(described["calibration"]["measured_unix_ms"], kept["measured_unix_ms"]);
    assert_eq!(described["calibration"]["identity"]["io"], described["io_backend"]);

    // Beside a node that runs there is no measuring.
    css.fails(&["calibrate", "--state-dir", path], 1, "a node runs with it");

    // A conference of so many participants is more than any worker carries.
    css.fails(&["conf", "create", "--participants", "10000"], 1, "are needed");
    let refused = css.run(&["conf", "create", "--participants", "10000"]);
    assert!(text(&refused.stderr).contains("n1: has "), "{}", text(&refused.stderr));
    css.json(&["conf", "create", "--participants", "4"]);
    assert_eq!(css.json(&["nodes"])[0]["units_used"], 4 * 3 * 250, "promised before anybody came");
    first.kill();

    // The next start believes what was kept.
    let control = Css::new();
    let _control = control.start("embedded");
    let (second, described) = node(&control, path, "auto");
    assert_eq!(described["calibration"]["measured_unix_ms"], kept["measured_unix_ms"]);
    second.kill();

    // Another kernel is another machine.
    let mut other = kept.clone();
    other["identity"]["kernel"] = "1.0".into();
    fs::write(&file, other.to_string()).expect("a file can be written");
    let control = Css::new();
    let _control = control.start("embedded");
    let (third, described) = node(&control, path, "never");
    assert_eq!((&described["units"], &described["calibration"]), (&0.into(), &Value::Null));
    third.kill();
    let control = Css::new();
    let _control = control.start("embedded");
    let (_fourth, described) = node(&control, path, "auto");
    assert_eq!(described["calibration"]["identity"]["kernel"], kept["identity"]["kernel"]);
    assert_ne!(read(&file)["measured_unix_ms"], kept["measured_unix_ms"]);
}

#[test]
fn measuring_by_hand_prints_and_keeps_the_result() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().to_str().expect("a name");
    let printed = css.json(&[["calibrate", "--state-dir", path].as_slice(), &ONE_TRY].concat());
    assert_eq!(printed, read(&folder.path().join("calibration.json")));
    assert_eq!(printed["lower_bound"], true, "one try does not find the end");
    let output = css.run(&[["calibrate"].as_slice(), &ONE_TRY].concat());
    assert!(text(&output.stdout).contains("kept in       nothing"), "{}", text(&output.stdout));
    css.fails(&["calibrate", "--io", "carrier-pigeon"], 2, "--io");
    css.fails(&["calibrate", "--worker-core", "9999"], 1, "9999");
}
