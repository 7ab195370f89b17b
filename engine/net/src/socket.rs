//! Sockets of a back end by id, and the options set on them.

use crate::{Options, SocketId};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};

/// A registered socket.
pub(crate) struct Entry {
    pub(crate) socket: UdpSocket,
    /// Tells a socket from an earlier one with the same id.
    pub(crate) generation: u32,
    /// Something came since its receive was last started.
    pub(crate) fed: bool,
}

/// Sockets by id.
pub(crate) struct Sockets {
    entries: Vec<Option<Entry>>,
    max: u32,
    generation: u32,
}

/// Generations are this many, so that they fit beside an id in 64 bits.
const GENERATIONS: u32 = 1 << 24;

impl Sockets {
    pub(crate) fn new(max: u32) -> Self {
        Self { entries: Vec::new(), max, generation: 0 }
    }

    /// Whether a socket may be added under this id.
    pub(crate) fn check_free(&self, id: SocketId) -> io::Result<()> {
        if id.0 >= self.max {
            let text = format!(
                "socket id {} is not below {} (Options::sockets_max, or RLIMIT_NOFILE where that is lower)",
                id.0, self.max
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if self.get(id).is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("socket id {} is in use", id.0),
            ));
        }
        Ok(())
    }

    /// Sockets that the table holds room for.
    pub(crate) fn room(&self) -> usize {
        self.entries.len()
    }

    /// Adds a socket under an id that is free; returns its generation.
    pub(crate) fn insert(&mut self, id: SocketId, socket: UdpSocket) -> u32 {
        let index = id.0 as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        self.generation = (self.generation + 1) % GENERATIONS;
        self.entries[index] = Some(Entry { socket, generation: self.generation, fed: false });
        self.generation
    }

    pub(crate) fn remove(&mut self, id: SocketId) -> Option<Entry> {
        self.entries.get_mut(id.0 as usize)?.take()
    }

    #[inline]
    pub(crate) fn get(&self, id: SocketId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut Entry> {
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }

    /// Whether the id still means the socket of that generation.
    pub(crate) fn is_current(&self, id: SocketId, generation: u32) -> bool {
        self.get(id).is_some_and(|entry| entry.generation == generation)
    }

    pub(crate) fn descriptor(&self, id: SocketId) -> Option<RawFd> {
        self.get(id).map(|entry| entry.socket.as_raw_fd())
    }
}

/// Makes a socket fit for a back end. Buffer sizes are best effort, the rest is not.
pub(crate) fn configure(socket: &UdpSocket, options: &Options) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if options.gro {
        set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    }
    if options.socket_receive_bytes > 0 {
        let bytes = options.socket_receive_bytes.min(i32::MAX as u32) as i32;
        // SO_RCVBUFFORCE passes net.core.rmem_max but needs CAP_NET_ADMIN (socket(7)).
        if set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
            let _ = set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
        }
    }
    if options.socket_send_bytes > 0 {
        let bytes = options.socket_send_bytes.min(i32::MAX as u32) as i32;
        if set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
            let _ = set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes);
        }
    }
    Ok(())
}

fn set(socket: &UdpSocket, level: i32, option: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is live and `len` bytes long; setsockopt(2) only reads it.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").expect("loopback")
    }

    #[test]
    fn an_id_reused_is_another_socket() {
        let mut sockets = Sockets::new(10);
        let first = sockets.insert(SocketId(3), socket());
        assert_eq!(sockets.check_free(SocketId(3)).expect_err("in use").kind(), io::ErrorKind::AlreadyExists);
        sockets.remove(SocketId(3));
        assert!(sockets.check_free(SocketId(3)).is_ok());
        let second = sockets.insert(SocketId(3), socket());
        assert!(!sockets.is_current(SocketId(3), first));
        assert!(sockets.is_current(SocketId(3), second));
    }

    #[test]
    fn ids_beyond_the_table_are_refused_with_the_limits_name() {
        let error = Sockets::new(10).check_free(SocketId(10)).expect_err("beyond the table");
        assert!(error.to_string().contains("sockets_max"), "{error}");
    }
}
