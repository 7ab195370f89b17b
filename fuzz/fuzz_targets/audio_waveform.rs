//! G.711, G.722 and L16 from any peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_codecs::testing::fuzz_waveform(bytes));
