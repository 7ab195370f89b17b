//! Judges every packet that arrives: exact counts for each stream at each receiver.
//!
//! Memory grows with the number of gaps, not with the number of packets: a flow is its next expected
//! packet and the runs of packets missing before it.

use crate::payload::Stamp;
use hdrhistogram::Histogram;
use motet_rtp::Time;
use std::collections::{BTreeMap, HashMap};

/// Gaps that a flow remembers. When there are more, the oldest is settled as lost for good, and a packet
/// that fills it later counts as duplicated.
pub const GAPS_MAX: usize = 65_536;
/// Latencies above this are recorded as this, in nanoseconds: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What the header of a stream must look like at a receiver; none: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Synchronization source.
    pub ssrc: Option<u32>,
    /// Payload type.
    pub payload_type: Option<u8>,
}

/// The header fields that a relay may rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Synchronization source.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number on the wire.
    pub sequence: u16,
    /// Timestamp on the wire.
    pub timestamp: u32,
}

/// What one receiver should get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Number of the receiver over all workers.
    pub receiver: u32,
    /// The streams that must come, and how their headers look here.
    pub streams: BTreeMap<u32, Label>,
}

/// Counts of one stream at one receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came, duplicates included.
    pub received: u64,
    /// Different packets that came.
    pub unique: u64,
    /// Packets that came after a later one of their stream (RFC 4737), duplicates excluded.
    pub reordered: u64,
    /// Packets that had come before.
    pub duplicated: u64,
    /// Packets whose payload is damaged; received, but not as sent.
    pub corrupt: u64,
    /// Packets whose SSRC or payload type is not what was expected, or whose sequence number or
    /// timestamp does not stand in the flow's constant distance from what was sent.
    pub mislabelled: u64,
    /// Longest time from the intended moment of sending to arrival, in nanoseconds.
    pub latency_ns_max: u64,
    /// Longest time between two arrivals, in nanoseconds; 0 with fewer than two packets.
    pub gap_ns_max: u64,
    /// Sum of these times over all different packets, in nanoseconds.
    pub latency_ns_sum: u64,
}

/// A packet at a receiver.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Index into the expectations that the account was made with.
    pub receiver: usize,
    /// What its payload says.
    pub stamp: Stamp,
    /// What its header says.
    pub header: Header,
    /// False when the payload behind the stamp is damaged.
    pub intact: bool,
    /// When it came.
    pub now: Time,
}

/// One stream at one receiver, as given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCounts {
    /// Number of the receiver over all workers.
    pub receiver: u32,
    /// Number of the stream.
    pub stream: u32,
    /// Whether it should have come here.
    pub expected: bool,
    /// What came.
    pub counts: Counts,
}

/// All flows of a worker's receivers.
#[derive(Debug)]
pub struct Account {
    receivers: Vec<ReceiverAccount>,
    unique_expected: u64,
    latency: Histogram<u64>,
}

#[derive(Debug)]
struct ReceiverAccount {
    receiver: u32,
    flows: HashMap<u32, Flow>,
}

impl Account {
    /// An account of the given receivers, in the order in which arrivals name them.
    pub fn new(expectations: &[Expectation]) -> Self {
        let receivers = expectations.iter().map(|expectation| {
            let flows = expectation.streams.iter().map(|(stream, label)| (*stream, Flow::new(Some(*label))));
            ReceiverAccount { receiver: expectation.receiver, flows: flows.collect() }
        });
        Account { receivers: receivers.collect(), unique_expected: 0, latency: latency_histogram() }
    }

    /// Takes one packet into account.
    pub fn on_arrival(&mut self, arrival: &Arrival) {
        let receiver = &mut self.receivers[arrival.receiver];
        let flow = receiver.flows.entry(arrival.stamp.stream).or_insert_with(|| Flow::new(None));
        let latency_ns = arrival.now.since(arrival.stamp.intended).as_nanos() as u64;
        let first = flow.on_arrival(arrival, latency_ns);
        if first && flow.expected.is_some() {
            self.unique_expected += 1;
            self.latency.saturating_record(latency_ns.clamp(1, LATENCY_NS_MAX));
        }
    }

    /// Every expected flow, and every other that had packets, by receiver and stream.
    pub fn flows(&self) -> Vec<FlowCounts> {
        let mut flows: Vec<FlowCounts> = self
            .receivers
            .iter()
            .flat_map(|receiver| {
                receiver.flows.iter().map(|(stream, flow)| FlowCounts {
                    receiver: receiver.receiver,
                    stream: *stream,
                    expected: flow.expected.is_some(),
                    counts: flow.counts,
                })
            })
            .collect();
        flows.sort_unstable_by_key(|flow| (flow.receiver, flow.stream));
        flows
    }

    /// Different packets that came where they should.
    pub fn unique_expected(&self) -> u64 {
        self.unique_expected
    }

    /// Nanoseconds from the intended moment of sending to the first arrival, of expected packets.
    pub fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }
}

/// An empty histogram of nanoseconds, exact to three digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are constant and valid")
}

#[derive(Debug)]
struct Flow {
    expected: Option<Label>,
    counts: Counts,
    /// One past the highest packet that came.
    next: u64,
    /// Runs of missing packets below `next`: first, one past the last.
    gaps: BTreeMap<u64, u64>,
    /// Distance of sequence number and timestamp from what was sent, of the first packet.
    distance: Option<(u16, u32)>,
    /// When the last packet came.
    last: Option<Time>,
}

impl Flow {
    fn new(expected: Option<Label>) -> Self {
        Flow {
            expected,
            counts: Counts::default(),
            next: 0,
            gaps: BTreeMap::new(),
            distance: None,
            last: None,
        }
    }

    /// True when this packet had not come before.
    fn on_arrival(&mut self, arrival: &Arrival, latency_ns: u64) -> bool {
        self.counts.received += 1;
        if let Some(last) = self.last.replace(arrival.now) {
            let gap_ns = arrival.now.since(last).as_nanos() as u64;
            self.counts.gap_ns_max = self.counts.gap_ns_max.max(gap_ns);
        }
        self.counts.corrupt += u64::from(!arrival.intact);
        self.counts.mislabelled += u64::from(!self.is_labelled(arrival));
        let first = self.place(arrival.stamp.sequence);
        if first {
            self.counts.unique += 1;
            self.counts.latency_ns_max = self.counts.latency_ns_max.max(latency_ns);
            self.counts.latency_ns_sum += latency_ns;
        } else {
            self.counts.duplicated += 1;
        }
        first
    }

    /// Finds the packet's place in the flow; false when it is taken.
    fn place(&mut self, sequence: u64) -> bool {
        if sequence >= self.next {
            if sequence > self.next {
                self.gaps.insert(self.next, sequence);
                if self.gaps.len() > GAPS_MAX {
                    self.gaps.pop_first();
                }
            }
            self.next = sequence + 1;
            return true;
        }
        let Some((&first, &end)) = self.gaps.range(..=sequence).next_back() else { return false };
        if sequence >= end {
            return false;
        }
        self.counts.reordered += 1;
        self.gaps.remove(&first);
        if first < sequence {
            self.gaps.insert(first, sequence);
        }
        if sequence + 1 < end {
            self.gaps.insert(sequence + 1, end);
        }
        true
    }

    fn is_labelled(&mut self, arrival: &Arrival) -> bool {
        let header = arrival.header;
        let distance = (
            header.sequence.wrapping_sub(arrival.stamp.sequence as u16),
            header.timestamp.wrapping_sub(arrival.stamp.timestamp),
        );
        let label = self.expected.unwrap_or_default();
        *self.distance.get_or_insert(distance) == distance
            && label.ssrc.is_none_or(|ssrc| ssrc == header.ssrc)
            && label.payload_type.is_none_or(|payload_type| payload_type == header.payload_type)
    }
}

#[cfg(test)]
mod tests;
