//! Compares the subjects of a row, and rows of growing size.

use crate::figures::{Figure, median};
use crate::relay::Residence;
use crate::relay::rows::{HALF_LOAD, Row, Work};
use crate::relay::turns::{Results, Turn};
use crate::table;

/// Relays that motet is compared with, besides the floor.
const PEERS: [&str; 2] = ["rtpengine", "mediasoup"];
/// Most microseconds that 99 of 100 packets may stay in the relay at half load.
const RESIDENCE_P99_US_MAX: f64 = 200.0;
/// Most that the cost per packet may differ between few and many legs.
const FLATNESS_MAX: f64 = 1.5;

impl Results {
    fn values(&self, value: impl Fn(&Turn) -> f64) -> Vec<f64> {
        self.turns.iter().map(value).collect()
    }

    /// Packets lost in all turns.
    pub fn lost(&self) -> u64 {
        self.turns.iter().map(|turn| turn.report.lost).sum()
    }

    /// Median of the processor time per packet, in nanoseconds.
    pub fn processor_ns(&self) -> f64 {
        median(&self.values(|turn| turn.processor_ns))
    }

    /// Median over the rounds of this subject's cost as a multiple of another's in the same round.
    fn ratio_to(&self, other: &Results) -> f64 {
        let pairs = self.turns.iter().zip(&other.turns);
        median(&pairs.map(|(own, other)| own.processor_ns / other.processor_ns).collect::<Vec<_>>())
    }

    /// Share of its core that the subject used.
    fn core_busy(&self) -> f64 {
        median(&self.values(|turn| turn.processor_ns * turn.packets_per_second / 1e9))
    }

    /// Median over the turns of the time, in microseconds, that this share of packets did not stay longer
    /// than; none: the subject does not say.
    fn residence_us(&self, quantile: f64) -> Option<f64> {
        let of_turn = |turn: &Turn| turn.residence.as_ref().map(|times| times.quantile_us(quantile));
        let times = self.turns.iter().map(of_turn).collect::<Option<Vec<f64>>>()?;
        (!times.is_empty()).then(|| median(&times))
    }

    fn is_ours(&self) -> bool {
        self.subject.starts_with("motet-")
    }

    /// The bare loop on the same back end.
    fn floor<'a>(&self, row: &'a [Results]) -> Option<&'a Results> {
        let io = self.subject.strip_prefix("motet-")?;
        row.iter().find(|other| other.subject.strip_prefix("floor-") == Some(io))
    }

    fn peer<'a>(&self, name: &str, row: &'a [Results]) -> Option<&'a Results> {
        row.iter().find(|other| other.subject == name && other.subject != self.subject)
    }

    /// Everything that programs may want to compare; `row` holds the results of all subjects.
    pub fn figures(&self, row: &[Results]) -> Vec<Figure> {
        let name = format!("{} / {}", self.row.name, self.subject);
        let mut figures = Vec::new();
        let mut add = |metric, value, unit, goal| {
            figures.push(Figure { row: name.clone(), metric, value, unit, goal });
        };
        let processor = self.values(|turn| turn.processor_ns);
        add("cpu_per_packet", median(&processor), "ns", None);
        add("cpu_per_packet_min", processor.iter().copied().fold(f64::INFINITY, f64::min), "ns", None);
        add("cpu_per_packet_max", processor.iter().copied().fold(0.0, f64::max), "ns", None);
        let ours = |goal: Option<f64>| goal.filter(|_| self.is_ours());
        let goals = self.row.goals;
        if let Some(floor) = self.floor(row) {
            add("ratio_to_floor", self.ratio_to(floor), "ratio", ours(goals.floor));
        }
        let peers = [("ratio_to_rtpengine", goals.rtpengine), ("ratio_to_mediasoup", None)];
        for (peer, (metric, goal)) in PEERS.iter().zip(peers) {
            if let Some(peer) = self.peer(peer, row) {
                add(metric, self.ratio_to(peer), "ratio", ours(goal));
            }
        }
        add("packets_per_second", median(&self.values(|turn| turn.packets_per_second)), "1/s", None);
        add("loss", self.lost() as f64, "packets", ours(Some(0.0)));
        add("latency_p50", median(&self.values(|turn| turn.report.latency_us.p50)), "us", None);
        add("latency_p99", median(&self.values(|turn| turn.report.latency_us.p99)), "us", None);
        let worst = self.values(|turn| turn.report.latency_us_worst_flow);
        add("latency_mean_of_worst_leg", median(&worst), "us", None);
        add("core_busy", self.core_busy(), "share", None);
        if let (Some(p50), Some(p99)) = (self.residence_us(0.5), self.residence_us(0.99)) {
            let goal = ours(Some(RESIDENCE_P99_US_MAX)).filter(|_| self.row == HALF_LOAD);
            add("residence_p50", p50, "us", None);
            add("residence_p99", p99, "us", goal);
        }
        figures
    }

    /// How long packets stayed in the relay, in words.
    fn stay(&self) -> String {
        let (Some(p50), Some(p99)) = (self.residence_us(0.5), self.residence_us(0.99)) else {
            return format!("\n{}: does not say how long packets stay\n", self.subject);
        };
        let count = |turn: &Turn| turn.residence.as_ref().map_or(0, Residence::count);
        let packets: u64 = self.turns.iter().map(count).sum();
        let busy = self.core_busy() * 100.0;
        format!(
            "\n{}: core busy {busy:.0} %; from the kernel's receive stamp to the end of the turn's sends: \
             p50 ≤ {p50:.0} µs, p99 ≤ {p99:.0} µs (median of {} turns, {packets} packets)\n",
            self.subject,
            self.turns.len(),
        )
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

const HEADER: [&str; 12] = [
    "subject",
    "ns/packet",
    "min-max",
    "/ floor",
    "/ rtpengine",
    "/ mediasoup",
    "packets/s",
    "lost",
    "p50 µs",
    "p99 µs",
    "worst leg µs",
    "goals",
];

/// The table of one row, with remarks below it.
pub fn row_table(row: &Row, results: &[Results]) -> String {
    let lines: Vec<Vec<String>> = results.iter().map(|result| table_line(result, results)).collect();
    let mut out = format!("### {}\n\n{}\n\n", row.name, row.description());
    out += &table::render(&HEADER, &lines);
    for result in results {
        if *row == HALF_LOAD {
            out += &result.stay();
        }
        let notes = result.notes();
        if !notes.is_empty() {
            out += &format!("\n{}: {notes}\n", result.subject);
        }
    }
    out
}

fn table_line(result: &Results, row: &[Results]) -> Vec<String> {
    let figures = result.figures(row);
    let figure = |metric: &str| figures.iter().find(|figure| figure.metric == metric);
    let number = |metric: &str, digits: usize| {
        figure(metric).map_or("-".to_owned(), |figure| format!("{:.digits$}", figure.value))
    };
    let goals: Vec<String> = figures.iter().filter_map(verdict).collect();
    vec![
        result.subject.to_owned(),
        number("cpu_per_packet", 0),
        format!("{}-{}", number("cpu_per_packet_min", 0), number("cpu_per_packet_max", 0)),
        number("ratio_to_floor", 2),
        number("ratio_to_rtpengine", 3),
        number("ratio_to_mediasoup", 3),
        number("packets_per_second", 0),
        number("loss", 0),
        number("latency_p50", 0),
        number("latency_p99", 0),
        number("latency_mean_of_worst_leg", 0),
        goals.join(", "),
    ]
}

/// The goal of a figure and whether it is reached; none without a goal.
pub fn verdict(figure: &Figure) -> Option<String> {
    let mark = if figure.is_reached() { "ok" } else { "MISSED" };
    let name = figure.metric.trim_start_matches("ratio_to_");
    figure.goal.map(|goal| format!("{name} ≤ {goal} {mark}"))
}

/// How the cost per packet changes with the number of legs: a table, and one figure for each subject and
/// shape. Empty when fewer than two sizes were measured.
pub fn flatness(all: &[Results]) -> (String, Vec<Figure>) {
    let mut kinds: Vec<Kind> = all.iter().filter_map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (mut lines, mut figures) = (Vec::new(), Vec::new());
    for of_kind in kinds {
        let (shape, subject, ports) = of_kind;
        let sizes: Vec<&Results> = all.iter().filter(|result| kind(result) == Some(of_kind)).collect();
        if sizes.len() < 2 {
            continue;
        }
        let costs: Vec<f64> = sizes.iter().map(|result| result.processor_ns()).collect();
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let figure = Figure {
            row: format!("{shape} legs{ports} / {subject}"),
            metric: "cost_ratio_largest_to_smallest",
            value: costs.iter().copied().fold(0.0, f64::max) / least,
            unit: "ratio",
            goal: Some(FLATNESS_MAX),
        };
        let list = sizes.iter().zip(&costs);
        let list: Vec<String> =
            list.map(|(result, cost)| format!("{}: {cost:.0}", result.row.legs())).collect();
        let mark = if figure.is_reached() { "ok" } else { "MISSED" };
        lines.push(vec![
            format!("{shape}, {subject}{ports}"),
            list.join(", "),
            format!("{:.2}", figure.value),
            format!("≤ {FLATNESS_MAX} {mark}"),
        ]);
        figures.push(figure);
    }
    if lines.is_empty() {
        return (String::new(), figures);
    }
    let table = table::render(&["work", "legs: ns/packet", "largest / smallest", "goal"], &lines);
    (format!("### cost per packet from 10 to 10,000 legs\n\n{table}"), figures)
}

/// Shape, subject, and what is said of the relay's ports: rows that differ only in size have all in common.
type Kind = (&'static str, &'static str, &'static str);

/// None: the result belongs to no row of growing size.
fn kind(result: &Results) -> Option<Kind> {
    let (shape, size) = result.row.name.split_once(" legs ")?;
    let ports = size.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let grows = matches!(result.row.work, Work::Rooms(_) | Work::SharedPort(_));
    grows.then_some((shape, result.subject, ports))
}
