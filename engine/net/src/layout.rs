//! How a received message lies in its buffer. Both back ends use the layout that io_uring prescribes for
//! multishot receives (io_uring_prep_recvmsg_multishot(3)): lengths, then name, control data and payload,
//! each in a field of fixed size.

use crate::address::parse_address;
use crate::cmsg::Control;
use std::net::SocketAddr;

/// `struct io_uring_recvmsg_out`: four `u32`.
pub(crate) const LENGTHS_BYTES: usize = 16;
/// Room for a socket address.
pub(crate) const NAME_BYTES: usize = 32;
/// Room for control messages; also places the payload at the start of a cache line.
pub(crate) const CONTROL_BYTES: usize = 80;
/// Room for the payload: no datagram or GRO run is longer (gro_max_size for UDP is 64 KiB).
pub(crate) const PAYLOAD_BYTES: usize = 65_536;

pub(crate) const NAME_OFFSET: usize = LENGTHS_BYTES;
pub(crate) const CONTROL_OFFSET: usize = NAME_OFFSET + NAME_BYTES;
pub(crate) const PAYLOAD_OFFSET: usize = CONTROL_OFFSET + CONTROL_BYTES;
/// Bytes used of a buffer.
pub(crate) const BUFFER_BYTES: usize = PAYLOAD_OFFSET + PAYLOAD_BYTES;
/// Distance of buffers: an odd number of cache lines, so that the starts of many buffers do not compete
/// for the same sets of the processor's caches.
pub(crate) const BUFFER_STRIDE: usize = BUFFER_BYTES + 64;

/// All control messages of a received message: segment size, stamp, drops.
// SAFETY: CMSG_SPACE only does arithmetic.
const _: () = assert!(
    CONTROL_BYTES as u32 >= unsafe { libc::CMSG_SPACE(4) + libc::CMSG_SPACE(16) + libc::CMSG_SPACE(4) }
);
const _: () = assert!(PAYLOAD_OFFSET == 128 && BUFFER_STRIDE % 128 == 64);

/// Lengths and flags of a received message, as recvmsg(2) returns them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) name: usize,
    pub(crate) control: usize,
    pub(crate) payload: usize,
    pub(crate) flags: i32,
}

impl Lengths {
    /// Reads `struct io_uring_recvmsg_out`.
    pub(crate) fn parse(buffer: &[u8]) -> Self {
        let field = |at: usize| {
            let bytes = buffer[at..at + 4].try_into().expect("4 bytes");
            u32::from_ne_bytes(bytes)
        };
        let lengths = [field(0), field(4), field(8)].map(|len| len as usize);
        Self { name: lengths[0], control: lengths[1], payload: lengths[2], flags: field(12) as i32 }
    }
}

/// What a receive buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) source: SocketAddr,
    pub(crate) payload_bytes: usize,
    pub(crate) segment_bytes: usize,
    /// The kernel's receive stamp, in nanoseconds since 1970; 0: none.
    pub(crate) arrived_ns: u64,
    /// Datagrams that the socket had dropped by then, since it was opened.
    pub(crate) kernel_drops: u32,
}

impl Received {
    /// Reads name and control data from the front of a buffer. `None`: the message is truncated, or from
    /// no address that is known here.
    pub(crate) fn parse(front: &[u8], lengths: Lengths) -> Option<Self> {
        let truncated = lengths.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        if truncated || lengths.name > NAME_BYTES || lengths.control > CONTROL_BYTES {
            return None;
        }
        if lengths.payload > PAYLOAD_BYTES {
            return None;
        }
        let source = parse_address(&front[NAME_OFFSET..NAME_OFFSET + lengths.name])?;
        let control = Control::parse(&front[CONTROL_OFFSET..CONTROL_OFFSET + lengths.control]);
        let segment_bytes = control.segment_bytes.unwrap_or(lengths.payload.max(1));
        let arrived_ns = control.arrived_ns.unwrap_or(0);
        let kernel_drops = control.kernel_drops;
        Some(Self { source, payload_bytes: lengths.payload, segment_bytes, arrived_ns, kernel_drops })
    }

    /// Number of datagrams.
    pub(crate) fn datagrams(&self) -> u32 {
        self.payload_bytes.div_ceil(self.segment_bytes).max(1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front() -> [u8; PAYLOAD_OFFSET] {
        let mut front = [0; PAYLOAD_OFFSET];
        front[NAME_OFFSET..NAME_OFFSET + 2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        front[NAME_OFFSET + 2..NAME_OFFSET + 8].copy_from_slice(&[0x13, 0x8c, 127, 0, 0, 1]);
        front
    }

    #[test]
    fn a_plain_datagram_is_one_segment() {
        let lengths = Lengths { name: 16, control: 0, payload: 300, flags: 0 };
        let received = Received::parse(&front(), lengths).expect("readable");
        assert_eq!(received.source, "127.0.0.1:5004".parse().expect("a literal"));
        assert_eq!((received.segment_bytes, received.datagrams()), (300, 1));
        let empty = Received::parse(&front(), Lengths { payload: 0, ..lengths }).expect("readable");
        assert_eq!((empty.segment_bytes, empty.datagrams()), (1, 1), "an empty datagram is one");
    }

    #[test]
    fn truncated_messages_are_refused() {
        let whole = Lengths { name: 16, control: 0, payload: 300, flags: 0 };
        for flags in [libc::MSG_TRUNC, libc::MSG_CTRUNC] {
            assert_eq!(Received::parse(&front(), Lengths { flags, ..whole }), None);
        }
        for lengths in [
            Lengths { name: NAME_BYTES + 1, ..whole },
            Lengths { name: 0, ..whole },
            Lengths { control: CONTROL_BYTES + 1, ..whole },
            Lengths { payload: PAYLOAD_BYTES + 1, ..whole },
        ] {
            assert_eq!(Received::parse(&front(), lengths), None, "{lengths:?}");
        }
    }

    #[test]
    fn lengths_are_read_in_the_kernels_order() {
        let mut bytes = Vec::new();
        for value in [16u32, 24, 12_000, libc::MSG_TRUNC as u32] {
            bytes.extend(value.to_ne_bytes());
        }
        let lengths = Lengths::parse(&bytes);
        assert_eq!((lengths.name, lengths.control, lengths.payload), (16, 24, 12_000));
        assert_eq!(lengths.flags, libc::MSG_TRUNC);
    }
}
