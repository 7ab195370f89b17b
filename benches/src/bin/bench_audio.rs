//! `bench_audio`: motet's audio mixing against Janus's AudioBridge, in one run.
//!
//! Needs a release build of `motet`, see `make bench-audio`.
#![forbid(unsafe_code)]

use anyhow::{Context, ensure};
use clap::Parser;
use motet_benches::audio::node::MixingNode;
use motet_benches::audio::{Mixer, ROWS, Row, Settings, measure_row, row_table};
use motet_benches::figures::{between_marks, write_json};
use motet_benches::janus::Janus;
use motet_benches::process::{pin, prefer};
use motet_benches::{Figure, machine, pesq};
use motet_rtpgen::run::Wait;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what mixing costs and how it sounds
#[derive(Parser, Debug)]
struct Options {
    /// Turns of each mixer in each row
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds measured in each turn; at least 3
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// One short turn each: shows that everything works, measures nothing well
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    row: String,
    /// Only mixers whose name contains one of these; ratios need the others too
    #[arg(long, value_name = "TEXT,...", value_delimiter = ',')]
    mixer: Vec<String>,
    /// Core of the mixers
    #[arg(long, default_value_t = 0)]
    mixer_core: usize,
    /// Core of the generator
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Microseconds between the generator's looks at its sockets
    #[arg(long, default_value_t = 100)]
    poll_us: u64,
    /// The motet command [default: beside this program]
    #[arg(long, value_name = "FILE")]
    motet: Option<PathBuf>,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = "target/bench/audio.json")]
    json: PathBuf,
    /// Where mixes of speech are left to listen to
    #[arg(long, value_name = "DIR", default_value = "target/bench/audio")]
    mixes: PathBuf,
    /// Put the tables between the marks `audio` of this file
    #[arg(long, value_name = "FILE")]
    out_markdown: Option<PathBuf>,
    /// Exit code 1 when a goal is missed
    #[arg(long)]
    check: bool,
}

type Mixers = Vec<Box<dyn Mixer>>;

/// Everyone has a loopback address of its own, so that nobody's ports are in anybody's way.
const GENERATOR_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 1));
const MOTET_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 2));

fn main() -> ExitCode {
    bench(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("bench_audio: {error:#}");
        ExitCode::FAILURE
    })
}

fn bench(options: &Options) -> anyhow::Result<ExitCode> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(options.mixer_core != options.generator_core, "--mixer-core and --generator-core must differ");
    ensure!(cores >= 2, "two cores are needed: one for the mixer, one for the generator");
    ensure!(options.seconds >= 3.0, "--seconds {}: at least 3", options.seconds);
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(&options.row)).collect();
    ensure!(!rows.is_empty(), "--row {}: no row has this in its name", options.row);
    motet_rtpgen::system::raise_descriptor_limit();
    let (preferred, mut tables) = (prefer(), String::new());
    for (name, value) in machine::describe() {
        tables += &format!("- {name}: {value}\n");
    }
    std::fs::create_dir_all(&options.mixes)
        .with_context(|| format!("--mixes {}", options.mixes.display()))?;
    pin(options.generator_core)?;
    let settings = Settings {
        rounds: if options.quick { 1 } else { options.rounds },
        time: Duration::from_secs_f64(if options.quick { 3.0 } else { options.seconds }),
        core: options.generator_core,
        wait: Wait::Poll(Duration::from_micros(options.poll_us)),
        ip: GENERATOR_IP,
        speech: pesq::speak(&options.mixes),
        mixes: options.mixes.clone(),
    };
    let (mut mixers, notes) = start_mixers(options)?;
    tables += &how(options, &settings, preferred);
    notes.iter().for_each(|note| tables += &format!("- {note}\n"));
    println!("{tables}");
    let mut figures = Vec::new();
    for row in rows {
        if row.speech && settings.speech.is_none() {
            println!("{}: not measured: ffmpeg has no Flite to speak with", row.name);
            continue;
        }
        let results = measure_row(row, &mut mixers, &settings)?;
        if results.is_empty() {
            continue;
        }
        let table = row_table(row, &results);
        println!("{table}");
        tables += &format!("\n{table}\n");
        figures.extend(results.iter().flat_map(|result| result.figures(&results)));
    }
    finish(options, &tables, &figures)
}

fn how(options: &Options, settings: &Settings, preferred: bool) -> String {
    format!(
        "- command: `bench_audio --rounds {} --seconds {}`; mixer on core {}, generator on core {}, which looks at its \
         sockets every {} µs; {}\n",
        settings.rounds,
        settings.time.as_secs_f64(),
        options.mixer_core,
        options.generator_core,
        options.poll_us,
        if preferred { "both at nice -15" } else { "at usual priority" },
    )
}

/// The mixers that were asked for and can be had, and what is to be said about them.
fn start_mixers(options: &Options) -> anyhow::Result<(Mixers, Vec<String>)> {
    let wants = |name: &str| {
        options.mixer.is_empty() || options.mixer.iter().any(|text| name.contains(text.as_str()))
    };
    let (mut mixers, mut notes): (Mixers, _) = (Vec::new(), Vec::new());
    if wants("motet") {
        let beside = std::env::current_exe()?.with_file_name("motet");
        let motet = options.motet.clone().unwrap_or(beside);
        ensure!(
            motet.is_file(),
            "{} is missing; build it with `cargo build --release -p motet`",
            motet.display()
        );
        mixers.push(Box::new(MixingNode::start(&motet, MOTET_IP, options.mixer_core)?));
    }
    if wants("janus") {
        match Janus::installed() {
            Some(version) => {
                notes.push(format!("janus: {version}"));
                mixers.push(Box::new(Janus::start(options.mixer_core)?));
            }
            None => {
                notes.push("**janus: not measured: it is not installed (apt-get install janus)**".to_owned())
            }
        }
    }
    if !pesq::installed() {
        notes.push("PESQ of speech: not measured: it is not installed (scripts/pesq.sh)".to_owned());
    }
    ensure!(!mixers.is_empty(), "--mixer: no mixer has this in its name, or none can be had");
    Ok((mixers, notes))
}

fn finish(options: &Options, tables: &str, figures: &[Figure]) -> anyhow::Result<ExitCode> {
    write_json(&options.json, figures)?;
    println!("figures are in {}, mixes in {}", options.json.display(), options.mixes.display());
    if let Some(file) = &options.out_markdown {
        let document = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, between_marks(&document, "audio", tables))
            .with_context(|| format!("--out-markdown {}", file.display()))?;
    }
    let missed: Vec<_> = figures.iter().filter(|figure| !figure.is_reached()).collect();
    for figure in &missed {
        let goal = figure.goal.unwrap_or_default();
        println!("goal missed: {}: {} is {:.3}, goal {goal}", figure.row, figure.metric, figure.value);
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
