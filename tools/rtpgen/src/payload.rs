//! What the generator writes into each payload, and how it knows its own packets again.
//!
//! A stamp at the front says which packet this is and when it should have left; the rest is cut from a
//! pattern that depends on run, stream and sequence, so that a swapped or damaged payload shows.

use motet_rtp::Time;

/// Bytes of a stamp: the smallest payload that the generator can send.
pub const STAMP_BYTES: usize = 40;

/// First bytes of every stamped payload.
const MAGIC: u32 = 0x6d74_5247;
/// First bytes of a packet that only opens a path through a relay and is not accounted.
const PUNCH_MAGIC: u32 = 0x6d74_5055;
/// Distinct places in the pattern where a payload may start; prime, so that bursts spread over it.
const PATTERN_STARTS: usize = 4093;
/// Largest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Which packet a payload belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Run of the generator; packets of an earlier run are foreign.
    pub run: u32,
    /// Stream, counted from 0 over all workers.
    pub stream: u32,
    /// Bytes of the whole payload.
    pub payload_bytes: u32,
    /// Packet of the stream, counted from 0.
    pub sequence: u64,
    /// When the schedule wanted it to leave.
    pub intended: Time,
    /// RTP timestamp that it was sent with.
    pub timestamp: u32,
}

/// What a payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Ours and whole.
    Intact(Stamp),
    /// Ours, the stamp is good, the length or the bytes behind it are not.
    Damaged(Stamp),
    /// Starts like ours, but the stamp itself is damaged.
    Unreadable,
    /// Opens a path; carries nothing.
    Punch,
    /// Not of this run.
    Foreign,
}

/// The bytes behind the stamps of one run.
#[derive(Debug)]
pub struct Pattern {
    run: u32,
    bytes: Vec<u8>,
}

impl Pattern {
    /// The pattern of a run.
    pub fn new(run: u32) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(run);
        let words = (PATTERN_STARTS + DATAGRAM_BYTES_MAX).div_ceil(8);
        let bytes = (0..words).flat_map(|_| mix(&mut state).to_le_bytes()).collect();
        Pattern { run, bytes }
    }

    /// The run that it was made for.
    pub fn run(&self) -> u32 {
        self.run
    }

    /// Writes stamp and pattern over the whole of `payload`.
    ///
    /// Panics when `payload` is shorter than [`STAMP_BYTES`] or not `stamp.payload_bytes` long.
    pub fn write(&self, stamp: &Stamp, payload: &mut [u8]) {
        assert_eq!(payload.len(), stamp.payload_bytes as usize, "the stamp states the payload's length");
        let (head, rest) = payload.split_at_mut(STAMP_BYTES);
        head[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        head[4..8].copy_from_slice(&stamp.run.to_be_bytes());
        head[8..12].copy_from_slice(&stamp.stream.to_be_bytes());
        head[12..16].copy_from_slice(&stamp.payload_bytes.to_be_bytes());
        head[16..24].copy_from_slice(&stamp.sequence.to_be_bytes());
        head[24..32].copy_from_slice(&stamp.intended.as_nanos().to_be_bytes());
        head[32..36].copy_from_slice(&stamp.timestamp.to_be_bytes());
        let check = checksum(&head[0..36]);
        head[36..40].copy_from_slice(&check.to_be_bytes());
        rest.copy_from_slice(self.fill(stamp, rest.len()));
    }

    /// Says what a received payload is.
    pub fn read(&self, payload: &[u8]) -> Reading {
        let magic = u32_at(payload, 0);
        if magic == Some(PUNCH_MAGIC) {
            return Reading::Punch;
        }
        if magic != Some(MAGIC) {
            return Reading::Foreign;
        }
        let Some((head, rest)) = payload.split_at_checked(STAMP_BYTES) else {
            return Reading::Unreadable;
        };
        if u32_at(head, 36) != Some(checksum(&head[0..36])) {
            return Reading::Unreadable;
        }
        let stamp = parse_stamp(head);
        if stamp.run != self.run {
            return Reading::Foreign;
        }
        if payload.len() == stamp.payload_bytes as usize && rest == self.fill(&stamp, rest.len()) {
            Reading::Intact(stamp)
        } else {
            Reading::Damaged(stamp)
        }
    }

    fn fill(&self, stamp: &Stamp, len: usize) -> &[u8] {
        let place = stamp.sequence.wrapping_add(u64::from(stamp.stream).wrapping_mul(31));
        let start = (place % PATTERN_STARTS as u64) as usize;
        &self.bytes[start..][..len.min(DATAGRAM_BYTES_MAX)]
    }
}

/// Payload of a packet that only opens a path through a relay.
pub fn punch() -> [u8; 4] {
    PUNCH_MAGIC.to_be_bytes()
}

fn parse_stamp(head: &[u8]) -> Stamp {
    let word = |at| u32_at(head, at).expect("the stamp's length was checked");
    let long = |at| (u64::from(word(at)) << 32) | u64::from(word(at + 4));
    Stamp {
        run: word(4),
        stream: word(8),
        payload_bytes: word(12),
        sequence: long(16),
        intended: Time::from_nanos(long(24)),
        timestamp: word(32),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(word.try_into().expect("four bytes were taken")))
}

/// FNV-1a: a single flipped bit always changes it.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// SplitMix64: every run gets its own pattern.
fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(stream: u32, sequence: u64, payload_bytes: u32) -> Stamp {
        Stamp { run: 7, stream, payload_bytes, sequence, intended: Time::from_nanos(123_456), timestamp: 99 }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(stream: u32, sequence: u64, len in STAMP_BYTES..3000) {
            let pattern = Pattern::new(7);
            let stamp = stamp(stream, sequence, len as u32);
            let mut payload = vec![0; len];
            pattern.write(&stamp, &mut payload);
            prop_assert_eq!(pattern.read(&payload), Reading::Intact(stamp));
        }

        #[test]
        fn every_flipped_bit_shows(at in 0usize..200 * 8) {
            let pattern = Pattern::new(7);
            let stamp = stamp(3, 5, 200);
            let mut payload = vec![0; 200];
            pattern.write(&stamp, &mut payload);
            payload[at / 8] ^= 1 << (at % 8);
            let expected = match at / 8 {
                0..4 => Reading::Foreign,
                4..STAMP_BYTES => Reading::Unreadable,
                _ => Reading::Damaged(stamp),
            };
            prop_assert_eq!(pattern.read(&payload), expected);
        }
    }

    #[test]
    fn other_lengths_and_runs_are_told_apart() {
        let pattern = Pattern::new(7);
        let mut payload = vec![0; 200];
        pattern.write(&stamp(1, 1, 200), &mut payload);
        assert_eq!(pattern.read(&payload[..199]), Reading::Damaged(stamp(1, 1, 200)));
        assert_eq!(pattern.read(&payload[..STAMP_BYTES - 1]), Reading::Unreadable);
        assert_eq!(pattern.read(&payload[..3]), Reading::Foreign);
        assert_eq!(Pattern::new(8).read(&payload), Reading::Foreign);
        assert_eq!(pattern.read(&punch()), Reading::Punch);
    }
}
