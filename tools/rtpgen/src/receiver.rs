//! Reads what arrives and hands it to the account.

use crate::account::{Account, Arrival, Expectation, Header};
use crate::payload::{Pattern, Reading};
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::rtp::RtpView;
use std::sync::Arc;

/// Packets that belong to no stream of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// RTCP packets: reports of the relay under test.
    pub rtcp: u64,
    /// Stamped payloads whose stamp cannot be read. The packet that it was counts as lost as well.
    pub unreadable: u64,
    /// Anything else: other traffic, or packets of an earlier run.
    pub foreign: u64,
}

/// The receiving half of a worker.
#[derive(Debug)]
pub struct Receiver {
    account: Account,
    pattern: Arc<Pattern>,
    strays: Strays,
    bytes: u64,
}

impl Receiver {
    /// A receiver for the given expectations; their order numbers the receivers.
    pub fn new(expectations: &[Expectation], pattern: Arc<Pattern>) -> Self {
        Receiver { account: Account::new(expectations), pattern, strays: Strays::default(), bytes: 0 }
    }

    /// Takes a run of datagrams, each of `segment_bytes` but the last, which may be shorter.
    pub fn handle_datagrams(&mut self, now: Time, receiver: usize, bytes: &[u8], segment_bytes: usize) {
        bytes.chunks(segment_bytes.max(1)).for_each(|packet| self.handle_packet(now, receiver, packet));
    }

    fn handle_packet(&mut self, now: Time, receiver: usize, packet: &[u8]) {
        if classify(packet) == PacketClass::Rtcp {
            self.strays.rtcp += 1;
            return;
        }
        let Ok(view) = RtpView::new(packet) else {
            self.strays.foreign += 1;
            return;
        };
        let (stamp, intact) = match self.pattern.read(view.payload()) {
            Reading::Intact(stamp) => (stamp, true),
            Reading::Damaged(stamp) => (stamp, false),
            Reading::Unreadable => return self.strays.unreadable += 1,
            Reading::Foreign => return self.strays.foreign += 1,
            Reading::Punch => return,
        };
        self.bytes += packet.len() as u64;
        let header = Header {
            ssrc: view.ssrc(),
            payload_type: view.payload_type(),
            sequence: view.sequence().0,
            timestamp: view.timestamp().0,
        };
        self.account.on_arrival(&Arrival { receiver, stamp, header, intact, now });
    }

    /// Bytes of this run's packets that came, RTP headers included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What belongs to no stream.
    pub fn strays(&self) -> Strays {
        self.strays
    }

    /// The counts.
    pub fn account(&self) -> &Account {
        &self.account
    }
}
