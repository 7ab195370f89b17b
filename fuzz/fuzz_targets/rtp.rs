//! Any bytes as RTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_rtp::testing::fuzz_rtp(bytes));
