//! Sockets on their way from one back end to another of the same process.
//!
//! A socket is received from by one back end at a time: it is *held* first ([`Io::hold`](crate::Io::hold)),
//! which leaves what arrives in the kernel's buffer, then taken out, and added elsewhere. It is the same
//! descriptor all the way, so that nothing can be short for it.

use crate::SocketId;
use crate::socket::{Slot, Sockets, peer_of};
use std::io;
use std::net::{SocketAddr, UdpSocket};

/// A socket and its connected twin, if it has one. Both receive, so that they stay together.
#[derive(Debug)]
pub struct SocketPair {
    /// The socket as it was added.
    pub socket: UdpSocket,
    /// Connected to the peer, or deaf.
    pub twin: Option<UdpSocket>,
    /// Datagrams that the kernel dropped at each, as far as they are counted.
    pub(crate) kernel_drops: [u32; 2],
}

/// What is not taken is given back.
pub(crate) type Refused<T> = (io::Error, T);

/// What each back end does with sockets in its own way.
pub(crate) trait Registry {
    fn sockets(&mut self) -> &mut Sockets;

    /// Takes a socket in a slot that is free, and receives from it from the next turn on.
    fn register(
        &mut self,
        slot: Slot,
        socket: UdpSocket,
        peer: Option<SocketAddr>,
    ) -> Result<(), Refused<UdpSocket>>;

    /// Takes a socket out that is not received from.
    fn detach(&mut self, slot: Slot) -> Option<UdpSocket>;

    /// See [`Io::add_pair`](crate::Io::add_pair).
    fn register_pair(&mut self, id: SocketId, pair: SocketPair) -> Result<(), Refused<SocketPair>> {
        if let Err(error) = self.sockets().check_pair(id, &pair) {
            return Err((error, pair));
        }
        let SocketPair { socket, twin, kernel_drops } = pair;
        if let Err((error, socket)) = self.register(Slot::main(id), socket, None) {
            return Err((error, SocketPair { socket, twin, kernel_drops }));
        }
        if let Some(twin) = twin {
            let peer = peer_of(&twin);
            self.register(Slot::twin(id), twin, peer).map_err(|(error, twin)| {
                let socket = self.detach(Slot::main(id)).expect("it was registered a moment ago");
                (error, SocketPair { socket, twin: Some(twin), kernel_drops })
            })?;
        }
        for (slot, drops) in [Slot::main(id), Slot::twin(id)].into_iter().zip(kernel_drops) {
            let entry = self.sockets().get_mut(slot);
            entry.into_iter().for_each(|entry| entry.kernel_drops = drops);
        }
        Ok(())
    }

    /// See [`Io::take_pair`](crate::Io::take_pair).
    fn detach_pair(&mut self, id: SocketId) -> Option<SocketPair> {
        let drops = |sockets: &Sockets, slot| sockets.get(slot).map_or(0, |entry| entry.kernel_drops);
        let kernel_drops = [Slot::main(id), Slot::twin(id)].map(|slot| drops(self.sockets(), slot));
        let socket = self.detach(Slot::main(id))?;
        Some(SocketPair { socket, twin: self.detach(Slot::twin(id)), kernel_drops })
    }
}
