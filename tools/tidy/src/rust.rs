//! Rules for Rust files.

use std::path::Path;

use crate::source::{Source, words};
use crate::{EXCEPTIONS, FILE_LINES_MAX, FUNCTION_LINES_MAX, Finding};

/// Bytes, commands and `now` in; what to send, report and when to wake out.
const PURE: &[&str] = &[
    "engine/rtp/src",
    "engine/relay/src",
    "engine/recorder/src",
    "codecs/src",
    "control/src/conference",
    "control/src/conference.rs",
    "control/src/placement",
    "control/src/placement.rs",
];

const AMBIENT: &[(&str, &str)] = &[
    ("Instant::now", "take `now` as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    ("thread_rng", "take a seed as an argument"),
    ("rand::", "take a seed as an argument"),
    ("new_v4", "take the identifier as an argument"),
    ("thread::sleep", "return a deadline"),
];

const UNFINISHED: &[(&str, &str)] = &[
    ("todo!", "write it or return an error"),
    ("unimplemented!", "write it or return an error"),
    ("dbg!", "use tracing, or remove it"),
];

/// Crates that may hold unsafe code, each use with its reason.
const UNSAFE: &[&str] = &["engine/net", "codecs"];

pub fn check(path: &Path, text: &str, findings: &mut Vec<Finding>) {
    let source = Source::new(text);
    let test_file = path.iter().any(|part| part == "tests" || part == "tests.rs");
    check_file_length(path, text, findings);
    check_functions(path, &source, findings);
    check_marks(path, &source, findings);
    check_unsafe(path, &source, findings);
    if !test_file && PURE.iter().any(|pure| path.starts_with(pure)) {
        check_ambient(path, &source, findings);
    }
}

fn check_file_length(path: &Path, text: &str, findings: &mut Vec<Finding>) {
    let lines = text.lines().count();
    check_length(path, "", 0, lines, FILE_LINES_MAX, findings);
}

fn check_functions(path: &Path, source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.code.iter().enumerate() {
        for column in words(line, "fn") {
            let name: String = line[column + 2..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // A name tells a function from a function type.
            if name.is_empty() {
                continue;
            }
            if let Some(end) = source.block_end(index, column) {
                check_length(path, &name, index + 1, end - index + 1, FUNCTION_LINES_MAX, findings);
            }
        }
    }
}

/// `function` is empty for the whole file.
fn check_length(
    path: &Path,
    function: &str,
    line: usize,
    lines: usize,
    max: usize,
    findings: &mut Vec<Finding>,
) {
    let what = if function.is_empty() { "the file".into() } else { format!("fn {function}") };
    let exception = EXCEPTIONS.iter().find(|(p, f, _)| path == Path::new(p) && *f == function);
    let allowed = exception.map_or(max, |(_, _, allowed)| *allowed);
    if lines > allowed {
        let advice = if function.is_empty() { "move its tests out, then a noun" } else { "split it" };
        findings.push(Finding::new(path, line, format!("{what} has {lines} lines of {allowed}: {advice}")));
    } else if exception.is_some() && lines <= max {
        findings.push(Finding::new(
            path,
            line,
            format!("{what} is short now: remove its exception from tidy"),
        ));
    }
}

/// Marks of unfinished work, in code and in comments, and tests that nobody runs.
fn check_marks(path: &Path, source: &Source, findings: &mut Vec<Finding>) {
    let marks = [concat!("FIX", "ME"), concat!("XX", "X")];
    for (index, (code, comment)) in source.code.iter().zip(&source.comments).enumerate() {
        for (mark, advice) in UNFINISHED {
            if words(code, mark.trim_end_matches('!')).any(|at| code[at..].starts_with(mark)) {
                findings.push(Finding::new(path, index + 1, format!("{mark}: {advice}")));
            }
        }
        for mark in marks.iter().filter(|mark| words(comment, mark).next().is_some()) {
            findings.push(Finding::new(path, index + 1, format!("{mark}: mend it now or open an issue")));
        }
        if code.contains("#[ignore]") {
            findings.push(Finding::new(path, index + 1, "#[ignore] without a reason: #[ignore = \"why\"]"));
        }
    }
}

fn check_unsafe(path: &Path, source: &Source, findings: &mut Vec<Finding>) {
    let allowed = UNSAFE.iter().any(|home| path.starts_with(home));
    for (index, line) in source.code.iter().enumerate() {
        for column in words(line, "unsafe") {
            if !allowed {
                let message = "unsafe outside engine/net and codecs: put it behind a function there";
                findings.push(Finding::new(path, index + 1, message));
                continue;
            }
            let after = line[column + "unsafe".len()..].trim_start();
            // Unsafe functions say what they ask of callers under `# Safety`, which clippy checks.
            let promises = after.is_empty() || after.starts_with('{') || after.starts_with("impl");
            let first = index.saturating_sub(10);
            let explained = source.comments[first..=index].iter().any(|c| c.contains("SAFETY:"));
            if promises && !explained {
                let message = "unsafe without // SAFETY: who guarantees what it needs";
                findings.push(Finding::new(path, index + 1, message));
            }
        }
    }
}

fn check_ambient(path: &Path, source: &Source, findings: &mut Vec<Finding>) {
    let test = source.test_lines();
    for (index, line) in source.code.iter().enumerate().filter(|(index, _)| !test[*index]) {
        for (call, advice) in AMBIENT.iter().filter(|(call, _)| {
            line.match_indices(call).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            })
        }) {
            findings.push(Finding::new(path, index + 1, format!("{call} in a pure crate: {advice}")));
        }
    }
}
