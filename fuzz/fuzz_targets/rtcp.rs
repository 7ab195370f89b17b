//! Any bytes as RTCP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_rtp::testing::fuzz_rtcp(bytes));
