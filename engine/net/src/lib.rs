//! Batched UDP input and output for one worker thread.
//!
//! Two back ends behind one trait, [`Io`]: `uring` (io_uring with multishot receive, provided buffers
//! and registered files) and `mmsg` (recvmmsg and sendmmsg with epoll). Both take runs of datagrams from
//! the kernel in one buffer (UDP_GRO) and send runs to one destination as one message (UDP_SEGMENT).
//!
//! A *turn* sends what was queued, waits, and receives; [`Io::turn`] is the only call that enters the
//! kernel for packets. What is received stays readable until the next turn, and what is queued may refer
//! to it, so that a payload is never copied in user space.
//!
//! This crate knows nothing of RTP. It is the only one with `unsafe` network code.

mod types;

pub use types::*;
