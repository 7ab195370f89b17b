//! Packets of H.264 from any peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_rtp::testing::fuzz_payload_h264(bytes));
