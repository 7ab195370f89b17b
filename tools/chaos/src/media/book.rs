//! Who takes part, who sends where, and what each hears of each.

use super::INTERVAL;
use super::account::{Arrival, Flow, Heard};
use crate::place::Place;
use motet_rtp::Time;
use motet_rtp::rtp::{FIXED_HEADER_BYTES, RtpView};
use motet_rtpgen::payload::{Pattern, Reading, Stamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

/// Bytes of a payload, as of 20 ms of G.711.
const PAYLOAD_BYTES: usize = 160;
/// Ticks of the RTP clock from one packet to the next: 48 kHz.
const TICKS: u64 = 960;

/// A participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyId(pub usize);

/// What one heard of another since the mark.
#[derive(Clone, Debug)]
pub struct Hearing {
    /// Who listens.
    pub receiver: PartyId,
    /// In which conference.
    pub conference: String,
    /// What it heard.
    pub heard: Heard,
}

#[derive(Debug)]
struct Party {
    name: String,
    conference: String,
    socket: Arc<UdpSocket>,
    /// Where it sends; none: it is silent.
    to: Option<SocketAddr>,
    sent: u64,
    gone: bool,
    /// By sender.
    flows: HashMap<usize, Flow>,
}

/// All participants.
#[derive(Debug)]
pub struct Book {
    parties: Vec<Party>,
    by_name: HashMap<(String, String), PartyId>,
    due: BinaryHeap<Reverse<(Time, usize)>>,
    pattern: Pattern,
    strangers: u64,
}

impl Book {
    pub(super) fn new(run: u32) -> Book {
        Book {
            parties: Vec::new(),
            by_name: HashMap::new(),
            due: BinaryHeap::new(),
            pattern: Pattern::new(run),
            strangers: 0,
        }
    }

    pub(super) fn add(&mut self, conference: &str, name: &str, socket: Arc<UdpSocket>) -> PartyId {
        let id = PartyId(self.parties.len());
        self.by_name.insert((conference.to_owned(), name.to_owned()), id);
        self.parties.push(Party {
            name: name.to_owned(),
            conference: conference.to_owned(),
            socket,
            to: None,
            sent: 0,
            gone: false,
            flows: HashMap::new(),
        });
        id
    }

    /// SSRC that a participant sends with.
    pub fn ssrc(&self, id: PartyId) -> u32 {
        (id.0 as u32 + 1).wrapping_mul(0x9e37_79b1)
    }

    /// Has a participant send here from now on.
    pub fn send_to(&mut self, id: PartyId, to: SocketAddr, now: Time) {
        let party = &mut self.parties[id.0];
        if party.gone || party.to.replace(to).is_some() {
            return;
        }
        // The first packets of many are spread over the interval.
        let phase = INTERVAL.mul_f64((id.0 * 7 % 20) as f64 / 20.0);
        self.due.push(Reverse((now + phase, id.0)));
        let conference = party.conference.clone();
        let sent = self.sent();
        let here = |(_, party): &(usize, &mut Party)| party.conference == conference && party.to.is_some();
        let mut others = Vec::new();
        for (index, other) in self.parties.iter_mut().enumerate().filter(here) {
            if index != id.0 {
                other.flows.entry(id.0).or_default().mark(0, now);
                others.push(index);
            }
        }
        for sender in others {
            self.parties[id.0].flows.entry(sender).or_default().mark(sent[sender], now);
        }
    }

    /// The participant of that name.
    pub fn find(&self, conference: &str, name: &str) -> Option<PartyId> {
        self.by_name.get(&(conference.to_owned(), name.to_owned())).copied()
    }

    /// A participant that has left neither sends nor is accounted for.
    pub fn leave(&mut self, id: PartyId) {
        let party = &mut self.parties[id.0];
        (party.to, party.gone) = (None, true);
        let key = (party.conference.clone(), party.name.clone());
        self.by_name.remove(&key);
    }

    /// Packets that came and are of nobody that the receiver should hear.
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    pub(super) fn socket(&self, id: PartyId) -> Option<Arc<UdpSocket>> {
        self.parties.get(id.0).map(|party| Arc::clone(&party.socket))
    }

    /// Sends what is due, and says when something is next.
    pub(super) fn send_due(&mut self, now: Time) -> Time {
        while let Some(Reverse((due, index))) = self.due.peek().copied() {
            if due > now {
                return due;
            }
            self.due.pop();
            if self.parties[index].to.is_some() {
                self.send(index, due);
                // What was late is sent at once and not left out, as a terminal with a buffer would.
                self.due.push(Reverse((due + INTERVAL, index)));
            }
        }
        now + INTERVAL
    }

    fn send(&mut self, index: usize, due: Time) {
        let ssrc = self.ssrc(PartyId(index));
        let party = &mut self.parties[index];
        let Some(to) = party.to else { return };
        let timestamp = (party.sent * TICKS) as u32;
        let mut packet = [0; FIXED_HEADER_BYTES + PAYLOAD_BYTES];
        packet[..2].copy_from_slice(&[0x80, 111]);
        packet[2..4].copy_from_slice(&(party.sent as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let stamp = Stamp {
            run: self.pattern.run(),
            stream: index as u32,
            payload_bytes: PAYLOAD_BYTES as u32,
            sequence: party.sent,
            intended: due,
            timestamp,
        };
        self.pattern.write(&stamp, &mut packet[FIXED_HEADER_BYTES..]);
        party.sent += 1;
        // A dead node's port may answer with an error, which is for nobody.
        let _ = party.socket.send_to(&packet, to);
    }

    pub(super) fn on_datagram(&mut self, id: PartyId, from: SocketAddr, bytes: &[u8], now: Time) {
        let Ok(view) = RtpView::new(bytes) else { return };
        let Reading::Intact(stamp) = self.pattern.read(view.payload()) else { return };
        let sender = stamp.stream as usize;
        let meant =
            self.parties.get(sender).is_some_and(|party| party.conference == self.parties[id.0].conference);
        let Some(node) = Place::node_of(from.ip()).filter(|_| meant && sender != id.0) else {
            self.strangers += 1;
            return;
        };
        let arrival =
            Arrival { number: stamp.sequence, node, ssrc: view.ssrc(), sequence: view.sequence().0, now };
        self.parties[id.0].flows.entry(sender).or_default().on_arrival(&arrival);
    }

    pub(super) fn mark(&mut self, now: Time) {
        self.strangers = 0;
        let sent = self.sent();
        for (receiver, sender) in self.pairs() {
            self.parties[receiver].flows.entry(sender).or_default().mark(sent[sender], now);
        }
    }

    /// Packets that each has sent.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.parties.iter().map(|party| party.sent).collect()
    }

    /// Of the packets up to those `sent`.
    pub(super) fn read(&self, sent: &[u64], now: Time) -> Vec<Hearing> {
        let pairs = self.pairs().into_iter().filter(|(_, sender)| *sender < sent.len());
        let read = pairs.map(|(receiver, sender)| {
            let party = &self.parties[receiver];
            let heard = match party.flows.get(&sender) {
                Some(flow) => flow.heard(sent[sender], now),
                None => Heard::default(),
            };
            Hearing { receiver: PartyId(receiver), conference: party.conference.clone(), heard }
        });
        read.collect()
    }

    /// Pairs of which the receiver has not heard the sender for so long, by name.
    pub fn silent(&self, longer_than: std::time::Duration, now: Time) -> Vec<String> {
        let silent = self.pairs().into_iter().filter(|(receiver, sender)| {
            let flow = self.parties[*receiver].flows.get(sender);
            let silent = flow.and_then(|flow| flow.heard(0, now).silent);
            silent.is_none_or(|silent| silent > longer_than)
        });
        let name = |index: usize| self.parties[index].name.as_str();
        let say = |(receiver, sender): (usize, usize)| {
            format!(
                "{} does not hear {} in {}",
                name(receiver),
                name(sender),
                self.parties[receiver].conference
            )
        };
        silent.map(say).collect()
    }

    /// Receiver and sender of everyone who is to hear someone.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let mut rooms: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let present = self.parties.iter().enumerate().filter(|(_, party)| party.to.is_some());
        present.for_each(|(index, party)| rooms.entry(&party.conference).or_default().push(index));
        let pairs = rooms.values().flat_map(|room| {
            room.iter().flat_map(move |receiver| {
                room.iter().filter(move |sender| *sender != receiver).map(move |sender| (*receiver, *sender))
            })
        });
        pairs.collect()
    }
}
