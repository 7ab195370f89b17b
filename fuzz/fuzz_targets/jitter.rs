//! Any operations on a jitter buffer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_rtp::testing::fuzz_jitter(bytes));
