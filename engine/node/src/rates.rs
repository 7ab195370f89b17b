//! What a node does per second: how busy its workers are, and what they send.

use crate::run::cpu_times;
use crate::worker::Gauge;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Over the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Busy share of the busiest worker, 0 to 1.
    pub(crate) busy_share: f64,
    /// Packets sent by all workers.
    pub(crate) packets_per_second: f64,
}

/// The last rate, for readers.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<Rate>);

impl Rates {
    pub(crate) fn read(&self) -> Rate {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn show(&self, rate: Rate) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rate;
    }
}

/// All workers at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    workers: Vec<WorkerSample>,
}

#[derive(Clone, Copy, Debug)]
struct WorkerSample {
    busy: Duration,
    sent: u64,
    /// When the worker showed what it had sent, which is a quarter of a second ago at most.
    shown: Option<Instant>,
}

impl Sample {
    /// Reads the clock, the workers' processor time and what they show.
    pub(crate) fn take(gauges: &[Gauge]) -> Sample {
        let worker = |gauge: &Gauge| {
            let snapshot = gauge.snapshot();
            let busy = cpu_times(gauge.thread_id).on_cpu;
            WorkerSample { busy, sent: snapshot.io.datagrams_sent, shown: snapshot.taken }
        };
        Sample { at: Instant::now(), workers: gauges.iter().map(worker).collect() }
    }

    /// Time since an earlier sample.
    pub(crate) fn after(&self, before: &Sample) -> Duration {
        self.at.saturating_duration_since(before.at)
    }

    /// Each worker's busy share since an earlier sample, 0 to 1.
    pub(crate) fn busy_since(&self, before: &Sample) -> impl Iterator<Item = f64> {
        let wall = self.after(before);
        let pairs = self.workers.iter().zip(&before.workers);
        pairs.map(move |(now, before)| share(now.busy.saturating_sub(before.busy), wall).min(1.0))
    }

    /// What happened since an earlier sample.
    pub(crate) fn since(&self, before: &Sample) -> Rate {
        let wall = self.after(before);
        let mut rate = Rate::default();
        for (now, before) in self.workers.iter().zip(&before.workers) {
            let busy = now.busy.saturating_sub(before.busy);
            rate.busy_share = rate.busy_share.max(share(busy, wall)).min(1.0);
            if let (Some(now_at), Some(then)) = (now.shown, before.shown) {
                let seconds = now_at.saturating_duration_since(then).as_secs_f64();
                let sent = now.sent.saturating_sub(before.sent) as f64;
                rate.packets_per_second += if seconds > 0.0 { sent / seconds } else { 0.0 };
            }
        }
        rate
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_worker_counts_and_all_that_is_sent() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let worker = |busy_ms, sent, shown_ms: Option<u64>| WorkerSample {
            busy: Duration::from_millis(busy_ms),
            sent,
            shown: shown_ms.map(at),
        };
        let before =
            Sample { at: at(0), workers: vec![worker(0, 0, Some(0)), worker(100, 1_000, Some(100))] };
        let now = Sample {
            at: at(1_000),
            workers: vec![worker(200, 750, Some(750)), worker(900, 3_000, Some(600))],
        };
        assert_eq!(now.since(&before), Rate { busy_share: 0.8, packets_per_second: 1_000.0 + 4_000.0 });
        assert_eq!(before.since(&before), Rate::default());
        let silent = Sample { at: at(2_000), workers: vec![worker(0, 0, None), worker(0, 0, None)] };
        assert_eq!(silent.since(&now), Rate::default(), "a worker that shows nothing sends nothing");
    }
}
