//! The bare loop on `recvmmsg` and `sendmsg`.

use crate::{Control, Work, gro_segment, raw_addresses};
use std::error::Error;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;

const MESSAGES: usize = 32;
const PAYLOAD_BYTES: usize = 65_536;

/// Runs for ever; errors end it.
pub fn run(work: &Work) -> Result<(), Box<dyn Error>> {
    let mut payloads = vec![0u8; MESSAGES * PAYLOAD_BYTES];
    let mut controls = vec![[0u64; 4]; MESSAGES];
    let payload_base = payloads.as_mut_ptr();
    let iovec = |n: usize| libc::iovec {
        iov_base: payload_base.wrapping_add(n * PAYLOAD_BYTES).cast(),
        iov_len: PAYLOAD_BYTES,
    };
    let mut iovecs: Vec<libc::iovec> = (0..MESSAGES).map(iovec).collect();
    let (control_base, iovec_base) = (controls.as_mut_ptr(), iovecs.as_mut_ptr());
    // SAFETY: all zeroes is a valid mmsghdr.
    let mut headers: Vec<libc::mmsghdr> = (0..MESSAGES).map(|_| unsafe { std::mem::zeroed() }).collect();
    for (n, header) in headers.iter_mut().enumerate() {
        header.msg_hdr.msg_control = control_base.wrapping_add(n).cast();
        header.msg_hdr.msg_iov = iovec_base.wrapping_add(n);
        header.msg_hdr.msg_iovlen = 1;
    }
    let sinks = raw_addresses(&work.sinks);
    let senders: Vec<RawFd> = if work.senders.is_empty() {
        vec![work.listen.as_raw_fd(); sinks.len()]
    } else {
        work.senders.iter().map(AsRawFd::as_raw_fd).collect()
    };
    let mut rooms = (0..work.rooms()).cycle();
    loop {
        for header in &mut headers {
            header.msg_hdr.msg_controllen = 32;
        }
        let (descriptor, pointer) = (work.listen.as_raw_fd(), headers.as_mut_ptr());
        // SAFETY: the headers point to live buffers that nothing else uses now (recvmmsg(2)).
        let count = unsafe {
            libc::recvmmsg(descriptor, pointer, MESSAGES as u32, libc::MSG_WAITFORONE as _, null_mut())
        };
        let count = usize::try_from(count).map_err(|_| std::io::Error::last_os_error())?;
        for (n, header) in headers[..count].iter().enumerate() {
            // SAFETY: message n was received, so its control data is initialised and not being written.
            let control = unsafe { &*control_base.wrapping_add(n).cast::<[u8; 32]>() };
            let segment = gro_segment(control, header.msg_hdr.msg_controllen);
            let base = payload_base.wrapping_add(n * PAYLOAD_BYTES).cast();
            let iovec = libc::iovec { iov_base: base, iov_len: header.msg_len as usize };
            let room = rooms.next().expect("it goes round");
            send(iovec, segment, &senders[room * sinks.len()..], &sinks);
        }
    }
}

fn send(mut iovec: libc::iovec, segment: u16, senders: &[RawFd], sinks: &[socket2::SockAddr]) {
    let mut control = Control::segment(segment);
    // SAFETY: all zeroes is a valid msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iovec;
    header.msg_iovlen = 1;
    if segment > 0 {
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = size_of::<Control>();
    }
    for (descriptor, sink) in senders.iter().zip(sinks) {
        header.msg_name = sink.as_ptr().cast_mut().cast();
        header.msg_namelen = sink.len();
        // SAFETY: everything that the header leads to is live (sendmsg(2)). A sink that takes nothing is
        // none of this loop's business.
        let _ =
            unsafe { libc::sendmsg(*descriptor, &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    }
}
