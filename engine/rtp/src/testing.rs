//! Bodies of the fuzz targets, which also run over the committed corpus in `cargo test`.
//!
//! They take any bytes and panic only when this crate is wrong.

mod rtcp;
mod rtp;

pub use rtcp::fuzz_rtcp;
pub use rtp::fuzz_rtp;
