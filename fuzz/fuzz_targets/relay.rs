//! Any datagrams and commands to a relay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| motet_relay::testing::fuzz_relay(bytes));
