//! Worlds drawn from seeds: nothing that was promised is lost, whatever fails.

use motet_sim::{Plan, Points, run, run_all};

/// Enough that each kind of fault meets each kind of request.
const SEEDS: u64 = 1_000;

#[test]
fn a_thousand_worlds_keep_all_rules() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (failed, counts) = run_all(1..=SEEDS, cores, Plan::draw);
    if let Some(first) = failed.first() {
        let again = run(first.plan.clone(), true, Points::default());
        let seeds: Vec<u64> = failed.iter().map(|outcome| outcome.plan.seed).collect();
        panic!("seeds {seeds:?} broke rules; the first:\n{}", again.report(60));
    }
    // Worlds in which nothing happens would keep all rules, too.
    let wanted =
        ["created", "joined", "left", "muted", "ended", "got", "control killed", "nodes lost", "pending"];
    // Only some worlds have conferences that are not restored, or a link that is cut at the right time.
    let seldom = ["ended unrestored", "told through another node"];
    let wanted = wanted.map(|what| (what, SEEDS / 10)).into_iter();
    for (what, at_least) in wanted.chain(seldom.map(|what| (what, SEEDS / 20))) {
        let times = counts.get(what).copied().unwrap_or_default();
        assert!(times >= at_least, "{what}: {times} times in {SEEDS} worlds; {counts:?}");
    }
}

#[test]
fn a_seed_makes_one_history() {
    for seed in [7, 36, 59] {
        let first = run(Plan::draw(seed), true, Points::default());
        let second = run(Plan::draw(seed), true, Points::default());
        assert_eq!(first.trace, second.trace);
        assert!(first.trace.len() > 50, "something happened: {}", first.trace.len());
    }
}

#[test]
fn without_faults_nothing_is_refused_or_lost() {
    for seed in 1..=20 {
        let plan = Plan { conferences_max: 4, ..Plan::calm(seed) };
        let outcome = run(plan, true, Points::default());
        assert_eq!(outcome.violations, [], "{}", outcome.report(40));
        let times = |what| outcome.counts.get(what).copied().unwrap_or_default();
        assert_eq!((times("given up"), times("nodes lost"), times("adopted")), (0, 0, 0));
        assert!(times("created") > 0 && times("joined") > 5, "{:?}", outcome.counts);
    }
}
