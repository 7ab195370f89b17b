//! Socket addresses as the kernel wants them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of the larger of `sockaddr_in` and `sockaddr_in6`.
pub(crate) const ADDRESS_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// A `sockaddr_in` or `sockaddr_in6`, laid out as ip(7) and ipv6(7) say.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct RawAddress {
    bytes: [u8; ADDRESS_BYTES],
    len: u32,
}

impl RawAddress {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; ADDRESS_BYTES];
        let len = match address {
            SocketAddr::V4(address) => {
                bytes[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&address.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                bytes[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&address.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                size_of::<libc::sockaddr_in6>()
            }
        };
        Self { bytes, len: len as u32 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[cfg(test)]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`. `None`: another family, or too short.
pub(crate) fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let four = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    match family {
        libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(four(4)?), port).into()),
        libc::AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let (flow, scope) = (u32::from_ne_bytes(four(4)?), u32::from_ne_bytes(four(24)?));
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_the_kernels_form() {
        for text in ["127.0.0.1:1", "255.1.2.3:65535", "[::1]:5004", "[fe80::1%7]:9", "[::ffff:10.0.0.1]:80"]
        {
            let address: SocketAddr = text.parse().expect("a literal");
            assert_eq!(parse_address(RawAddress::new(address).bytes()), Some(address), "{text}");
        }
    }

    #[test]
    fn short_or_foreign_addresses_are_refused() {
        let whole = RawAddress::new("[::1]:5004".parse().expect("a literal"));
        for len in 0..whole.bytes().len() {
            assert_eq!(parse_address(&whole.bytes()[..len]), None, "{len} bytes");
        }
        assert_eq!(parse_address(&[libc::AF_UNIX as u8, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn the_layout_is_that_of_libc() {
        let raw = RawAddress::new("1.2.3.4:258".parse().expect("a literal"));
        // SAFETY: RawAddress is at least as long and as aligned as sockaddr_in, which has no invalid bits.
        let address = unsafe { (&raw const raw).cast::<libc::sockaddr_in>().read() };
        assert_eq!(i32::from(address.sin_family), libc::AF_INET);
        assert_eq!(
            (address.sin_port, address.sin_addr.s_addr),
            (258u16.to_be(), u32::from_ne_bytes([1, 2, 3, 4]))
        );
    }
}
