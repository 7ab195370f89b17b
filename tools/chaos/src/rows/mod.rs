//! What is measured, one row after another, each with processes of its own.

mod creates;
mod css;
mod node;
mod random;
mod redis;
mod smoke;

pub use smoke::smoke;

use crate::media::{Hearing, INTERVAL};
use crate::options::Options;
use crate::world::{Setup, World};
use anyhow::{Context, Result, bail, ensure};
use motet_benches::Figure;
use std::time::Duration;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// For `--row`.
    pub name: &'static str,
    /// What is done, as the table says it.
    pub what: &'static str,
}

/// All rows.
pub const ROWS: [Row; 9] = [
    Row { name: "kill", what: "kill -9 a node with 50 conferences of 4" },
    Row { name: "stop", what: "a node with 50 conferences of 4 stopped for 8 s, then continued" },
    Row { name: "link", what: "links between control and a node cut, 10 s silently and 10 s with resets" },
    Row { name: "css", what: "CSS killed and restarted with 100 conferences" },
    Row { name: "redis", what: "Redis down for 2 minutes" },
    Row { name: "sentinel", what: "Sentinel switchover, 20 times" },
    Row { name: "creates", what: "500 creates in one second" },
    Row { name: "thousands", what: "10,000 running conferences in the store" },
    Row { name: "random", what: "a random plan of kills, stops and cuts" },
];

/// One figure of a round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What: "create_p99".
    pub metric: &'static str,
    /// How much.
    pub value: f64,
    /// "ms", "ratio", "packets".
    pub unit: &'static str,
    /// The value is to be at most this; none: no goal.
    pub goal: Option<f64>,
}

impl Measured {
    fn new(metric: &'static str, value: f64, unit: &'static str) -> Measured {
        Measured { metric, value, unit, goal: None }
    }

    fn at_most(self, goal: f64) -> Measured {
        Measured { goal: Some(goal), ..self }
    }

    /// The same for the table of all rows.
    pub fn figure(self, row: &Row) -> Figure {
        let Measured { metric, value, unit, goal } = self;
        Figure { row: row.what.to_owned(), metric, value, unit, goal }
    }
}

/// Plays a row once.
pub async fn play(row: &Row, options: &Options, seed: u64) -> Result<Vec<Measured>> {
    match row.name {
        "kill" => node::killed(options, seed).await,
        "stop" => node::stopped(options, seed).await,
        "link" => node::cut_off(options, seed).await,
        "sentinel" => redis::switched(options, seed).await,
        "random" => random::plan(options, seed).await,
        "creates" => creates::burst(options, seed).await,
        "thousands" => creates::thousands(options, seed).await,
        "css" => css::restarted(options, seed).await,
        "redis" => redis::down(options, seed).await,
        other => bail!("there is no row {other}"),
    }
}

/// How long everything may take to be as it must be, after the faults.
const QUIET: Duration = Duration::from_secs(30);

fn setup(options: &Options, seed: u64) -> Result<Setup> {
    let folder = options.keep.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&folder).with_context(|| format!("--keep {}", folder.display()))?;
    Ok(Setup {
        motet: options.motet()?,
        css: usize::from(options.css),
        nodes: 3,
        doors: true,
        seed,
        folder,
        keep: options.keep.is_some(),
    })
}

/// The value that so many of a hundred do not exceed; 0 of none.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.max(1) - 1).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What media must show when no packet is to be lost.
fn untouched(hearings: &[Hearing]) -> Vec<Measured> {
    let lost: u64 = hearings.iter().map(|hearing| hearing.heard.lost).sum();
    let packets: u64 = hearings.iter().map(|hearing| hearing.heard.packets).sum();
    let run = hearings.iter().map(|hearing| hearing.heard.lost_run).max().unwrap_or_default();
    let silence = hearings.iter().map(|hearing| hearing.heard.silence).max().unwrap_or_default();
    vec![
        Measured::new("media_packets_heard", packets as f64, "packets"),
        Measured::new("media_packets_lost", lost as f64, "packets").at_most(0.0),
        Measured::new("media_gap", run as f64 * ms(INTERVAL), "ms").at_most(0.0),
        Measured::new("longest_time_between_packets", ms(silence), "ms"),
    ]
}

/// Fails when not all is as it must be before any fault.
async fn settled_before(world: &mut World) -> Result<()> {
    let found = world.settle(QUIET).await?;
    ensure!(found.violations.is_empty(), "before any fault: {}", found.violations.join("; "));
    Ok(())
}

/// Waits until all is as it must be, and says how much is not.
async fn settled(world: &mut World) -> Result<Vec<Measured>> {
    let found = world.settle(QUIET).await?;
    found.violations.iter().take(20).for_each(|violation| println!("  {violation}"));
    found.shown_silent.iter().take(2).for_each(|silent| println!("  {silent}"));
    Ok(vec![
        Measured::new("violations", found.violations.len() as f64, "").at_most(0.0),
        Measured::new("participants_shown_silent", found.shown_silent.len() as f64, "").at_most(0.0),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 50), 100.0);
        assert_eq!(percentile(&mut values, 99), 198.0);
        assert_eq!(percentile(&mut values, 100), 200.0);
        assert_eq!(percentile(&mut [7.0], 50), 7.0);
        assert_eq!(percentile(&mut [], 99), 0.0);
    }
}
