//! Pictures of H.265 from any peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_codecs::testing::fuzz_video_h265(bytes));
