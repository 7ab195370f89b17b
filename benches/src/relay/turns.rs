//! Measures the subjects of a row in turns.

use crate::process::processor_ns;
use crate::relay::rows::{Row, Turn as RowTurn};
use crate::relay::{Ports, Subject};
use anyhow::Context;
use motet_rtpgen::report::Report;
use motet_rtpgen::run::{Control, Wait, execute};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Least time that a subject is loaded before measuring, so that it has latched, and its buffers are warm.
const WARM_UP_MIN: Duration = Duration::from_millis(400);
/// Time after measuring during which the load still runs, so that the end is not measured.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Turns of each subject in each row.
    pub rounds: u32,
    /// Time measured in each turn.
    pub time: Duration,
    /// Core of the generator.
    pub core: usize,
    /// How the generator waits.
    pub wait: Wait,
}

/// What one turn of one subject came to.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Processor time per packet received at the sinks.
    pub processor_ns: f64,
    /// Packets received a second.
    pub packets_per_second: f64,
    /// Everything else, over the whole turn.
    pub report: Report,
}

/// All turns of one subject in one row.
#[derive(Clone, Debug)]
pub struct Results {
    /// The row.
    pub row: Row,
    /// The subject's name.
    pub subject: &'static str,
    /// Its turns.
    pub turns: Vec<Turn>,
}

/// A subject at work in a row.
struct Entrant<'a> {
    subject: &'a mut Box<dyn Subject>,
    targets: Vec<SocketAddr>,
    results: Results,
}

/// Measures all subjects that take part in a row, in turns.
pub fn measure_row(
    row: &Row,
    subjects: &mut [Box<dyn Subject>],
    ports: &Ports,
    settings: &Settings,
) -> anyhow::Result<Vec<Results>> {
    let rooms = row.rooms(ports);
    let mut entrants = Vec::new();
    for subject in subjects.iter_mut().filter(|subject| subject.takes_part(row)) {
        let targets = subject.prepare(row, &rooms);
        let targets =
            targets.with_context(|| format!("{}: {} cannot be set up", row.name, subject.name()))?;
        let results = Results { row: *row, subject: subject.name(), turns: Vec::new() };
        entrants.push(Entrant { subject, targets, results });
    }
    for round in 0..settings.rounds {
        for entrant in &mut entrants {
            let turn = measure(row, entrant, ports, settings, round);
            let turn = turn.with_context(|| format!("{}: {}", row.name, entrant.results.subject))?;
            entrant.results.turns.push(turn);
        }
    }
    let mut results = Vec::new();
    for entrant in entrants {
        let finished = entrant.subject.finish_row();
        finished.with_context(|| format!("{} after {}", entrant.results.subject, row.name))?;
        results.push(entrant.results);
    }
    Ok(results)
}

fn measure(
    row: &Row,
    entrant: &Entrant<'_>,
    ports: &Ports,
    settings: &Settings,
    round: u32,
) -> anyhow::Result<Turn> {
    let subject = &entrant.subject;
    // Every stream has been seen once before measuring starts.
    let warm_up = WARM_UP_MIN.max(row.interval + row.interval / 10);
    let load = row.load(
        ports,
        &RowTurn {
            run: std::process::id().rotate_left(12) ^ round ^ (subject.pid() << 8),
            targets: &entrant.targets,
            payload_type: subject.payload_type(row),
            duration: warm_up + settings.time + COOL_DOWN,
            wait: settings.wait,
            core: settings.core,
        },
    );
    let plan = load.plan()?;
    let control = Control::default();
    let (from, to, report) = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(plan, &control));
        let sample = || Sample::take(subject.pid(), &control);
        std::thread::sleep(warm_up);
        let from = sample();
        std::thread::sleep(settings.time);
        let to = sample();
        (from, to, running.join().expect("a panic of the generator was printed"))
    });
    let (from, to) = (from?, to?);
    let packets = to.packets - from.packets;
    Ok(Turn {
        processor_ns: (to.processor_ns - from.processor_ns) as f64 / packets.max(1) as f64,
        packets_per_second: packets as f64 / (to.at - from.at).as_secs_f64(),
        report: report?,
    })
}

struct Sample {
    at: Instant,
    processor_ns: u64,
    packets: u64,
}

impl Sample {
    fn take(pid: u32, control: &Control) -> anyhow::Result<Sample> {
        let packets = control.received.load(Relaxed);
        Ok(Sample { at: Instant::now(), processor_ns: processor_ns(pid)?, packets })
    }
}
