//! What is done to whom and when, from a seed.

use crate::net::Fault;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// One thing that goes wrong and is mended a while later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL; started again later.
    Kill(String),
    /// SIGSTOP; SIGCONT later.
    Stop(String),
    /// A link with a fault, from whom and to whom.
    Link(String, String, Fault),
    /// The connections of a link are reset once.
    Reset(String, String),
}

/// A harm, when it begins and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the plan began.
    pub at: Duration,
    /// Until it is mended.
    pub lasts: Duration,
    /// What.
    pub harm: Harm,
}

impl Step {
    /// When it is over.
    pub fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

/// Who can be harmed.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Control processes.
    pub css: Vec<String>,
    /// Nodes.
    pub nodes: Vec<String>,
    /// Servers of the store.
    pub stores: Vec<String>,
}

/// Harms within `time`. Of each kind of process at most one is dead or stopped at a time, and at least one of
/// those that remain has had time to come back: what must survive is one failure of each kind, not the loss of all.
pub fn plan(seed: u64, time: Duration, targets: &Targets) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut steps: Vec<Step> = Vec::new();
    let mut at = Duration::from_millis(random.random_range(200..1_500));
    while at < time {
        let lasts = Duration::from_millis(random.random_range(200..9_000)).min(time - at);
        let step = Step { at, lasts, harm: harm(&mut random, targets) };
        if !steps.iter().any(|other| collide(other, &step, targets)) {
            steps.push(step);
        }
        at += Duration::from_millis(random.random_range(200..2_500));
    }
    steps
}

fn harm(random: &mut StdRng, targets: &Targets) -> Harm {
    let groups = [&targets.css, &targets.nodes, &targets.nodes, &targets.stores];
    let group = groups.choose(random).expect("there are four");
    let one = pick(random, group);
    match random.random_range(0..10) {
        0..=2 => Harm::Kill(one),
        3..=4 => Harm::Stop(one),
        5 => {
            let (from, to) = link(random, targets);
            Harm::Reset(from, to)
        }
        kind => {
            let (from, to) = link(random, targets);
            let fault = match kind {
                6 => Fault::Cut,
                7 => Fault::Delay(Duration::from_millis(random.random_range(20..400))),
                _ => Fault::Stall,
            };
            Harm::Link(from, to, fault)
        }
    }
}

fn link(random: &mut StdRng, targets: &Targets) -> (String, String) {
    let (css, node) = (pick(random, &targets.css), pick(random, &targets.nodes));
    match random.random_range(0..3) {
        0 => (css, node),
        1 => (node, css),
        _ => (css, pick(random, &targets.stores)),
    }
}

fn pick(random: &mut StdRng, names: &[String]) -> String {
    names.choose(random).cloned().unwrap_or_default()
}

/// Time that a process of a kind has after another one came back.
const REST: Duration = Duration::from_secs(6);

/// Whether two harms are not to be done both.
fn collide(one: &Step, other: &Step, targets: &Targets) -> bool {
    let together = one.at < other.end() + REST && other.at < one.end() + REST;
    let overlap = one.at < other.end() && other.at < one.end();
    match (process(&one.harm), process(&other.harm)) {
        (Some(first), Some(second)) => {
            let groups = [&targets.css, &targets.nodes, &targets.stores];
            together && groups.iter().any(|group| group.contains(first) && group.contains(second))
        }
        (None, None) => overlap && ends(&one.harm) == ends(&other.harm),
        _ => false,
    }
}

fn process(harm: &Harm) -> Option<&String> {
    match harm {
        Harm::Kill(name) | Harm::Stop(name) => Some(name),
        Harm::Link(..) | Harm::Reset(..) => None,
    }
}

fn ends(harm: &Harm) -> Option<(&String, &String)> {
    match harm {
        Harm::Link(from, to, _) | Harm::Reset(from, to) => Some((from, to)),
        Harm::Kill(_) | Harm::Stop(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Targets { css: names(&["css1", "css2"]), nodes: names(&["n1", "n2", "n3"]), stores: names(&["r1"]) }
    }

    #[test]
    fn a_seed_makes_one_plan() {
        let time = Duration::from_secs(60);
        assert_eq!(plan(7, time, &targets()), plan(7, time, &targets()));
        assert_ne!(plan(7, time, &targets()), plan(8, time, &targets()));
    }

    #[test]
    fn one_of_a_kind_is_away_at_a_time_and_all_is_mended_in_time() {
        let time = Duration::from_secs(300);
        for seed in 0..50 {
            let steps = plan(seed, time, &targets());
            assert!(steps.len() > 20 && steps.iter().all(|step| step.end() <= time), "seed {seed}");
            let away = |step: &Step| process(&step.harm).is_some_and(|name| name.starts_with('n'));
            let nodes: Vec<&Step> = steps.iter().filter(|step| away(step)).collect();
            assert!(nodes.windows(2).all(|pair| pair[0].end() + REST <= pair[1].at), "seed {seed}");
        }
    }

    #[test]
    fn every_harm_comes_up() {
        let steps: Vec<Step> =
            (0..20).flat_map(|seed| plan(seed, Duration::from_secs(60), &targets())).collect();
        let kinds = [
            steps.iter().any(|step| matches!(step.harm, Harm::Kill(_))),
            steps.iter().any(|step| matches!(step.harm, Harm::Stop(_))),
            steps.iter().any(|step| matches!(step.harm, Harm::Reset(..))),
            steps.iter().any(|step| matches!(step.harm, Harm::Link(_, _, Fault::Stall))),
            steps.iter().any(|step| matches!(step.harm, Harm::Link(_, _, Fault::Cut))),
            steps.iter().any(|step| matches!(step.harm, Harm::Link(_, _, Fault::Delay(_)))),
        ];
        assert_eq!(kinds, [true; 6]);
    }
}
