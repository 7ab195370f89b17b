//! Worlds with a name: failures of other systems, and bugs that were found here. Each says what must come of
//! it, besides the rules that hold in every world.

mod found;
mod peers;
mod rules;

use crate::plan::{Fault, Order, Ordered, Plan, Planned};
use crate::points::{Crash, Points};
use crate::{Outcome, run};

/// A world with a name.
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// What happens in it, and what ours must show.
    pub about: &'static str,
    /// The world.
    pub plan: fn() -> Plan,
    /// Where control dies, besides the plan's faults.
    pub crash: Option<Crash>,
    /// What must come of it: `Err` says what did not.
    pub expect: fn(&Outcome) -> Result<(), String>,
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    let mut all = peers::scenarios();
    all.extend(found::scenarios());
    all.extend(rules::scenarios());
    all
}

impl Scenario {
    /// Runs it. The outcome's violations hold what was expected and did not come.
    pub fn run(&self, trace: bool) -> Outcome {
        let points = Points { on: self.crash.is_some(), crash: self.crash, ..Points::default() };
        let mut outcome = run((self.plan)(), trace, points);
        if let Err(what) = (self.expect)(&outcome) {
            let at_ms = outcome.ended_ms;
            outcome.violations.push(crate::Violation { rule: "expected", at_ms, what });
        }
        outcome
    }
}

fn fault(at_ms: u64, for_ms: u64, fault: Fault) -> Planned {
    Planned { at_ms, for_ms, fault }
}

fn order(at_ms: u64, conference: usize, what: Ordered) -> Order {
    Order { at_ms, conference, what }
}

/// So often at least.
fn at_least(outcome: &Outcome, what: &'static str, times: u64) -> Result<(), String> {
    let is = outcome.counts.get(what).copied().unwrap_or_default();
    if is >= times { Ok(()) } else { Err(format!("{what}: {is} times, not {times}")) }
}

/// Never.
fn never(outcome: &Outcome, what: &'static str) -> Result<(), String> {
    match outcome.counts.get(what).copied().unwrap_or_default() {
        0 => Ok(()),
        is => Err(format!("{what}: {is} times, not 0")),
    }
}
