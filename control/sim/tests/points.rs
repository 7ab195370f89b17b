//! Control dies at every step of every flow: before and after each effect of each kind of event.
//!
//! The list of steps comes from the core: every event and effect has a label (a new one does not compile without),
//! and a step is a pair of both that some world passes. Worlds that are drawn are run for as long as they show
//! steps, so that the list holds what can happen, not what somebody thought of.

use motet_sim::{Crash, EFFECTS, EVENTS, Fault, Manner, Plan, Planned, Point, Points, Who, run};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Worlds that are drawn to find steps.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=80;

/// What no application or fault of these worlds leads to (prompts, notes and places have tests of their own), and
/// answers that nothing follows from.
const NOT_HERE: [&str; 6] =
    ["node-order", "node-ordered", "notes", "places-renew", "store-load-failed", "store-removed"];

/// Small worlds whose flows together are most of what there is.
fn plans() -> Vec<Plan> {
    let fault = |at_ms, for_ms, fault| Planned { at_ms, for_ms, fault };
    let busy = Plan { nodes: 2, clients: 2, conferences_max: 3, calm_from_ms: 9_000, ..Plan::calm(3) };
    let nodes = vec![
        fault(3_000, 700, Fault::Kill(Who::Node(0))),
        fault(5_000, 500, Fault::Drain(1)),
        fault(6_000, 800, Fault::Leave(1)),
    ];
    let store = vec![
        fault(3_000, 1_200, Fault::StoreDown),
        fault(5_500, 1_500, Fault::Cut(Who::Css(0), Who::Node(0))),
    ];
    let manner = Manner { lost_permille: 30, twice_permille: 100, delay_ms_min: 1, delay_ms_max: 100 };
    vec![
        busy.clone(),
        Plan { faults: nodes, ..busy.clone() },
        Plan { faults: store, ..busy.clone() },
        Plan { manner, seed: 4, ..busy.clone() },
        Plan { css: 2, shared: true, seed: 5, ..busy },
    ]
}

#[test]
fn control_may_die_anywhere() {
    let mut trials: Vec<(Plan, Crash)> = Vec::new();
    let mut known: BTreeMap<Point, usize> = BTreeMap::new();
    let drawn = SEEDS.map(Plan::draw).map(|plan| (plan, false));
    for (plan, small) in plans().into_iter().map(|plan| (plan, true)).chain(drawn) {
        let recorded = run(plan.clone(), false, Points { on: true, ..Points::default() });
        assert_eq!(recorded.violations, [], "{plan}");
        for (point, times) in recorded.points.passed {
            let seen = known.entry(point).or_default();
            *seen += 1;
            if !small && *seen > 1 {
                continue;
            }
            // The first time, and one amid the work.
            let times = if small { BTreeSet::from([1, times.div_ceil(2)]) } else { BTreeSet::from([1]) };
            for (time, before) in times.into_iter().flat_map(|time| [(time, true), (time, false)]) {
                trials.push((plan.clone(), Crash { point, time, before }));
            }
        }
    }
    let met: BTreeSet<&str> = known.keys().flat_map(|point| [point.event.0, point.effect.0]).collect();
    let missing = |all: &'static [&'static str]| all.iter().filter(|name| !met.contains(*name)).copied();
    let missing: Vec<&str> =
        missing(&EFFECTS).chain(missing(&EVENTS)).filter(|name| !NOT_HERE.contains(name)).collect();
    assert!(missing.is_empty(), "no world meets {missing:?}");
    println!("{} steps, {} deaths", known.len(), trials.len());
    let failed = all_of(&trials);
    assert!(failed.is_empty(), "{} of {} trials:\n{}", failed.len(), trials.len(), failed[0]);
}

/// Runs the trials on all cores; gives reports of those that failed.
fn all_of(trials: &[(Plan, Crash)]) -> Vec<String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((plan, crash)) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let points = Points { on: true, crash: Some(*crash), ..Points::default() };
                    let outcome = run(plan.clone(), false, points.clone());
                    assert_eq!(outcome.counts.get("died at a step"), Some(&1), "{crash:?} was not met");
                    if !outcome.violations.is_empty() {
                        let told = run(plan.clone(), true, points).report(60);
                        let when = if crash.before { "before" } else { "after" };
                        let at = format!("killed {when} '{}', time {}", crash.point, crash.time);
                        failed.lock().expect("no thread has panicked").push(format!("{at}\n{told}"));
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no thread has panicked")
}
