//! What a run came to: sums, verdict, table and JSON.

use crate::account::FlowCounts;
use crate::receiver::Strays;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

/// Flows listed one by one; beyond this only those with something wrong, and at most so many.
pub const FLOWS_LISTED_MAX: usize = 1000;
/// Bursts that leave later than this (99 of 100) mean that the generator could not keep its schedule.
const LATE_US_MAX: f64 = 2_000.0;
/// A receiving thread busier than this has no room left.
const BUSY_SHARE_MAX: f64 = 0.95;

/// What the edge measured, before it is summed up.
#[derive(Debug)]
pub struct Measured {
    /// Every flow of every receiver.
    pub flows: Vec<FlowCounts>,
    /// Packets sent, by stream.
    pub sent: HashMap<u32, u64>,
    /// Number of receivers.
    pub receivers: usize,
    /// Bytes received, RTP headers included.
    pub bytes_received: u64,
    /// What belonged to no stream.
    pub strays: Strays,
    /// From the first intended packet to the last one that came.
    pub elapsed: Duration,
    /// Nanoseconds from intended sending to arrival.
    pub latency: Histogram<u64>,
    /// How the generator itself did.
    pub generator: Generator,
    /// Nanoseconds by which bursts left late.
    pub lateness: Histogram<u64>,
    /// The run was ended early.
    pub interrupted: bool,
}

/// How the generator itself did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// Back end: "uring" or "mmsg".
    pub io: String,
    /// Packets that could not be handed to the kernel. They count as sent, and so as lost.
    pub send_dropped: u64,
    /// Packets that came to the generator's sockets and were dropped because it read too slowly. They
    /// count as lost, through no fault of the relay.
    pub socket_overflow: u64,
    /// Busy share of the busiest thread, 0 to 1.
    pub busy_share: f64,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Values counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the values are at most this.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

/// One stream at one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of Report")]
pub struct FlowReport {
    pub receiver: u32,
    pub stream: u32,
    pub expected: bool,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub corrupt: u64,
    pub mislabelled: u64,
    pub latency_us_max: u64,
    pub gap_us_max: u64,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// True when nothing was lost or wrongly routed beyond what was allowed, and nothing was corrupt or
    /// mislabelled, and something was expected at all.
    pub passed: bool,
    /// Why it did not pass, for people.
    pub failures: Vec<String>,
    /// Signs that the generator itself was too slow, for people; then loss and latency say little.
    pub bottlenecks: Vec<String>,
    /// The run was ended early.
    pub interrupted: bool,
    /// Seconds from the first packet to the last.
    pub elapsed_s: f64,
    /// Streams sent.
    pub streams: usize,
    /// Sockets received at.
    pub receivers: usize,
    /// Packets sent to the relay.
    pub sent: u64,
    /// Packets that should have come, over all receivers.
    pub expected: u64,
    /// Packets that came where they should, duplicates included.
    pub received: u64,
    /// Packets that should have come and did not.
    pub lost: u64,
    /// Packets that came after a later one of their stream.
    pub reordered: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets of streams that the receiver should not have got.
    pub wrongly_routed: u64,
    /// Packets with a damaged payload.
    pub corrupt: u64,
    /// Packets whose SSRC, payload type, sequence number or timestamp was not rewritten as announced.
    pub mislabelled: u64,
    /// RTCP packets that came.
    pub rtcp: u64,
    /// Packets that came and are none of ours.
    pub foreign: u64,
    /// Packets received per second.
    pub packets_per_second: f64,
    /// Megabits received per second, RTP headers included.
    pub megabits_per_second: f64,
    /// From the intended moment of sending to arrival.
    pub latency_us: Quantiles,
    /// Mean of these times of the flow (one stream at one receiver) that has the largest.
    pub latency_us_worst_flow: f64,
    /// Longest time between two arrivals of a stream that should come, over all of them. What the schedule
    /// leaves between bursts is part of it.
    pub gap_us_max: u64,
    /// By how much bursts left late.
    pub lateness_us: Quantiles,
    /// How the generator itself did.
    pub generator: Generator,
    /// Flows with something wrong first; all of them when there are few.
    pub flows: Vec<FlowReport>,
}

impl Report {
    /// Sums up. `loss_percent_max` is the share of expected packets that may be lost, and of received
    /// ones that may be wrongly routed.
    pub fn new(measured: &Measured, loss_percent_max: f64) -> Report {
        let flows: Vec<FlowReport> =
            measured.flows.iter().map(|flow| flow_report(flow, &measured.sent)).collect();
        let expected = |value: fn(&FlowReport) -> u64| -> u64 {
            flows.iter().filter(|flow| flow.expected).map(value).sum()
        };
        let all = |value: fn(&FlowReport) -> u64| -> u64 { flows.iter().map(value).sum() };
        let elapsed_s = measured.elapsed.as_secs_f64();
        let per_second = |value: f64| if elapsed_s > 0.0 { value / elapsed_s } else { 0.0 };
        let received = expected(|flow| flow.received);
        let mut report = Report {
            passed: false,
            failures: Vec::new(),
            bottlenecks: Vec::new(),
            interrupted: measured.interrupted,
            elapsed_s,
            streams: measured.sent.len(),
            receivers: measured.receivers,
            sent: measured.sent.values().sum(),
            expected: expected(|flow| flow.sent),
            received,
            lost: expected(|flow| flow.lost),
            reordered: all(|flow| flow.reordered),
            duplicated: all(|flow| flow.duplicated),
            wrongly_routed: all(|flow| flow.received) - received,
            corrupt: all(|flow| flow.corrupt) + measured.strays.unreadable,
            mislabelled: all(|flow| flow.mislabelled),
            rtcp: measured.strays.rtcp,
            foreign: measured.strays.foreign,
            packets_per_second: per_second(received as f64),
            megabits_per_second: per_second(measured.bytes_received as f64 * 8e-6),
            latency_us: quantiles(&measured.latency),
            latency_us_worst_flow: worst_flow(&measured.flows),
            gap_us_max: flows
                .iter()
                .filter(|flow| flow.expected)
                .map(|flow| flow.gap_us_max)
                .max()
                .unwrap_or(0),
            lateness_us: quantiles(&measured.lateness),
            generator: measured.generator.clone(),
            flows: listed(flows),
        };
        report.failures = report.judge(loss_percent_max);
        report.passed = report.failures.is_empty();
        report.bottlenecks = report.own_faults();
        report
    }

    /// Share of expected packets that were lost, 0 to 1.
    pub fn loss_share(&self) -> f64 {
        self.lost as f64 / self.expected.max(1) as f64
    }

    fn judge(&self, loss_percent_max: f64) -> Vec<String> {
        let mut failures = Vec::new();
        let mut fail = |wrong: bool, text: String| {
            if wrong {
                failures.push(text);
            }
        };
        fail(self.expected == 0, "no packet was expected anywhere".to_owned());
        let share = |count: u64, of: u64| 100.0 * count as f64 / of.max(1) as f64;
        let lost = share(self.lost, self.expected);
        fail(lost > loss_percent_max, format!("{} packets lost ({lost:.4} %)", self.lost));
        let wrong = share(self.wrongly_routed, self.received + self.wrongly_routed);
        fail(wrong > loss_percent_max, format!("{} packets wrongly routed", self.wrongly_routed));
        fail(self.corrupt > 0, format!("{} packets corrupt", self.corrupt));
        fail(self.mislabelled > 0, format!("{} packets mislabelled", self.mislabelled));
        failures
    }

    fn own_faults(&self) -> Vec<String> {
        let (generator, late) = (&self.generator, self.lateness_us);
        let mut faults = Vec::new();
        if generator.socket_overflow > 0 {
            faults.push(format!(
                "receiving: {} packets dropped at the generator's own sockets, read too slowly",
                generator.socket_overflow
            ));
        }
        if generator.busy_share > BUSY_SHARE_MAX {
            faults.push(format!("a thread was busy {:.0} % of the time", generator.busy_share * 100.0));
        }
        if generator.send_dropped > 0 {
            faults.push(format!("sending: the kernel refused {} packets", generator.send_dropped));
        }
        if late.p99 > LATE_US_MAX {
            faults.push(format!("sending: bursts left late, p99 {:.1} ms", late.p99 / 1000.0));
        }
        faults
    }

    /// The table that ends a run.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<16}{value}");
        };
        line("streams", format!("{} sent to {} receivers", self.streams, self.receivers));
        line("sent", format!("{} packets in {:.2} s", self.sent, self.elapsed_s));
        let (packets, megabits) = (self.packets_per_second, self.megabits_per_second);
        line("expected", self.expected.to_string());
        line("received", format!("{}   {packets:.0} packets/s, {megabits:.1} Mbit/s", self.received));
        line("lost", format!("{}   {:.4} %", self.lost, 100.0 * self.loss_share()));
        line("reordered", self.reordered.to_string());
        line("duplicated", self.duplicated.to_string());
        line("wrongly routed", self.wrongly_routed.to_string());
        line("corrupt", self.corrupt.to_string());
        line("mislabelled", self.mislabelled.to_string());
        line("other packets", format!("{} RTCP, {} foreign", self.rtcp, self.foreign));
        line("latency", quantile_text(&self.latency_us));
        line(
            "longest gap",
            format!("{:.1} ms between two arrivals of a stream", self.gap_us_max as f64 / 1e3),
        );
        line("sent late", quantile_text(&self.lateness_us));
        let generator = &self.generator;
        line("generator", format!("{}, busiest thread {:.0} %", generator.io, generator.busy_share * 100.0));
        let worst = self.flows.iter().filter(|flow| flow.is_wrong()).take(10);
        for flow in worst {
            line("  wrong", flow.text());
        }
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
}

impl FlowReport {
    fn is_wrong(&self) -> bool {
        let wrongly_routed = !self.expected && self.received > 0;
        wrongly_routed || self.lost + self.reordered + self.duplicated + self.corrupt + self.mislabelled > 0
    }

    fn text(&self) -> String {
        format!(
            "stream {} at receiver {}{}: {} of {} came, {} lost, {} reordered, {} duplicated, {} corrupt, {} mislabelled",
            self.stream,
            self.receiver,
            if self.expected { "" } else { " (should not come here)" },
            self.received,
            self.sent,
            self.lost,
            self.reordered,
            self.duplicated,
            self.corrupt,
            self.mislabelled,
        )
    }
}

fn flow_report(flow: &FlowCounts, sent: &HashMap<u32, u64>) -> FlowReport {
    let counts = flow.counts;
    let sent = sent.get(&flow.stream).copied().unwrap_or(0);
    FlowReport {
        receiver: flow.receiver,
        stream: flow.stream,
        expected: flow.expected,
        sent,
        received: counts.received,
        lost: if flow.expected { sent.saturating_sub(counts.unique) } else { 0 },
        reordered: counts.reordered,
        duplicated: counts.duplicated,
        corrupt: counts.corrupt,
        mislabelled: counts.mislabelled,
        latency_us_max: counts.latency_ns_max / 1000,
        gap_us_max: counts.gap_ns_max / 1000,
    }
}

fn worst_flow(flows: &[FlowCounts]) -> f64 {
    let had_packets = flows.iter().filter(|flow| flow.expected && flow.counts.unique > 0);
    let means = had_packets.map(|flow| flow.counts.latency_ns_sum as f64 / flow.counts.unique as f64);
    means.fold(0.0, f64::max) / 1000.0
}

fn listed(mut flows: Vec<FlowReport>) -> Vec<FlowReport> {
    flows.sort_by_key(|flow| !flow.is_wrong());
    if flows.len() > FLOWS_LISTED_MAX {
        flows.retain(FlowReport::is_wrong);
        flows.truncate(FLOWS_LISTED_MAX);
    }
    flows
}

fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    let micros = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Quantiles {
        count: histogram.len(),
        mean: histogram.mean() / 1000.0,
        p50: micros(0.5),
        p99: micros(0.99),
        p99_9: micros(0.999),
        max: histogram.max() as f64 / 1000.0,
    }
}

fn quantile_text(values: &Quantiles) -> String {
    let Quantiles { p50, p99, p99_9, max, .. } = values;
    format!("p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p99_9:.0} µs, max {max:.0} µs")
}

#[cfg(test)]
mod tests;
