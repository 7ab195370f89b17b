//! Packets that wait, found by their number; their memory is used again.

use crate::seq::SeqNo;
use crate::timestamp::MediaTime;

/// How many numbers apart the packets held at one time can be, and so how many there can be.
pub(super) const SPAN: u64 = 256;
/// Packets, and bytes of each, that memory is there for from the start: a source without much jitter never
/// needs more.
const SLOTS: u16 = 8;
const PAYLOAD_BYTES: usize = 256;
const EMPTY: u16 = u16::MAX;

/// All of a packet but its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sequence: SeqNo,
    pub(super) media: MediaTime,
    pub(super) duration_ticks: u32,
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    pub(super) level: Option<u8>,
}

#[derive(Clone, Debug)]
struct Slot {
    entry: Entry,
    /// Its memory outlives the packet.
    payload: Vec<u8>,
}

impl Slot {
    fn new() -> Slot {
        Slot { entry: Entry::default(), payload: Vec::with_capacity(PAYLOAD_BYTES) }
    }
}

/// At most [`SPAN`] packets with neighbouring numbers.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// By the number's low bits: where in `slots` the packet is.
    index: [u16; SPAN as usize],
    slots: Vec<Slot>,
    free: Vec<u16>,
    bytes: usize,
}

impl Slots {
    pub(super) fn new() -> Slots {
        let mut free = Vec::with_capacity(SPAN as usize);
        free.extend((0..SLOTS).rev());
        let slots = (0..SLOTS).map(|_| Slot::new()).collect();
        Slots { index: [EMPTY; SPAN as usize], slots, free, bytes: 0 }
    }

    /// Packets that wait.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Payload bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn find(&self, sequence: SeqNo) -> Option<(&Entry, &[u8])> {
        let slot = &self.slots[self.position(sequence)?];
        Some((&slot.entry, &slot.payload))
    }

    /// Keeps a packet, whose number must be within [`SPAN`] of all others and not here yet.
    pub(super) fn insert(&mut self, entry: Entry, payload: &[u8]) {
        debug_assert_eq!(self.index[place(entry.sequence)], EMPTY);
        let position = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::new());
            self.slots.len() as u16 - 1
        });
        let slot = &mut self.slots[usize::from(position)];
        slot.entry = entry;
        slot.payload.clear();
        slot.payload.extend_from_slice(payload);
        self.index[place(entry.sequence)] = position;
        self.bytes += payload.len();
    }

    /// Takes a packet out, and its payload in exchange for `payload`'s memory.
    pub(super) fn take(&mut self, sequence: SeqNo, payload: &mut Vec<u8>) -> Option<Entry> {
        let position = self.position(sequence)?;
        std::mem::swap(&mut self.slots[position].payload, payload);
        self.slots[position].payload.clear();
        self.bytes -= payload.len();
        Some(self.vacate(position))
    }

    /// Throws a packet away.
    pub(super) fn discard(&mut self, sequence: SeqNo) -> Option<Entry> {
        let position = self.position(sequence)?;
        self.bytes -= self.slots[position].payload.len();
        Some(self.vacate(position))
    }

    pub(super) fn clear(&mut self) {
        self.index = [EMPTY; SPAN as usize];
        self.free.clear();
        self.free.extend((0..self.slots.len() as u16).rev());
        self.bytes = 0;
    }

    fn position(&self, sequence: SeqNo) -> Option<usize> {
        let position = usize::from(self.index[place(sequence)]);
        self.slots.get(position).is_some_and(|slot| slot.entry.sequence == sequence).then_some(position)
    }

    fn vacate(&mut self, position: usize) -> Entry {
        let entry = self.slots[position].entry;
        self.index[place(entry.sequence)] = EMPTY;
        self.free.push(position as u16);
        entry
    }
}

fn place(sequence: SeqNo) -> usize {
    (sequence.0 % SPAN) as usize
}
