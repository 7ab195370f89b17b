//! Addresses that nothing else on this machine uses.

use anyhow::{Result, bail};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

/// First and last port that is given out: below those that the kernel gives to clients
/// (net.ipv4.ip_local_port_range begins at 32768), so that no connection takes one between two starts.
const PORTS: std::ops::RangeInclusive<u16> = 10_000..=19_999;

/// Addresses of one run: all of 127.A.B.0/24, chosen by the process id.
#[derive(Debug)]
pub struct Place {
    net: [u8; 3],
    next: u16,
}

impl Place {
    /// The addresses of this process.
    pub fn own() -> Place {
        let id = std::process::id();
        Place { net: [127, 100 + (id % 100) as u8, (id / 100 % 256) as u8], next: *PORTS.start() }
    }

    /// Where all servers listen.
    pub fn servers(&self) -> IpAddr {
        self.ip(1)
    }

    /// Where participants send from and listen.
    pub fn participants(&self) -> IpAddr {
        self.ip(2)
    }

    /// Where the node, counted from 0, has its media ports.
    pub fn media(&self, node: u8) -> IpAddr {
        self.ip(10 + node)
    }

    /// The node whose media address this is.
    pub fn node_of(ip: IpAddr) -> Option<u8> {
        match ip {
            IpAddr::V4(ip) => ip.octets()[3].checked_sub(10),
            IpAddr::V6(_) => None,
        }
    }

    fn ip(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last).into()
    }

    /// A TCP address for a server, free just now and not given out before.
    pub fn server(&mut self) -> Result<SocketAddr> {
        while PORTS.contains(&self.next) {
            let address = SocketAddr::new(self.servers(), self.next);
            self.next += 1;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        bail!("no TCP port is free at {}", self.servers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_apart_and_of_this_machine_only() {
        let mut place = Place::own();
        let (first, second) = (place.server().expect("free"), place.server().expect("free"));
        assert!(first != second && first.ip().is_loopback());
        assert_eq!(Place::node_of(place.media(2)), Some(2));
        assert_eq!(Place::node_of(place.participants()), None);
    }
}
