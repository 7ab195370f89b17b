//! UDP ports for legs, from a range given at start.
//!
//! Ports are handed out in pairs, even for RTP and the next for RTCP (RFC 3550 section 11), from a queue:
//! no scanning, and a port that was given back is used again as late as possible, so that stray packets of
//! an ended leg do not meet a new one.

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
    /// In use since before this process, and outside of the range.
    foreign: BTreeSet<u16>,
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
        PortPool { ip, pairs: free.len(), free, foreign: BTreeSet::new() }
    }

    /// The local address.
    pub fn ip(&self) -> IpAddr {
        self.ip
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

    /// Binds the next free pair. `AddrNotAvailable`: none is free, or other programs hold those tried.
    pub fn take(&mut self, rtcp_mux: bool) -> io::Result<PortPair> {
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
        let rtp = UdpSocket::bind(rtp_address)?;
        let rtcp = if rtcp_mux { None } else { Some(UdpSocket::bind(SocketAddr::new(self.ip, base + 1))?) };
        Ok(PortPair { base, rtp_address, rtp, rtcp })
    }
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
        let pair = pool.take(false).expect("one of five pairs is free");
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
        let first = pool.take(true).expect("a pair is free").base;
        pool.give_back(first);
        let others: Vec<u16> = std::iter::repeat_with(|| pool.take(true))
            .map_while(|pair| pair.ok().map(|pair| pair.base))
            .take_while(|base| *base != first)
            .collect();
        assert!(others.len() >= 5, "only {others:?} came before {first}");
    }

    #[test]
    fn an_empty_pool_says_so() {
        let error = pool(20001..=20001).take(true).expect_err("no pair");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
