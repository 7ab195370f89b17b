//! Any packets to a canvas, beside a good sender.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_mixer::testing::fuzz_canvas(bytes));
