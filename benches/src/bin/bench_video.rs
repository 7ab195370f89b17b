//! `bench_video`: composing and transcoding pictures, against ffmpeg in one run; how long a picture takes; recording. See
//! `make bench-video`.
#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use clap::Parser;
use motet_benches::figures::{between_marks, write_json};
use motet_benches::process::{pin, prefer};
use motet_benches::video::{
    ROWS, Settings, TRANSCODED, ffmpeg, latency, measure, measure_transcoding, parts,
};
use motet_benches::{Figure, machine, recording};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what composing and transcoding pictures costs, how they look and how long they take, and what recording costs
#[derive(Parser, Debug)]
struct Options {
    /// Turns of each in each row
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Pictures of each source in a turn; at least 30
    #[arg(long, default_value_t = 150)]
    pictures: u32,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    row: String,
    /// Core of motet and of ffmpeg
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Core of what sends to a node, and receives from it
    #[arg(long, default_value_t = 1)]
    sender_core: usize,
    /// Seconds of pictures from camera to receiver; 0: that is not measured
    #[arg(long, default_value_t = 20)]
    latency_seconds: u32,
    /// Seconds of each turn of recording; 0: it is not measured
    #[arg(long, default_value_t = 20)]
    record_seconds: u32,
    /// The program whose nodes compose and record in time
    #[arg(long, value_name = "FILE", default_value = "target/release/motet")]
    motet: PathBuf,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = "target/bench/video.json")]
    json: PathBuf,
    /// Put the tables between the marks `video` of this file
    #[arg(long, value_name = "FILE")]
    out_markdown: Option<PathBuf>,
    /// Exit code 1 when a goal is missed
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    bench(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("bench_video: {error:#}");
        ExitCode::FAILURE
    })
}

fn bench(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(options.rounds > 0 && options.pictures >= 30, "--rounds: at least 1; --pictures: at least 30");
    let preferred = prefer();
    // What this process starts runs there, too.
    pin(options.core)?;
    let mut tables = String::new();
    for (name, value) in machine::describe() {
        tables += &format!("- {name}: {value}\n");
    }
    tables += &format!(
        "- command: `bench_video --rounds {} --pictures {}`; both on core {}, {}\n",
        options.rounds,
        options.pictures,
        options.core,
        if preferred { "at nice -15" } else { "at usual priority" },
    );
    println!("{tables}");
    let folder = tempfile::tempdir()?;
    let mut figures: Vec<Figure> = Vec::new();
    let mut add = |(table, found): (String, Vec<Figure>)| {
        println!("{table}");
        tables += &format!("\n{table}\n");
        figures.extend(found);
    };
    let settings = Settings { rounds: options.rounds, pictures: options.pictures };
    let stream = ffmpeg::make_sources(folder.path(), 1, options.pictures)?;
    add(parts::measure(stream.first().context("a stream")?)?);
    for row in ROWS.iter().filter(|row| row.name.contains(&options.row)) {
        add(measure(row, &settings, folder.path())?);
    }
    if TRANSCODED.contains(&options.row) {
        add(measure_transcoding(&settings, folder.path())?);
    }
    let cores = (options.core, options.sender_core);
    if options.latency_seconds > 0 && latency::ROW.contains(&options.row) {
        let seconds = options.latency_seconds;
        add(latency::measure(&latency::Settings { binary: &options.motet, cores, seconds }, folder.path())?);
    }
    if options.record_seconds > 0 && "recording".contains(&options.row) {
        let settings = recording::Settings { binary: &options.motet, cores, seconds: options.record_seconds };
        add(recording::measure(&settings, folder.path())?);
    }
    write_json(&options.json, &figures)?;
    println!("figures are in {}", options.json.display());
    if let Some(file) = &options.out_markdown {
        let document = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, between_marks(&document, "video", &tables))
            .with_context(|| format!("--out-markdown {}", file.display()))?;
    }
    let missed: Vec<_> = figures.iter().filter(|figure| !figure.is_reached()).collect();
    for figure in &missed {
        let goal = figure.goal.unwrap_or_default();
        println!("goal missed: {}: {} is {:.3}, goal {goal}", figure.row, figure.metric, figure.value);
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
