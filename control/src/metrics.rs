//! Control's page of metrics. Names, units and meanings are documented in `docs/operations.md`.

use crate::conference::Census;
use crate::runtime::{Answer, Control};
use crate::store::StoreCounts;
use motet_proto::conference::ConferenceEvent;
use motet_status::{Buckets, Labels, Metric, Page, Source};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounds of the histogram of requests, in seconds: answers from memory, from a node, and late ones.
const BOUNDS: [f64; 11] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0];

/// What was asked of control and what it told, counted.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By kind of request and result.
    requests: BTreeMap<(&'static str, String), u64>,
    /// By kind of request.
    seconds: BTreeMap<&'static str, Buckets>,
    /// By kind of event.
    events: BTreeMap<String, u64>,
}

impl Meter {
    pub(crate) fn answered(&self, request: &'static str, answer: &Answer, took: Duration) {
        let result = match answer {
            Ok(_) => "Ok".to_owned(),
            Err(refusal) => format!("{:?}", refusal.code),
        };
        let mut counts = self.counts();
        *counts.requests.entry((request, result)).or_default() += 1;
        let empty = || Buckets { bounds: BOUNDS.into(), counts: vec![0; BOUNDS.len() + 1], sum: 0.0 };
        let buckets = counts.seconds.entry(request).or_insert_with(empty);
        let seconds = took.as_secs_f64();
        buckets.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        buckets.sum += seconds;
    }

    pub(crate) fn told(&self, event: &ConferenceEvent) {
        let name = event.kind().as_str_name().trim_start_matches("CONFERENCE_EVENT_KIND_");
        let kind = name.to_ascii_lowercase().replace('_', "-");
        *self.counts().events.entry(kind).or_default() += 1;
    }

    fn describe(&self, page: &mut Page) {
        let counts = self.counts();
        let requests = counts.requests.iter().map(|((request, result), count)| {
            (vec![("request", (*request).to_owned()), ("result", result.clone())], *count)
        });
        page.counts(metric("motet_control", "requests", "Requests answered."), requests);
        let seconds =
            counts.seconds.iter().map(|(request, buckets)| (label("request", request), buckets.clone()));
        let help = "From a request to its answer.";
        page.histograms(metric("motet_control_request", "seconds", help), seconds);
        let events = counts.events.iter().map(|(kind, count)| (label("kind", kind), *count));
        page.counts(metric("motet_control", "events", "Events told to those who watch."), events);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked at each scrape.
pub(crate) struct Metrics {
    pub(crate) control: Control,
    pub(crate) store: String,
}

impl Source for Metrics {
    async fn page(&self) -> Page {
        let mut page = Page::new();
        let labels = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("store", self.store.clone())];
        page.info(metric("motet_control", "", "What control is, and where it keeps conferences."), labels);
        if let Some(census) = self.control.census().await {
            describe(&mut page, &census);
        }
        describe_store(&mut page, self.control.store_counts());
        self.control.meter().describe(&mut page);
        page
    }

    async fn ready(&self) -> Result<(), String> {
        let census = self.control.census().await.ok_or("control is ending")?;
        match census.store_fault {
            None => Ok(()),
            Some(why) => Err(format!("the store {} cannot be used: {why}", self.store)),
        }
    }
}

fn describe(page: &mut Page, census: &Census) {
    let by = |counts: &BTreeMap<&'static str, usize>| {
        counts.iter().map(|(state, count)| (label("state", state), *count as f64)).collect::<Vec<_>>()
    };
    let help = "Conferences by state; ended ones are remembered for a while.";
    page.gauges(metric("motet_control", "conferences", help), by(&census.conferences));
    page.gauges(metric("motet_control", "nodes", "Nodes by state."), by(&census.nodes));
    let help = "Participants of all conferences.";
    page.gauge(metric("motet_control", "participants", help), census.participants as f64);
    let help = "Conferences that this control process maintains.";
    page.gauge(metric("motet_control_maintained", "conferences", help), census.maintained as f64);
    let help = "Control processes on the store that live, this one too; 0 where there can be no other.";
    page.gauge(metric("motet_control", "peers", help), census.peers as f64);
    let usable = f64::from(u8::from(census.store_fault.is_none()));
    page.gauge(metric("motet_control_store_usable", "", "1 while the store can be used."), usable);
}

fn describe_store(page: &mut Page, counts: StoreCounts) {
    let writes = [("confirmed", counts.confirmed), ("unconfirmed", counts.unconfirmed)];
    let help = "Acknowledged writes to Redis, by whether the replicas asked for had them in time; those that \
                they had not are lost if the primary is lost now.";
    let writes = writes.map(|(replicas, count)| (label("replicas", replicas), count));
    page.counts(metric("motet_control_store", "writes", help), writes);
    let help = "Values in Redis that control could not read and left alone.";
    page.counts(metric("motet_control_store", "foreign_values", help), [(Labels::new(), counts.foreign)]);
    let help = "Connections made to Redis, the first ones included.";
    page.counts(metric("motet_control_store", "connections", help), [(Labels::new(), counts.connections)]);
}

const fn metric(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, unit, help }
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;
    use tonic::Code;

    #[test]
    fn answers_are_counted_by_result_and_time() {
        let meter = Meter::default();
        let refused = || Err(Refusal::plain(Code::NotFound, "no"));
        meter.answered("get", &refused(), Duration::from_micros(500));
        meter.answered("get", &refused(), Duration::from_secs(3));
        let mut page = Page::default();
        meter.describe(&mut page);
        let text = page.text();
        for line in [
            "motet_control_requests_total{request=\"get\",result=\"NotFound\"} 2",
            "motet_control_request_seconds_bucket{le=\"0.0005\",request=\"get\"} 1",
            "motet_control_request_seconds_bucket{le=\"2.0\",request=\"get\"} 1",
            "motet_control_request_seconds_count{request=\"get\"} 2",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
