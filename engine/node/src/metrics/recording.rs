//! What the recorder says of itself.

use super::{Shared, WORKER_SILENT_MAX, metric, trunk_drops};
use crate::recording::{Reason, RecordingSnapshot, Unfiled};
use crate::run::cpu_times;
use motet_recorder::DropReason;
use motet_status::Page;

/// A counter: name, unit, meaning, and where it is.
type Counter = (&'static str, &'static str, &'static str, fn(&RecordingSnapshot) -> u64);

const COUNTERS: &[Counter] = &[
    ("motet_recording", "packets", "Packets and frames that reached the recorder.", |all| {
        all.counters.packets
    }),
    ("motet_recording_written", "samples", "Pictures and packets of sound that went into files.", |all| {
        all.counters.samples
    }),
    ("motet_recording_written", "bytes", "Bytes of these.", |all| all.counters.bytes),
    ("motet_recording_whole", "files", "Files that are whole.", |all| all.counters.segments),
    ("motet_recording_dropped", "events", "Events that found no room on their way to the watchers.", |all| {
        all.counters.events_dropped
    }),
];

impl Shared {
    pub(super) fn describe_recording(&self, page: &mut Page) {
        let Some(all) = self.recording.as_ref().map(|shown| shown.read()) else { return };
        let running = (all.recordings - all.paused) as f64;
        let states = [("running", running), ("paused", all.paused as f64)];
        let states = states.map(|(state, count)| (vec![("state", state.to_owned())], count));
        page.gauges(metric("motet", "recordings", "Recordings, by what they do."), states);
        let help = "Participants and mixes that files are written of.";
        page.gauge(metric("motet_recording", "files", help), all.files as f64);
        for (name, unit, help, read) in COUNTERS {
            page.counts(metric(name, unit, help), [(Vec::new(), read(&all))]);
        }
        let help = "Packets that never came to the recorder.";
        page.gauge(metric("motet_recording_lost", "packets", help), all.counters.lost as f64);
        let drops = DropReason::ALL.iter().map(|reason| reason.reason()).zip(all.counters.drops);
        let unfiled = Unfiled::ALL.iter().map(|reason| reason.word()).zip(all.counters.unfiled);
        let drops = drops.chain(unfiled).chain(trunk_drops(&all.crossed));
        let drops = drops.map(|(reason, count)| (vec![("reason", reason.to_owned())], count));
        let help = "Packets, pictures and packets of sound that came to the recorder and were not written, by reason.";
        page.counts(metric("motet_recording_dropped", "packets", help), drops);
        let failed = Reason::ALL.iter().map(|reason| reason.word()).zip(all.counters.failed);
        let failed = failed.map(|(reason, count)| (vec![("reason", reason.to_owned())], count));
        let help = "Recordings that ended by themselves, by reason.";
        page.counts(metric("motet_recording_failed", "recordings", help), failed);
        let answers = all.taken.is_some_and(|taken| taken.elapsed() <= WORKER_SILENT_MAX);
        let help = "1 while the recorder answers.";
        page.gauge(metric("motet_recording_up", "", help), f64::from(u8::from(answers)));
        if let Some(thread) = all.thread_id {
            let busy = cpu_times(thread).on_cpu.as_secs_f64();
            let help = "Time that the recorder spent on a processor; its rate is the busy share.";
            page.sums(metric("motet_recording_busy", "seconds", help), [(Vec::new(), busy)]);
        }
    }
}
