//! What docs/security.md and docs/sources.md promise is tested: they name tests, and those exist.

use std::path::Path;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Words in backticks of the form `file.rs::test`.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::")).collect()
}

/// Whether a file has this function marked as a test, by an attribute or by the list of a macro.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declares = |line: &str| line.split_once(&format!("fn {name}(")).is_some();
    let Some(at) = lines.iter().position(|line| declares(line)) else { return false };
    let marked = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["))
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    let listed = source.split_once("on_both!(").and_then(|(_, list)| list.split_once(");"));
    marked || listed.is_some_and(|(list, _)| list.split(',').any(|entry| entry.trim() == name))
}

/// A document, all of whose named tests exist.
fn promises(document: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).expect("it can be read");
    let mut missing = Vec::new();
    for (file, name) in named_tests(&text) {
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        if !has_test(&source, name) {
            missing.push(format!("{file}::{name}"));
        }
    }
    assert!(missing.is_empty(), "{document} names tests that do not exist:\n{}", missing.join("\n"));
    text
}

#[test]
fn what_the_sources_ask_names_tests_that_exist() {
    let text = promises("docs/sources.md");
    assert!(named_tests(&text).len() >= 40, "is this the table?");
}

#[test]
fn every_rule_names_tests_that_exist() {
    let text = promises("docs/security.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat"));
    let rows: Vec<&str> = rows.filter(|line| !line.starts_with("| ---")).collect();
    assert!(rows.len() >= 20, "only {} rules: is this the table?", rows.len());
    let untested: Vec<&str> = rows.into_iter().filter(|row| named_tests(row).is_empty()).collect();
    assert!(untested.is_empty(), "rules without a test:\n{}", untested.join("\n"));
}

#[test]
fn only_tests_count() {
    let source = "#[test]\n#[should_panic]\nfn one() {}\n\nfn two() {}\non_both!(\n    three,\n);\nfn three(o: u8) {}\n";
    assert!(has_test(source, "one") && has_test(source, "three"));
    assert!(!has_test(source, "two") && !has_test(source, "four"));
    assert_eq!(named_tests("see `a.rs::b` and `c.rs`, `d.rs::e`"), [("a.rs", "b"), ("d.rs", "e")]);
}
