//! Sockets that are watched, and those that are held.

use super::MmsgIo;
use crate::SocketId;
use crate::pair::{Refused, Registry};
use crate::socket::{Slot, Sockets, configure};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

impl MmsgIo {
    /// Watches some sockets no more. What a turn takes from the kernel it hands out, so that nothing is left.
    pub(super) fn hold_sockets(&mut self, ids: &[SocketId]) -> io::Result<()> {
        for slot in self.sockets.hold(ids)? {
            let descriptor = self.sockets.descriptor(slot).expect("it is held");
            unwatch(&self.epoll, descriptor);
        }
        Ok(())
    }

    /// Watches sockets again that were held.
    pub(super) fn let_go_of(&mut self, ids: &[SocketId]) {
        for slot in self.sockets.set_held(ids, false) {
            if slot.is_twin() {
                self.sockets.let_wait(slot);
            } else {
                self.watch_socket(slot);
            }
        }
    }

    /// Watches the twins whose sockets have been read empty.
    pub(super) fn watch_newcomers(&mut self) {
        if !self.sockets.has_newcomers() {
            return;
        }
        self.stats.system_calls += 1;
        self.sockets.look_at_newcomers();
        while let Some(twin) = self.sockets.next_ripe() {
            self.watch_socket(twin);
        }
    }

    fn watch_socket(&mut self, slot: Slot) {
        let descriptor = self.sockets.descriptor(slot).expect("it is there");
        // One that is watched already stays so.
        if let Err(error) = watch(&self.epoll, descriptor, u64::from(slot.0)) {
            self.stats.receive_errors += u64::from(error.kind() != io::ErrorKind::AlreadyExists);
        }
    }
}

impl Registry for MmsgIo {
    fn sockets(&mut self) -> &mut Sockets {
        &mut self.sockets
    }

    fn register(
        &mut self,
        slot: Slot,
        socket: UdpSocket,
        peer: Option<SocketAddr>,
    ) -> Result<(), Refused<UdpSocket>> {
        let watched = configure(&socket, slot.id(), &self.options).and_then(|()| {
            // A twin is watched when its socket has been read empty.
            if slot.is_twin() { Ok(()) } else { watch(&self.epoll, socket.as_raw_fd(), u64::from(slot.0)) }
        });
        if let Err(error) = watched {
            return Err((error, socket));
        }
        self.sockets.insert(slot, socket, peer);
        if slot.is_twin() {
            self.sockets.let_wait(slot);
        }
        Ok(())
    }

    fn detach(&mut self, slot: Slot) -> Option<UdpSocket> {
        let entry = self.sockets.remove(slot)?;
        // Closing alone would not end the watch if somebody holds a duplicate of the socket (epoll(7)).
        unwatch(&self.epoll, entry.socket.as_raw_fd());
        Some(entry.socket)
    }
}

/// Reports when a descriptor is readable, as long as it is.
pub(super) fn watch(epoll: &OwnedFd, descriptor: i32, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: data };
    // SAFETY: both descriptors are open and `event` is live; the call keeps nothing (epoll_ctl(2)).
    let done = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reports nothing of a descriptor any more, if it did.
fn unwatch(epoll: &OwnedFd, descriptor: RawFd) {
    // SAFETY: both descriptors are open; EPOLL_CTL_DEL ignores the event (epoll_ctl(2)).
    let _ =
        unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut()) };
}
