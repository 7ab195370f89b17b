//! RTP and RTCP as checked views over bytes, sequence and time arithmetic.
//!
//! A leaf: no sockets, no clocks, no allocation on the packet path, no `unsafe`. Views are checked once
//! when made; their accessors never panic. Read RFC 3550 (RTP, RTCP), RFC 4585 and RFC 5104 (feedback),
//! RFC 5761 (demultiplexing) and RFC 8285 (header extensions).
#![forbid(unsafe_code)]

pub mod time;

pub use time::{Ntp, Time};
