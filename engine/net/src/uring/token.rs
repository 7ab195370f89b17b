//! What a completion belongs to, packed into the 64 bits of `user_data`.

use crate::socket::Slot;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The multishot receive of a socket. The generation tells late completions of an earlier socket in
    /// the same slot from those of the present one.
    Receive { slot: Slot, generation: u32 },
    /// A message of the chunk being sent.
    Send { index: u32 },
    /// The poll of the waker.
    Wake,
    /// The cancellation of something.
    Cancel,
}

const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const WAKE: u64 = 3;
const CANCEL: u64 = 4;

impl Token {
    /// Kind in the top 8 bits, generation in the next 24, slot or index in the low 32.
    pub(super) fn pack(self) -> u64 {
        let (kind, high, low) = match self {
            Token::Receive { slot, generation } => (RECEIVE, generation, slot.0),
            Token::Send { index } => (SEND, 0, index),
            Token::Wake => (WAKE, 0, 0),
            Token::Cancel => (CANCEL, 0, 0),
        };
        debug_assert!(high < 1 << 24);
        kind << 56 | u64::from(high) << 32 | u64::from(low)
    }

    /// `None`: nothing that [`Token::pack`] makes.
    pub(super) fn unpack(user_data: u64) -> Option<Self> {
        let (high, low) = ((user_data >> 32) as u32 & 0xff_ffff, user_data as u32);
        match user_data >> 56 {
            RECEIVE => Some(Token::Receive { slot: Slot(low), generation: high }),
            SEND => Some(Token::Send { index: low }),
            WAKE => Some(Token::Wake),
            CANCEL => Some(Token::Cancel),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for token in [
            Token::Receive { slot: Slot(0), generation: 0 },
            Token::Receive { slot: Slot(u32::MAX), generation: (1 << 24) - 1 },
            Token::Send { index: 511 },
            Token::Wake,
            Token::Cancel,
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(0), None);
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
