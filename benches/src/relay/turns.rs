//! Measures the subjects of a row in turns.

use crate::process::processor_ns;
use crate::relay::rows::{Row, Turn as RowTurn};
use crate::relay::{Ports, Residence, Subject, Task};
use anyhow::Context;
use motet_rtpgen::raw::first_ssrc;
use motet_rtpgen::report::Report;
use motet_rtpgen::run::{Control, Wait, execute};
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
    /// How long packets stayed in the relay; none: it does not say.
    pub residence: Option<Residence>,
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

/// Measures all subjects that take part in a row, in turns.
///
/// A subject is set up anew for each turn, so that none has to take a new source for an old one.
pub fn measure_row(
    row: &Row,
    subjects: &mut [Box<dyn Subject>],
    ports: &Ports,
    settings: &Settings,
) -> anyhow::Result<Vec<Results>> {
    let mut entrants: Vec<_> = subjects.iter_mut().filter(|subject| subject.takes_part(row)).collect();
    let mut results: Vec<Results> = entrants
        .iter()
        .map(|subject| Results { row: *row, subject: subject.name(), turns: Vec::new() })
        .collect();
    for round in 0..settings.rounds {
        for (subject, results) in entrants.iter_mut().zip(&mut results) {
            let turn = measure(row, subject.as_mut(), ports, settings, round);
            results.turns.push(turn.with_context(|| format!("{}: {}", row.name, results.subject))?);
        }
    }
    Ok(results)
}

fn measure(
    row: &Row,
    subject: &mut dyn Subject,
    ports: &Ports,
    settings: &Settings,
    round: u32,
) -> anyhow::Result<Turn> {
    let run = std::process::id().rotate_left(12) ^ round ^ (subject.pid() << 8);
    let task = Task { row, rooms: &row.rooms(ports), first_ssrc: first_ssrc(run) };
    let targets = subject.prepare(&task).context("cannot be set up")?;
    // Every stream has been seen once before measuring starts.
    let warm_up = WARM_UP_MIN.max(row.interval + row.interval / 10);
    let load = row.load(
        ports,
        &RowTurn {
            run,
            targets: &targets,
            payload_type: subject.payload_type(row),
            duration: warm_up + settings.time + COOL_DOWN,
            wait: settings.wait,
            core: settings.core,
        },
    );
    let plan = load.plan()?;
    let control = Control::default();
    let pid = subject.pid();
    let (from, to, stayed, report) = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(plan, &control));
        let sample = || Sample::take(pid, &control);
        std::thread::sleep(warm_up);
        let stayed_before = subject.residence();
        let from = sample();
        std::thread::sleep(settings.time);
        let to = sample();
        let stayed = (stayed_before, subject.residence());
        (from, to, stayed, running.join().expect("a panic of the generator was printed"))
    });
    subject.finish().context("cannot be taken down")?;
    let (from, to) = (from?, to?);
    let packets = to.packets - from.packets;
    Ok(Turn {
        processor_ns: (to.processor_ns - from.processor_ns) as f64 / packets.max(1) as f64,
        packets_per_second: packets as f64 / (to.at - from.at).as_secs_f64(),
        residence: stayed.1?.zip(stayed.0?).map(|(after, before)| after.since(&before)),
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
