//! What happened, for people: time, who, what.

use crate::message::Who;
use std::fmt;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Condition of the reliability rules: N1 to N12, or `liveness`, `core`.
    pub rule: &'static str,
    /// Virtual milliseconds.
    pub at_ms: u64,
    /// One sentence.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.rule, seconds(self.at_ms), self.what)
    }
}

/// Lines of a run. Off unless a failure is to be shown: most runs need none.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    on: bool,
    lines: Vec<String>,
}

impl Trace {
    /// A trace that keeps its lines, or does not.
    pub fn new(on: bool) -> Trace {
        Trace { on, lines: Vec::new() }
    }

    /// Adds a line; `what` is made only if it is kept.
    pub fn say(&mut self, at_ms: u64, who: Who, what: impl FnOnce() -> String) {
        if self.on {
            self.lines.push(format!("{} {:<6} {}", seconds(at_ms), who.to_string(), what()));
        }
    }

    /// Whether lines are kept.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

fn seconds(ms: u64) -> String {
    format!("{:>4}.{:03}", ms / 1000, ms % 1000)
}
