//! What the turns of a row came to: figures and tables.

use crate::audio::{Row, Turn};
use crate::figures::{Figure, median};
use crate::table;

/// All turns of one mixer in one row.
#[derive(Clone, Debug)]
pub struct Results {
    /// The row.
    pub row: Row,
    /// The mixer's name.
    pub mixer: &'static str,
    /// Its turns.
    pub turns: Vec<Turn>,
}

impl Results {
    fn values(&self, value: impl Fn(&Turn) -> f64) -> Vec<f64> {
        self.turns.iter().map(value).collect()
    }

    fn middle(&self, value: impl Fn(&Turn) -> f64) -> f64 {
        median(&self.values(value))
    }

    fn largest(&self, value: impl Fn(&Turn) -> f64) -> f64 {
        self.values(value).into_iter().fold(f64::NEG_INFINITY, f64::max)
    }

    fn sum(&self, value: impl Fn(&Turn) -> u64) -> u64 {
        self.turns.iter().map(value).sum()
    }

    /// Percent of a core for each participant.
    fn core_percent_each(&self, turn: &Turn) -> f64 {
        100.0 * turn.core_busy / self.row.participants() as f64
    }

    fn is_ours(&self) -> bool {
        self.mixer.starts_with("motet")
    }

    /// Median of the ratios within a round.
    fn ratio_to(&self, other: &Results) -> f64 {
        let pairs = self.turns.iter().zip(&other.turns);
        median(&pairs.map(|(own, other)| own.core_busy / other.core_busy).collect::<Vec<_>>())
    }

    /// Everything that programs may want to compare; `row` holds the results of all mixers.
    pub fn figures(&self, row: &[Results]) -> Vec<Figure> {
        let name = format!("{} / {}", self.row.name, self.mixer);
        let (mut figures, goals) = (Vec::new(), self.row.goals);
        let mut add = |metric, value, unit, goal: Option<f64>| {
            let goal = goal.filter(|_| self.is_ours());
            figures.push(Figure { row: name.clone(), metric, value, unit, goal });
        };
        add(
            "core_percent_each",
            self.middle(|turn| self.core_percent_each(turn)),
            "%",
            goals.core_percent_each,
        );
        let janus = row.iter().find(|other| other.mixer == "janus" && other.mixer != self.mixer);
        if let Some(janus) = janus {
            add("ratio_to_janus", self.ratio_to(janus), "ratio", goals.janus);
        }
        add("core_busy", self.middle(|turn| turn.core_busy), "share", goals.core_busy);
        if self.turns.iter().all(|turn| turn.late_ticks.is_some()) {
            add(
                "late_ticks",
                self.sum(|turn| turn.late_ticks.unwrap_or(0)) as f64,
                "ticks",
                goals.late_ticks,
            );
        }
        add("missing", self.sum(|turn| turn.report.missing) as f64, "packets", Some(0.0));
        add("packets_per_second_each", self.middle(|turn| turn.report.packets_per_second_each), "1/s", None);
        if let Some(quality) = self.middle_of(|turn| turn.quality) {
            add("quality", quality, "MOS-LQO", None);
        }
        if let Some(ratio) = self.middle_of(|turn| turn.snr_db) {
            add("segmental_snr", ratio, "dB", None);
        }
        if self.row.speech {
            return figures;
        }
        let unheard = self.sum(|turn| (turn.report.voices_expected - turn.report.voices_heard) as u64);
        add("voices_unheard", unheard as f64, "voices", Some(0.0));
        let echoes = self.sum(|turn| (turn.report.own_expected - turn.report.own_absent) as u64);
        add("own_voices", echoes as f64, "voices", Some(0.0));
        let off = self.largest(|turn| turn.report.level_db.p50.abs());
        add("level_off", off, "dB", None);
        add(
            "mouth_to_ear_p50",
            self.middle(|turn| turn.report.mouth_to_ear_ms.p50),
            "ms",
            goals.mouth_to_ear_ms,
        );
        add("mouth_to_ear_p99", self.middle(|turn| turn.report.mouth_to_ear_ms.p99), "ms", None);
        add("gap_max", self.largest(|turn| turn.report.gap_ms.max), "ms", goals.gap_ms);
        figures
    }

    fn middle_of(&self, value: fn(&Turn) -> Option<f64>) -> Option<f64> {
        let scores: Vec<f64> = self.turns.iter().filter_map(value).collect();
        (!scores.is_empty()).then(|| median(&scores))
    }

    fn notes(&self) -> String {
        let mut notes: Vec<String> = Vec::new();
        for turn in &self.turns {
            let report = &turn.report;
            notes.extend(report.bottlenecks.iter().map(|text| format!("GENERATOR {text}")));
            notes.extend(report.failures.iter().cloned());
        }
        notes.dedup();
        notes.join("; ")
    }
}

const HEADER: [&str; 13] = [
    "mixer",
    "core % each",
    "/ janus",
    "core busy",
    "late ticks",
    "missing",
    "heard",
    "mouth to ear ms",
    "p99",
    "gap ms",
    "PESQ",
    "SNR dB",
    "goals",
];

/// The table of one row, with remarks below it.
pub fn row_table(row: &Row, results: &[Results]) -> String {
    let lines: Vec<Vec<String>> = results.iter().map(|result| table_line(result, results)).collect();
    let mut out = format!("### {}\n\n{}\n\n", row.name, row.description());
    out += &table::render(&HEADER, &lines);
    for result in results {
        let notes = result.notes();
        if !notes.is_empty() {
            out += &format!("\n{}: {notes}\n", result.mixer);
        }
    }
    out
}

/// The goal of a figure and whether it is reached; none without a goal, or with one that goes without saying
/// and is reached.
fn verdict(figure: &Figure) -> Option<String> {
    let goal = figure.goal?;
    let text = match figure.metric {
        "core_percent_each" => format!("core ≤ {goal} % each"),
        "ratio_to_janus" => format!("janus / {:.0}", 1.0 / goal),
        "core_busy" => format!("busy ≤ {goal}"),
        "mouth_to_ear_p50" => format!("mouth to ear ≤ {goal} ms"),
        "gap_max" => format!("gap ≤ {goal} ms"),
        "late_ticks" => "no late tick".to_owned(),
        _ if figure.is_reached() => return None,
        metric => format!("{metric} ≤ {goal}"),
    };
    Some(format!("{text} {}", if figure.is_reached() { "ok" } else { "MISSED" }))
}

fn table_line(result: &Results, row: &[Results]) -> Vec<String> {
    let figures = result.figures(row);
    let number = |metric: &str, digits: usize| {
        let figure = figures.iter().find(|figure| figure.metric == metric);
        figure.map_or("-".to_owned(), |figure| format!("{:.digits$}", figure.value))
    };
    let voices = |value: fn(&Turn) -> usize| -> usize { result.turns.iter().map(value).sum() };
    let heard = match voices(|turn| turn.report.voices_expected) {
        0 => "-".to_owned(),
        expected => format!("{} of {expected}", voices(|turn| turn.report.voices_heard)),
    };
    let goals: Vec<String> = figures.iter().filter_map(verdict).collect();
    vec![
        result.mixer.to_owned(),
        number("core_percent_each", 4),
        number("ratio_to_janus", 4),
        number("core_busy", 3),
        number("late_ticks", 0),
        number("missing", 0),
        heard,
        number("mouth_to_ear_p50", 1),
        number("mouth_to_ear_p99", 1),
        number("gap_max", 1),
        number("quality", 2),
        number("segmental_snr", 1),
        goals.join(", "),
    ]
}
