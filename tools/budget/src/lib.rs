//! What a forwarded packet may cost, as limits in one file that tests hold measurements against.
//!
//! Only what can be counted has a limit: allocations, system calls, instructions, runs of messages. Time is
//! left to the benchmarks, since tests share machines. The limits are in `benches/budgets.toml`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// What is cheaper than this share of its limit earns a note, so that the limit follows.
const NOTE_BELOW: f64 = 0.85;

/// Limits of some cases of one measure, such as instructions for each packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    name: String,
    limits: BTreeMap<String, f64>,
}

/// What became of measurements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// One line for each case that is over its limit, or has none, or was not measured.
    pub failures: Vec<String>,
    /// One line for each limit that can be lowered.
    pub notes: Vec<String>,
    /// A line for each case: measured, limit.
    pub table: String,
}

impl Budget {
    /// Reads a table such as `relay.instructions` from the text of a budget file.
    ///
    /// Errors: the text is not TOML, has no such table, or a limit is not a number.
    pub fn parse(text: &str, name: &str) -> Result<Budget, String> {
        let file: toml::Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
        let mut table = &file;
        for part in name.split('.') {
            let next = table.get(part).and_then(toml::Value::as_table);
            table = next.ok_or_else(|| format!("there is no [{name}]"))?;
        }
        let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|limit| limit as f64));
        let limits = table.iter().map(|(case, value)| match number(value) {
            Some(limit) if limit >= 0.0 => Ok((case.clone(), limit)),
            _ => Err(format!("[{name}] {case:?}: a limit is a number, 0 or more")),
        });
        Ok(Budget { name: name.to_owned(), limits: limits.collect::<Result<_, _>>()? })
    }

    /// Compares measurements with the limits. Every case of the budget must be measured.
    pub fn judge(&self, measured: &[(&str, f64)]) -> Verdict {
        let mut verdict = Verdict::default();
        let name = &self.name;
        for (case, value) in measured {
            let Some(limit) = self.limits.get(*case).copied() else {
                verdict.failures.push(format!("{name}, {case:?}: {value:.4}, and there is no limit for it"));
                continue;
            };
            let _ = writeln!(verdict.table, "{name:24} {case:32} {value:>10.4}  limit {limit:>10.4}");
            let percent = (value / limit - 1.0) * 100.0;
            if *value > limit {
                let over = if limit > 0.0 { format!("{percent:.1} % over") } else { "over".to_owned() };
                let line = format!("{name}, {case:?}: {value:.4}, {over} the limit of {limit}");
                verdict.failures.push(line);
            } else if *value < limit * NOTE_BELOW {
                let under = -percent;
                let line =
                    format!("{name}, {case:?}: {value:.4}, {under:.1} % under {limit}: tighten the limit");
                verdict.notes.push(line);
            }
        }
        let cases: BTreeSet<&str> = measured.iter().map(|(case, _)| *case).collect();
        for case in self.limits.keys().filter(|case| !cases.contains(case.as_str())) {
            verdict.failures.push(format!("{name}, {case:?}: has a limit and was not measured"));
        }
        verdict
    }
}

/// Holds measurements against the repository's budget of that name, for tests: panics with every case that
/// is over its limit, and writes every case to standard error, even from a test that passes.
///
/// # Panics
/// When a case is over its limit, has none, or was not measured; when the file cannot be read.
#[track_caller]
pub fn hold(name: &str, measured: &[(&str, f64)]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/budgets.toml");
    let text = std::fs::read_to_string(&file).expect("benches/budgets.toml can be read");
    let budget = Budget::parse(&text, name).unwrap_or_else(|why| panic!("benches/budgets.toml: {why}"));
    let verdict = budget.judge(measured);
    let mut err = std::io::stderr();
    let _ = err.write_all(verdict.table.as_bytes());
    for note in &verdict.notes {
        let _ = writeln!(err, "note: {note} (benches/budgets.toml)");
    }
    assert!(
        verdict.failures.is_empty(),
        "{}\nMake it cheaper, or change benches/budgets.toml and say in the commit what the cost buys.",
        verdict.failures.join("\n")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[relay.instructions]\n\"one\" = 100\n\"two\" = 0.5\n[relay.allocations]\nall = 0\n";

    fn judge(name: &str, measured: &[(&str, f64)]) -> Verdict {
        Budget::parse(FILE, name).expect("well-formed").judge(measured)
    }

    #[test]
    fn the_limit_itself_is_within() {
        let verdict = judge("relay.instructions", &[("one", 100.0), ("two", 0.45)]);
        assert_eq!((verdict.failures, verdict.notes), (vec![], vec![]));
        assert_eq!(verdict.table.lines().count(), 2);
        assert_eq!(judge("relay.allocations", &[("all", 0.0)]).notes, [""; 0]);
    }

    #[test]
    fn what_is_over_says_by_how_much() {
        let verdict = judge("relay.instructions", &[("one", 112.5), ("two", 0.5)]);
        assert_eq!(verdict.failures, ["relay.instructions, \"one\": 112.5000, 12.5 % over the limit of 100"]);
        let verdict = judge("relay.allocations", &[("all", 0.001)]);
        assert_eq!(verdict.failures, ["relay.allocations, \"all\": 0.0010, over the limit of 0"]);
    }

    #[test]
    fn what_is_far_under_is_a_note_and_no_failure() {
        let verdict = judge("relay.instructions", &[("one", 84.0), ("two", 0.5)]);
        assert_eq!(verdict.failures, [""; 0]);
        let note = "relay.instructions, \"one\": 84.0000, 16.0 % under 100: tighten the limit";
        assert_eq!(verdict.notes, [note]);
    }

    #[test]
    fn limits_and_measurements_must_meet() {
        let verdict = judge("relay.instructions", &[("one", 100.0), ("three", 1.0)]);
        assert!(verdict.failures[0].contains("\"three\"") && verdict.failures[0].contains("no limit"));
        assert!(verdict.failures[1].contains("\"two\"") && verdict.failures[1].contains("not measured"));
        assert!(Budget::parse(FILE, "relay.time").is_err());
        assert!(Budget::parse("[a]\nb = \"many\"\n", "a").is_err());
        assert!(Budget::parse("[a]\nb = -1\n", "a").is_err());
    }
}
