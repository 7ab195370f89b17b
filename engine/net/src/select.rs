//! Choosing a back end at start.

use crate::mmsg::MmsgIo;
use crate::uring::UringIo;
use crate::{
    Datagrams, DatagramsIndex, Io, IoStats, OpenError, Options, Slice, SocketId, SocketPair, Turn, Waker,
};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Which back end is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring where it works, otherwise recvmmsg and sendmmsg.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// recvmmsg and sendmmsg.
    Mmsg,
}

/// One of the two back ends, dispatched without a table.
pub enum AnyIo {
    /// io_uring.
    Uring(Box<UringIo>),
    /// recvmmsg and sendmmsg.
    Mmsg(Box<MmsgIo>),
}

/// Opens a back end; the text says which one and why, for the log.
///
/// Errors: an option is out of range, or the chosen back end (for `Auto`: either) does not work here.
pub fn select(choice: IoChoice, options: &Options) -> Result<(AnyIo, String), OpenError> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = if kernel.is_empty() { "unknown" } else { kernel.trim() };
    let refusal = match choice {
        IoChoice::Mmsg => "asked for".to_owned(),
        IoChoice::Auto | IoChoice::Uring => match UringIo::new(options) {
            Ok(io) => {
                return Ok((
                    AnyIo::Uring(Box::new(io)),
                    format!("uring: kernel {kernel}, multishot receive"),
                ));
            }
            Err(error @ OpenError::Option { .. }) => return Err(error),
            Err(error) if choice == IoChoice::Uring => return Err(error),
            Err(error) => error.to_string(),
        },
    };
    let io = MmsgIo::new(options)?;
    Ok((AnyIo::Mmsg(Box::new(io)), format!("mmsg: {refusal}")))
}

macro_rules! dispatch {
    ($any:expr, $io:ident => $call:expr) => {
        match $any {
            AnyIo::Uring($io) => $call,
            AnyIo::Mmsg($io) => $call,
        }
    };
}

impl Io for AnyIo {
    fn add_socket(&mut self, id: SocketId, socket: UdpSocket) -> io::Result<()> {
        dispatch!(self, io => io.add_socket(id, socket))
    }

    fn remove_socket(&mut self, id: SocketId) {
        dispatch!(self, io => io.remove_socket(id));
    }

    fn set_peer(&mut self, id: SocketId, peer: Option<SocketAddr>) -> bool {
        dispatch!(self, io => io.set_peer(id, peer))
    }

    fn has_socket(&self, id: SocketId) -> bool {
        dispatch!(self, io => io.has_socket(id))
    }

    fn duplicate(&self, id: SocketId) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
        dispatch!(self, io => io.duplicate(id))
    }

    fn add_twin(&mut self, id: SocketId, twin: UdpSocket) -> io::Result<()> {
        dispatch!(self, io => io.add_twin(id, twin))
    }

    fn pause(&mut self) -> io::Result<()> {
        dispatch!(self, io => io.pause())
    }

    fn resume(&mut self) {
        dispatch!(self, io => io.resume());
    }

    fn hold(&mut self, ids: &[SocketId]) -> io::Result<()> {
        dispatch!(self, io => io.hold(ids))
    }

    fn has_backlog_of_held(&self) -> bool {
        dispatch!(self, io => io.has_backlog_of_held())
    }

    fn let_go(&mut self, ids: &[SocketId]) {
        dispatch!(self, io => io.let_go(ids));
    }

    fn take_pair(&mut self, id: SocketId) -> Option<SocketPair> {
        dispatch!(self, io => io.take_pair(id))
    }

    fn add_pair(&mut self, id: SocketId, pair: SocketPair) -> Result<(), (io::Error, SocketPair)> {
        dispatch!(self, io => io.add_pair(id, pair))
    }

    #[inline]
    fn queue(&mut self, socket: SocketId, destination: SocketAddr, header: &[u8], payload: Option<Slice>) {
        dispatch!(self, io => io.queue(socket, destination, header, payload));
    }

    #[inline]
    fn queue_run(&mut self, socket: SocketId, destination: SocketAddr, run: Slice, segment_bytes: u32) {
        dispatch!(self, io => io.queue_run(socket, destination, run, segment_bytes));
    }

    #[inline]
    fn overwrite(&mut self, datagrams: DatagramsIndex, offset: u32, bytes: &[u8]) {
        dispatch!(self, io => io.overwrite(datagrams, offset, bytes));
    }

    fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        dispatch!(self, io => io.turn(timeout))
    }

    #[inline]
    fn gather(&mut self, time: Duration) {
        dispatch!(self, io => io.gather(time));
    }

    #[inline]
    fn rest(&mut self, until: Option<Instant>) {
        dispatch!(self, io => io.rest(until));
    }

    #[inline]
    fn datagrams(&self, index: DatagramsIndex) -> Datagrams<'_> {
        dispatch!(self, io => io.datagrams(index))
    }

    fn arrived_ns(&self, index: DatagramsIndex) -> Option<u64> {
        dispatch!(self, io => io.arrived_ns(index))
    }

    fn stamp(&mut self, index: DatagramsIndex) -> io::Result<()> {
        dispatch!(self, io => io.stamp(index))
    }

    fn lend(&mut self, bytes: Vec<u8>) -> DatagramsIndex {
        dispatch!(self, io => io.lend(bytes))
    }

    #[inline]
    fn lent(&self, index: DatagramsIndex) -> &[u8] {
        dispatch!(self, io => io.lent(index))
    }

    fn returned(&mut self) -> Option<Vec<u8>> {
        dispatch!(self, io => io.returned())
    }

    fn waker(&self) -> io::Result<Waker> {
        dispatch!(self, io => io.waker())
    }

    fn stats(&self) -> &IoStats {
        dispatch!(self, io => io.stats())
    }

    fn name(&self) -> &'static str {
        dispatch!(self, io => io.name())
    }
}
