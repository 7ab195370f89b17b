//! What canvas threads say of themselves.

use super::{Shared, metric};
use crate::canvas::CanvasSnapshot;
use crate::metrics::trunk_drops;
use motet_status::{Labels, Page};

/// A counter: name, unit, meaning, and where it is.
type Counter = (&'static str, &'static str, &'static str, fn(&CanvasSnapshot) -> u64);
/// What there is in this moment.
type Gauge = (&'static str, &'static str, &'static str, fn(&CanvasSnapshot) -> usize);

const COUNTERS: &[Counter] = &[
    ("motet_canvas_composed", "pictures", "Canvases drawn.", |all| all.stats.composed),
    (
        "motet_canvas_composes_shared",
        "pictures",
        "Canvases that were as another one, and not drawn again.",
        |all| all.stats.composes_shared,
    ),
    (
        "motet_canvas_transcoded",
        "pictures",
        "Pictures of one participant that were transcoded: nothing was composed for them.",
        |all| all.stats.transcoded,
    ),
    ("motet_canvas_encoded", "pictures", "Pictures encoded.", |all| all.stats.encoded),
    (
        "motet_canvas_encodes_shared",
        "pictures",
        "Streams that got what was encoded for another one.",
        |all| all.stats.encodes_shared,
    ),
    ("motet_canvas_skipped", "pictures", "Pictures that an encoder left out, or failed to encode.", |all| {
        all.stats.skipped
    }),
    ("motet_canvas_missed", "pictures", "Canvases left out, since their time had passed.", |all| {
        all.stats.missed
    }),
    ("motet_canvas_decoded", "pictures", "Pictures of participants that were decoded.", |all| {
        all.stats.decoded
    }),
    (
        "motet_canvas_decoded_layers",
        "pictures",
        "Of the pictures decoded, those of smaller layers that filled their cells.",
        |all| all.stats.decoded_layers,
    ),
    (
        "motet_canvas_decodes_spared",
        "pictures",
        "Pictures of participants whom nobody sees, or who are seen in another layer.",
        |all| all.stats.decodes_spared,
    ),
    ("motet_canvas_undecoded", "pictures", "Pictures of participants that could not be decoded.", |all| {
        all.stats.undecoded
    }),
    ("motet_canvas_concealed", "pictures", "Pictures of participants with something made up.", |all| {
        all.stats.concealed
    }),
    ("motet_canvas_scaled", "pictures", "Pictures brought to the size of a cell.", |all| all.stats.scaled),
    ("motet_canvas_scales_shared", "pictures", "Cells that had their picture in that size already.", |all| {
        all.stats.scales_shared
    }),
    (
        "motet_canvas_sent",
        "packets",
        "RTP packets made for receivers, once for all on a worker who get the same.",
        |all| all.packets,
    ),
    ("motet_canvas_key_frames_asked", "requests", "Requests of receivers for key frames.", |all| {
        all.key_frames_asked
    }),
    ("motet_canvas_key_frames_wanted", "requests", "Requests for key frames to participants.", |all| {
        all.key_frames_wanted
    }),
    (
        "motet_canvas_lowered",
        "times",
        "Times that pictures became rarer since there was too much to do.",
        |all| all.lowered,
    ),
    (
        "motet_canvas_crashes",
        "times",
        "Times that the process of a canvas thread ended by itself and was started again.",
        |all| all.crashes,
    ),
    ("motet_canvas_dropped", "events", "Events that found no room on their way to the watchers.", |all| {
        all.events_dropped
    }),
];

const GAUGES: &[Gauge] = &[
    ("motet_canvas", "conferences", "Conferences whose pictures are composed or transcoded.", |all| {
        all.canvases
    }),
    (
        "motet_canvas_left_out",
        "conferences",
        "Of those, conferences without pictures for a minute, since the process ended over them three times.",
        |all| all.left_out,
    ),
    ("motet_canvas", "sources", "Participants that can be seen on a canvas, or are transcoded.", |all| {
        all.sources
    }),
    (
        "motet_canvas",
        "outputs",
        "Streams that are encoded, each for all on a worker who get the same.",
        |all| all.outputs,
    ),
    ("motet_canvas_shed", "levels", "How much rarer pictures are for overload; 0: as asked for.", |all| {
        all.level
    }),
];

impl Shared {
    pub(super) fn describe_canvases(&self, page: &mut Page) {
        let threads: Vec<CanvasSnapshot> = self.canvases.iter().map(|gauge| gauge.snapshot()).collect();
        for (name, unit, help, read) in GAUGES {
            let values = threads.iter().map(|thread| read(thread) as f64);
            page.gauges(metric(name, unit, help), by_thread(values));
        }
        for (name, unit, help, read) in COUNTERS {
            page.counts(metric(name, unit, help), by_thread(threads.iter().map(read)));
        }
        let drops = threads.iter().enumerate().flat_map(|(index, thread)| {
            let stats = &thread.stats;
            let own = [("refused", stats.packets_refused), ("fenced", thread.fenced), ("away", thread.away)];
            let all = own.into_iter().chain(trunk_drops(&thread.crossed));
            all.map(move |(reason, count)| (vec![label(index), ("reason", reason.to_owned())], count))
        });
        let help = "Datagrams that reached a canvas thread and were not used, by reason.";
        page.counts(metric("motet_canvas_dropped", "packets", help), drops);
        let busy = threads.iter().map(|thread| thread.busy.as_secs_f64());
        let help = "Time that the canvas thread spent on a processor; its rate is the busy share.";
        page.sums(metric("motet_canvas_busy", "seconds", help), by_thread(busy));
    }
}

fn label(index: usize) -> (&'static str, String) {
    ("thread", index.to_string())
}

fn by_thread<T>(values: impl Iterator<Item = T>) -> impl Iterator<Item = (Labels, T)> {
    values.enumerate().map(|(index, value)| (vec![label(index)], value))
}
