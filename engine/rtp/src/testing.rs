//! Bodies of the fuzz targets, which also run over the committed corpus in `cargo test`.
//!
//! They take any bytes and panic only when this crate is wrong.

mod jitter;
mod payload;
mod rtcp;
mod rtp;

pub use jitter::fuzz_jitter;
pub use payload::{fuzz_payload_h264, fuzz_payload_h265, fuzz_payload_vp8};
pub use rtcp::fuzz_rtcp;
pub use rtp::fuzz_rtp;
