//! Telephone events (RFC 4733): what is pressed, and passing it on.

use super::limits::TICK_MS;
use motet_codecs::audio::AudioError;
use motet_codecs::audio::events::{EVENT_BYTES, EventChange, EventReceiver, TelephoneEvent};
use motet_rtp::WireTimestamp;

/// An event whose packets stop coming is over after so many ticks: its end was lost.
const SILENT_TICKS_MAX: u64 = 6;
/// How often the end is said (RFC 4733 section 2.5.1.4).
pub(crate) const ENDS: usize = 3;

/// What a source presses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keypad {
    receiver: EventReceiver,
    /// The newest event's beginning, and the tick of its last packet.
    newest: Option<(WireTimestamp, u64)>,
    clock_hz: u32,
}

impl Keypad {
    /// Takes a packet with an event.
    pub(crate) fn press(
        &mut self,
        payload: &[u8],
        timestamp: WireTimestamp,
        clock_hz: u32,
        tick: u64,
    ) -> Result<impl Iterator<Item = EventChange> + use<>, AudioError> {
        let event = TelephoneEvent::parse(payload)?;
        // A packet of an event before the newest was overtaken by it, and its news are old.
        let old = self.newest.is_some_and(|(newest, _)| newest.is_after(timestamp));
        let changes = (!old).then(|| {
            self.newest = Some((timestamp, tick));
            self.clock_hz = clock_hz;
            self.receiver.handle_event(timestamp.0, &event)
        });
        Ok(changes.into_iter().flatten())
    }

    /// A tick without a packet: the event that is over since its packets stopped.
    pub(crate) fn wait(&mut self, tick: u64) -> Option<EventChange> {
        let (_, last_tick) = self.newest?;
        if tick.saturating_sub(last_tick) > SILENT_TICKS_MAX { self.receiver.handle_silence() } else { None }
    }

    /// Ticks of the sender's clock as milliseconds.
    pub(crate) fn ms(&self, ticks: u32) -> u32 {
        (u64::from(ticks) * 1000 / u64::from(self.clock_hz.max(1))) as u32
    }
}

/// An event on its way to the outputs of a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relay {
    /// Whose.
    pub source: u32,
    pub event: u8,
    pub volume: u8,
    /// Ticks since it began, this one included; 0 before the first.
    pub ticks: u32,
    /// It is over, and was so long.
    pub ended_ms: Option<u32>,
}

/// What goes out in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelayPacket {
    pub payload: [u8; EVENT_BYTES],
    /// How often.
    pub copies: usize,
    /// The first packet of the event.
    pub first: bool,
    /// The timestamp lies so many ticks of the RTP clock back.
    pub back: u32,
}

impl Relay {
    pub(crate) fn new(source: u32, event: u8, volume: u8) -> Self {
        Relay { source, event, volume, ticks: 0, ended_ms: None }
    }

    /// What an output with this RTP clock gets in this tick.
    pub(crate) fn packet(&self, clock_hz: u32) -> RelayPacket {
        let per_tick = clock_hz * TICK_MS / 1000;
        let played = self.ticks * per_tick;
        let duration = match self.ended_ms {
            // It lasts at least as long as was said already.
            Some(ms) => (ms as u64 * u64::from(clock_hz) / 1000).max(u64::from(played - per_tick)),
            None => u64::from(played),
        };
        let event = TelephoneEvent {
            event: self.event,
            end: self.is_last(),
            volume: self.volume,
            // RFC 4733 section 2.5.1.3: 0xFFFF is the longest that one segment says.
            duration_ticks: duration.min(u64::from(u16::MAX)) as u16,
        };
        RelayPacket {
            payload: event.to_bytes(),
            copies: if event.end { ENDS } else { 1 },
            first: self.ticks == 1,
            back: played - per_tick,
        }
    }

    /// Whether this tick says the end: the sender's came, and the beginning was said in a tick before.
    pub(crate) fn is_last(&self) -> bool {
        self.ended_ms.is_some() && self.ticks > 1
    }
}

#[cfg(test)]
mod tests {
    use super::{Keypad, Relay};
    use motet_codecs::audio::events::{EventChange, TelephoneEvent};
    use motet_rtp::WireTimestamp;

    fn press(keypad: &mut Keypad, at: u32, tick: u64, event: u8, end: bool, ticks: u16) -> Vec<EventChange> {
        let event = TelephoneEvent { event, end, volume: 10, duration_ticks: ticks };
        let changes = keypad.press(&event.to_bytes(), WireTimestamp(at), 8000, tick);
        changes.expect("an event").collect()
    }

    #[test]
    fn overtaken_packets_and_repeated_ends_are_no_news() {
        let mut keypad = Keypad::default();
        let started = EventChange::Started { event: 5, volume: 10 };
        let ended = EventChange::Ended { event: 5, duration_ticks: 480 };
        assert_eq!(press(&mut keypad, 1000, 1, 5, false, 160), [started]);
        assert_eq!(press(&mut keypad, 1000, 3, 5, true, 480), [ended]);
        assert!(press(&mut keypad, 1000, 3, 5, true, 480).is_empty());
        assert_eq!(press(&mut keypad, 3000, 9, 5, false, 160), [started]);
        assert!(press(&mut keypad, 1000, 9, 5, false, 320).is_empty(), "of the event before");
        assert_eq!(keypad.wait(12), None);
        assert_eq!(keypad.wait(16), Some(EventChange::Ended { event: 5, duration_ticks: 160 }));
        assert_eq!(keypad.ms(160), 20);
        assert!(keypad.press(&[1, 2, 3], WireTimestamp(0), 8000, 20).is_err());
    }

    #[test]
    fn an_event_is_passed_on_from_its_beginning_to_three_ends() {
        let mut relay = Relay::new(0, 7, 10);
        let said = |relay: &Relay| {
            let packet = relay.packet(48_000);
            let event = TelephoneEvent::parse(&packet.payload).expect("an event");
            (packet.first, packet.copies, packet.back, event.end, event.duration_ticks)
        };
        relay.ticks = 1;
        // Even when the sender's end came with its beginning.
        relay.ended_ms = Some(20);
        assert_eq!(said(&relay), (true, 1, 0, false, 960));
        relay.ticks = 2;
        assert_eq!(said(&relay), (false, 3, 960, true, 960));
    }
}
