//! Any text as a layout.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_mixer::testing::fuzz_layout(bytes));
