//! How long packets stay in the relay, as it tells itself at `/metrics`.

use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Name of the histogram on the page.
const METRIC: &str = "motet_relay_residence_seconds_bucket";
/// How long the page may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// A histogram of times; counts are cumulative, as on the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residence {
    /// Packets that stayed at most so many nanoseconds.
    at_most: BTreeMap<u64, u64>,
}

/// A node's page of metrics.
pub fn page(metrics: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(metrics).context("the node's metrics cannot be reached")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

impl Residence {
    /// Asks a node. None: it does not measure this.
    pub fn of_node(metrics: SocketAddr) -> anyhow::Result<Option<Residence>> {
        Ok(Residence::of_page(&page(metrics)?))
    }

    /// Sums up all workers. None: the page has no such histogram.
    fn of_page(page: &str) -> Option<Residence> {
        let mut sum = Residence::default();
        for line in page.lines().filter_map(|line| line.strip_prefix(METRIC)) {
            let (labels, count) = line.rsplit_once(' ')?;
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
            let bound_ns = bound.parse::<f64>().map_or(u64::MAX, |seconds| (seconds * 1e9).round() as u64);
            // As a float "+Inf" saturates, which is what is wanted.
            *sum.at_most.entry(bound_ns).or_default() += count.parse::<f64>().ok()? as u64;
        }
        (!sum.at_most.is_empty()).then_some(sum)
    }

    /// What came after `earlier`.
    pub fn since(&self, earlier: &Residence) -> Residence {
        let before = |bound| earlier.at_most.get(bound).copied().unwrap_or(0);
        let counts = self.at_most.iter().map(|(bound, count)| (*bound, count.saturating_sub(before(bound))));
        Residence { at_most: counts.collect() }
    }

    /// Adds another histogram with the same bounds.
    pub fn add(&mut self, other: &Residence) {
        for (bound, count) in &other.at_most {
            *self.at_most.entry(*bound).or_default() += count;
        }
    }

    /// Packets measured.
    pub fn count(&self) -> u64 {
        self.at_most.values().last().copied().unwrap_or(0)
    }

    /// The bound, in microseconds, that this share of packets did not pass; infinite when it is beyond the
    /// last bound, or when nothing was measured.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = quantile * self.count() as f64;
        let found = self.at_most.iter().find(|(_, count)| self.count() > 0 && **count as f64 >= wanted);
        match found {
            Some((bound, _)) if *bound < u64::MAX => *bound as f64 / 1000.0,
            _ => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "HTTP/1.1 200 OK\r\n\r\n\
        # TYPE motet_relay_residence_seconds histogram\n\
        motet_relay_residence_seconds_sum{worker=\"0\"} 0.1\n\
        motet_relay_residence_seconds_bucket{le=\"0.00005\",worker=\"0\"} 90\n\
        motet_relay_residence_seconds_bucket{le=\"0.0002\",worker=\"0\"} 99\n\
        motet_relay_residence_seconds_bucket{le=\"+Inf\",worker=\"0\"} 100\n\
        motet_relay_residence_seconds_bucket{worker=\"1\",le=\"5e-05\"} 100\n\
        motet_relay_residence_seconds_bucket{worker=\"1\",le=\"0.0002\"} 100\n\
        motet_relay_residence_seconds_bucket{worker=\"1\",le=\"+Inf\"} 100\n";

    #[test]
    fn quantiles_are_bounds_of_buckets_over_all_workers() {
        let residence = Residence::of_page(PAGE).expect("the page has the histogram");
        assert_eq!(residence.count(), 200);
        assert_eq!(residence.quantile_us(0.95), 50.0);
        assert_eq!(residence.quantile_us(0.99), 200.0);
        assert_eq!(residence.quantile_us(1.0), f64::INFINITY);
        assert_eq!(Residence::of_page("HTTP/1.1 200 OK\r\n\r\nother 1\n"), None);
    }

    #[test]
    fn only_what_came_in_between_counts() {
        let residence = Residence::of_page(PAGE).expect("the page has the histogram");
        let nothing = residence.since(&residence);
        assert_eq!((nothing.count(), nothing.quantile_us(0.5)), (0, f64::INFINITY));
        let mut twice = residence.since(&Residence::default());
        twice.add(&residence);
        assert_eq!((twice.count(), twice.quantile_us(0.95)), (400, 50.0));
    }
}
