//! Whole-process benchmarks: real processes on loopback, one core for the subject and one for the load.
//!
//! Every benchmark prints a table and writes `target/bench/NAME.json`, an array of [`Figure`]s with stable
//! names. `benches/packet.rs` has the Criterion benchmarks of single functions.
#![forbid(unsafe_code)]

pub mod audio;
pub mod bencode;
pub mod criterion;
pub mod figures;
pub mod floor;
pub mod janus;
pub mod machine;
pub mod mediasoup;
pub mod node;
pub mod pesq;
pub mod process;
pub mod recording;
pub mod relay;
pub mod rtpengine;
pub mod snr;
pub mod table;
pub mod video;

pub use figures::Figure;
