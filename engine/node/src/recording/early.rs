//! What comes for a recording before its folder is there: it waits for the first files.
//!
//! A folder is made by a thread of its own, since a disk may take its time; who was told that the recording has begun
//! sends meanwhile. Packets keep the times at which they came, so that files are as if nothing had waited.

use motet_relay::PortId;
use motet_rtp::Time;

/// Bytes that wait for one folder at most: as many as may wait for a disk later.
const BYTES_MAX: usize = 16 << 20;

/// Packets and reports of one recording, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Early {
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
}

#[derive(Debug)]
struct Datagram {
    from: (PortId, u32),
    at: Time,
    /// Where its bytes end.
    end: usize,
}

impl Early {
    /// Keeps a datagram that came from there at that time; false: too much waits already.
    pub(super) fn push(&mut self, from: (PortId, u32), at: Time, datagram: &[u8]) -> bool {
        let fits = self.bytes.len() + datagram.len() <= BYTES_MAX;
        if fits {
            self.bytes.extend_from_slice(datagram);
            self.datagrams.push(Datagram { from, at, end: self.bytes.len() });
        }
        fits
    }

    /// All that waits.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = ((PortId, u32), Time, &[u8])> {
        let mut begin = 0;
        self.datagrams.iter().map(move |Datagram { from, at, end }| {
            let bytes = &self.bytes[begin..*end];
            begin = *end;
            (*from, *at, bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_out_as_it_came_and_has_its_bound() {
        let mut early = Early::default();
        let from = |ssrc| (PortId(3), ssrc);
        assert!(early.push(from(1), Time::from_millis(5), b"one"));
        assert!(early.push(from(2), Time::from_millis(6), b""));
        assert!(early.push(from(1), Time::from_millis(7), b"three"));
        let found: Vec<_> = early.datagrams().collect();
        let expected: [(_, _, &[u8]); 3] = [
            (from(1), Time::from_millis(5), b"one"),
            (from(2), Time::from_millis(6), b""),
            (from(1), Time::from_millis(7), b"three"),
        ];
        assert_eq!(found, expected);
        let packet = vec![0; BYTES_MAX - 8];
        assert!(early.push(from(1), Time::from_millis(8), &packet), "just as much");
        assert!(!early.push(from(1), Time::from_millis(9), b"x"));
        assert_eq!(early.datagrams().count(), 4);
    }
}
