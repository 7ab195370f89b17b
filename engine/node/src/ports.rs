//! UDP ports for legs, from a range given at start.
//!
//! Ports are handed out in pairs, even for RTP and the next for RTCP (RFC 3550 section 11), from a queue:
//! no scanning, and a port that was given back is used again as late as possible, so that stray packets of
//! an ended leg do not meet a new one. A port may be asked for: the one that a leg had on another node.

use socket2::{Domain, Socket, Type};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;

/// The pool of one local address.
#[derive(Debug)]
pub struct PortPool {
    ip: IpAddr,
    free: VecDeque<u16>,
    pairs: usize,
    /// In use and outside of the range: since before this process, or asked for.
    foreign: BTreeSet<u16>,
    /// The machine may not have the address yet.
    floating: bool,
}

/// Two bound sockets, and the even port that they came from.
#[derive(Debug)]
pub struct PortPair {
    /// Even port number.
    pub base: u16,
    /// Address of the RTP socket.
    pub rtp_address: SocketAddr,
    /// For RTP.
    pub rtp: UdpSocket,
    /// For RTCP; none when multiplexed.
    pub rtcp: Option<UdpSocket>,
}

/// Other programs may hold ports of the range; this many pairs are tried before giving up.
const TRIES: usize = 256;

impl PortPool {
    /// All pairs that lie within the range.
    pub fn new(ip: IpAddr, range: RangeInclusive<u16>) -> PortPool {
        let free: VecDeque<u16> = range
            .clone()
            .filter(|port| port % 2 == 0 && *port != 0 && range.contains(&port.saturating_add(1)))
            .collect();
        PortPool { ip, pairs: free.len(), free, foreign: BTreeSet::new(), floating: false }
    }

    /// Lets sockets be opened while the machine does not have the address (IP_FREEBIND in ip(7)).
    pub fn floating(self, floating: bool) -> PortPool {
        PortPool { floating, ..self }
    }

    /// The local address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// A socket of its own at a port, which is not one of the pool's.
    pub(crate) fn open(&self, port: u16) -> io::Result<UdpSocket> {
        bind(SocketAddr::new(self.ip, port), self.floating)
    }

    /// Pairs in all.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Pairs in use.
    pub fn used(&self) -> usize {
        self.pairs - self.free.len() + self.foreign.len()
    }

    /// Even ports of the free pairs, first those to be taken next.
    pub fn free(&self) -> impl Iterator<Item = u16> {
        self.free.iter().copied()
    }

    /// Goes on for a pool of another process, of which these pairs are held, and these are free in their
    /// order. Held ones outside of this pool's range stay so until they are given back.
    pub fn go_on_for(&mut self, held: &[u16], free: &[u16]) {
        let held: HashSet<u16> = held.iter().copied().collect();
        let mine: HashSet<u16> = self.free.drain(..).collect();
        self.foreign = held.difference(&mine).copied().collect();
        let known: HashSet<u16> = free.iter().copied().collect();
        let mut rest: Vec<u16> = mine.iter().copied().filter(|base| !known.contains(base)).collect();
        rest.sort_unstable();
        let ordered = free.iter().copied().filter(|base| mine.contains(base)).chain(rest);
        self.free = ordered.filter(|base| !held.contains(base)).collect();
    }

    /// Binds the wanted pair if it is free, else the next free one. `AddrNotAvailable`: none is free, or other programs hold those tried.
    pub fn take(&mut self, wanted: Option<u16>, rtcp_mux: bool) -> io::Result<PortPair> {
        if let Some(pair) = wanted.and_then(|base| self.take_wanted(base, rtcp_mux)) {
            return Ok(pair);
        }
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..TRIES.min(self.free.len()) {
            let Some(base) = self.free.pop_front() else { break };
            match self.bind(base, rtcp_mux) {
                Ok(pair) => return Ok(pair),
                Err(error) => {
                    self.free.push_back(base);
                    // Too many open files will not get better with another port.
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(error);
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// None: it is in use, here or by another program, or outside of the range. An address that floats is one that
    /// another node had, with a range of its own.
    fn take_wanted(&mut self, base: u16, rtcp_mux: bool) -> Option<PortPair> {
        let place = self.free.iter().position(|free| *free == base);
        if place.is_none() && !self.floating {
            return None;
        }
        let pair = self.bind(base, rtcp_mux).ok()?;
        match place {
            Some(place) => drop(self.free.remove(place)),
            None => drop(self.foreign.insert(base)),
        }
        Some(pair)
    }

    /// Takes a pair back; its sockets are closed or about to be.
    pub fn give_back(&mut self, base: u16) {
        if self.foreign.remove(&base) {
            return;
        }
        debug_assert!(!self.free.contains(&base), "{base} was not taken");
        self.free.push_back(base);
    }

    fn bind(&self, base: u16, rtcp_mux: bool) -> io::Result<PortPair> {
        let rtp_address = SocketAddr::new(self.ip, base);
        let rtp = bind(rtp_address, self.floating)?;
        let rtcp = match rtcp_mux {
            true => None,
            false => Some(bind(SocketAddr::new(self.ip, base + 1), self.floating)?),
        };
        Ok(PortPair { base, rtp_address, rtp, rtcp })
    }
}

/// A UDP socket at an address; one that floats need not be the machine's yet.
pub(crate) fn bind(address: SocketAddr, floating: bool) -> io::Result<UdpSocket> {
    if !floating {
        return UdpSocket::bind(address);
    }
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(range: RangeInclusive<u16>) -> PortPool {
        PortPool::new("127.0.0.1".parse().expect("an address"), range)
    }

    #[test]
    fn only_whole_pairs_count() {
        assert_eq!(pool(20001..=20006).pairs(), 2);
        assert_eq!(pool(20000..=20000).pairs(), 0);
        assert_eq!(pool(65534..=65535).pairs(), 1);
        assert_eq!(pool(0..=1).pairs(), 0);
    }

    #[test]
    fn pairs_held_by_others_are_passed_over() {
        // A range that the system's own choice of ports showed to be free a moment ago.
        let probe = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let base = probe.local_addr().expect("bound").port() & !1;
        let mut pool = pool(base..=base.saturating_add(9));
        let pair = pool.take(None, false).expect("one of five pairs is free");
        assert_ne!(pair.base, base, "the probe holds one port of that pair");
        assert_eq!(pair.rtp_address.port(), pair.base);
        assert_eq!(pool.used(), 1);
        drop(pair.rtp);
    }

    #[test]
    fn a_pool_goes_on_for_another_ones() {
        let mut pool = pool(20010..=20019);
        pool.go_on_for(&[20004, 20012], &[20016, 20000, 20010]);
        assert_eq!(pool.free().collect::<Vec<_>>(), [20016, 20010, 20014, 20018]);
        assert_eq!((pool.pairs(), pool.used()), (5, 2), "one of those in use is outside of the range");
        pool.give_back(20004);
        pool.give_back(20012);
        assert_eq!(pool.used(), 0);
        assert_eq!(pool.free().last(), Some(20012), "what lies outside is not used again");
    }

    #[test]
    fn a_port_that_was_given_back_comes_last() {
        // Nothing else binds these: the range is above what the system hands out.
        let mut pool = pool(61_000..=61_019);
        let first = pool.take(None, true).expect("a pair is free").base;
        pool.give_back(first);
        let others: Vec<u16> = std::iter::repeat_with(|| pool.take(None, true))
            .map_while(|pair| pair.ok().map(|pair| pair.base))
            .take_while(|base| *base != first)
            .collect();
        assert!(others.len() >= 5, "only {others:?} came before {first}");
    }

    #[test]
    fn an_empty_pool_says_so() {
        let error = pool(20001..=20001).take(None, true).expect_err("no pair");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_wanted_pair_is_taken_if_it_is_free_and_another_one_if_not() {
        let mut pool = pool(61_040..=61_059);
        assert_eq!(pool.take(Some(61_050), false).map(|pair| pair.base).ok(), Some(61_050));
        let second = pool.take(Some(61_050), false).expect("another one");
        assert_ne!(second.base, 61_050);
        assert_ne!(pool.take(Some(61_070), true).expect("another one").base, 61_070, "outside of the range");
        // The range of the node that had the address.
        let mut pool = pool.floating(true);
        let held = pool.take(Some(61_070), true).expect("it is free");
        assert_eq!((held.base, pool.used()), (61_070, 4));
        assert_ne!(pool.take(Some(61_070), true).expect("another one").base, 61_070, "it is in use");
        drop(held);
        pool.give_back(61_070);
        assert_eq!(pool.take(Some(61_070), true).map(|pair| pair.base).ok(), Some(61_070));
        pool.give_back(61_070);
        assert!(!pool.free().any(|base| base == 61_070), "what lies outside is used for who asks only");
    }

    #[test]
    fn a_floating_address_need_not_be_there() {
        // For documentation (RFC 5737): no machine has it.
        let absent: IpAddr = "192.0.2.77".parse().expect("an address");
        let pool = |floating| PortPool::new(absent, 61_080..=61_089).floating(floating);
        assert_eq!(
            pool(false).take(None, true).expect_err("it is not ours").kind(),
            io::ErrorKind::AddrNotAvailable
        );
        let pair = pool(true).take(None, false).expect("it may come");
        assert_eq!(pair.rtp_address.ip(), absent);
        let absent: IpAddr = "2001:db8::77".parse().expect("an address");
        let mut six = PortPool::new(absent, 61_080..=61_089).floating(true);
        // Where there is no IPv6, there is nothing to say.
        if UdpSocket::bind("[::1]:0").is_ok() {
            assert_eq!(six.take(None, true).expect("it may come").rtp_address.ip(), absent);
        }
    }
}
