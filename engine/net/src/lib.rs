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

mod address;
mod cmsg;
mod layout;
mod lent;
mod mmsg;
mod newcomers;
mod numa;
mod options;
mod outbound;
mod pair;
mod queue;
mod region;
mod residence;
mod select;
mod socket;
mod twin;
mod types;
mod uring;
mod waker;

pub use mmsg::MmsgIo;
pub use numa::{MemoryPolicy, NUMA_NODE_MAX, memory_policy, set_memory_policy};
pub use options::{OpenError, Options};
pub use pair::SocketPair;
pub use residence::Residence;
pub use select::{AnyIo, IoChoice, select};
pub use types::*;
pub use uring::UringIo;
pub use waker::Waker;
