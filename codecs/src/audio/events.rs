//! Telephone events (RFC 4733): the keys of a telephone, sent as what they are and not as their tones.
//!
//! Every packet of an event has the RTP timestamp of its start and says how long it has lasted; the last one is
//! sent three times. [`EventReceiver`] makes one start and one end of them whatever is lost, [`EventSender`]
//! says what to send. Not here: tones in the sound, and redundancy by RFC 2198.

use super::AudioError;

/// Bytes of one event in a payload.
pub const EVENT_BYTES: usize = 4;

/// How often the end of an event is sent (RFC 4733 section 2.5.1.4).
const END_PACKETS: u8 = 3;

/// What one packet says of an event (RFC 4733 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TelephoneEvent {
    /// The event: 0 to 9 for the digits, 10 for `*`, 11 for `#`, 12 to 15 for A to D, 16 for flash; others of
    /// IANA's registry.
    pub event: u8,
    /// It is over.
    pub end: bool,
    /// Power of the tone as dBm0 without its sign, 0 to 63.
    pub volume: u8,
    /// How long it has lasted, in ticks of the RTP timestamp.
    pub duration_ticks: u16,
}

impl TelephoneEvent {
    /// Reads a payload. Where it holds several events, the last one, which is the newest.
    ///
    /// # Errors
    /// [`AudioError::BadPayload`] when the payload is not of one or more whole events.
    pub fn parse(payload: &[u8]) -> Result<Self, AudioError> {
        let (events, []) = payload.as_chunks::<EVENT_BYTES>() else {
            return Err(AudioError::bad_payload(payload, "a telephone event has four bytes"));
        };
        let Some([event, flags, high, low]) = events.last() else {
            return Err(AudioError::bad_payload(payload, "a telephone event has four bytes"));
        };
        Ok(TelephoneEvent {
            event: *event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration_ticks: u16::from_be_bytes([*high, *low]),
        })
    }

    /// The payload. A volume above 63 counts as 63.
    pub fn to_bytes(&self) -> [u8; EVENT_BYTES] {
        let end = if self.end { 0x80 } else { 0 };
        let [high, low] = self.duration_ticks.to_be_bytes();
        [self.event, end | self.volume.min(63), high, low]
    }

    /// The key, if the event is one of the 16 of a telephone: `0` to `9`, `*`, `#`, `A` to `D`.
    pub fn key(&self) -> Option<char> {
        KEYS.get(usize::from(self.event)).map(|key| char::from(*key))
    }
}

const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// The event of a key: `0` to `9`, `*`, `#`, `A` to `D` in either case.
pub fn event_of_key(key: char) -> Option<u8> {
    let key = key.to_ascii_uppercase();
    KEYS.iter().position(|known| char::from(*known) == key).map(|event| event as u8)
}

/// Whether a receiver whose `a=fmtp` says this (such as `0-15,32`) takes an event. Without parameters it takes
/// the 16 keys (RFC 4733 section 2.4.1).
pub fn accepts(fmtp: &str, event: u8) -> bool {
    let events = super::fmtp::value(fmtp, "events").unwrap_or(fmtp).trim();
    if events.is_empty() {
        return event < 16;
    }
    events.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&event),
            _ => false,
        }
    })
}

/// What the packets of events come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventChange {
    /// An event has begun.
    Started {
        /// As in [`TelephoneEvent`].
        event: u8,
        /// As in [`TelephoneEvent`].
        volume: u8,
    },
    /// It is over: its end came, or another event began and its end was lost.
    Ended {
        /// As in [`TelephoneEvent`].
        event: u8,
        /// How long it lasted as far as is known, in ticks of the RTP timestamp.
        duration_ticks: u32,
    },
}

/// Turns the packets of one sender into starts and ends. Takes packets in the order of their sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct EventReceiver {
    last: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    event: u8,
    /// Of its newest segment.
    timestamp: u32,
    duration_ticks: u16,
    /// Of all segments before.
    before_ticks: u32,
    over: bool,
}

impl Heard {
    fn ended(&self) -> EventChange {
        let duration_ticks = self.before_ticks + u32::from(self.duration_ticks);
        EventChange::Ended { event: self.event, duration_ticks }
    }
}

impl EventReceiver {
    /// A receiver that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a packet with this RTP timestamp says. At most three things change: an event whose end was
    /// lost is over, another one begins, and that is over as well.
    pub fn handle_event(
        &mut self,
        timestamp: u32,
        packet: &TelephoneEvent,
    ) -> impl Iterator<Item = EventChange> + use<> {
        let mut changes = [None; 3];
        let known = self.last.filter(|heard| continues(heard, timestamp, packet));
        let mut heard = known.unwrap_or(Heard {
            event: packet.event,
            timestamp,
            duration_ticks: packet.duration_ticks,
            before_ticks: 0,
            over: false,
        });
        if known.is_none() {
            changes[0] = self.last.filter(|last| !last.over).map(|last| last.ended());
            changes[1] = Some(EventChange::Started { event: packet.event, volume: packet.volume });
        } else if heard.timestamp != timestamp {
            heard.before_ticks += u32::from(heard.duration_ticks);
            (heard.timestamp, heard.duration_ticks) = (timestamp, packet.duration_ticks);
        }
        heard.duration_ticks = heard.duration_ticks.max(packet.duration_ticks);
        if packet.end && !heard.over {
            heard.over = true;
            changes[2] = Some(heard.ended());
        }
        self.last = Some(heard);
        changes.into_iter().flatten()
    }

    /// Nothing was heard for so long that the end of an event must have been lost: it is over now.
    pub fn handle_silence(&mut self) -> Option<EventChange> {
        let heard = self.last.as_mut().filter(|heard| !heard.over)?;
        heard.over = true;
        Some(heard.ended())
    }
}

/// Whether a packet is of the event that was heard: of the same start, or the next segment of an event that is
/// longer than a duration can say (RFC 4733 section 2.5.1.3).
fn continues(heard: &Heard, timestamp: u32, packet: &TelephoneEvent) -> bool {
    let next_segment = heard.timestamp.wrapping_add(heard.duration_ticks.into());
    let segment = !heard.over && heard.duration_ticks == u16::MAX && timestamp == next_segment;
    heard.event == packet.event && (heard.timestamp == timestamp || segment)
}

/// What to send of one event, a packet for each call of [`next`](Iterator::next), 20 ms apart or whatever
/// `ticks_a_packet` are. All have the RTP timestamp of the start; the first one has the marker bit.
#[derive(Clone, Debug)]
pub struct EventSender {
    event: u8,
    volume: u8,
    ticks_a_packet: u16,
    ticks: u16,
    sent_ticks: u16,
    ends_sent: u8,
}

impl EventSender {
    /// An event of `ticks` RTP timestamp ticks (at most 65,535: longer ones would need segments), in packets
    /// `ticks_a_packet` apart. 0 of either counts as 1.
    pub fn new(event: u8, volume: u8, ticks: u16, ticks_a_packet: u16) -> Self {
        let (ticks, ticks_a_packet) = (ticks.max(1), ticks_a_packet.max(1));
        EventSender { event, volume, ticks_a_packet, ticks, sent_ticks: 0, ends_sent: 0 }
    }
}

impl Iterator for EventSender {
    /// The packet, and whether it has the marker bit.
    type Item = (TelephoneEvent, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ends_sent == END_PACKETS {
            return None;
        }
        let marker = self.sent_ticks == 0;
        self.sent_ticks = self.sent_ticks.saturating_add(self.ticks_a_packet).min(self.ticks);
        let end = self.sent_ticks == self.ticks;
        self.ends_sent += u8::from(end);
        let (event, volume) = (self.event, self.volume);
        Some((TelephoneEvent { event, end, volume, duration_ticks: self.sent_ticks }, marker))
    }
}
