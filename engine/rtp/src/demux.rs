//! Tells apart what arrives on one port: RFC 7983 by the first byte, RFC 5761 section 4 by the second.

/// What a datagram claims to be. Only its first two bytes were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketClass {
    /// RTP: version 2, and a second byte outside RTCP's range.
    Rtp,
    /// RTCP: version 2, and a second byte of 192 to 223.
    Rtcp,
    /// STUN (RFC 8489).
    Stun,
    /// DTLS (RFC 9147).
    Dtls,
    /// ZRTP, TURN channels, and what nobody has assigned.
    Other,
    /// Nothing at all, or a single byte of RTP or RTCP.
    TooShort,
}

/// Classifies a datagram.
#[inline]
pub fn classify(bytes: &[u8]) -> PacketClass {
    match bytes {
        // RFC 5761 section 4: RTP with the marker never has payload type 64 to 95, so this byte is free.
        [128..=191, 192..=223, ..] => PacketClass::Rtcp,
        [128..=191, _, ..] => PacketClass::Rtp,
        [] | [128..=191] => PacketClass::TooShort,
        [0..=3, ..] => PacketClass::Stun,
        [20..=63, ..] => PacketClass::Dtls,
        [_, ..] => PacketClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{PacketClass, classify};

    /// RFC 7983 section 7, written as the table there and checked at every first byte.
    #[test]
    fn first_bytes_follow_rfc_7983() {
        for first in 0..=255_u8 {
            let expected = if first <= 3 {
                PacketClass::Stun
            } else if (20..=63).contains(&first) {
                PacketClass::Dtls
            } else if (128..=191).contains(&first) {
                PacketClass::Rtp
            } else {
                PacketClass::Other
            };
            assert_eq!(classify(&[first, 0, 0, 0]), expected, "first byte {first}");
        }
    }

    #[test]
    fn second_bytes_follow_rfc_5761() {
        for second in 0..=255_u8 {
            let rtcp = (192..=223).contains(&second);
            let expected = if rtcp { PacketClass::Rtcp } else { PacketClass::Rtp };
            assert_eq!(classify(&[0x80, second]), expected, "second byte {second}");
            assert_ne!(classify(&[0x00, second]), PacketClass::Rtcp, "STUN with second byte {second}");
        }
    }

    #[test]
    fn short_datagrams_are_not_guessed_at() {
        assert_eq!(classify(&[]), PacketClass::TooShort);
        assert_eq!(classify(&[0x80]), PacketClass::TooShort);
        assert_eq!(classify(&[0x16]), PacketClass::Dtls);
    }
}
