//! Free ports of this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// A socket for RTP on an even port and one for RTCP on the next (RFC 3550 section 11).
pub fn udp_pair() -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..200 {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1))
        {
            return Ok((rtp, rtcp));
        }
    }
    Err(io::Error::other("no two neighbouring UDP ports are free"))
}

/// A TCP address that was free just now.
pub fn tcp() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Whether somebody has bound the UDP port, as the kernel says.
pub fn is_bound(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let wanted = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&wanted)))
}
