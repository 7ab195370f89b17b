//! `bench_relay`: motet against a bare loop and rtpengine, in one run.
//!
//! Needs release builds of `motet` and of the example `bare_loop`, see `make bench-relay`.
#![forbid(unsafe_code)]

use anyhow::{Context, bail, ensure};
use clap::Parser;
use motet_benches::figures::{between_marks, write_json};
use motet_benches::floor::Floor;
use motet_benches::node::Node;
use motet_benches::process::pin;
use motet_benches::relay::{ROWS, Settings, Sinks, Subject, measure_row, row_table};
use motet_benches::rtpengine::Rtpengine;
use motet_benches::{Figure, machine};
use motet_rtpgen::run::Wait;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the relay's processor time per forwarded packet
#[derive(Parser, Debug)]
struct Options {
    /// Turns of each subject in each row
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds measured in each turn
    #[arg(long, default_value_t = 2.5)]
    seconds: f64,
    /// One short turn each: shows that everything works, measures nothing well
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    row: String,
    /// Only subjects whose name contains one of these; ratios need the others too
    #[arg(long, value_name = "TEXT,...", value_delimiter = ',')]
    subject: Vec<String>,
    /// Core of the subjects
    #[arg(long, default_value_t = 0)]
    subject_core: usize,
    /// Core of the generator
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Microseconds between the generator's looks at its sockets
    #[arg(long, default_value_t = 100)]
    poll_us: u64,
    /// The motet command [default: beside this program]
    #[arg(long, value_name = "FILE")]
    motet: Option<PathBuf>,
    /// The bare loop [default: examples/bare_loop beside this program]
    #[arg(long, value_name = "FILE")]
    bare_loop: Option<PathBuf>,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = "target/bench/relay.json")]
    json: PathBuf,
    /// Put the tables between the marks `relay` of this file
    #[arg(long, value_name = "FILE")]
    out_markdown: Option<PathBuf>,
    /// Exit code 1 when a goal is missed
    #[arg(long)]
    check: bool,
}

type Subjects = Vec<Box<dyn Subject>>;

/// Ports of motet's media, below those that the system gives out by itself.
const NODE_PORTS: [&str; 2] = ["21000-22999", "23000-24999"];
/// Ports of rtpengine's media.
const RTPENGINE_PORTS: (u16, u16) = (28_000, 31_999);
/// First port of the generator; its source, then the sinks.
const GENERATOR_PORT: u16 = 25_200;

fn main() -> ExitCode {
    bench(&Options::parse()).unwrap_or_else(|error| {
        eprintln!("bench_relay: {error:#}");
        ExitCode::FAILURE
    })
}

fn bench(options: &Options) -> anyhow::Result<ExitCode> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(
        options.subject_core != options.generator_core,
        "--subject-core and --generator-core must differ"
    );
    ensure!(cores >= 2, "two cores are needed: one for the subject, one for the generator");
    motet_rtpgen::system::raise_descriptor_limit();
    let machine: String =
        machine::describe().iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    println!("{machine}");
    pin(options.generator_core)?;
    let settings = Settings {
        rounds: if options.quick { 1 } else { options.rounds },
        time: Duration::from_secs_f64(if options.quick { 0.5 } else { options.seconds }),
        core: options.generator_core,
        wait: Wait::Poll(Duration::from_micros(options.poll_us)),
    };
    let (mut subjects, skipped) = start_subjects(options)?;
    let sinks = free_sinks()?;
    let mut tables = format!("{machine}{}", how(options, &settings));
    let mut figures = Vec::new();
    for row in ROWS.iter().filter(|row| row.name().contains(&options.row)) {
        let results = measure_row(row, &mut subjects, &sinks, &settings)?;
        let table = row_table(row, &results);
        println!("{table}");
        tables += &format!("\n{table}");
        figures.extend(results.iter().flat_map(|result| result.figures(&results)));
    }
    ensure!(!figures.is_empty(), "--row {}: no row has this in its name", options.row);
    for line in skipped {
        println!("{line}");
        tables += &format!("\n{line}\n");
    }
    finish(options, &tables, &figures)
}

fn how(options: &Options, settings: &Settings) -> String {
    format!(
        "- command: `bench_relay --rounds {} --seconds {}`; subject on core {}, generator on core {}, which looks \
         at its sockets every {} µs\n",
        settings.rounds,
        settings.time.as_secs_f64(),
        options.subject_core,
        options.generator_core,
        options.poll_us,
    )
}

fn finish(options: &Options, tables: &str, figures: &[Figure]) -> anyhow::Result<ExitCode> {
    write_json(&options.json, figures)?;
    println!("figures are in {}", options.json.display());
    if let Some(file) = &options.out_markdown {
        let document = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, between_marks(&document, "relay", tables))
            .with_context(|| format!("--out-markdown {}", file.display()))?;
    }
    let missed: Vec<_> = figures.iter().filter(|figure| !figure.is_reached()).collect();
    for figure in &missed {
        let goal = figure.goal.unwrap_or_default();
        println!("goal missed: {}: {} is {:.3}, goal {goal}", figure.row, figure.metric, figure.value);
    }
    Ok(if options.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The subjects that were asked for and can be had, and a loud line for each that cannot.
fn start_subjects(options: &Options) -> anyhow::Result<(Subjects, Vec<String>)> {
    let wanted = |name: &str| {
        options.subject.is_empty() || options.subject.iter().any(|text| name.contains(text.as_str()))
    };
    let core = options.subject_core;
    let beside = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    let motet = options.motet.clone().unwrap_or_else(|| beside.join("motet"));
    let bare_loop = options.bare_loop.clone().unwrap_or_else(|| beside.join("examples/bare_loop"));
    let (mut subjects, mut skipped): (Subjects, _) = (Vec::new(), Vec::new());
    for (name, io, ports) in [("motet-uring", "uring", NODE_PORTS[0]), ("motet-mmsg", "mmsg", NODE_PORTS[1])]
    {
        if wanted(name) {
            must_exist(&motet, "cargo build --release -p motet")?;
            subjects.push(Box::new(Node::start(name, io, &motet, ports, core)?));
        }
    }
    for (name, io) in [("floor-uring", "uring"), ("floor-mmsg", "mmsg")] {
        if wanted(name) {
            must_exist(&bare_loop, "cargo build --release -p motet-net --example bare_loop")?;
            subjects.push(Box::new(Floor::new(name, io, bare_loop.clone(), core)));
        }
    }
    if wanted("rtpengine") {
        match Rtpengine::installed() {
            Some(version) => {
                println!("- rtpengine: {version}");
                let (port_min, port_max) = RTPENGINE_PORTS;
                subjects.push(Box::new(Rtpengine::start(port_min, port_max, core)?));
            }
            None => skipped.push(
                "**rtpengine is NOT INSTALLED (apt-get install rtpengine): nothing was compared with it.**"
                    .to_owned(),
            ),
        }
    }
    ensure!(!subjects.is_empty(), "--subject: no subject has this in its name");
    Ok((subjects, skipped))
}

fn must_exist(binary: &Path, build: &str) -> anyhow::Result<()> {
    if !binary.is_file() {
        bail!("{} is missing; build it with `{build}`", binary.display());
    }
    Ok(())
}

/// A run of free ports for the generator.
fn free_sinks() -> anyhow::Result<Sinks> {
    const STRIDE: u16 = 2;
    let sinks_max = ROWS.iter().map(|row| row.fan_out).max().unwrap_or(0);
    for base in (GENERATOR_PORT..GENERATOR_PORT + 2_000).step_by(100) {
        let address = |index: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, base + index * STRIDE));
        if (0..=sinks_max).all(|index| UdpSocket::bind(address(index)).is_ok()) {
            return Ok(Sinks { source: address(0), first: address(1), count: 0, stride: STRIDE });
        }
    }
    bail!("no {sinks_max} free ports from {GENERATOR_PORT} on");
}
