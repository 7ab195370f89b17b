//! The control messages used: UDP_SEGMENT on sending, UDP_GRO (udp(7)), SO_TIMESTAMPNS and SO_RXQ_OVFL (socket(7))
//! on receiving.

use std::mem::offset_of;

/// glibc's `cmsg_len` is as wide as `usize`; elsewhere the writing below would have to change.
const _: () = assert!(offset_of!(libc::cmsghdr, cmsg_level) == size_of::<usize>());
/// Both fields of a stamp are as wide as its seconds.
const _: () = assert!(size_of::<libc::timespec>() == 2 * size_of::<libc::time_t>());

/// Room for the control message of one sent message: a header and a `u16`, padded (cmsg(3)).
// SAFETY: CMSG_SPACE only does arithmetic.
pub(crate) const SEGMENT_CONTROL_BYTES: usize = unsafe { libc::CMSG_SPACE(2) } as usize;

const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const ALIGN: usize = size_of::<usize>();

/// Control data that asks for segmentation offload, aligned as cmsg(3) wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct SegmentControl([u8; SEGMENT_CONTROL_BYTES]);

impl SegmentControl {
    pub(crate) fn new(segment_bytes: u16) -> Self {
        // The value follows the header directly: cmsghdr is a multiple of the alignment long.
        let len = HEADER_BYTES + size_of::<u16>();
        let mut bytes = [0; SEGMENT_CONTROL_BYTES];
        let at = offset_of!(libc::cmsghdr, cmsg_len);
        bytes[at..at + size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
        let at = offset_of!(libc::cmsghdr, cmsg_level);
        bytes[at..at + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        let at = offset_of!(libc::cmsghdr, cmsg_type);
        bytes[at..at + 4].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        bytes[HEADER_BYTES..HEADER_BYTES + 2].copy_from_slice(&segment_bytes.to_ne_bytes());
        Self(bytes)
    }
}

/// What the control data of a received message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// From UDP_GRO. `None`: a single datagram.
    pub(crate) segment_bytes: Option<usize>,
    /// From SO_TIMESTAMPNS, in nanoseconds since 1970.
    pub(crate) arrived_ns: Option<u64>,
    /// From SO_RXQ_OVFL: datagrams that the socket had dropped by then, since it was opened. The kernel says so
    /// only once there are some (`sock_recv_drops` in net/socket.c). 0: none.
    pub(crate) kernel_drops: u32,
}

impl Control {
    /// Reads control messages as far as they make sense.
    pub(crate) fn parse(mut control: &[u8]) -> Control {
        let mut found = Control::default();
        while control.len() >= HEADER_BYTES {
            // SAFETY: there are HEADER_BYTES readable bytes, the read is unaligned, and every bit pattern is
            // a valid cmsghdr.
            let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
            let len = header.cmsg_len;
            if len < HEADER_BYTES || len > control.len() {
                break;
            }
            let value = &control[HEADER_BYTES..len];
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => found.segment_bytes = segment_bytes(value),
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => found.arrived_ns = stamp_ns(value),
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    found.kernel_drops = value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
                }
                _ => {}
            }
            let Some(rest) = control.get(len.next_multiple_of(ALIGN)..) else { break };
            control = rest;
        }
        found
    }
}

fn segment_bytes(value: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_ne_bytes(*value.first_chunk()?)).ok().filter(|&bytes| bytes > 0)
}

/// A `struct timespec`: seconds and nanoseconds.
fn stamp_ns(value: &[u8]) -> Option<u64> {
    let field = |at: usize| {
        let bytes = value.get(at..at + size_of::<libc::time_t>())?;
        u64::try_from(libc::time_t::from_ne_bytes(bytes.try_into().ok()?)).ok()
    };
    field(0)?.checked_mul(1_000_000_000)?.checked_add(field(offset_of!(libc::timespec, tv_nsec))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(level: i32, kind: i32, value: &[u8]) -> Vec<u8> {
        let len = HEADER_BYTES + value.len();
        let mut bytes = vec![0; len.next_multiple_of(ALIGN)];
        bytes[..ALIGN].copy_from_slice(&len.to_ne_bytes());
        bytes[ALIGN..ALIGN + 4].copy_from_slice(&level.to_ne_bytes());
        bytes[ALIGN + 4..ALIGN + 8].copy_from_slice(&kind.to_ne_bytes());
        bytes[HEADER_BYTES..len].copy_from_slice(value);
        bytes
    }

    fn segment(bytes: &[u8]) -> Option<usize> {
        Control::parse(bytes).segment_bytes
    }

    #[test]
    fn the_segment_size_is_found_behind_other_messages() {
        let gro = control(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        assert_eq!(segment(&gro), Some(1200));
        let mut two = control(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 2, 3, 4, 5]);
        two.extend(&gro);
        assert_eq!(segment(&two), Some(1200));
        assert_eq!(segment(&two[..two.len() - 8]), None, "cut off");
        assert_eq!(segment(&[]), None);
    }

    #[test]
    fn the_stamp_is_found_before_and_behind_the_segment_size() {
        let value: Vec<u8> = [1_700_000_000u64, 123_456_789].map(u64::to_ne_bytes).concat();
        let stamp = control(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &value);
        let gro = control(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        let arrived_ns = Some(1_700_000_000_123_456_789);
        let both = Control { segment_bytes: Some(1200), arrived_ns, kernel_drops: 0 };
        assert_eq!(Control::parse(&[stamp.clone(), gro.clone()].concat()), both);
        assert_eq!(Control::parse(&[gro, stamp].concat()), both);
    }

    #[test]
    fn drops_of_the_kernel_are_found_where_there_are_some() {
        let drops = control(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &70_000u32.to_ne_bytes());
        assert_eq!(Control::parse(&drops).kernel_drops, 70_000);
        let short = control(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 2]);
        assert_eq!(Control::parse(&short).kernel_drops, 0);
    }

    #[test]
    fn senseless_control_data_is_refused() {
        for value in [0i32, -1] {
            assert_eq!(segment(&control(libc::SOL_UDP, libc::UDP_GRO, &value.to_ne_bytes())), None);
        }
        for bytes in [&[0; 64], &[255; 64]] {
            assert_eq!(Control::parse(bytes), Control::default(), "a length of 0 must not loop");
        }
        assert_eq!(segment(&control(libc::SOL_UDP, libc::UDP_GRO, &[1, 2])), None);
        for seconds in [i64::MIN, -1, i64::MAX] {
            let value: Vec<u8> = [seconds, 0].map(i64::to_ne_bytes).concat();
            let stamp = control(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &value);
            assert_eq!(Control::parse(&stamp).arrived_ns, None, "{seconds} s");
        }
        let short = control(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &[1; 15]);
        assert_eq!(Control::parse(&short).arrived_ns, None);
    }

    #[test]
    fn the_sent_message_is_what_cmsg_describes() {
        let built = SegmentControl::new(1200);
        // SAFETY: SegmentControl is longer than a cmsghdr and aligned; every bit pattern is valid.
        let header = unsafe { (&raw const built).cast::<libc::cmsghdr>().read() };
        // SAFETY: CMSG_LEN only does arithmetic.
        let len = unsafe { libc::CMSG_LEN(2) };
        assert_eq!(header.cmsg_len, len as usize);
        assert_eq!((header.cmsg_level, header.cmsg_type), (libc::SOL_UDP, libc::UDP_SEGMENT));
        assert_eq!(built.0[HEADER_BYTES..HEADER_BYTES + 2], 1200u16.to_ne_bytes());
    }
}
