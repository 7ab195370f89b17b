//! Rules for Markdown files: one title, and links and paths that lead somewhere.

use std::path::{Component, Path, PathBuf};

use crate::Finding;

/// A word in backticks that begins with one of these is read as a path in this repository.
const FOLDERS: &[&str] = &[
    "engine/", "codecs/", "control/", "proto/", "benches/", "fuzz/", "tools/", "docs/", "scripts/", "status/",
];

pub fn check(path: &Path, text: &str, exists: &dyn Fn(&Path) -> bool, findings: &mut Vec<Finding>) {
    let mut titles = 0;
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        titles += usize::from(line.starts_with("# "));
        for target in links(line).filter(|target| !leads(path, target, exists)) {
            findings.push(Finding::new(path, index + 1, format!("link to {target}, which is not there")));
        }
        for target in paths(line).filter(|target| !exists(Path::new(target))) {
            findings.push(Finding::new(path, index + 1, format!("names {target}, which is not there")));
        }
    }
    if fenced {
        findings.push(Finding::new(path, 0, "a ``` block is never closed"));
    }
    if titles != 1 {
        findings.push(Finding::new(path, 0, format!("{titles} lines begin with '# ': one title, no more")));
    }
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// Whether a link leads outside, to a heading, or to something that is there.
fn leads(path: &Path, target: &str, exists: &dyn Fn(&Path) -> bool) -> bool {
    let file = target.split('#').next().unwrap_or("");
    if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
        return true;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    exists(&without_dots(&folder.join(file)))
}

/// Paths of this repository in backticks: `engine/net/src/lib.rs`, and not `codecs/{a,b}` or `docs/*`.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter_map(|word| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        (plain && FOLDERS.iter().any(|folder| word.starts_with(folder))).then(|| word.trim_end_matches('/'))
    })
}

fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}
