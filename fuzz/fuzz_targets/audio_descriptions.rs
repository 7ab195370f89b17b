//! Any bytes as SDP, telephone events and comfort noise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_codecs::testing::fuzz_descriptions(bytes));
