//! What a run with sound came to: verdict, table and JSON.

use crate::audio::ear::Counts;
use crate::audio::judge::{ABSENT_DB_MAX, HEARD_DB_MIN, Heard};
use crate::audio::reports::Reported;
use crate::report::Generator;
use serde::Serialize;
use std::fmt::Write;

/// Frames that leave later than this (99 of 100) mean that the generator could not keep its schedule.
const LATE_MS_MAX: f64 = 2.0;
/// A thread busier than this has no room left.
const BUSY_SHARE_MAX: f64 = 0.95;
/// Faults listed one by one.
const FAULTS_LISTED_MAX: usize = 10;

/// Spread of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Values counted.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// Half of the values are at most this.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of values in any order; all zero of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return Spread::default() };
        let at = |share: f64| sorted[(share * last as f64).round() as usize];
        Spread { count: sorted.len(), min: sorted[0], p50: at(0.5), p99: at(0.99), max: sorted[last] }
    }
}

/// One receiver, as far as packets say.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Number of its room.
    pub room: u32,
    /// Number in the room.
    pub participant: u32,
    /// What came.
    pub counts: Counts,
    /// What it told the node of that.
    pub reported: Reported,
}

/// One receiver whose mix was decoded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of Report")]
pub struct Mix {
    pub room: u32,
    pub participant: u32,
    pub codec: &'static str,
    pub seconds: f64,
    pub concealed_ms: f64,
    pub refused: u64,
    pub heard: Vec<Heard>,
}

/// What the edge measured, before it is summed up.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Everybody.
    pub received: Vec<Received>,
    /// Those that were decoded.
    pub mixes: Vec<Mix>,
    /// Frames sent.
    pub sent: u64,
    /// Participants that sent.
    pub senders: usize,
    /// Seconds of sending.
    pub elapsed_s: f64,
    /// Milliseconds by which frames left late.
    pub lateness_ms_p99: f64,
    /// How the generator itself did.
    pub generator: Generator,
    /// The run was ended early.
    pub interrupted: bool,
    /// What was said has no tones to listen for.
    pub speech: bool,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// True when everybody who talked was heard by all others whose mix was decoded, nobody by themselves, and
    /// every receiver got its mix.
    pub passed: bool,
    /// Why it did not pass, for people.
    pub failures: Vec<String>,
    /// Signs that the generator itself was too slow, for people; then delays say little.
    pub bottlenecks: Vec<String>,
    /// The run was ended early.
    pub interrupted: bool,
    /// Seconds of sending.
    pub elapsed_s: f64,
    /// Participants that sent.
    pub senders: usize,
    /// Participants that received.
    pub receivers: usize,
    /// Receivers whose mix was decoded.
    pub decoded: usize,
    /// Frames of 20 ms that were sent, those lost on purpose included.
    pub sent: u64,
    /// Packets of mixes that came.
    pub received: u64,
    /// Packets that the mixer did not send or that were lost on their way, by sequence numbers. What the
    /// generator lost on purpose is not among them.
    pub missing: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Times that timestamps did not go on as sequence numbers did.
    pub timestamp_jumps: u64,
    /// Times that a mix went on from another synchronization source.
    pub ssrc_changes: u64,
    /// Packets of another payload type than the one agreed on.
    pub wrong_payload_type: u64,
    /// Reports (RTCP) about mixes that were sent.
    pub reports: u64,
    /// Share of the packets of mixes that these said to be lost, on purpose included, 0 to 1.
    pub reported_loss: f64,
    /// Receivers to which nothing came.
    pub deaf: usize,
    /// Packets that a receiver got each second.
    pub packets_per_second_each: f64,
    /// Longest time between two packets of one mix, in milliseconds.
    pub arrival_gap_ms_max: f64,
    /// Voices that had to be heard: one for each turn, talker and other receiver that was decoded.
    pub voices_expected: usize,
    /// Those that were.
    pub voices_heard: usize,
    /// One's own voice had to be absent so often.
    pub own_expected: usize,
    /// And was.
    pub own_absent: usize,
    /// Loudness of others in decibels against what was spoken.
    pub level_db: Spread,
    /// Loudness of one's own voice.
    pub own_level_db: Spread,
    /// From the capture of a sample to its leaving the receiver's decoder, in milliseconds.
    pub mouth_to_ear_ms: Spread,
    /// Longest gap of each voice in each turn and mix, in milliseconds.
    pub gap_ms: Spread,
    /// Sound that had to be concealed at the decoded receivers, 0 to 1.
    pub concealed_share: f64,
    /// Milliseconds by which 99 of 100 frames left late at most.
    pub lateness_ms_p99: f64,
    /// How the generator itself did.
    pub generator: Generator,
    /// The mixes that were decoded.
    pub mixes: Vec<Mix>,
}

impl Report {
    /// Sums up. `loss_percent_max` is the share of packets of the mixes that may be missing.
    pub fn new(measured: Measured, loss_percent_max: f64) -> Report {
        let all = |value: fn(&Counts) -> u64| -> u64 {
            measured.received.iter().map(|one| value(&one.counts)).sum()
        };
        let receivers = measured.received.len();
        let told: Vec<Reported> = measured.received.iter().map(|one| one.reported).collect();
        let received = all(|counts| counts.packets);
        let heard: Vec<&Heard> = measured.mixes.iter().flat_map(|mix| &mix.heard).collect();
        let others: Vec<&Heard> = heard.iter().copied().filter(|heard| !heard.own).collect();
        let own: Vec<&Heard> = heard.iter().copied().filter(|heard| heard.own).collect();
        let right = |all: &[&Heard]| all.iter().filter(|heard| heard.is_right()).count();
        let gap_ns_max = measured.received.iter().map(|one| one.counts.gap_ns_max).max().unwrap_or(0);
        let seconds: f64 = measured.mixes.iter().map(|mix| mix.seconds).sum();
        let concealed_ms: f64 = measured.mixes.iter().map(|mix| mix.concealed_ms).sum();
        let mut report = Report {
            passed: false,
            failures: Vec::new(),
            bottlenecks: own_faults(&measured),
            interrupted: measured.interrupted,
            elapsed_s: measured.elapsed_s,
            senders: measured.senders,
            receivers,
            decoded: measured.mixes.len(),
            sent: measured.sent,
            received,
            missing: all(|counts| counts.missing),
            reordered: all(|counts| counts.reordered),
            duplicated: all(|counts| counts.duplicated),
            timestamp_jumps: all(|counts| counts.timestamp_jumps),
            ssrc_changes: all(|counts| counts.ssrc_changes),
            wrong_payload_type: all(|counts| counts.wrong_payload_type),
            reports: told.iter().map(|told| told.reports).sum(),
            reported_loss: share(
                told.iter().map(|told| told.lost as f64).sum(),
                told.iter().map(|told| told.expected).sum(),
            ),
            deaf: measured.received.iter().filter(|one| one.counts.packets == 0).count(),
            packets_per_second_each: received as f64 / receivers.max(1) as f64 / measured.elapsed_s.max(1e-9),
            arrival_gap_ms_max: gap_ns_max as f64 / 1e6,
            voices_expected: others.len(),
            voices_heard: right(&others),
            own_expected: own.len(),
            own_absent: right(&own),
            level_db: Spread::of(others.iter().filter(|heard| heard.is_right()).map(|heard| heard.level_db)),
            own_level_db: Spread::of(own.iter().map(|heard| heard.level_db)),
            mouth_to_ear_ms: Spread::of(others.iter().flat_map(|heard| heard.delay_ms.iter().copied())),
            gap_ms: Spread::of(others.iter().filter_map(|heard| heard.gap_ms)),
            concealed_share: concealed_ms / 1000.0 / seconds.max(1e-9),
            lateness_ms_p99: measured.lateness_ms_p99,
            generator: measured.generator,
            mixes: measured.mixes,
        };
        report.failures = report.judge(measured.speech, loss_percent_max);
        report.passed = report.failures.is_empty();
        report
    }

    fn judge(&self, speech: bool, loss_percent_max: f64) -> Vec<String> {
        let mut failures = Vec::new();
        let mut fail = |wrong: bool, text: String| {
            if wrong {
                failures.push(text);
            }
        };
        let silent = self.voices_expected - self.voices_heard;
        fail(
            !speech && self.voices_expected == 0,
            "nobody's voice could be listened for: the run is too short".into(),
        );
        fail(silent > 0, format!("{silent} of {} voices not heard", self.voices_expected));
        let echoes = self.own_expected - self.own_absent;
        fail(echoes > 0, format!("{echoes} of {} own voices come back", self.own_expected));
        fail(self.deaf > 0, format!("{} of {} receivers got nothing", self.deaf, self.receivers));
        let missing = 100.0 * self.missing as f64 / (self.received + self.missing).max(1) as f64;
        fail(missing > loss_percent_max, format!("{} packets missing ({missing:.4} %)", self.missing));
        fail(
            self.wrong_payload_type > 0,
            format!("{} packets of a wrong payload type", self.wrong_payload_type),
        );
        failures
    }

    /// The table that ends a run.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<16}{value}");
        };
        line(
            "participants",
            format!("{} sent, {} received, {} decoded", self.senders, self.receivers, self.decoded),
        );
        line("sent", format!("{} frames in {:.2} s", self.sent, self.elapsed_s));
        line(
            "received",
            format!("{} packets, {:.1} a second each", self.received, self.packets_per_second_each),
        );
        line("missing", self.missing.to_string());
        let (reordered, duplicated) = (self.reordered, self.duplicated);
        line("out of order", format!("{reordered} reordered, {duplicated} duplicated"));
        line(
            "breaks",
            format!("{} timestamp jumps, {} SSRC changes", self.timestamp_jumps, self.ssrc_changes),
        );
        line(
            "reports",
            format!("{} sent, of {:.2} % lost packets of mixes", self.reports, 100.0 * self.reported_loss),
        );
        line("arrival gap", format!("{:.1} ms at most", self.arrival_gap_ms_max));
        line("heard", format!("{} of {} voices in others' mixes", self.voices_heard, self.voices_expected));
        line("own voice", format!("absent {} of {} times", self.own_absent, self.own_expected));
        line("level", format!("{} dB against what was spoken", text(&self.level_db, 2)));
        if self.own_level_db.count > 0 {
            line("own level", format!("{} dB", text(&self.own_level_db, 1)));
        }
        line("mouth to ear", format!("{} ms", text(&self.mouth_to_ear_ms, 1)));
        line("longest gaps", format!("{} ms", text(&self.gap_ms, 1)));
        line("concealed", format!("{:.2} % of the sound", 100.0 * self.concealed_share));
        let generator = &self.generator;
        line(
            "generator",
            format!(
                "{}, busy {:.0} %, frames late by {:.2} ms (p99)",
                generator.io,
                generator.busy_share * 100.0,
                self.lateness_ms_p99
            ),
        );
        self.faults().take(FAULTS_LISTED_MAX).for_each(|fault| line("  wrong", fault));
        for bottleneck in &self.bottlenecks {
            line("BOTTLENECK", format!("the generator itself: {bottleneck}"));
        }
        if self.interrupted {
            line("interrupted", "the run was ended early".to_owned());
        }
        let verdict = if self.passed { "passed".to_owned() } else { self.failures.join("; ") };
        line(if self.passed { "result" } else { "FAILED" }, verdict);
        out
    }

    /// Voices that were not as they should be, for people.
    fn faults(&self) -> impl Iterator<Item = String> + '_ {
        let wrong = |mix: &'_ Mix| -> Vec<String> {
            let wrong = mix.heard.iter().filter(|heard| !heard.is_right());
            let text = |heard: &Heard| {
                let limit = if heard.own {
                    format!("at most {ABSENT_DB_MAX}")
                } else {
                    format!("at least {HEARD_DB_MIN}")
                };
                format!(
                    "room {}: p{} in the mix of p{}, turn {}: {:.1} dB, {limit} wanted",
                    mix.room, heard.talker, mix.participant, heard.turn, heard.level_db
                )
            };
            wrong.map(text).collect()
        };
        self.mixes.iter().flat_map(wrong)
    }
}

fn share(part: f64, whole: u64) -> f64 {
    part / whole.max(1) as f64
}

fn text(spread: &Spread, digits: usize) -> String {
    let Spread { count, min, p50, p99, max } = spread;
    format!("min {min:.digits$}, p50 {p50:.digits$}, p99 {p99:.digits$}, max {max:.digits$} (of {count})")
}

fn own_faults(measured: &Measured) -> Vec<String> {
    let (generator, late_ms) = (&measured.generator, measured.lateness_ms_p99);
    let mut faults = Vec::new();
    if generator.socket_overflow > 0 {
        faults.push(format!(
            "receiving: {} packets dropped at its own sockets, read too slowly",
            generator.socket_overflow
        ));
    }
    if generator.busy_share > BUSY_SHARE_MAX {
        faults.push(format!("its thread was busy {:.0} % of the time", generator.busy_share * 100.0));
    }
    if generator.send_dropped > 0 {
        faults.push(format!("sending: the kernel refused {} packets", generator.send_dropped));
    }
    if late_ms > LATE_MS_MAX {
        faults.push(format!("sending: frames left late, p99 {late_ms:.1} ms"));
    }
    let not_kept: u64 = measured.received.iter().map(|one| one.counts.not_kept).sum();
    if not_kept > 0 {
        faults.push(format!("receiving: {not_kept} packets were too many to be kept for decoding"));
    }
    faults
}
