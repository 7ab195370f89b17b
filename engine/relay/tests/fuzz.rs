//! The fuzz body, for a while: random bytes, and bytes that look like packets.

use motet_relay::testing::fuzz_relay;
use proptest::prelude::*;

/// A record of the fuzz body: place, length, step, datagram.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let rtp = (any::<u16>(), any::<u8>(), prop::sample::select(vec![96_u8, 111, 224]), 0..3_u8).prop_map(
        |(sequence, timestamp, payload_type, ssrc)| {
            let [high, low] = (sequence % 40).to_be_bytes();
            vec![0x80, payload_type, high, low, 0, 0, 0, timestamp, 0, 0, 0, ssrc, 1, 2, 3, 4, 5, 6, 7, 8]
        },
    );
    let rtcp = (prop::sample::select(vec![200_u8, 201, 203, 205, 206]), 0..5_u8, any::<u8>()).prop_map(
        |(kind, count, tail)| {
            let mut bytes = vec![0x80 | count, kind, 0, 6, 0, 0, 0, 1];
            bytes.extend([tail; 20]);
            bytes
        },
    );
    let junk = proptest::collection::vec(any::<u8>(), 0..40);
    (any::<u8>(), any::<u8>(), prop_oneof![4 => rtp, 2 => rtcp, 1 => junk]).prop_map(
        |(place, step, datagram)| {
            let mut bytes = vec![place, datagram.len() as u8, step % 128];
            bytes.extend(datagram);
            bytes
        },
    )
}

proptest! {
    #[test]
    fn records(records in proptest::collection::vec(record(), 1..60)) {
        fuzz_relay(&records.concat());
    }

    #[test]
    fn anything(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz_relay(&bytes);
    }
}
