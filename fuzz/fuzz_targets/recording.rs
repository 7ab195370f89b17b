//! Any operations on a recording.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_recorder::testing::fuzz_recording(bytes));
