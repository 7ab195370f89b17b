//! `motet-sim`: runs simulated worlds and replays failures.

use clap::Parser;
use motet_sim::joins::{self, Crowd, Joins};
use motet_sim::{Outcome, Plan, Points, run, run_all, scenarios};
use std::process::ExitCode;

/// Runs control in a simulated world: nodes, store, applications and a network that fail as a seed draws.
/// Exits with 1 when a rule was broken.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Run the world of this seed and show what happened in it before the first violation
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Run the worlds of these seeds, both inclusive, on all cores
    #[arg(long, value_name = "A-B", value_parser = range, default_value = "1-1000")]
    seeds: (u64, u64),

    /// Run the scenario of this name; without a name: list all
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with = "seed")]
    scenario: Option<String>,

    /// Have five people ask four control processes for the same new room at once, so many times
    #[arg(long, value_name = "TRIALS", conflicts_with_all = ["seed", "scenario"])]
    joins: Option<u64>,

    /// Make the one trial of --joins that has this seed, and show what happened in it
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seed", "scenario", "joins"])]
    join: Option<u64>,

    /// With --seed or --scenario: show the whole trace
    #[arg(long)]
    trace: bool,

    /// Lines of the trace to show of a failure
    #[arg(long, value_name = "N", default_value_t = 60)]
    lines: usize,

    /// How many worlds run at once [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Who ask for a room at once.
const CROWD: Crowd = Crowd { people: 5, nodes: 3, css: 4, lost_permille: 200 };

impl Options {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|threads| *threads > 0).unwrap_or_else(cores)
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.filter(|(a, b)| a <= b).ok_or_else(|| "must be two numbers such as 1-1000".into())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let failed = match (options.seed, &options.scenario, options.joins) {
        _ if options.join.is_some() => options.join.is_some_and(first_join),
        (Some(seed), _, _) => one(&options, run(Plan::draw(seed), true, Points::default())),
        (_, Some(name), _) => named(&options, name),
        (_, _, Some(trials)) => first_joins(&options, trials),
        _ => many(&options),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one scenario, or lists all.
fn named(options: &Options, name: &str) -> bool {
    let all = scenarios::all();
    if name.is_empty() {
        for scenario in &all {
            println!("{:<46} {}", scenario.name, scenario.about);
        }
        return false;
    }
    match all.iter().find(|scenario| scenario.name == name) {
        Some(scenario) => one(options, scenario.run(true)),
        None => {
            eprintln!("--scenario: no scenario is called '{name}'; without a name, all are listed");
            true
        }
    }
}

/// Parallel first joins, on all cores.
fn first_joins(options: &Options, trials: u64) -> bool {
    let threads = options.threads() as u64;
    let crowd = CROWD;
    let mut sum = Joins::default();
    std::thread::scope(|scope| {
        let share = |thread| trials * (thread + 1) / threads - trials * thread / threads;
        let seed = |thread| trials * thread / threads;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || joins::run(crowd, seed(thread), share(thread))))
            .collect();
        for done in running {
            let joins = done.join().expect("a thread that makes trials does not panic");
            sum.trials += joins.trials;
            sum.wrong.extend(joins.wrong);
            sum.late += joins.late;
            sum.moved += joins.moved;
        }
    });
    let twice = sum.wrong.iter().filter(|(_, wrong)| wrong.twice).count();
    println!("{} trials of parallel first joins: {twice} double placements", sum.trials);
    println!("{} trials ended otherwise than they should", sum.wrong.len() - twice);
    println!("{} came too late to make the room, {} assignments went to another node", sum.late, sum.moved);
    for (seed, wrong) in sum.wrong.iter().take(10) {
        println!("--join {seed}: {}", wrong.found);
    }
    !sum.wrong.is_empty()
}

/// One of these trials, with its trace.
fn first_join(seed: u64) -> bool {
    let (result, trace) = joins::replay(CROWD, seed);
    trace.iter().for_each(|line| println!("{line}"));
    match &result {
        Ok(()) => println!("made once, on one node, and all are in it"),
        Err(wrong) => println!("{}", wrong.found),
    }
    result.is_err()
}

fn one(options: &Options, outcome: Outcome) -> bool {
    if options.trace {
        for line in &outcome.trace {
            println!("{line}");
        }
    }
    show(&outcome, if options.trace { 0 } else { options.lines });
    for (what, times) in &outcome.counts {
        println!("{times:>8} {what}");
    }
    !outcome.violations.is_empty()
}

fn many(options: &Options) -> bool {
    let (first, last) = options.seeds;
    let (failed, counts) = run_all(first..=last, options.threads(), Plan::draw);
    for outcome in failed.iter().take(5) {
        let seed = outcome.plan.seed;
        show(&run(outcome.plan.clone(), true, Points::default()), options.lines);
        println!("replay with: cargo run -p motet-sim -- --seed {seed} --trace\n");
    }
    for (what, times) in &counts {
        println!("{times:>10} {what}");
    }
    let all: Vec<String> = failed.iter().map(|outcome| outcome.plan.seed.to_string()).collect();
    println!("{} worlds, {} with violations: {}", last - first + 1, failed.len(), all.join(" "));
    !failed.is_empty()
}

fn show(outcome: &Outcome, lines: usize) {
    print!("{}", outcome.report(lines));
}
