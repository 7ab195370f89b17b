//! Dashboards, alerts and documentation against pages that were really scraped.

use crate::world::{Call, Css, eventually, free_port, http, local};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Values that are 0 or 1, and the one name that all Prometheus clients use without a unit.
const UNITLESS: &[&str] =
    &["motet_node_draining", "motet_recording_up", "motet_control_store_usable", "process_open_fds"];

/// A metric as its page describes it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
}

/// What pages hold.
#[derive(Debug, Default)]
struct Pages {
    families: BTreeMap<String, Family>,
    /// Labels of the samples, by sample name.
    samples: BTreeMap<String, BTreeSet<String>>,
}

impl Pages {
    fn read(&mut self, page: &str) {
        for line in page.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, help] => self.family(name).help = help.to_owned(),
                ["#", "TYPE", name, kind] => self.family(name).kind = kind.to_owned(),
                ["#", "UNIT", name, unit] => self.family(name).unit = Some(unit.to_owned()),
                ["#", "EOF"] => {}
                _ => self.sample(line),
            }
        }
    }

    fn family(&mut self, name: &str) -> &mut Family {
        self.families.entry(name.to_owned()).or_default()
    }

    fn sample(&mut self, line: &str) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a name and a value"));
        // No value here has a comma or a quote in it.
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(l, _)| l);
        let labels = inside.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        self.samples.entry(name.to_owned()).or_default().extend(labels);
    }
}

/// The pages of a node and of control that have carried a call.
fn scraped() -> Pages {
    let (css, node) = (Css::new(), free_port());
    let _control = css.start("embedded");
    let recordings = tempfile::tempdir().expect("a folder");
    let recordings = recordings.path().to_str().expect("text");
    let metrics = ["--metrics", &local(node), "--residence-turns", "1", "--recordings", recordings];
    let _node = css.start_node_with("n1", &metrics);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8501"]);
    let mut call = Call::join(&css, "8501");
    assert!(call.carries(), "media flows");
    eventually("the node has counted", || {
        let (_, page) = http(node, "/metrics")?;
        (!page.contains("motet_relay_forwarded_packets_total{worker=\"0\"} 0\n")).then_some(())
    });
    let mut pages = Pages::default();
    for port in [node, css.metrics] {
        let (status, page) = http(port, "/metrics").expect("it answers");
        assert!(status == 200 && page.ends_with("# EOF\n"), "{page}");
        pages.read(&page);
    }
    pages
}

fn file(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Metrics in an expression, each with the labels that it is asked for.
fn metrics(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let name = &rest[start..end];
        rest = &rest[end..];
        if !["motet_", "process_"].iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut labels = BTreeSet::new();
        if let Some(selector) = rest.strip_prefix('{') {
            let (inside, after) = selector.split_once('}').expect("a selector is closed");
            let names = inside.split(',').map(|label| label.trim().split(['=', '!']).next().unwrap_or(""));
            labels.extend(names.map(str::to_owned));
            rest = after;
        }
        found.push((name.to_owned(), labels));
    }
    found
}

/// What an expression asks for and the pages do not have.
fn missing(pages: &Pages, expression: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let by = expression.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
    let mut grouped: BTreeSet<String> =
        by.flat_map(|(labels, _)| labels.split(',').map(|label| label.trim().to_owned())).collect();
    for (name, asked) in metrics(expression) {
        let Some(labels) = pages.samples.get(&name) else {
            missing.push(format!("{name} in '{expression}'"));
            continue;
        };
        let has = |label: &String| ["instance", "job"].contains(&label.as_str()) || labels.contains(label);
        missing.extend(asked.iter().filter(|label| !has(label)).map(|label| format!("{name}{{{label}}}")));
        grouped.retain(|label| !has(label));
    }
    missing.extend(grouped.iter().map(|label| format!("by ({label}) in '{expression}'")));
    missing
}

fn expressions_of(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            found.extend(map.get("expr").and_then(|expr| expr.as_str()).map(str::to_owned));
            map.values().for_each(|value| expressions_of(value, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| expressions_of(value, found)),
        _ => {}
    }
}

#[test]
fn every_panel_and_alert_asks_for_what_is_there() {
    let pages = scraped();
    for path in ["docs/grafana/motet-node.json", "docs/grafana/motet-control.json"] {
        let dashboard: serde_json::Value = serde_json::from_str(&file(path)).expect(path);
        for panel in dashboard["panels"].as_array().expect("panels") {
            let mut expressions = Vec::new();
            expressions_of(panel, &mut expressions);
            assert!(expressions.iter().any(|one| !metrics(one).is_empty()), "{path}: {}", panel["title"]);
            for expression in expressions {
                assert_eq!(missing(&pages, &expression), [""; 0], "{path}: {}", panel["title"]);
            }
        }
    }
    let alerts = file("docs/prometheus/alerts.yml");
    let expressions: Vec<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(expressions.len(), alerts.matches("- alert: ").count(), "one expression on one line each");
    for expression in expressions {
        assert_eq!(missing(&pages, expression), [""; 0]);
    }
}

#[test]
fn every_metric_is_described_and_ends_with_its_unit() {
    let pages = scraped();
    assert!(pages.families.len() > 40, "{:?}", pages.families.keys());
    for (name, family) in &pages.families {
        assert!(family.help.len() > 10 && family.help.ends_with('.'), "{name}: '{}'", family.help);
        match &family.unit {
            Some(unit) => assert!(name.ends_with(&format!("_{unit}")), "{name} is in {unit}"),
            None => assert!(family.kind == "info" || UNITLESS.contains(&name.as_str()), "{name} has no unit"),
        }
    }
}

#[test]
fn every_metric_is_documented_and_nothing_else() {
    let pages = scraped();
    let exported: BTreeSet<&str> =
        pages.families.keys().map(String::as_str).filter(|name| name.starts_with("motet_")).collect();
    let text = file("docs/operations.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `motet_")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| format!("motet_{name}")).collect();
    let documented: BTreeSet<&str> = documented.iter().map(String::as_str).collect();
    let differ: Vec<_> = exported.symmetric_difference(&documented).collect();
    assert!(differ.is_empty(), "exported or documented, and not both: {differ:?}");
}

#[test]
fn what_is_not_there_is_found() {
    let mut pages = Pages::default();
    pages.read("# HELP motet_a_packets A.\nmotet_a_packets_total{worker=\"0\"} 1\n");
    let fine = "sum by (instance, worker) (rate(motet_a_packets_total{worker=\"0\", job=~\"x\"}[1m])) > 0";
    assert_eq!(missing(&pages, fine), [""; 0]);
    for (expression, part) in [
        ("rate(motet_a_packets[1m])", "motet_a_packets in"),
        ("motet_a_packets_total{reason=\"x\"}", "motet_a_packets_total{reason}"),
        ("sum by (reason) (motet_a_packets_total)", "by (reason)"),
        ("1 - motet_b", "motet_b in"),
    ] {
        let missing = missing(&pages, expression);
        assert!(missing.len() == 1 && missing[0].starts_with(part), "{expression}: {missing:?}");
    }
}
