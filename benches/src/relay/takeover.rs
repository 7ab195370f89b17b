//! A node that is taken over by a new process while packets flow: what is lost, and how long nothing comes.

use crate::figures::{Figure, median};
use crate::node::Node;
use crate::relay::results::verdict;
use crate::relay::rows::Turn;
use crate::relay::{Ports, Row, Settings, Subject, Task};
use crate::table;
use anyhow::{Context, ensure};
use motet_rtpgen::raw::first_ssrc;
use motet_rtpgen::report::Report;
use motet_rtpgen::run::{Control, execute};
use std::time::Duration;

/// Longest time without a packet in a stream whose packets come every millisecond.
const GAP_MS_MAX: f64 = 20.0;
/// Streams with packets further apart than this say nothing about so short a gap.
const INTERVAL_MAX: Duration = Duration::from_millis(1);
/// Load before the take-over.
const BEFORE: Duration = Duration::from_millis(700);
/// Load altogether; the take-over itself takes a few hundred milliseconds, most of them a process's start.
const LOAD: Duration = Duration::from_secs(3);

/// What the take-overs of one node came to.
#[derive(Clone, Debug)]
pub struct TakeOvers {
    row: Row,
    subject: &'static str,
    reports: Vec<Report>,
}

/// Takes a node over once in each round, under the row's load.
pub fn measure(row: &Row, node: &mut Node, ports: &Ports, settings: &Settings) -> anyhow::Result<TakeOvers> {
    let mut reports = Vec::new();
    for round in 0..settings.rounds {
        let report = take_over(row, node, ports, settings, round);
        reports.push(report.with_context(|| format!("{}: {}", row.name, node.name()))?);
    }
    Ok(TakeOvers { row: *row, subject: node.name(), reports })
}

fn take_over(
    row: &Row,
    node: &mut Node,
    ports: &Ports,
    settings: &Settings,
    round: u32,
) -> anyhow::Result<Report> {
    let run = std::process::id().rotate_left(12) ^ round ^ (node.pid() << 8);
    let task = Task { row, rooms: &row.rooms(ports), first_ssrc: first_ssrc(run) };
    let targets = node.prepare(&task).context("cannot be set up")?;
    let load = row.load(
        ports,
        &Turn {
            run,
            targets: &targets,
            payload_type: node.payload_type(row),
            duration: LOAD,
            wait: settings.wait,
            core: settings.core,
        },
    );
    let (plan, control, before) = (load.plan()?, Control::default(), node.pid());
    let (taken, report) = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(plan, &control));
        std::thread::sleep(BEFORE);
        let taken = node.take_over();
        let ended = running.is_finished();
        let report = running.join().expect("a panic of the generator was printed");
        (taken.map(|()| ended), report)
    });
    let ended = taken.context("cannot be taken over")?;
    ensure!(!ended, "the take-over took longer than the load lasted");
    ensure!(node.pid() != before, "the process is still the same");
    node.finish().context("cannot be taken down")?;
    report
}

impl TakeOvers {
    /// The figures, with their goals.
    pub fn figures(&self) -> Vec<Figure> {
        let row = format!("{} / {}", self.row.name, self.subject);
        let sum = |count: fn(&Report) -> u64| self.reports.iter().map(count).sum::<u64>() as f64;
        let figure = |metric, value, unit, goal| Figure { row: row.clone(), metric, value, unit, goal };
        let gap_goal = (self.row.interval <= INTERVAL_MAX).then_some(GAP_MS_MAX);
        vec![
            figure("loss", sum(|report| report.lost), "packets", Some(0.0)),
            figure("reordered", sum(|report| report.reordered), "packets", Some(0.0)),
            figure("duplicated", sum(|report| report.duplicated), "packets", Some(0.0)),
            figure("longest_gap", self.gaps().fold(0.0, f64::max), "ms", gap_goal),
        ]
    }

    fn gaps(&self) -> impl Iterator<Item = f64> {
        self.reports.iter().map(|report| report.gap_us_max as f64 / 1000.0)
    }
}

/// The table of all take-overs; empty when there are none.
pub fn take_over_table(all: &[TakeOvers]) -> String {
    let lines: Vec<Vec<String>> = all
        .iter()
        .map(|taken| {
            let figures = taken.figures();
            let goals: Vec<String> = figures.iter().filter_map(verdict).collect();
            let received = taken.reports.iter().map(|report| report.received).sum::<u64>();
            let gaps: Vec<f64> = taken.gaps().collect();
            let mut line = vec![
                format!("{}, {}", taken.row.name, taken.subject),
                taken.row.legs().to_string(),
                format!("{:.0}", taken.row.packets_per_second()),
                taken.reports.len().to_string(),
                received.to_string(),
            ];
            line.extend(figures[..3].iter().map(|figure| format!("{:.0}", figure.value)));
            line.extend([
                format!("{:.1}", median(&gaps)),
                format!("{:.1}", figures[3].value),
                goals.join(", "),
            ]);
            line
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let header = [
        "take-over of a node",
        "legs",
        "packets/s",
        "times",
        "received",
        "lost",
        "reordered",
        "duplicated",
        "gap ms, median",
        "longest",
        "goals",
    ];
    format!("### take-over under load\n\n{}", table::render(&header, &lines))
}
