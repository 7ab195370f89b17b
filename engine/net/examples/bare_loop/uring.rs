//! The bare loop on io_uring itself: one multishot receive, one send per run and sink.

use crate::{Control, Work, gro_segment, raw_addresses};
use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode};
use std::error::Error;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU16, Ordering};

/// Receive buffers. At most as many runs are under way.
const BUFFERS: usize = 32;
const STRIDE: usize = 65_536 + 16 + 24 + 88;
const CONTROL_OFFSET: usize = 16;
const PAYLOAD_OFFSET: usize = 40;
const SUBMISSIONS: usize = 1024;
const RECEIVE: u64 = u64::MAX;

/// A received run and what its sends refer to.
struct Run {
    buffer: u16,
    iovec: libc::iovec,
    control: Control,
}

/// Runs for ever; errors end it.
pub fn run(work: &Work) -> Result<(), Box<dyn Error>> {
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(4 * SUBMISSIONS as u32)
        .build(SUBMISSIONS as u32)?;
    let (entries, data) = (map(4096)?.cast::<BufRingEntry>(), map(BUFFERS * STRIDE)?);
    // SAFETY: the mapping is a page long, page-aligned, and never unmapped.
    unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS as u16, 0, 0)? };
    let mut descriptors: Vec<RawFd> = work.senders.iter().map(AsRawFd::as_raw_fd).collect();
    if descriptors.is_empty() {
        descriptors = vec![work.listen.as_raw_fd(); work.sinks.len()];
    }
    ring.submitter().register_files(&descriptors)?;
    let sinks = raw_addresses(&work.sinks);
    // One header for each run and sink of a room, written once but for the control data.
    let mut headers: Vec<libc::msghdr> = Vec::with_capacity(BUFFERS * sinks.len());
    for _ in 0..BUFFERS {
        for sink in &sinks {
            // SAFETY: all zeroes is a valid msghdr.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_name = sink.as_ptr().cast_mut().cast();
            header.msg_namelen = sink.len();
            header.msg_iovlen = 1;
            headers.push(header);
        }
    }
    let runs = Vec::with_capacity(BUFFERS);
    let rooms = work.rooms();
    let mut state = State { entries, data, tail: 0, runs, lent: 0, receiving: false, room: 0, rooms };
    for buffer in 0..BUFFERS as u16 {
        state.give_back(buffer);
    }
    // SAFETY: all zeroes is a valid msghdr.
    let mut receive: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
    receive.msg_controllen = 24;
    loop {
        state.turn(&mut ring, work.listen.as_raw_fd(), &receive, &mut headers, sinks.len())?;
    }
}

struct State {
    entries: *mut BufRingEntry,
    data: *mut u8,
    tail: u16,
    runs: Vec<Run>,
    /// Sends that have not completed.
    lent: usize,
    receiving: bool,
    /// Whose turn it is.
    room: usize,
    rooms: usize,
}

impl State {
    /// Sends the runs at hand to all sinks and waits for the next.
    fn turn(
        &mut self,
        ring: &mut IoUring,
        listen: RawFd,
        receive: &libc::msghdr,
        headers: &mut [libc::msghdr],
        sinks: usize,
    ) -> std::io::Result<()> {
        let sent = self.runs.len();
        for n in 0..sent {
            self.send(ring, n, &mut headers[n * sinks..][..sinks])?;
        }
        if !self.receiving {
            if ring.submission().is_full() {
                ring.submit()?;
            }
            let entry = opcode::RecvMsgMulti::new(Fd(listen), receive, 0).build().user_data(RECEIVE);
            // SAFETY: header and buffers live as long as the process.
            unsafe { ring.submission().push(&entry) }.expect("there is room");
            self.receiving = true;
        }
        ring.submit_and_wait(self.lent + 1)?;
        self.reap(ring);
        while self.lent > 0 {
            ring.submit_and_wait(self.lent)?;
            self.reap(ring);
        }
        for run in 0..sent {
            self.give_back(self.runs[run].buffer);
        }
        self.runs.drain(..sent);
        Ok(())
    }

    fn send(&mut self, ring: &mut IoUring, n: usize, headers: &mut [libc::msghdr]) -> std::io::Result<()> {
        let first = self.room * headers.len();
        self.room = (self.room + 1) % self.rooms;
        // `runs` never grows beyond its capacity, so these addresses hold until the sends have completed.
        let run = &mut self.runs[n];
        let iovec = &raw mut run.iovec;
        let gso = run.control.0[16..18] != [0, 0];
        let control = if gso { (&raw mut run.control).cast() } else { null_mut() };
        for (slot, header) in headers.iter_mut().enumerate() {
            header.msg_iov = iovec;
            header.msg_control = control;
            header.msg_controllen = if gso { size_of::<Control>() } else { 0 };
            let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as u32;
            let entry = opcode::SendMsg::new(Fixed((first + slot) as u32), header).flags(flags).build();
            if ring.submission().is_full() {
                ring.submit()?;
            }
            // SAFETY: all that the header leads to stays alive and unmoved until the completion was seen.
            unsafe { ring.submission().push(&entry) }.expect("there is room");
            self.lent += 1;
        }
        Ok(())
    }

    fn reap(&mut self, ring: &mut IoUring) {
        for completion in ring.completion() {
            if completion.user_data() != RECEIVE {
                self.lent -= 1;
                continue;
            }
            self.receiving = cqueue::more(completion.flags());
            let Some(buffer) = cqueue::buffer_select(completion.flags()) else { continue };
            let base = self.data.wrapping_add(usize::from(buffer) * STRIDE);
            // SAFETY: the kernel has given the buffer up; the front is initialised.
            let front = unsafe { std::slice::from_raw_parts(base, PAYLOAD_OFFSET) };
            let control_len = u32::from_ne_bytes([front[4], front[5], front[6], front[7]]) as usize;
            let len = (completion.result() as usize).saturating_sub(PAYLOAD_OFFSET);
            let segment = gro_segment(&front[CONTROL_OFFSET..], control_len);
            let iovec = libc::iovec { iov_base: base.wrapping_add(PAYLOAD_OFFSET).cast(), iov_len: len };
            self.runs.push(Run { buffer, iovec, control: Control::segment(segment) });
        }
    }

    fn give_back(&mut self, buffer: u16) {
        let index = usize::from(self.tail) % BUFFERS;
        // SAFETY: the entry is within the ring's page, and the kernel does not read beyond the tail.
        let entry = unsafe { &mut *self.entries.wrapping_add(index) };
        entry.set_addr(self.data.wrapping_add(usize::from(buffer) * STRIDE) as u64);
        entry.set_len(STRIDE as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the start of the ring; the kernel only reads the tail.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

fn map(bytes: usize) -> std::io::Result<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping overlaps nothing.
    let base = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if base == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(base.cast()) }
}
