//! What mixing threads say of themselves.

use super::{Shared, metric};
use crate::metrics::trunk_drops;
use crate::mixing::{MixingSnapshot, tick_bounds_seconds};
use crate::run::cpu_times;
use motet_status::{Buckets, Labels, Page};

/// A counter: name, unit, meaning, and where it is.
type Counter = (&'static str, &'static str, &'static str, fn(&MixingSnapshot) -> u64);
/// What there is in this moment.
type Gauge = (&'static str, &'static str, &'static str, fn(&MixingSnapshot) -> usize);

const COUNTERS: &[Counter] = &[
    ("motet_mixing", "ticks", "Times that a conference was mixed, each for 20 ms.", |all| all.counters.ticks),
    ("motet_mixing_late", "ticks", "Ticks that ended more than 10 ms after their time.", |all| {
        all.counters.late
    }),
    ("motet_mixing_missed", "ticks", "Ticks that were left out since the thread was held up.", |all| {
        all.counters.missed
    }),
    ("motet_mixing_sent", "packets", "RTP packets made for receivers.", |all| all.counters.packets),
    ("motet_mixing_encoded", "frames", "Frames of 20 ms that were encoded.", |all| all.counters.encodes),
    ("motet_mixing_shared", "packets", "Packets that hold what was encoded for another one.", |all| {
        all.counters.shared
    }),
    ("motet_mixing_decoded", "frames", "Frames of 20 ms of participants that were decoded.", |all| {
        all.counters.decodes
    }),
    ("motet_mixing_skipped", "frames", "Frames of 20 ms of participants that needed no decoding.", |all| {
        all.counters.decodes_skipped
    }),
    ("motet_mixing_dropped", "events", "Events that found no room on their way to the watchers.", |all| {
        all.events_dropped
    }),
];

const GAUGES: &[Gauge] = &[
    ("motet_mixing", "conferences", "Conferences that are mixed.", |all| all.mixers),
    ("motet_mixing", "sources", "Participants that can be heard in a mix.", |all| all.sources),
    ("motet_mixing", "outputs", "Participants that get a mix.", |all| all.outputs),
    ("motet_mixing", "speakers", "Voices that are in a mix in this moment.", |all| all.speakers),
    ("motet_mixing_shed", "levels", "How much is left out for overload; 0: nothing.", |all| all.shed_level),
];

impl Shared {
    pub(super) fn describe_mixing(&self, page: &mut Page) {
        let threads: Vec<MixingSnapshot> = self.mixing.iter().map(|gauge| gauge.snapshot()).collect();
        for (name, unit, help, read) in GAUGES {
            let values = threads.iter().map(|thread| read(thread) as f64);
            page.gauges(metric(name, unit, help), by_thread(values));
        }
        for (name, unit, help, read) in COUNTERS {
            page.counts(metric(name, unit, help), by_thread(threads.iter().map(read)));
        }
        let drops = threads.iter().enumerate().flat_map(|(index, thread)| {
            let all = thread.counters.drops.iter().copied().chain(trunk_drops(&thread.crossed));
            all.map(move |(reason, count)| (vec![label(index), ("reason", reason.to_owned())], count))
        });
        let help = "Datagrams that reached a mixing thread and were not heard, by reason.";
        page.counts(metric("motet_mixing_dropped", "packets", help), drops);
        let durations = threads.iter().map(|thread| Buckets {
            bounds: tick_bounds_seconds().collect(),
            counts: thread.counters.durations.to_vec(),
            sum: thread.counters.duration_sum.as_secs_f64(),
        });
        let help = "How long it took to mix a conference for one tick.";
        page.histograms(metric("motet_mixing_tick", "seconds", help), by_thread(durations));
        let busy = self.mixing.iter().map(|gauge| cpu_times(gauge.thread_id).on_cpu.as_secs_f64());
        let help = "Time that the mixing thread spent on a processor; its rate is the busy share.";
        page.sums(metric("motet_mixing_busy", "seconds", help), by_thread(busy));
    }
}

fn label(index: usize) -> (&'static str, String) {
    ("thread", index.to_string())
}

fn by_thread<T>(values: impl Iterator<Item = T>) -> impl Iterator<Item = (Labels, T)> {
    values.enumerate().map(|(index, value)| (vec![label(index)], value))
}
