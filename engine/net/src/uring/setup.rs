//! Making a ring that has what the back end needs, or saying what is missing.

use super::buffers::Buffers;
use crate::OpenError;
use crate::layout::{CONTROL_BYTES, NAME_BYTES};
use crate::socket::descriptors_max;
use io_uring::{IoUring, cqueue, opcode, types};
use std::io;
use std::net::UdpSocket;

/// Requests that can wait for submission. A chunk of sends fits and leaves room for receives.
pub(super) const SUBMISSIONS: u32 = 1024;
/// Completions that can wait for the thread; more are kept by the kernel (IORING_FEAT_NODROP).
const COMPLETIONS: u32 = 8192;
/// The group of provided buffers; there is only one.
pub(super) const BUFFER_GROUP: u16 = 0;

/// Flags of a ring, best first; a kernel refuses those that it does not know with EINVAL
/// (io_uring_setup(2): DEFER_TASKRUN is from 6.1, SINGLE_ISSUER from 6.0, COOP_TASKRUN from 5.19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flags {
    Deferred,
    Cooperative,
    Plain,
}

/// Makes a ring, not yet enabled: the thread that enables it becomes its owner.
pub(super) fn ring() -> Result<IoUring, OpenError> {
    let mut refusal = None;
    for flags in [Flags::Deferred, Flags::Cooperative, Flags::Plain] {
        match build(flags, SUBMISSIONS, COMPLETIONS) {
            Ok(ring) => return check_features(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = Some(error),
            Err(error) => return Err(refused("io_uring_setup", error)),
        }
    }
    Err(refused("io_uring_setup", refusal.expect("the loop ran")))
}

fn build(flags: Flags, submissions: u32, completions: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_clamp().setup_submit_all().setup_r_disabled().setup_cqsize(completions);
    match flags {
        Flags::Deferred => builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(),
        Flags::Cooperative => builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag(),
        Flags::Plain => &mut builder,
    };
    builder.build(submissions)
}

fn check_features(ring: IoUring) -> Result<IoUring, OpenError> {
    let params = ring.params();
    let missing = if !params.is_feature_ext_arg() {
        "waiting with a timeout"
    } else if !params.is_feature_nodrop() || !params.is_feature_submit_stable() {
        "completions that are never lost"
    } else {
        return Ok(ring);
    };
    Err(refused("io_uring features", io::Error::new(io::ErrorKind::Unsupported, missing)))
}

/// Whether the kernel knows sends without a copy (Linux 6.1).
pub(super) fn can_send_without_copy(ring: &IoUring) -> bool {
    let mut probe = io_uring::Probe::new();
    let asked = ring.submitter().register_probe(&mut probe);
    asked.is_ok() && probe.is_supported(opcode::SendMsgZc::CODE)
}

/// Registers the provided buffers and a file table of up to `files` entries; returns its size.
pub(super) fn register(ring: &IoUring, buffers: &Buffers, files: u32) -> Result<u32, OpenError> {
    // SAFETY: the ring memory is page-aligned, has `count` entries and lives until after the io_uring is
    // closed: both belong to `UringIo`, which declares the io_uring first.
    unsafe {
        ring.submitter().register_buf_ring_with_flags(
            buffers.ring_address(),
            buffers.count(),
            BUFFER_GROUP,
            0,
        )
    }
    .map_err(|error| refused("io_uring_register of a buffer ring", error))?;
    // The kernel allows no more fixed files than RLIMIT_NOFILE (io_uring/rsrc.c).
    let files = files.min(descriptors_max());
    ring.submitter()
        .register_files_sparse(files)
        .map_err(|error| refused("io_uring_register of a file table", error))?;
    Ok(files)
}

/// The message header that tells a multishot receive how to lay out its buffers. Only the two lengths
/// count (io_uring_prep_recvmsg_multishot(3)).
pub(super) fn receive_header() -> Box<libc::msghdr> {
    // SAFETY: all zeroes is a valid msghdr: null pointers and lengths of 0.
    let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
    header.msg_namelen = NAME_BYTES as u32;
    header.msg_controllen = CONTROL_BYTES;
    header
}

/// Tries a multishot receive with provided buffers on a ring of its own. Old kernels, and sandboxes that
/// imitate io_uring, accept the ring and fail only here.
pub(super) fn probe() -> Result<(), OpenError> {
    const STEP: &str = "multishot receive into provided buffers";
    let mut ring = build(Flags::Deferred, 4, 8)
        .or_else(|_| build(Flags::Cooperative, 4, 8))
        .or_else(|_| build(Flags::Plain, 4, 8))
        .map_err(|error| refused("io_uring_setup", error))?;
    let mut buffers = Buffers::new(2).map_err(OpenError::kernel("mmap"))?;
    let header = receive_header();
    let result = attempt(&mut ring, &mut buffers, &header).map_err(|error| refused(STEP, error));
    // The receive must end before its buffers do.
    drop(ring);
    match -result? {
        // It waited for a packet until it was cancelled: all is well.
        libc::ECANCELED => Ok(()),
        errno if errno > 0 => Err(refused(STEP, io::Error::from_raw_os_error(errno))),
        // A packet found this socket first. That is an answer, too.
        _ => Ok(()),
    }
}

/// Starts a receive on a socket at which nothing arrives and cancels it; returns its result.
fn attempt(ring: &mut IoUring, buffers: &mut Buffers, header: &libc::msghdr) -> io::Result<i32> {
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    register(ring, buffers, 4).map_err(|error| io::Error::other(error.to_string()))?;
    ring.submitter().register_files_update(0, &[std::os::fd::AsRawFd::as_raw_fd(&socket)])?;
    ring.submitter().register_enable_rings()?;
    buffers.lend();
    let receive = opcode::RecvMsgMulti::new(types::Fixed(0), header, BUFFER_GROUP).build().user_data(1);
    let cancel = opcode::AsyncCancel::new(1).build().user_data(2);
    for entry in [receive, cancel] {
        // SAFETY: the header is read while submitting (IORING_FEAT_SUBMIT_STABLE, checked by the caller's
        // ring on the same kernel); the buffers outlive the ring, see `probe`.
        unsafe { ring.submission().push(&entry) }.expect("a ring of four has room for two");
    }
    ring.submit_and_wait(2)?;
    let mut result = 0;
    for entry in ring.completion() {
        if entry.user_data() == 1 && !cqueue::more(entry.flags()) {
            result = entry.result();
        }
    }
    Ok(result)
}

/// An error with its likely cause.
fn refused(step: &'static str, source: io::Error) -> OpenError {
    let hint = match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (forbidden by a seccomp profile, as Docker's default one does, or by kernel.io_uring_disabled?)"
        }
        Some(libc::ENOSYS) => " (a kernel without io_uring, or a sandbox that hides it?)",
        Some(libc::EINVAL | libc::EOPNOTSUPP) => " (kernel 6.0 or newer is needed)",
        Some(libc::ENOMEM) => " (RLIMIT_MEMLOCK, or the memory limit of the control group?)",
        Some(libc::EMFILE | libc::ENFILE) => " (RLIMIT_NOFILE too low?)",
        None if source.kind() == io::ErrorKind::Unsupported => " is missing (kernel 6.0 or newer is needed)",
        _ => "",
    };
    OpenError::Kernel { step, hint, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_likely_cause() {
        let text = |errno| refused("io_uring_setup", io::Error::from_raw_os_error(errno)).to_string();
        assert!(
            text(libc::EPERM).starts_with("io_uring_setup: Operation not permitted"),
            "{}",
            text(libc::EPERM)
        );
        assert!(text(libc::EPERM).contains("kernel.io_uring_disabled"));
        assert!(text(libc::ENOSYS).contains("sandbox"));
        assert!(text(libc::EINVAL).contains("6.0"));
    }
}
