//! RTP and RTCP as checked views over bytes, sequence and time arithmetic.
//!
//! A leaf: no sockets, no clocks, no allocation on the packet path, no `unsafe`. Views are checked once
//! when made; their accessors never panic. Read RFC 3550 (RTP, RTCP), RFC 4585 and RFC 5104 (feedback),
//! RFC 5761 and RFC 7983 (demultiplexing) and RFC 8285 (header extensions).
//!
//! A datagram's way: [`classify`] says what it is; [`FixedHeader`] or [`RtpView`] reads RTP and
//! [`rtcp::Compound`] reads RTCP; [`Reception`] keeps a source's statistics; [`rewrite_header`] makes the
//! header under which a payload goes on; [`JitterBuffer`] puts packets in order and says when they are due;
//! [`payload`] joins packets to pictures and cuts pictures into packets.
#![forbid(unsafe_code)]

pub mod demux;
pub mod ext;
pub mod jitter;
pub mod payload;
pub mod reception;
pub mod rtcp;
pub mod rtp;
pub mod seq;
pub mod testing;
pub mod time;
pub mod timestamp;

pub use demux::{PacketClass, classify};
pub use ext::Extension;
pub use jitter::{JitterBuffer, JitterConfig, JitterPacket, JitterVerdict};
pub use reception::{Reception, ReceptionSnapshot, Verdict};
pub use rtp::{FixedHeader, RtpBuilder, RtpError, RtpView, rewrite_header};
pub use seq::{SeqExtender, SeqNo, WireSeq};
pub use time::{Ntp, Time};
pub use timestamp::{MediaTime, TimestampExtender, WireTimestamp};
