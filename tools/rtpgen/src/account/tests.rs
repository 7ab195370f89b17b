//! Random loss, reordering and duplication, against a model that remembers every packet.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn arrival(stream: u32, sequence: u64) -> Arrival {
    let stamp = Stamp {
        run: 1,
        stream,
        payload_bytes: 160,
        sequence,
        intended: Time::from_nanos(1_000 * sequence),
        timestamp: sequence as u32 * 160,
    };
    let header =
        Header { ssrc: 7, payload_type: 96, sequence: sequence as u16, timestamp: sequence as u32 * 160 };
    Arrival { receiver: 0, stamp, header, intact: true, now: Time::from_nanos(1_000 * sequence + 500) }
}

fn expecting(label: Label) -> Account {
    Account::new(&[Expectation { receiver: 4, streams: [(2, label)].into() }])
}

proptest! {
    #[test]
    fn counts_match_a_model_that_remembers_everything(sequences in prop::collection::vec(0u64..60, 0..300)) {
        let mut account = expecting(Label::default());
        let mut model = Counts::default();
        let mut seen = HashSet::new();
        let mut last: Option<u64> = None;
        for (&sequence, at) in sequences.iter().zip(0..) {
            // Arrivals are ever further apart.
            let now = 60_500 + at * at;
            account.on_arrival(&Arrival { now: Time::from_nanos(now), ..arrival(2, sequence) });
            model.gap_ns_max = last.map_or(0, |last| now - last);
            last = Some(now);
            let latency_ns = now - 1_000 * sequence;
            let late = seen.iter().any(|other| *other > sequence);
            model.received += 1;
            if seen.insert(sequence) {
                model.unique += 1;
                model.reordered += u64::from(late);
                model.latency_ns_max = model.latency_ns_max.max(latency_ns);
                model.latency_ns_sum += latency_ns;
            } else {
                model.duplicated += 1;
            }
        }
        let flow = account.flows()[0];
        prop_assert_eq!((flow.receiver, flow.stream, flow.expected), (4, 2, true));
        prop_assert_eq!(flow.counts, model);
        prop_assert_eq!(account.latency().len(), model.unique);
    }
}

#[test]
fn strays_are_counted_apart_and_have_no_latency() {
    let mut account = expecting(Label::default());
    account.on_arrival(&arrival(9, 0));
    account.on_arrival(&arrival(9, 1));
    let flows = account.flows();
    assert_eq!((flows[0].stream, flows[0].counts), (2, Counts::default()));
    assert_eq!((flows[1].stream, flows[1].expected, flows[1].counts.received), (9, false, 2));
    assert!(account.latency().is_empty());
}

#[test]
fn wrong_labels_are_counted() {
    let mut account = expecting(Label { ssrc: Some(7), payload_type: Some(96) });
    account.on_arrival(&arrival(2, 0));
    let wrong = |change: fn(&mut Header)| {
        let mut arrival = arrival(2, 1);
        change(&mut arrival.header);
        arrival
    };
    account.on_arrival(&wrong(|header| header.ssrc = 8));
    account.on_arrival(&wrong(|header| header.payload_type = 97));
    account.on_arrival(&wrong(|header| header.sequence += 1));
    account.on_arrival(&wrong(|header| header.timestamp += 1));
    assert_eq!(account.flows()[0].counts.mislabelled, 4);
}

#[test]
fn any_constant_distance_of_sequence_and_timestamp_is_right() {
    let mut account = expecting(Label::default());
    for sequence in 65_530..65_550 {
        let mut arrival = arrival(2, sequence);
        arrival.header.sequence = (sequence as u16).wrapping_add(40_000);
        arrival.header.timestamp = arrival.stamp.timestamp.wrapping_add(u32::MAX - 5);
        account.on_arrival(&arrival);
    }
    assert_eq!(account.flows()[0].counts.mislabelled, 0);
}

#[test]
fn damaged_payloads_are_received_but_corrupt() {
    let mut account = expecting(Label::default());
    account.on_arrival(&Arrival { intact: false, ..arrival(2, 0) });
    let counts = account.flows()[0].counts;
    assert_eq!((counts.received, counts.corrupt), (1, 1));
}

#[test]
fn gaps_beyond_the_bound_are_settled_oldest_first() {
    let mut account = expecting(Label::default());
    for gap in 0..=GAPS_MAX as u64 {
        account.on_arrival(&arrival(2, 2 * gap + 1));
    }
    account.on_arrival(&arrival(2, 0));
    account.on_arrival(&arrival(2, 2));
    let counts = account.flows()[0].counts;
    assert_eq!((counts.duplicated, counts.reordered), (1, 1));
}
