//! Worlds with a name: failures of other systems, and bugs that were found here.

use motet_sim::scenarios;

#[test]
fn every_scenario_comes_out_well() {
    let mut failed = Vec::new();
    for scenario in scenarios::all() {
        let outcome = scenario.run(false);
        if !outcome.violations.is_empty() {
            let told = scenario.run(true);
            failed.push(format!("{}: {}\n{}", scenario.name, scenario.about, told.report(60)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<&str> = scenarios::all().iter().map(|scenario| scenario.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(all >= 15, "{all} scenarios");
}
