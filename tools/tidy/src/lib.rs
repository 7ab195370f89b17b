//! The repository's own lint: what compilers and clippy do not look at.
//!
//! Rules are functions from a file's path and text to findings, so they are tested on strings. Each
//! finding says what to do instead. Limits are ratchets: [`EXCEPTIONS`] holds what was longer when its
//! rule came, with its size of that day, and an exception that is no longer needed is a finding too.
//!
//! Not here: formatting (rustfmt), dead code (rustc), documentation links in code (rustdoc).

#![forbid(unsafe_code)]

mod documents;
mod rust;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

/// Lines that a Rust file may have, tests included. Move tests to `foo/tests.rs` first.
pub const FILE_LINES_MAX: usize = 500;
/// Lines that a function may have, from `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Bytes that a file of any kind may have: recordings and traces are made, not kept.
pub const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Files and functions that are longer than the limits: path, `fn` name or empty for the file, lines.
pub const EXCEPTIONS: &[(&str, &str, usize)] = &[];

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// From the repository's root.
    pub path: PathBuf,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do instead.
    pub message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Checks every file under `root`. The count of files says that something was looked at.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn check_repository(root: &Path) -> std::io::Result<(usize, Vec<Finding>)> {
    let mut paths = Vec::new();
    collect(root, Path::new(""), &mut paths)?;
    paths.sort();
    let mut findings = Vec::new();
    for path in &paths {
        let bytes = std::fs::read(root.join(path))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            findings.push(Finding::new(path, 0, format!("more than {FILE_BYTES_MAX} bytes")));
        }
        if let Ok(text) = String::from_utf8(bytes) {
            findings.extend(check_file(path, &text, &|target| root.join(target).exists()));
        }
    }
    for (path, _, _) in EXCEPTIONS.iter().filter(|(path, _, _)| !root.join(path).exists()) {
        findings.push(Finding::new(Path::new(path), 0, "excepted in tidy and not there any more"));
    }
    findings.sort();
    Ok((paths.len(), findings))
}

/// Checks one file. `exists` says whether a path from the repository's root is there.
pub fn check_file(path: &Path, text: &str, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension {
        "rs" => rust::check(path, text, &mut findings),
        "md" => documents::check(path, text, exists, &mut findings),
        "toml" if path.ends_with("Cargo.toml") => check_manifest(path, text, &mut findings),
        _ => {}
    }
    if matches!(extension, "rs" | "md" | "toml" | "proto" | "sh") {
        check_whitespace(path, text, &mut findings);
    }
    findings
}

fn check_whitespace(path: &Path, text: &str, findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        if line.contains('\t') {
            findings.push(Finding::new(path, index + 1, "a tab: indent with spaces"));
        }
        if line.ends_with([' ', '\r']) {
            findings.push(Finding::new(path, index + 1, "space at the end of the line"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(path, text.lines().count(), "no newline at the end of the file"));
    }
}

/// Every crate of the workspace takes the workspace's lints.
fn check_manifest(path: &Path, text: &str, findings: &mut Vec<Finding>) {
    let standalone = text.contains("[workspace]") || text.contains("[workspace.");
    let lints = text.lines().skip_while(|line| line.trim() != "[lints]").nth(1);
    if !standalone && lints.map(str::trim) != Some("workspace = true") {
        findings.push(Finding::new(path, 0, "no [lints] workspace = true: the crate would go unchecked"));
    }
}

/// Folders that hold what is made, not what is written.
fn is_made(path: &Path) -> bool {
    [".git", "target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts"]
        .iter()
        .any(|made| path == Path::new(made))
}

fn collect(root: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_made(&path) {
            collect(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}
