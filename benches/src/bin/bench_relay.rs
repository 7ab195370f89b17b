//! `bench_relay`: motet against a bare loop and other relays, in one run.
//!
//! Needs release builds of `motet` and of the example `bare_loop`, see `make bench-relay`.
#![forbid(unsafe_code)]

use anyhow::{Context, bail, ensure};
use clap::Parser;
use motet_benches::figures::{between_marks, write_json};
use motet_benches::floor::Floor;
use motet_benches::mediasoup::{self, Mediasoup};
use motet_benches::node::Node;
use motet_benches::process::{pin, prefer};
use motet_benches::relay::memory::{self, SPREADS, footprint_table};
use motet_benches::relay::rows::PORTS_MAX;
use motet_benches::relay::takeover::{self, TakeOvers, take_over_table};
use motet_benches::relay::{
    HALF_LOAD, Ports, ROWS, Results, Row, SHARED_PORT, Settings, Subject, TAKE_OVERS, flatness, measure_row,
    row_table,
};
use motet_benches::rtpengine::Rtpengine;
use motet_benches::{Figure, machine};
use motet_rtpgen::run::Wait;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
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
    #[arg(long, default_value_t = 2.0)]
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
    /// The worker of mediasoup [default: ../peers/mediasoup-worker beside this program]
    #[arg(long, value_name = "FILE")]
    mediasoup: Option<PathBuf>,
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

/// Everyone has a loopback address of its own, so that nobody's ports are in anybody's way.
const GENERATOR_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
const URING_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 2));
const MMSG_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 3));
const FLOOR_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 4));
const RTPENGINE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 5));
const MEDIASOUP_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 6));
/// First ports to try for the generator; below those that the system gives out by itself.
const GENERATOR_PORTS: [u16; 4] = [12_000, 14_000, 18_000, 22_000];

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
    let preferred = prefer();
    pin(options.generator_core)?;
    let settings = Settings {
        rounds: if options.quick { 1 } else { options.rounds },
        time: Duration::from_secs_f64(if options.quick { 0.5 } else { options.seconds }),
        core: options.generator_core,
        wait: Wait::Poll(Duration::from_micros(options.poll_us)),
    };
    let mut report =
        Report { tables: format!("{machine}{}", how(options, &settings, preferred)), figures: Vec::new() };
    measure_memory(options, &mut report)?;
    measure_half_load(options, &settings, &mut report)?;
    measure_take_overs(options, &settings, &mut report)?;
    let mut all = Vec::new();
    let skipped = measure_rows(options, &settings, &mut report, &mut all)?;
    measure_shared_port(options, &settings, &mut report, &mut all)?;
    let (table, figures) = flatness(&all);
    report.add(&table, figures);
    ensure!(!report.figures.is_empty(), "--row {}: no row has this in its name", options.row);
    skipped.iter().for_each(|line| report.add(line, Vec::new()));
    finish(options, &report.tables, &report.figures)
}

/// What has been measured so far.
struct Report {
    tables: String,
    figures: Vec<Figure>,
}

impl Report {
    fn add(&mut self, table: &str, figures: Vec<Figure>) {
        if !table.is_empty() {
            println!("{table}");
            self.tables += &format!("\n{table}\n");
        }
        self.figures.extend(figures);
    }

    /// What all subjects of a row came to, if any took part.
    fn add_row(&mut self, row: &Row, results: &[Results]) {
        if !results.is_empty() {
            let figures = results.iter().flat_map(|result| result.figures(results)).collect();
            self.add(&row_table(row, results), figures);
        }
    }
}

/// First, since it wants nodes that were just started.
fn measure_memory(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut footprints = Vec::new();
    for spread in SPREADS.into_iter().filter(|spread| spread.name().contains(&options.row)) {
        for (name, io, ip) in NODES.into_iter().filter(|(name, ..)| options.wants(name)) {
            let mut node = Node::start(name, io, &options.motet()?, ip, options.subject_core)?;
            let pid = node.pid();
            footprints.push(memory::measure(spread, name, &mut node, pid, GENERATOR_IP)?);
        }
    }
    let figures = footprints.iter().flat_map(|footprint| footprint.figures()).collect();
    report.add(&footprint_table(&footprints), figures);
    Ok(())
}

/// On nodes of their own, whose histograms hold nothing else.
fn measure_half_load(options: &Options, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    if !HALF_LOAD.name.contains(&options.row) {
        return Ok(());
    }
    let mut nodes: Subjects = Vec::new();
    for (name, io, ip) in NODES.into_iter().filter(|(name, ..)| options.wants(name)) {
        nodes.push(Box::new(Node::start(name, io, &options.motet()?, ip, options.subject_core)?));
    }
    if nodes.is_empty() {
        return Ok(());
    }
    // A few milliseconds in which something else had the core spoil a turn's p99; more turns help.
    let settings = Settings { rounds: 2 * settings.rounds, ..*settings };
    let results = measure_row(&HALF_LOAD, &mut nodes, &free_ports(GENERATOR_IP)?, &settings)?;
    report.add_row(&HALF_LOAD, &results);
    Ok(())
}

fn measure_take_overs(options: &Options, settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for row in TAKE_OVERS.iter().filter(|row| row.name.contains(&options.row)) {
        for (name, io, ip) in NODES.into_iter().filter(|(name, ..)| options.wants(name)) {
            let mut node = Node::start(name, io, &options.motet()?, ip, options.subject_core)?;
            all.push(takeover::measure(row, &mut node, &free_ports(GENERATOR_IP)?, settings)?);
        }
    }
    let figures = all.iter().flat_map(TakeOvers::figures).collect();
    report.add(&take_over_table(&all), figures);
    Ok(())
}

/// Gives a loud line for each subject that could not be had.
fn measure_rows(
    options: &Options,
    settings: &Settings,
    report: &mut Report,
    all: &mut Vec<Results>,
) -> anyhow::Result<Vec<String>> {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.name.contains(&options.row)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (mut subjects, skipped) = start_subjects(options)?;
    let ports = free_ports(GENERATOR_IP)?;
    for row in rows {
        let results = measure_row(row, &mut subjects, &ports, settings)?;
        report.add_row(row, &results);
        all.extend(results);
    }
    Ok(skipped)
}

/// On nodes of their own, after all others have ended: here the generator's sockets take every address's ports.
fn measure_shared_port(
    options: &Options,
    settings: &Settings,
    report: &mut Report,
    all: &mut Vec<Results>,
) -> anyhow::Result<()> {
    let rows: Vec<_> = SHARED_PORT.iter().filter(|row| row.name.contains(&options.row)).collect();
    let mut nodes: Subjects = Vec::new();
    for (name, io, ip) in NODES.into_iter().filter(|(name, ..)| !rows.is_empty() && options.wants(name)) {
        let node = Node::start_at_one_port(name, io, &options.motet()?, ip, options.subject_core)?;
        nodes.push(Box::new(node));
    }
    if nodes.is_empty() {
        return Ok(());
    }
    let ports = free_ports(Ipv4Addr::UNSPECIFIED.into())?;
    for row in rows {
        let results = measure_row(row, &mut nodes, &ports, settings)?;
        report.add_row(row, &results);
        all.extend(results);
    }
    Ok(())
}

fn how(options: &Options, settings: &Settings, preferred: bool) -> String {
    format!(
        "- command: `bench_relay --rounds {} --seconds {}`; subject on core {}, generator on core {}, which looks \
         at its sockets every {} µs; {}\n",
        settings.rounds,
        settings.time.as_secs_f64(),
        options.subject_core,
        options.generator_core,
        options.poll_us,
        if preferred { "both at nice -15" } else { "at usual priority" },
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

/// Name, back end and address of the nodes.
const NODES: [(&str, &str, IpAddr); 2] =
    [("motet-uring", "uring", URING_IP), ("motet-mmsg", "mmsg", MMSG_IP)];

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.subject.is_empty() || self.subject.iter().any(|text| name.contains(text.as_str()))
    }

    fn motet(&self) -> anyhow::Result<PathBuf> {
        binary(self.motet.as_deref(), "motet", "cargo build --release -p motet")
    }

    fn bare_loop(&self) -> anyhow::Result<PathBuf> {
        let build = "cargo build --release -p motet-net --example bare_loop";
        binary(self.bare_loop.as_deref(), "examples/bare_loop", build)
    }
}

/// What was named, or what lies beside this program.
fn binary(named: Option<&Path>, beside: &str, build: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    let binary = named.map_or_else(|| here.join(beside), Path::to_owned);
    ensure!(binary.is_file(), "{} is missing; build it with `{build}`", binary.display());
    Ok(binary)
}

/// The subjects that were asked for and can be had, and a loud line for each that cannot.
fn start_subjects(options: &Options) -> anyhow::Result<(Subjects, Vec<String>)> {
    let core = options.subject_core;
    let (mut subjects, mut skipped): (Subjects, _) = (Vec::new(), Vec::new());
    for (name, io, ip) in NODES.into_iter().filter(|(name, ..)| options.wants(name)) {
        subjects.push(Box::new(Node::start(name, io, &options.motet()?, ip, core)?));
    }
    for (name, io) in [("floor-uring", "uring"), ("floor-mmsg", "mmsg")] {
        if options.wants(name) {
            subjects.push(Box::new(Floor::new(name, io, options.bare_loop()?, FLOOR_IP, core)));
        }
    }
    if options.wants("rtpengine") {
        match Rtpengine::installed() {
            Some(version) => {
                println!("- rtpengine: {version}");
                subjects.push(Box::new(Rtpengine::start(RTPENGINE_IP, core)?));
            }
            None => skipped.push(
                "**rtpengine: not measured: it is not installed (apt-get install rtpengine-daemon).**"
                    .to_owned(),
            ),
        }
    }
    if options.wants("mediasoup") {
        match binary(options.mediasoup.as_deref(), "../peers/mediasoup-worker", "scripts/mediasoup.sh") {
            Ok(worker) => {
                println!("- mediasoup: worker {}", mediasoup::VERSION);
                subjects.push(Box::new(Mediasoup::start(&worker, MEDIASOUP_IP, core)?));
            }
            Err(missing) => skipped.push(format!("**mediasoup: not measured: {missing}.**")),
        }
    }
    ensure!(!subjects.is_empty(), "--subject: no subject has this in its name");
    Ok((subjects, skipped))
}

/// A run of free ports for the generator.
fn free_ports(ip: IpAddr) -> anyhow::Result<Ports> {
    for first in GENERATOR_PORTS {
        let ports = Ports { ip, first };
        if (0..PORTS_MAX).all(|index| UdpSocket::bind(ports.address(index)).is_ok()) {
            return Ok(ports);
        }
    }
    bail!("no {PORTS_MAX} free UDP ports in a row on {ip}")
}
