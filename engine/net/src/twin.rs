//! Connected twins: a second socket at the same local address, connected to one peer.
//!
//! Sending through a connected socket saves the look-up of the route for each message, and receiving finds
//! it early. A socket that is connected hears nobody but its peer, though, and others must be heard: a
//! participant whose address changes, and strangers, who are counted. So the socket stays as it is, and a
//! twin beside it, bound to the same address, is connected to the peer. The kernel gives a datagram to the
//! socket that fits best (`compute_score` in net/ipv4/udp.c): the peer's to the twin, all others to the
//! socket. Both are read under one [`SocketId`](crate::SocketId). A new twin is read only after
//! the socket was read empty ([`crate::newcomers`]), so that the peer's packets stay in order.
//!
//! A twin that has no peer is *deaf*: connected to its own address, which sends nothing. What it had
//! received before stays readable, so that nothing is lost when it loses its peer.

use crate::address::RawAddress;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Opens a twin of `socket` that is connected to `peer`.
///
/// Errors: the socket is bound to a wildcard address, which the kernel would narrow when the twin is
/// connected; no descriptor is left; the peer cannot be reached from the socket's address.
pub(crate) fn open(socket: &UdpSocket, peer: SocketAddr) -> io::Result<UdpSocket> {
    let local = socket.local_addr()?;
    if local.ip().is_unspecified() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "bound to a wildcard address"));
    }
    let main = SockRef::from(socket);
    let twin = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
    // Both must allow it while the second is bound, and none after that: else any process could bind the
    // address (socket(7)).
    main.set_reuse_address(true)?;
    let bound = twin.set_reuse_address(true).and_then(|()| twin.bind(&local.into()));
    main.set_reuse_address(false)?;
    bound?;
    twin.set_reuse_address(false)?;
    let twin = UdpSocket::from(twin);
    connect(&twin, peer)?;
    Ok(twin)
}

/// Points a twin at another peer. Errors: the peer cannot be reached from the twin's address.
pub(crate) fn connect(twin: &UdpSocket, peer: SocketAddr) -> io::Result<()> {
    let address = RawAddress::new(peer);
    // SAFETY: `address` is a live socket address of the length given; connect(2) only reads it.
    let done = unsafe { libc::connect(twin.as_raw_fd(), (&raw const address).cast(), address.len()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets a twin hear nobody.
pub(crate) fn deafen(twin: &UdpSocket) -> io::Result<()> {
    connect(twin, twin.local_addr()?)
}
