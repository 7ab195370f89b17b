//! Control dies at every step of every flow: before and after each effect of each kind of event.

use motet_sim::{Crash, Fault, Manner, Plan, Planned, Point, Points, Who, run};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Worlds whose flows together are all there are.
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
        Plan { manner, seed: 4, ..busy },
    ]
}

#[test]
fn control_may_die_anywhere() {
    let mut trials: Vec<(Plan, Crash)> = Vec::new();
    let mut known: BTreeMap<Point, u64> = BTreeMap::new();
    for plan in plans() {
        let recorded = run(plan.clone(), false, Points { on: true, ..Points::default() });
        assert_eq!(recorded.violations, []);
        for (point, times) in recorded.points.passed {
            // The first time, and one amid the work.
            for time in [1, times.div_ceil(2)] {
                for before in [true, false] {
                    let crash = Crash { point, time, before };
                    if !trials.iter().any(|(of, other)| *other == crash && *of == plan) {
                        trials.push((plan.clone(), crash));
                    }
                }
            }
            *known.entry(point).or_default() += times;
        }
    }
    assert!(known.len() >= 45, "{} points: {:?}", known.len(), known.keys().map(ToString::to_string));
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
                    assert_eq!(outcome.counts.get("control killed"), Some(&1), "{crash:?} was not met");
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
