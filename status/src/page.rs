//! A page of metrics, filled anew at each scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::fmt;

/// Names and values that tell the samples of one metric apart.
pub type Labels = Vec<(&'static str, String)>;

/// What a metric is called and means. The unit becomes the end of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name without its unit and without `_total`.
    pub name: &'static str,
    /// `bytes`, `seconds`, `packets`, ...; empty for information and for values that are 0 or 1.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// A histogram's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    /// Upper bounds, rising.
    pub bounds: Vec<f64>,
    /// Observations in each bucket by itself; one more than bounds, for what is above the last.
    pub counts: Vec<u64>,
    /// All observed values together.
    pub sum: f64,
}

#[derive(Debug)]
enum Samples {
    Counts(Vec<(Labels, u64)>),
    Sums(Vec<(Labels, f64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, Buckets)>),
    Info(Labels),
}

#[derive(Debug)]
struct Family {
    metric: Metric,
    samples: Samples,
}

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Page {
    families: Vec<Family>,
}

impl Page {
    /// A page with what every process has: processor time, memory, descriptors, start.
    pub fn new() -> Page {
        let mut page = Page::default();
        crate::process::describe(&mut page);
        page
    }

    /// Whole numbers that only rise.
    pub fn counts(&mut self, metric: Metric, samples: impl IntoIterator<Item = (Labels, u64)>) {
        self.add(metric, Samples::Counts(samples.into_iter().collect()));
    }

    /// Sums, of seconds for example, that only rise.
    pub fn sums(&mut self, metric: Metric, samples: impl IntoIterator<Item = (Labels, f64)>) {
        self.add(metric, Samples::Sums(samples.into_iter().collect()));
    }

    /// Values that rise and fall.
    pub fn gauges(&mut self, metric: Metric, samples: impl IntoIterator<Item = (Labels, f64)>) {
        self.add(metric, Samples::Gauges(samples.into_iter().collect()));
    }

    /// One value that rises and falls.
    pub fn gauge(&mut self, metric: Metric, value: f64) {
        self.gauges(metric, [(Labels::new(), value)]);
    }

    /// Distributions. Panics unless each has one count more than bounds.
    pub fn histograms(&mut self, metric: Metric, samples: impl IntoIterator<Item = (Labels, Buckets)>) {
        let samples: Vec<_> = samples.into_iter().collect();
        let fit = samples.iter().all(|(_, buckets)| buckets.counts.len() == buckets.bounds.len() + 1);
        assert!(fit, "{}: one count more than bounds", metric.name);
        self.add(metric, Samples::Histograms(samples));
    }

    /// What does not change while the process runs, as labels; `_info` becomes the end of the name.
    pub fn info(&mut self, metric: Metric, labels: Labels) {
        self.add(metric, Samples::Info(labels));
    }

    /// The page in the OpenMetrics text format.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }

    fn add(&mut self, metric: Metric, samples: Samples) {
        self.families.push(Family { metric, samples });
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, samples } in &self.families {
            let unit = Unit::Other(metric.unit.to_owned());
            let unit = (!metric.unit.is_empty()).then_some(&unit);
            let encoder = encoder.encode_descriptor(metric.name, metric.help, unit, samples.kind())?;
            samples.encode(encoder)?;
        }
        Ok(())
    }
}

impl Samples {
    fn kind(&self) -> MetricType {
        match self {
            Samples::Counts(_) | Samples::Sums(_) => MetricType::Counter,
            Samples::Gauges(_) => MetricType::Gauge,
            Samples::Histograms(_) => MetricType::Histogram,
            Samples::Info(_) => MetricType::Info,
        }
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Samples::Counts(samples) => each(&mut encoder, samples, |encoder, value| {
                encoder.encode_counter::<NoLabelSet, u64, f64>(value, None)
            }),
            Samples::Sums(samples) => each(&mut encoder, samples, |encoder, value| {
                encoder.encode_counter::<NoLabelSet, f64, f64>(value, None)
            }),
            Samples::Gauges(samples) => {
                each(&mut encoder, samples, |encoder, value| encoder.encode_gauge(value))
            }
            Samples::Histograms(samples) => each(&mut encoder, samples, |encoder, buckets| {
                let none: Option<&HashMap<usize, _>> = None;
                let bounds = buckets.bounds.iter().copied().chain([f64::INFINITY]);
                let counts: Vec<(f64, u64)> = bounds.zip(buckets.counts.iter().copied()).collect();
                let count = buckets.counts.iter().sum();
                encoder.encode_histogram::<NoLabelSet>(buckets.sum, count, &counts, none)
            }),
            Samples::Info(labels) => encoder.encode_info(labels),
        }
    }
}

fn each<T>(
    encoder: &mut MetricEncoder<'_>,
    samples: &[(Labels, T)],
    encode: impl Fn(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (labels, value) in samples {
        if labels.is_empty() {
            encode(encoder, value)?;
        } else {
            encode(&mut encoder.encode_family(labels)?, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &'static str, unit: &'static str) -> Metric {
        Metric { name, unit, help: "Helps." }
    }

    #[test]
    fn every_kind_is_written_as_openmetrics_wants_it() {
        let mut page = Page::default();
        let to = |worker: &str| vec![("worker", worker.to_owned())];
        page.counts(metric("sent", "packets"), [(to("0"), 3), (to("1"), u64::MAX)]);
        page.sums(metric("busy", "seconds"), [(Labels::new(), 1.5)]);
        page.gauge(metric("legs", ""), 7.0);
        let buckets = Buckets { bounds: vec![0.001, 0.5], counts: vec![1, 0, 2], sum: 4.0 };
        page.histograms(metric("stay", "seconds"), [(to("0"), buckets)]);
        page.info(metric("node", ""), vec![("id", "a\"b".to_owned())]);
        let expected = "\
# HELP sent_packets Helps.
# TYPE sent_packets counter
# UNIT sent_packets packets
sent_packets_total{worker=\"0\"} 3
sent_packets_total{worker=\"1\"} 18446744073709551615
# HELP busy_seconds Helps.
# TYPE busy_seconds counter
# UNIT busy_seconds seconds
busy_seconds_total 1.5
# HELP legs Helps.
# TYPE legs gauge
legs 7.0
# HELP stay_seconds Helps.
# TYPE stay_seconds histogram
# UNIT stay_seconds seconds
stay_seconds_sum{worker=\"0\"} 4.0
stay_seconds_count{worker=\"0\"} 3
stay_seconds_bucket{le=\"0.001\",worker=\"0\"} 1
stay_seconds_bucket{le=\"0.5\",worker=\"0\"} 1
stay_seconds_bucket{le=\"+Inf\",worker=\"0\"} 3
# HELP node Helps.
# TYPE node info
node_info{id=\"a\\\"b\"} 1
# EOF
";
        assert_eq!(page.text(), expected);
    }

    #[test]
    #[should_panic(expected = "one count more than bounds")]
    fn a_histogram_without_its_last_bucket_is_a_mistake() {
        let buckets = Buckets { bounds: vec![1.0], counts: vec![1], sum: 1.0 };
        Page::default().histograms(metric("stay", "seconds"), [(Labels::new(), buckets)]);
    }
}
