//! The relay benchmark: processor time per forwarded packet, one publisher to many sinks.
//!
//! The subject has one core, the generator the other. Processor time is what the kernel has counted for
//! all threads of the subject; packets are those that the sinks have received. Subjects take turns within
//! a round, so that a machine that changes its mind hits them all alike.

use crate::figures::{Figure, median};
use crate::process::processor_ns;
use crate::table;
use anyhow::Context;
use motet_net::IoChoice;
use motet_rtpgen::options::{Expect, Shape as StreamShape};
use motet_rtpgen::raw::RawLoad;
use motet_rtpgen::report::Report;
use motet_rtpgen::run::{Control, Wait, execute};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Time that a subject is loaded before measuring, so that it has latched, and its buffers are warm.
const WARM_UP: Duration = Duration::from_millis(400);
/// Packets ahead of each turn, which has an SSRC of its own: a source is on probation until two packets in
/// sequence have come (RFC 3550 appendix A.1), and those of a probation do not count as lost.
const PREAMBLE: u16 = 2;
/// Time after measuring during which the load still runs, so that the end is not measured.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// What the packets of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bursts of ten packets of 1,200 bytes: a video frame.
    Video,
    /// Single packets of 172 bytes: G.711.
    Audio,
}

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the packets are.
    pub shape: Shape,
    /// Sinks.
    pub fan_out: u16,
    /// Time from burst to burst, for all subjects alike.
    pub interval: Duration,
    /// Whether it has the goals of the project: ratios to the floor and to rtpengine.
    pub has_goals: bool,
}

/// Every row: about 100,000 packets a second leave the relay, fewer where the fan-out is small.
pub const ROWS: [Row; 5] = [
    Row { shape: Shape::Video, fan_out: 1, interval: Duration::from_millis(1), has_goals: false },
    Row { shape: Shape::Video, fan_out: 5, interval: Duration::from_millis(1), has_goals: false },
    Row { shape: Shape::Video, fan_out: 20, interval: Duration::from_millis(2), has_goals: true },
    Row { shape: Shape::Video, fan_out: 100, interval: Duration::from_millis(10), has_goals: false },
    Row { shape: Shape::Audio, fan_out: 200, interval: Duration::from_millis(2), has_goals: false },
];

/// Most processor time per packet, as a share of rtpengine's, where a row has goals.
const RATIO_TO_RTPENGINE_MAX: f64 = 0.333;
/// Most processor time per packet, as a multiple of the floor's, where a row has goals.
const RATIO_TO_FLOOR_MAX: f64 = 1.6;

impl Row {
    /// Its stable name.
    pub fn name(&self) -> String {
        match self.shape {
            Shape::Video => format!("video fan-out {}", self.fan_out),
            Shape::Audio => format!("audio fan-out {}", self.fan_out),
        }
    }

    /// Packets that leave the relay each second.
    pub fn packets_per_second(&self) -> f64 {
        f64::from(self.stream().burst) * f64::from(self.fan_out) / self.interval.as_secs_f64()
    }

    /// RTP payload type of the stream.
    pub fn payload_type(&self) -> u8 {
        match self.shape {
            Shape::Video => 96,
            Shape::Audio => 0,
        }
    }

    /// RTP clock of the stream.
    pub fn clock_hz(&self) -> u32 {
        match self.shape {
            Shape::Video => 90_000,
            Shape::Audio => 8_000,
        }
    }

    fn stream(&self) -> StreamShape {
        let (packet_bytes, burst) = match self.shape {
            Shape::Video => (1200, 10),
            Shape::Audio => (172, 1),
        };
        StreamShape { packet_bytes, burst, interval: self.interval }
    }
}

/// Where the generator sends from and receives.
#[derive(Clone, Copy, Debug)]
pub struct Sinks {
    /// The publisher's address.
    pub source: SocketAddr,
    /// The first sink.
    pub first: SocketAddr,
    /// Number of sinks.
    pub count: u16,
    /// Distance of their ports.
    pub stride: u16,
}

impl Sinks {
    /// Address of a sink.
    pub fn address(&self, index: u16) -> SocketAddr {
        SocketAddr::new(self.first.ip(), self.first.port() + index * self.stride)
    }
}

/// A process under test.
pub trait Subject {
    /// Its stable name.
    fn name(&self) -> &'static str;
    /// Its process id, once prepared.
    fn pid(&self) -> u32;
    /// RTP payload type to send it.
    fn payload_type(&self, row: &Row) -> u8 {
        row.payload_type()
    }
    /// Makes it forward to the sinks; gives the address to send to.
    fn prepare(&mut self, row: &Row, sinks: &Sinks) -> anyhow::Result<SocketAddr>;
    /// Undoes it.
    fn finish_row(&mut self) -> anyhow::Result<()>;
}

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

/// Measures all subjects in one row, in turns.
pub fn measure_row(
    row: &Row,
    subjects: &mut [Box<dyn Subject>],
    sinks: &Sinks,
    settings: &Settings,
) -> anyhow::Result<Vec<Results>> {
    let sinks = Sinks { count: row.fan_out, ..*sinks };
    let mut targets = Vec::new();
    for subject in subjects.iter_mut() {
        let target = subject.prepare(row, &sinks);
        targets.push(target.with_context(|| format!("{}: cannot be set up", subject.name()))?);
    }
    let mut results: Vec<Results> = subjects
        .iter()
        .map(|subject| Results { row: *row, subject: subject.name(), turns: Vec::new() })
        .collect();
    for round in 0..settings.rounds {
        for (index, subject) in subjects.iter().enumerate() {
            let turn = measure(row, subject.as_ref(), targets[index], &sinks, settings, round);
            results[index].turns.push(turn.with_context(|| format!("{}: {}", row.name(), subject.name()))?);
        }
    }
    for subject in subjects.iter_mut() {
        subject.finish_row().with_context(|| format!("{} after {}", subject.name(), row.name()))?;
    }
    Ok(results)
}

fn measure(
    row: &Row,
    subject: &dyn Subject,
    target: SocketAddr,
    sinks: &Sinks,
    settings: &Settings,
    round: u32,
) -> anyhow::Result<Turn> {
    let load = RawLoad {
        run: std::process::id().rotate_left(12) ^ round ^ (subject.pid() << 8),
        send: vec![target],
        send_from: Some(sinks.source.port()),
        symmetric: false,
        receive: sinks.first,
        receivers: u32::from(sinks.count),
        stride: sinks.stride,
        expect: Expect::All,
        streams: 1,
        shape: row.stream(),
        payload_type: subject.payload_type(row),
        clock_hz: row.clock_hz(),
        preamble: PREAMBLE,
        duration: WARM_UP + settings.time + COOL_DOWN,
        drain: Duration::from_millis(300),
        loss_percent_max: 0.0,
        io: IoChoice::Mmsg,
        wait: settings.wait,
        threads: 1,
        cores: vec![settings.core],
    };
    let plan = load.plan()?;
    let control = Control::default();
    let (from, to, report) = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(plan, &control));
        let sample = || Sample::take(subject.pid(), &control);
        std::thread::sleep(WARM_UP);
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

impl Results {
    fn values(&self, value: impl Fn(&Turn) -> f64) -> Vec<f64> {
        self.turns.iter().map(value).collect()
    }

    /// Packets lost in all turns.
    pub fn lost(&self) -> u64 {
        self.turns.iter().map(|turn| turn.report.lost).sum()
    }

    /// Median over the rounds of this subject's cost as a multiple of another's in the same round.
    fn ratio_to(&self, other: &Results) -> f64 {
        let pairs = self.turns.iter().zip(&other.turns);
        median(&pairs.map(|(own, other)| own.processor_ns / other.processor_ns).collect::<Vec<_>>())
    }

    /// The bare loop on the same back end.
    fn floor<'a>(&self, row: &'a [Results]) -> Option<&'a Results> {
        let io = self.subject.strip_prefix("motet-")?;
        row.iter().find(|other| other.subject.strip_prefix("floor-") == Some(io))
    }

    fn rtpengine<'a>(&self, row: &'a [Results]) -> Option<&'a Results> {
        row.iter().find(|other| other.subject == "rtpengine" && other.subject != self.subject)
    }

    /// Everything that programs may want to compare; `row` holds the results of all subjects.
    pub fn figures(&self, row: &[Results]) -> Vec<Figure> {
        let name = format!("{} / {}", self.row.name(), self.subject);
        let is_ours = self.subject.starts_with("motet-");
        let mut figures = Vec::new();
        let mut add = |metric, value, unit, goal| {
            figures.push(Figure { row: name.clone(), metric, value, unit, goal });
        };
        let processor = self.values(|turn| turn.processor_ns);
        add("cpu_per_packet", median(&processor), "ns", None);
        add("cpu_per_packet_min", processor.iter().copied().fold(f64::INFINITY, f64::min), "ns", None);
        add("cpu_per_packet_max", processor.iter().copied().fold(0.0, f64::max), "ns", None);
        let with_goals = |goal| (is_ours && self.row.has_goals).then_some(goal);
        if let Some(floor) = self.floor(row) {
            add("ratio_to_floor", self.ratio_to(floor), "ratio", with_goals(RATIO_TO_FLOOR_MAX));
        }
        if let Some(rtpengine) = self.rtpengine(row) {
            add("ratio_to_rtpengine", self.ratio_to(rtpengine), "ratio", with_goals(RATIO_TO_RTPENGINE_MAX));
        }
        add("packets_per_second", median(&self.values(|turn| turn.packets_per_second)), "1/s", None);
        add("loss", self.lost() as f64, "packets", is_ours.then_some(0.0));
        add("latency_p50", median(&self.values(|turn| turn.report.latency_us.p50)), "us", None);
        add("latency_p99", median(&self.values(|turn| turn.report.latency_us.p99)), "us", None);
        figures
    }

    /// What made the generator itself the bottleneck, if anything.
    fn notes(&self) -> String {
        let mut notes: Vec<String> = Vec::new();
        for turn in &self.turns {
            let report = &turn.report;
            let wrong = report.corrupt + report.mislabelled + report.wrongly_routed + report.duplicated;
            let wrong = (wrong > 0).then(|| format!("{wrong} packets wrong"));
            notes.extend(report.bottlenecks.iter().map(|text| format!("GENERATOR {text}")).chain(wrong));
        }
        notes.dedup();
        notes.join("; ")
    }
}

const HEADER: [&str; 10] = [
    "subject",
    "ns/packet",
    "min-max",
    "/ floor",
    "/ rtpengine",
    "packets/s",
    "lost",
    "p50 µs",
    "p99 µs",
    "goals",
];

/// The table of one row, with remarks below it.
pub fn row_table(row: &Row, results: &[Results]) -> String {
    let lines: Vec<Vec<String>> = results.iter().map(|result| table_line(result, results)).collect();
    let offered = row.packets_per_second();
    let mut out = format!("### {}\n\n{}\n", row.name(), what_is_sent(row, offered));
    out += &table::render(&HEADER, &lines);
    for result in results {
        let notes = result.notes();
        if !notes.is_empty() {
            out += &format!("\n{}: {notes}\n", result.subject);
        }
    }
    out
}

fn what_is_sent(row: &Row, offered: f64) -> String {
    let stream = row.stream();
    let micros = row.interval.as_micros();
    let (burst, bytes) = (stream.burst, stream.packet_bytes);
    format!(
        "{burst} × {bytes} B every {micros} µs to {} sinks: {offered:.0} packets/s leave the relay.\n",
        row.fan_out
    )
}

fn table_line(result: &Results, row: &[Results]) -> Vec<String> {
    let figures = result.figures(row);
    let figure = |metric: &str| figures.iter().find(|figure| figure.metric == metric);
    let number = |metric: &str, digits: usize| {
        figure(metric).map_or("-".to_owned(), |figure| format!("{:.digits$}", figure.value))
    };
    let goals: Vec<String> = figures
        .iter()
        .filter_map(|figure| {
            let mark = if figure.is_reached() { "ok" } else { "MISSED" };
            let name = figure.metric.trim_start_matches("ratio_to_");
            figure.goal.map(|goal| format!("{name} ≤ {goal} {mark}"))
        })
        .collect();
    vec![
        result.subject.to_owned(),
        number("cpu_per_packet", 0),
        format!("{}-{}", number("cpu_per_packet_min", 0), number("cpu_per_packet_max", 0)),
        number("ratio_to_floor", 2),
        number("ratio_to_rtpengine", 3),
        number("packets_per_second", 0),
        number("loss", 0),
        number("latency_p50", 0),
        number("latency_p99", 0),
        goals.join(", "),
    ]
}

#[cfg(test)]
mod tests;
