//! Packets of H.265 from any peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_rtp::testing::fuzz_payload_h265(bytes));
