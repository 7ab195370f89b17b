//! The node's page of metrics. Names, units and meanings are documented in `docs/operations.md`.

use crate::exchange::Crossed;
use crate::meter::{BATCH_BUCKETS, Snapshot};
use crate::run::{Shared, cpu_times};
use motet_net::{IoStats, Residence};
use motet_status::{Buckets, Labels, Metric, Page, Source};
use std::time::{Duration, Instant};

mod canvas;
mod mixing;
mod recording;

/// A worker that has shown no counters for this long does not answer.
const WORKER_SILENT_MAX: Duration = Duration::from_secs(2);
/// The same for a canvas thread, for which large pictures may be much at once.
const CANVAS_SILENT_MAX: Duration = Duration::from_secs(10);
/// A change that takes longer than this does not hold up a scrape.
const STATE_WAIT_MAX: Duration = Duration::from_millis(500);

impl Source for Shared {
    async fn page(&self) -> Page {
        let mut page = Page::new();
        self.describe_node(&mut page).await;
        let workers: Vec<Snapshot> = self.gauges.iter().map(|gauge| gauge.snapshot()).collect();
        describe_io(&mut page, &workers);
        describe_drops(&mut page, &workers);
        describe_held(&mut page, &workers);
        describe_turns(&mut page, &workers);
        describe_trunks(&mut page, &workers);
        self.describe_workers(&mut page);
        self.describe_mixing(&mut page);
        self.describe_canvases(&mut page);
        self.describe_recording(&mut page);
        page
    }

    async fn ready(&self) -> Result<(), String> {
        if self.ending.is_draining() {
            return Err("the node drains".to_owned());
        }
        let now = Instant::now();
        for (index, gauge) in self.gauges.iter().enumerate() {
            let silent = gauge.snapshot().taken.map(|taken| now.saturating_duration_since(taken));
            if silent.is_none_or(|silent| silent > WORKER_SILENT_MAX) {
                return Err(format!("worker {index} does not answer"));
            }
        }
        for (index, gauge) in self.mixing.iter().enumerate() {
            let silent = gauge.snapshot().taken.map(|taken| now.saturating_duration_since(taken));
            if silent.is_none_or(|silent| silent > WORKER_SILENT_MAX) {
                return Err(format!("mixing thread {index} does not answer"));
            }
        }
        for (index, gauge) in self.canvases.iter().enumerate() {
            let silent = gauge.snapshot().taken.map(|taken| now.saturating_duration_since(taken));
            if silent.is_none_or(|silent| silent > CANVAS_SILENT_MAX) {
                return Err(format!("canvas thread {index} does not answer"));
            }
        }
        Ok(())
    }
}

impl Shared {
    async fn describe_node(&self, page: &mut Page) {
        let info = [
            ("node_id", self.node_id.clone()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("room", self.room.clone()),
            ("io_backend", self.io_backend.to_owned()),
        ];
        page.info(metric("motet_node", "", "Who the node is, and how it carries packets."), info.into());
        let draining = f64::from(u8::from(self.ending.is_draining()));
        page.gauge(metric("motet_node_draining", "", "1 while the node takes no new conferences."), draining);
        let left = self.ending.left_ms() as f64 / 1e3;
        let help = "Until the node ends by its drain, whatever runs on it; 0: it does not.";
        page.gauge(metric("motet_node_drain_left", "seconds", help), left);
        let waiting = self.events_in.max_capacity() - self.events_in.capacity();
        let help = "Events between the workers and the watchers.";
        page.gauge(metric("motet_node_waiting", "events", help), waiting as f64);
        let Ok(state) = tokio::time::timeout(STATE_WAIT_MAX, self.state.lock()).await else { return };
        let conferences = state.conferences.len();
        page.gauge(metric("motet_node", "conferences", "Conferences that run here."), conferences as f64);
        let help = "Conferences that were to go to another worker, by what became of it.";
        let moves = state.moves;
        let moves = [("moved", moves.moved), ("refused", moves.refused), ("put_back", moves.put_back)];
        let moves = moves.map(|(result, count)| (vec![("result", result.to_owned())], count));
        page.counts(metric("motet", "moves", help), moves);
        let help =
            "Receivers of pictures that are composed or transcoded, or could be, by how these come to them.";
        let ways = state.canvases.ways;
        let ways = [("relayed", ways.relayed), ("transcoded", ways.transcoded), ("composed", ways.composed)];
        let ways = ways.map(|(way, count)| (vec![("way", way.to_owned())], count as f64));
        page.gauges(metric("motet_picture", "receivers", help), ways);
        let used = state.pools.iter().map(|pool| 2 * pool.used()).sum::<usize>();
        page.gauge(metric("motet_node_used", "ports", "UDP ports in use for media."), used as f64);
        let help = "UDP ports that the node may use for media.";
        page.gauge(metric("motet_node_allowed", "ports", help), f64::from(self.ports_max));
    }

    fn describe_workers(&self, page: &mut Page) {
        let waiting = self.gauges.iter().map(|gauge| gauge.jobs_waiting() as f64);
        let help = "Changes and questions that wait for the worker.";
        page.gauges(metric("motet_worker_waiting", "jobs", help), by_worker(waiting));
        let times: Vec<_> = self.gauges.iter().map(|gauge| cpu_times(gauge.thread_id)).collect();
        let help = "Time that the worker spent on a processor; its rate is the busy share.";
        let busy = times.iter().map(|times| times.on_cpu.as_secs_f64());
        page.sums(metric("motet_worker_busy", "seconds", help), by_worker(busy));
        let help = "Time that the worker could have run and had no processor.";
        let delayed = times.iter().map(|times| times.waiting.as_secs_f64());
        page.sums(metric("motet_worker_run_delay", "seconds", help), by_worker(delayed));
    }
}

const fn metric(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, unit, help }
}

fn worker(index: usize) -> (&'static str, String) {
    ("worker", index.to_string())
}

fn by_worker<T>(values: impl Iterator<Item = T>) -> impl Iterator<Item = (Labels, T)> {
    values.enumerate().map(|(index, value)| (vec![worker(index)], value))
}

/// One counter of packet input and output: name, unit, meaning, and where it is.
type IoCounter = (&'static str, &'static str, &'static str, fn(&IoStats) -> u64);

const IO_COUNTERS: &[IoCounter] = &[
    ("motet_received", "packets", "Datagrams received.", |io| io.datagrams_received),
    ("motet_received", "bytes", "Payload of the datagrams received.", |io| io.bytes_received),
    ("motet_received", "messages", "Runs of datagrams received as one (GRO).", |io| io.messages_received),
    ("motet_kernel", "drops", "Datagrams dropped since a socket's receive buffer was full.", |io| {
        io.kernel_drops
    }),
    ("motet_sent", "packets", "Datagrams that the kernel took for sending.", |io| io.datagrams_sent),
    ("motet_sent", "bytes", "Payload of the datagrams sent.", |io| io.bytes_sent),
    ("motet_sent", "messages", "Runs of datagrams sent as one (GSO).", |io| io.messages_sent),
    ("motet_sent_in_gso", "packets", "Datagrams sent in runs of two or more.", |io| io.datagrams_in_gso),
    ("motet_gso_refused", "messages", "Runs that the kernel refused and that were sent one by one.", |io| {
        io.gso_fallbacks
    }),
    ("motet_receive", "stalls", "Times that receive buffers ran out; packets waited.", |io| {
        io.receive_stalls
    }),
    ("motet_system", "calls", "System calls made for packets.", |io| io.system_calls),
];

fn describe_io(page: &mut Page, workers: &[Snapshot]) {
    for (name, unit, help, read) in IO_COUNTERS {
        let values = workers.iter().map(|worker| read(&worker.io));
        page.counts(metric(name, unit, help), by_worker(values));
    }
}

/// Drops by the relay and by packet input and output, under one name.
fn describe_drops(page: &mut Page, workers: &[Snapshot]) {
    let samples = workers.iter().enumerate().flat_map(|(index, snapshot)| {
        let drops = snapshot.drops.iter().copied().chain(io_drops(&snapshot.io));
        let drops = drops.chain(trunk_drops(&snapshot.crossed));
        drops.map(move |(reason, count)| (vec![worker(index), ("reason", reason.to_owned())], count))
    });
    let help = "Datagrams that were not forwarded or not sent, by reason.";
    page.counts(metric("motet_dropped", "packets", help), samples);
    let events = workers.iter().map(|worker| worker.events_dropped);
    let help = "Events that found no room on their way to the watchers.";
    page.counts(metric("motet_dropped", "events", help), by_worker(events));
}

/// Reasons of packet input and output, beside the relay's.
pub(crate) fn io_drops(io: &IoStats) -> [(&'static str, u64); 5] {
    [
        ("receive_buffer_full", io.kernel_drops),
        ("receive_error", io.receive_errors),
        ("send_buffer_full", io.send_dropped_full),
        ("send_error", io.send_dropped_error),
        ("send_queue_full", io.queue_dropped),
    ]
}

fn describe_held(page: &mut Page, workers: &[Snapshot]) {
    let legs = workers.iter().map(|worker| worker.counts.legs as f64);
    page.gauges(metric("motet_relay", "legs", "Participants' connections held."), by_worker(legs));
    let streams = workers.iter().map(|worker| worker.counts.streams as f64);
    page.gauges(metric("motet_relay", "streams", "Streams that legs may publish."), by_worker(streams));
    let routes = workers.iter().map(|worker| worker.counts.routes as f64);
    page.gauges(metric("motet_relay", "routes", "Ways of one stream to one leg."), by_worker(routes));
    let made = workers.iter().map(|worker| worker.counts.packets_out);
    page.counts(
        metric("motet_relay_forwarded", "packets", "RTP packets made for receivers."),
        by_worker(made),
    );
    let made = workers.iter().map(|worker| worker.counts.rtcp_out);
    page.counts(metric("motet_relay_rtcp", "packets", "RTCP packets made."), by_worker(made));
}

/// What went from worker to worker.
fn describe_trunks(page: &mut Page, workers: &[Snapshot]) {
    let crossed = || workers.iter().map(|worker| worker.crossed);
    let help = "Datagrams that went to another worker: each once for each worker that it went to.";
    let packets = by_worker(crossed().map(|crossed| crossed.packets_out));
    page.counts(metric("motet_trunk_sent", "packets", help), packets);
    let bytes = by_worker(crossed().map(|crossed| crossed.bytes_out));
    page.counts(metric("motet_trunk_sent", "bytes", "Bytes that went to another worker."), bytes);
    let packets = by_worker(crossed().map(|crossed| crossed.packets_in));
    page.counts(
        metric("motet_trunk_received", "packets", "Datagrams that came from another worker."),
        packets,
    );
    let help = "Parcels of datagrams handed to another worker.";
    page.counts(
        metric("motet_trunk_sent", "parcels", help),
        by_worker(crossed().map(|crossed| crossed.parcels)),
    );
    let help = "Times that another worker was woken.";
    page.counts(metric("motet_trunk", "wakes", help), by_worker(crossed().map(|crossed| crossed.rings)));
}

/// Reasons of trunks, beside the relay's.
pub(crate) fn trunk_drops(crossed: &Crossed) -> [(&'static str, u64); 2] {
    [("trunk_full", crossed.dropped_full), ("trunk_closed", crossed.dropped_closed)]
}

fn describe_turns(page: &mut Page, workers: &[Snapshot]) {
    let turns = workers.iter().map(|worker| worker.turns);
    page.counts(metric("motet_worker", "turns", "Times around the worker's loop."), by_worker(turns));
    let batches = workers.iter().map(|worker| {
        let bounds = (0..BATCH_BUCKETS - 1).map(|power| f64::from(1u32 << power)).collect();
        Buckets { bounds, counts: worker.batches.to_vec(), sum: worker.counts.packets_in as f64 }
    });
    let help = "Packets that one turn brought, of turns that brought any.";
    page.histograms(metric("motet_batch", "packets", help), by_worker(batches));
    let stays = workers.iter().map(|worker| {
        let residence = &worker.io.residence;
        let bounds = Residence::bounds_seconds().collect();
        Buckets { bounds, counts: residence.counts().to_vec(), sum: residence.sum_seconds() }
    });
    let help = "From a packet's arrival in the kernel to the end of its turn's sends; a sample of turns.";
    page.histograms(metric("motet_relay_residence", "seconds", help), by_worker(stays));
}
