//! Results in a form that programs can compare: one figure, one line.

use anyhow::Context;
use serde::Serialize;
use std::path::Path;

/// One result. `row` and `metric` name it and stay the same from run to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured on what: "video fan-out 20 / motet-uring".
    pub row: String,
    /// What was measured: "cpu_per_packet".
    pub metric: &'static str,
    /// The median over the rounds.
    pub value: f64,
    /// "ns", "ratio", "packets", "us".
    pub unit: &'static str,
    /// The value is to be at most this; none: no goal.
    pub goal: Option<f64>,
}

impl Figure {
    /// Whether the goal, if there is one, is reached.
    pub fn is_reached(&self) -> bool {
        self.goal.is_none_or(|goal| self.value <= goal)
    }
}

/// Writes figures as JSON, and makes the directory.
pub fn write_json(path: &Path, figures: &[Figure]) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let json = serde_json::to_string_pretty(figures)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// The middle value, or the mean of the two; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// Puts `text` between `<!-- name -->` and `<!-- /name -->`; appended when the marks are not there.
pub fn between_marks(document: &str, name: &str, text: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let block = format!("{open}\n{}\n{close}", text.trim_end());
    let found = document.find(&open).and_then(|start| {
        let end = start + document[start..].find(&close)? + close.len();
        Some((start, end))
    });
    match found {
        Some((start, end)) => format!("{}{block}{}", &document[..start], &document[end..]),
        None if document.is_empty() => format!("{block}\n"),
        None => format!("{}\n\n{block}\n", document.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn goals_are_upper_bounds() {
        let figure = |value, goal| Figure { row: String::new(), metric: "m", value, unit: "ns", goal };
        assert!(figure(1.6, Some(1.6)).is_reached());
        assert!(!figure(1.61, Some(1.6)).is_reached());
        assert!(figure(9.0, None).is_reached());
    }

    #[test]
    fn text_between_marks_is_replaced_and_the_rest_kept() {
        let first = between_marks("# Results\n", "relay", "old\n");
        assert_eq!(first, "# Results\n\n<!-- relay -->\nold\n<!-- /relay -->\n");
        let second = between_marks(&format!("{first}after\n"), "relay", "new");
        assert_eq!(second, "# Results\n\n<!-- relay -->\nnew\n<!-- /relay -->\nafter\n");
    }
}
