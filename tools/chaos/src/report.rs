//! Plays the rows, prints what came of them, and writes it down.

use crate::options::Options;
use crate::rows::{self, Measured, ROWS, Row};
use anyhow::{Context, Result, ensure};
use motet_benches::figures::{between_marks, write_json};
use motet_benches::{Figure, machine, table};
use std::time::{Duration, Instant};

/// Plays all rows that were asked for; gives how many goals were missed.
pub async fn run(options: &Options) -> Result<usize> {
    let wanted = |row: &&Row| {
        options.row.is_empty() || options.row.iter().any(|text| row.name.contains(text.as_str()))
    };
    let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    ensure!(!rows.is_empty(), "--row: no row has this in its name");
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let mut head: String =
        machine::describe().iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    head += &format!("- command: `motet-chaos {}`\n", command(options, seed));
    println!("{head}");
    let mut figures = Vec::new();
    let mut broken: Vec<(&Row, String)> = Vec::new();
    for row in rows {
        let begun = Instant::now();
        println!("{}: {} ...", row.name, row.what);
        match play(row, options, seed).await {
            Ok(measured) => figures.extend(measured.into_iter().map(|measured| measured.figure(row))),
            Err(error) => {
                println!("{}: could not be measured: {error:#}", row.name);
                broken.push((row, format!("{error:#}")));
            }
        }
        say(row, &figures, begun.elapsed());
    }
    finish(options, &head, &figures, &broken)?;
    Ok(broken.len() + figures.iter().filter(|figure| !figure.is_reached()).count())
}

/// All rounds of a row; the worst of each figure.
async fn play(row: &Row, options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut worst: Vec<Measured> = Vec::new();
    for round in 0..u64::from(options.rounds) {
        let seed = seed.wrapping_add(round);
        let measured = rows::play(row, options, seed).await;
        let measured = measured.with_context(|| format!("with --seed {seed}"))?;
        for one in measured {
            match worst.iter_mut().find(|known| known.metric == one.metric) {
                Some(known) => known.value = known.value.max(one.value),
                None => worst.push(one),
            }
        }
    }
    Ok(worst)
}

fn say(row: &Row, figures: &[Figure], took: Duration) {
    for figure in figures.iter().filter(|figure| figure.row == row.what) {
        println!(
            "  {:<38} {:>12} {:<8} {}",
            figure.metric,
            number(figure.value),
            figure.unit,
            verdict(figure)
        );
    }
    println!("  took {:.0} s\n", took.as_secs_f64());
}

fn verdict(figure: &Figure) -> String {
    match figure.goal {
        Some(goal) if figure.is_reached() => format!("goal {}, met", number(goal)),
        Some(goal) => format!("**goal {}, missed**", number(goal)),
        None => String::new(),
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn command(options: &Options, seed: u64) -> String {
    let rows = options.row.iter().map(|row| format!("--row {row} "));
    let small = if options.small { "--small " } else { "" };
    let (css, rounds, down, plan) = (options.css, options.rounds, options.redis_down, options.plan);
    let rows: String = rows.collect();
    format!("{rows}{small}--css {css} --seed {seed} --rounds {rounds} --redis-down {down} --plan {plan}")
}

fn finish(options: &Options, head: &str, figures: &[Figure], broken: &[(&Row, String)]) -> Result<()> {
    let measured = figures.iter().map(|figure| {
        vec![
            figure.row.clone(),
            figure.metric.replace('_', " "),
            format!("{} {}", number(figure.value), figure.unit),
            verdict(figure),
        ]
    });
    // One line of a table, however much was said.
    let first_line = |why: &str| why.lines().next().unwrap_or_default().replace('|', "/");
    let failed = broken
        .iter()
        .map(|(row, why)| vec![row.what.to_owned(), "nothing".into(), first_line(why), "**missed**".into()]);
    let cells = measured.chain(failed);
    let table = table::render(&["what", "measured", "value", "goal"], &cells.collect::<Vec<_>>());
    println!("{table}");
    write_json(&options.json, figures)?;
    println!("figures are in {}", options.json.display());
    if let Some(file) = &options.out_markdown {
        let document = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, between_marks(&document, "chaos", &format!("{head}\n{table}")))
            .with_context(|| format!("--out-markdown {}", file.display()))?;
    }
    Ok(())
}
