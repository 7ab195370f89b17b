//! The two control messages used: UDP_SEGMENT on sending, UDP_GRO on receiving (udp(7)).

use std::mem::offset_of;

/// glibc's `cmsg_len` is as wide as `usize`; elsewhere the writing below would have to change.
const _: () = assert!(offset_of!(libc::cmsghdr, cmsg_level) == size_of::<usize>());

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

/// Finds the segment size that UDP_GRO put into received control data. `None`: a single datagram.
pub(crate) fn segment_bytes(mut control: &[u8]) -> Option<usize> {
    while control.len() >= HEADER_BYTES {
        // SAFETY: there are HEADER_BYTES readable bytes, the read is unaligned, and every bit pattern is a
        // valid cmsghdr.
        let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        let len = header.cmsg_len;
        if len < HEADER_BYTES || len > control.len() {
            return None;
        }
        if header.cmsg_level == libc::SOL_UDP && header.cmsg_type == libc::UDP_GRO {
            let value = control[HEADER_BYTES..len].first_chunk::<4>()?;
            return usize::try_from(i32::from_ne_bytes(*value)).ok().filter(|&bytes| bytes > 0);
        }
        control = control.get(len.next_multiple_of(ALIGN)..)?;
    }
    None
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

    #[test]
    fn the_segment_size_is_found_behind_other_messages() {
        let gro = control(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        assert_eq!(segment_bytes(&gro), Some(1200));
        let mut two = control(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 2, 3, 4, 5]);
        two.extend(&gro);
        assert_eq!(segment_bytes(&two), Some(1200));
        assert_eq!(segment_bytes(&two[..two.len() - 8]), None, "cut off");
        assert_eq!(segment_bytes(&[]), None);
    }

    #[test]
    fn senseless_control_data_is_refused() {
        for value in [0i32, -1] {
            assert_eq!(segment_bytes(&control(libc::SOL_UDP, libc::UDP_GRO, &value.to_ne_bytes())), None);
        }
        assert_eq!(segment_bytes(&[0; 64]), None, "a length of 0 must not loop");
        assert_eq!(segment_bytes(&[255; 64]), None);
        assert_eq!(segment_bytes(&control(libc::SOL_UDP, libc::UDP_GRO, &[1, 2])), None);
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
