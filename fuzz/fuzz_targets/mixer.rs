//! Any packets and commands to a mixer with a few participants.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_mixer::testing::fuzz_mixer(bytes));
