//! Instructions for each forwarded packet, counted by callgrind, against benches/budgets.toml.
//!
//! The example `forward` runs twice, with few batches and with many, and the difference is divided by the
//! packets that make it: start-up drops out, and the same program gives the same count to the last digit.
//! It is built as a release, since what is not optimized says nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Case of the example; batches of the long run.
const CASES: [(&str, u32); 8] = [
    ("small-1", 5_200),
    ("small-20", 2_200),
    ("small-200", 700),
    ("burst-10x20", 700),
    ("shared-200", 700),
    ("shared-burst-10x20", 700),
    ("calls-64", 700),
    ("reports-20", 700),
];
/// Batches of the short run: after them, tables and outbox have grown as far as they will.
const WARM_UP: u32 = 200;

fn build() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a file");
    // target/debug/deps/instructions-...
    let target = own.ancestors().nth(3).expect("cargo's layout");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "motet-relay", "--example", "forward"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Flags of the build under test are not of this one: a limit is for one way of building.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status();
    assert!(status.expect("cargo can be started").success(), "the example builds");
    target.join("release/examples/forward")
}

/// Instructions and messages of one run.
fn count(program: &Path, case: &str, batches: u32) -> (u64, u64) {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--error-exitcode=9"])
        .arg(program)
        .args([case, &batches.to_string()])
        .output()
        .expect("valgrind is installed: scripts/setup.sh does it");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {log}");
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let collected = collected.unwrap_or_else(|| panic!("callgrind says what it collected: {log}")).1;
    let messages = String::from_utf8_lossy(&output.stdout);
    let number = |text: &str| text.trim().parse().expect("a number");
    (number(collected), number(&messages))
}

#[test]
fn a_forwarded_packet_takes_no_more_instructions_than_its_budget() {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("the limits are for x86_64: not tested");
        return;
    }
    let program = build();
    let measured = CASES.map(|(case, batches)| {
        let (few, few_messages) = count(&program, case, WARM_UP);
        let (many, many_messages) = count(&program, case, batches);
        assert!(many_messages > 3 * few_messages, "{case}: {many_messages} messages");
        (case, (many - few) as f64 / (many_messages - few_messages) as f64)
    });
    motet_budget::hold("relay.instructions", &measured);
}
