//! Sockets of a back end by id, and the options set on them.

use crate::newcomers::Newcomers;
use crate::{Options, SocketId, SocketPair, residence, twin};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// A socket's place in a back end's tables. Each id has two: for the socket itself and for its connected
/// twin ([`crate::twin`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    /// The socket as it was added.
    pub(crate) fn main(id: SocketId) -> Self {
        Self(id.0 * 2)
    }

    /// Its twin.
    pub(crate) fn twin(id: SocketId) -> Self {
        Self(id.0 * 2 + 1)
    }

    pub(crate) fn is_twin(self) -> bool {
        self.0 % 2 == 1
    }

    /// Whose it is.
    pub(crate) fn id(self) -> SocketId {
        SocketId(self.0 / 2)
    }
}

/// A registered socket.
pub(crate) struct Entry {
    pub(crate) socket: UdpSocket,
    /// Tells a socket from an earlier one in the same slot.
    pub(crate) generation: u32,
    /// Something came since its receive was last started.
    pub(crate) fed: bool,
    /// The kernel has a receive for it, or is about to get one.
    pub(crate) receiving: bool,
    /// Nothing is to be received from it.
    pub(crate) held: bool,
    /// Of a twin: it is not received from before its socket was read empty.
    pub(crate) waiting: bool,
    /// Datagrams that the kernel dropped, as far as they are counted.
    pub(crate) kernel_drops: u32,
    /// Its place in a dense table of all sockets, in which those of the twins come last.
    pub(crate) place: u32,
    /// Of a twin: to whom it is connected; none: it is deaf.
    peer: Option<SocketAddr>,
}

/// What became of a twin.
#[derive(Debug)]
pub(crate) enum Twin {
    /// There is none, or it needs nothing.
    Settled,
    /// It is connected to another peer, or deaf.
    Changed,
    /// It is new, and is to be registered.
    Opened(UdpSocket),
}

/// Sockets by slot.
pub(crate) struct Sockets {
    entries: Vec<Option<Entry>>,
    /// Ids are below this.
    max: u32,
    /// Places from `max` on that twins had and gave back, and how many were ever taken.
    twin_places: Vec<u32>,
    twins: u32,
    twins_max: u32,
    generation: u32,
    pub(crate) newcomers: Newcomers,
}

/// Generations are this many, so that they fit beside a slot in 64 bits.
const GENERATIONS: u32 = 1 << 24;

impl Sockets {
    /// For ids below `max`, with up to `twins_max` twins.
    pub(crate) fn new(max: u32, twins_max: u32) -> Self {
        Self {
            entries: Vec::new(),
            max,
            twin_places: Vec::new(),
            twins: 0,
            twins_max,
            generation: 0,
            newcomers: Newcomers::default(),
        }
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
        if self.contains(id) {
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

    /// Adds a socket in a slot that is free; returns its generation.
    pub(crate) fn insert(&mut self, slot: Slot, socket: UdpSocket, peer: Option<SocketAddr>) -> u32 {
        let index = slot.0 as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || None);
        }
        self.generation = (self.generation + 1) % GENERATIONS;
        let place = if slot.is_twin() { self.twin_place() } else { slot.id().0 };
        let generation = self.generation;
        let kernel_drops = drops_until_now(&socket);
        let (fed, receiving, held, waiting) = (false, false, false, false);
        let entry = Entry { socket, generation, fed, receiving, held, waiting, kernel_drops, place, peer };
        self.entries[index] = Some(entry);
        self.generation
    }

    fn twin_place(&mut self) -> u32 {
        self.twin_places.pop().unwrap_or_else(|| {
            self.twins += 1;
            self.max + self.twins - 1
        })
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot.0 as usize)?.take()?;
        if slot.is_twin() {
            self.twin_places.push(entry.place);
        }
        Some(entry)
    }

    #[inline]
    pub(crate) fn contains(&self, id: SocketId) -> bool {
        self.get(Slot::main(id)).is_some()
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.0 as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot.0 as usize)?.as_mut()
    }

    /// Whether the slot still holds the socket of that generation.
    pub(crate) fn is_current(&self, slot: Slot, generation: u32) -> bool {
        self.get(slot).is_some_and(|entry| entry.generation == generation)
    }

    pub(crate) fn descriptor(&self, slot: Slot) -> Option<RawFd> {
        self.get(slot).map(|entry| entry.socket.as_raw_fd())
    }

    /// Has the kernel stamp what comes to a socket.
    pub(crate) fn stamp(&self, slot: Slot) -> io::Result<()> {
        let stamped = |entry: &Entry| set(&entry.socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        self.get(slot).map_or(Ok(()), stamped)
    }

    /// Slots are below this.
    pub(crate) fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Other handles of a socket and its twin.
    pub(crate) fn duplicate(&self, id: SocketId) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no socket has the id {}", id.0));
        let socket = self.get(Slot::main(id)).ok_or_else(unknown)?.socket.try_clone()?;
        let twin = self.get(Slot::twin(id)).map(|twin| twin.socket.try_clone()).transpose()?;
        Ok((socket, twin))
    }

    /// Whether a twin from elsewhere may be added, and to whom it is connected.
    pub(crate) fn check_twin(&self, id: SocketId, twin: &UdpSocket) -> io::Result<Option<SocketAddr>> {
        if !self.contains(id) || self.get(Slot::twin(id)).is_some() {
            let text = format!("socket {} is unknown or has a twin", id.0);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.check_room_for_twin()?;
        Ok(peer_of(twin))
    }

    /// Whether a socket and its twin may be added under this id.
    pub(crate) fn check_pair(&self, id: SocketId, pair: &SocketPair) -> io::Result<()> {
        self.check_free(id)?;
        if pair.twin.is_some() { self.check_room_for_twin() } else { Ok(()) }
    }

    /// Notes that sockets are held, with their twins; gives the slots that there are. `NotFound`: a socket is
    /// unknown, and nothing has changed.
    pub(crate) fn hold(&mut self, ids: &[SocketId]) -> io::Result<Vec<Slot>> {
        if let Some(unknown) = ids.iter().find(|id| !self.contains(**id)) {
            let text = format!("no socket has the id {}", unknown.0);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(self.set_held(ids, true))
    }

    /// Notes that sockets are held, or are not; gives the slots that there are.
    pub(crate) fn set_held(&mut self, ids: &[SocketId], held: bool) -> Vec<Slot> {
        let mut slots: Vec<Slot> = ids.iter().flat_map(|id| [Slot::main(*id), Slot::twin(*id)]).collect();
        slots.retain(|slot| self.get_mut(*slot).map(|entry| entry.held = held).is_some());
        slots
    }

    /// A socket has dropped so many datagrams since it was opened; gives those that are not counted yet.
    #[cold]
    pub(crate) fn count_drops(&mut self, slot: Slot, kernel_drops: u32) -> u64 {
        let Some(entry) = self.get_mut(slot) else { return 0 };
        // The kernel's counter wraps around. What waited when the socket was added may tell of fewer.
        let more = kernel_drops.wrapping_sub(entry.kernel_drops);
        if more > u32::MAX / 2 {
            return 0;
        }
        entry.kernel_drops = kernel_drops;
        more.into()
    }

    pub(crate) fn is_held(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|entry| entry.held)
    }

    /// Reads again to whom the twins are connected: another process may have changed it.
    pub(crate) fn look_at_twins(&mut self) {
        for entry in self.entries.iter_mut().skip(1).step_by(2).flatten() {
            entry.peer = peer_of(&entry.socket);
        }
    }

    fn check_room_for_twin(&self) -> io::Result<()> {
        if self.twin_places.is_empty() && self.twins >= self.twins_max {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "as many twins as may be"));
        }
        Ok(())
    }

    /// Whether the socket's twin is connected to that destination.
    #[inline]
    pub(crate) fn twin_reaches(&self, id: SocketId, destination: SocketAddr) -> bool {
        self.get(Slot::twin(id)).is_some_and(|twin| twin.peer == Some(destination))
    }

    /// Points the socket's twin at a peer, or at nobody.
    ///
    /// Errors: as of [`twin::open`]; there are as many twins as may be.
    pub(crate) fn set_peer(&mut self, id: SocketId, peer: Option<SocketAddr>) -> io::Result<Twin> {
        // A new twin would be received from.
        if self.is_held(Slot::main(id)) {
            return Ok(Twin::Settled);
        }
        if let Some(entry) = self.get_mut(Slot::twin(id)) {
            return match peer {
                _ if entry.peer == peer => Ok(Twin::Settled),
                // It is deaf, or as good as deaf, even when the kernel refuses: nothing is sent by it.
                None => {
                    entry.peer = None;
                    twin::deafen(&entry.socket).map(|()| Twin::Changed)
                }
                Some(address) => {
                    entry.peer = None;
                    twin::connect(&entry.socket, address)?;
                    entry.peer = peer;
                    Ok(Twin::Changed)
                }
            };
        }
        let (Some(peer), Some(main)) = (peer, self.get(Slot::main(id))) else { return Ok(Twin::Settled) };
        self.check_room_for_twin()?;
        twin::open(&main.socket, peer).map(Twin::Opened)
    }

    /// Makes a twin deaf whose peer does not listen; false: it has none.
    pub(crate) fn give_up_peer(&mut self, id: SocketId) -> bool {
        let Some(twin) = self.get_mut(Slot::twin(id)).filter(|twin| twin.peer.is_some()) else {
            return false;
        };
        twin.peer = None;
        // Where the kernel refuses, the twin stays with its peer, and is read all the same.
        let _ = twin::deafen(&twin.socket);
        true
    }
}

/// To whom a twin is connected; none: it is deaf, connected to itself.
pub(crate) fn peer_of(twin: &UdpSocket) -> Option<SocketAddr> {
    let local = twin.local_addr().ok();
    twin.peer_addr().ok().filter(|peer| Some(*peer) != local)
}

/// How many sockets and how many connected twins share so many descriptors: twins never take more than a
/// quarter, so that they cost no leg its socket.
pub(crate) fn shares(descriptors: u32, sockets_max: u32) -> (u32, u32) {
    let sockets = sockets_max.min(descriptors - descriptors / 4);
    (sockets, sockets_max.min(descriptors - sockets))
}

pub(crate) fn descriptors_max() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live and writable (getrlimit(2)).
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if done < 0 { 1024 } else { limit.rlim_cur.min(1 << 20) as u32 }
}

/// Makes a socket fit for a back end. Buffer sizes are best effort, the rest is not.
pub(crate) fn configure(socket: &UdpSocket, id: SocketId, options: &Options) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if options.gro {
        set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    }
    // Where it cannot be had, drops are not counted.
    let _ = set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    if options.residence_turns > 0 && residence::is_stamped(id) {
        // Where it cannot be had, nothing is measured.
        let _ = set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
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
    if let Some(cpu) = options.incoming_cpu {
        set(socket, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, cpu.min(i32::MAX as u32) as i32)?;
    }
    Ok(())
}

/// Datagrams that a socket has dropped since it was opened: elsewhere, before it was added here. 0 where the
/// kernel does not say (SO_MEMINFO in include/linux/sock_diag.h).
fn drops_until_now(socket: &UdpSocket) -> u32 {
    const SO_MEMINFO: i32 = 55;
    const DROPS: usize = 8;
    let mut values = [0u32; DROPS + 1];
    let mut len = size_of_val(&values) as libc::socklen_t;
    // SAFETY: `values` and `len` are live, and `len` says how large `values` is; getsockopt(2) writes within them.
    let read = unsafe {
        let (values, len) = (values.as_mut_ptr().cast(), &raw mut len);
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_MEMINFO, values, len)
    };
    if read < 0 { 0 } else { values[DROPS] }
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
    fn the_incoming_cpu_is_told_to_the_kernel() {
        let socket = socket();
        let options = Options { incoming_cpu: Some(0), ..Options::default() };
        configure(&socket, SocketId(0), &options).expect("the options are good");
        let (mut cpu, mut len): (i32, libc::socklen_t) = (-1, size_of::<i32>() as libc::socklen_t);
        // SAFETY: both are live and `len` says how large `cpu` is; getsockopt(2) writes within them.
        let read = unsafe {
            let (cpu, len) = ((&raw mut cpu).cast(), &raw mut len);
            libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_INCOMING_CPU, cpu, len)
        };
        assert_eq!((read, cpu), (0, 0));
    }

    #[test]
    fn an_id_reused_is_another_socket() {
        let mut sockets = Sockets::new(10, 0);
        let slot = Slot::main(SocketId(3));
        let first = sockets.insert(slot, socket(), None);
        assert_eq!(sockets.check_free(SocketId(3)).expect_err("in use").kind(), io::ErrorKind::AlreadyExists);
        sockets.remove(slot);
        assert!(sockets.check_free(SocketId(3)).is_ok());
        let second = sockets.insert(slot, socket(), None);
        assert!(!sockets.is_current(slot, first));
        assert!(sockets.is_current(slot, second));
    }

    #[test]
    fn ids_beyond_the_table_are_refused_with_the_limits_name() {
        let error = Sockets::new(10, 0).check_free(SocketId(10)).expect_err("beyond the table");
        assert!(error.to_string().contains("sockets_max"), "{error}");
    }

    #[test]
    fn twins_are_bounded() {
        let mut sockets = Sockets::new(10, 1);
        let peer = socket().local_addr().ok();
        for id in [SocketId(0), SocketId(1)] {
            sockets.insert(Slot::main(id), socket(), None);
        }
        let Ok(Twin::Opened(twin)) = sockets.set_peer(SocketId(0), peer) else { panic!("a twin") };
        sockets.insert(Slot::twin(SocketId(0)), twin, peer);
        assert_eq!(
            sockets.set_peer(SocketId(1), peer).expect_err("one is enough").kind(),
            io::ErrorKind::QuotaExceeded
        );
        sockets.remove(Slot::twin(SocketId(0)));
        assert!(matches!(sockets.set_peer(SocketId(1), peer), Ok(Twin::Opened(_))));
    }
}
