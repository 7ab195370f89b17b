//! Options of the command.

use crate::rows::ROWS;
use anyhow::{Result, ensure};
use clap::Parser;
use std::path::PathBuf;

/// Kills, stops and cuts off real processes of control, nodes and Redis while media flows, and says what was
/// lost. Everything runs on loopback addresses of its own.
#[derive(Clone, Debug, Parser)]
#[command(name = "motet-chaos", version, after_help = after_help(), max_term_width = 100)]
pub struct Options {
    /// Only rows with this in their name; may be given several times
    #[arg(long, value_name = "NAME")]
    pub row: Vec<String>,

    /// Decides what the random plan does and when; printed, so that a run can be repeated [default: a new one]
    #[arg(long)]
    pub seed: Option<u64>,

    /// How often each row is played; the worst of each figure counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,

    /// Control processes, 1 to 3
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub css: u8,

    /// A tenth of the conferences, creates and switchovers, to see quickly whether it works
    #[arg(long)]
    pub small: bool,

    /// How long Redis is away, in seconds
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub redis_down: u64,

    /// How long the random plan goes on, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub plan: u64,

    /// The program under test [default: motet beside this program]
    #[arg(long, value_name = "FILE")]
    pub motet: Option<PathBuf>,

    /// Keep the logs and files of all processes in this folder [default: they are removed]
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,

    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = "target/bench/chaos.json")]
    pub json: PathBuf,

    /// Put the table into this Markdown file, between the marks "chaos"
    #[arg(long, value_name = "FILE")]
    pub out_markdown: Option<PathBuf>,
}

fn after_help() -> String {
    let rows = ROWS.iter().map(|row| format!("  {:<12} {}\n", row.name, row.what));
    format!(
        "Rows:\n{}\nExit codes:\n  0  every goal was met\n  1  a goal was missed, or something could not be \
         measured; the message says which\n  2  wrong usage of the command line",
        rows.collect::<String>()
    )
}

impl Options {
    /// The program under test.
    pub fn motet(&self) -> Result<PathBuf> {
        let beside = std::env::current_exe()?.with_file_name("motet");
        let motet = self.motet.clone().unwrap_or(beside);
        ensure!(motet.is_file(), "{} is missing; 'cargo build --release -p motet' makes it", motet.display());
        Ok(motet)
    }

    /// A number of things, or a tenth of it.
    pub fn many(&self, count: usize) -> usize {
        if self.small { (count / 10).max(2) } else { count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_are_in_the_help() {
        let help = <Options as clap::CommandFactory>::command().render_long_help().to_string();
        assert!(ROWS.iter().all(|row| help.contains(row.name) && help.contains(row.what)), "{help}");
    }

    #[test]
    fn small_is_a_tenth() {
        let options = |arguments: &[&str]| Options::parse_from([&["motet-chaos"], arguments].concat());
        assert_eq!(options(&[]).many(500), 500);
        assert_eq!(options(&["--small"]).many(500), 50);
        assert_eq!(options(&["--small"]).many(4), 2);
    }
}
