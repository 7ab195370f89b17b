//! Telephone events in the mixer: reports, and their way to the outputs that take them.

use super::dtmf::Relay;
use super::mixer::AudioMixer;
use super::{EventHandling, MixDrop, MixEvent, MixOutbox};
use crate::playout::SourcePacket;
use motet_codecs::audio::events::EventChange;
use std::convert::Infallible;

impl AudioMixer {
    /// Takes a packet of a telephone event.
    pub(super) fn take_telephone_event(
        &mut self,
        place: u32,
        packet: &SourcePacket<'_>,
    ) -> Result<(), MixDrop> {
        let source = &mut self.sources[place];
        if source.settings.events == EventHandling::Strip {
            return Ok(());
        }
        let clock = source.event_clocks.iter().find(|(payload_type, _)| *payload_type == packet.payload_type);
        let clock_hz = clock.map_or(8000, |(_, clock_hz)| *clock_hz);
        let changes = source.keypad.press(packet.payload, packet.timestamp, clock_hz, self.tick);
        let mut result = Ok(());
        for change in changes.map_err(|_| MixDrop::BadEvent)? {
            result = result.and(self.take_change(place, change));
        }
        result
    }

    /// A key was pressed or let go.
    pub(super) fn take_change(&mut self, place: u32, change: EventChange) -> Result<(), MixDrop> {
        let source = &self.sources[place];
        let pass_on = source.settings.events == EventHandling::PassOn && source.may_speak();
        let relay = &mut self.groups[source.group as usize].relay;
        match change {
            EventChange::Started { event, volume } if pass_on => {
                if relay.is_some() {
                    return Err(MixDrop::EventBusy);
                }
                *relay = Some(Relay::new(place, event, volume));
            }
            EventChange::Started { .. } => {}
            EventChange::Ended { event, duration_ticks } => {
                let duration_ms = source.keypad.ms(duration_ticks);
                if let Some(relay) =
                    relay.as_mut().filter(|relay| relay.source == place && relay.event == event)
                {
                    relay.ended_ms.get_or_insert(duration_ms);
                }
                let report = MixEvent::Dtmf { source: source.id, event, duration_ms };
                self.report(report);
            }
        }
        Ok(())
    }

    /// Whether events are on their way in this tick.
    pub(super) fn begin_events(&mut self) -> bool {
        let mut any = false;
        for relay in self.groups.iter_mut().filter_map(|group| group.relay.as_mut()) {
            relay.ticks += 1;
            any = true;
        }
        any
    }

    /// Sends an output the event of its room in place of sound; whether there is one for it.
    pub(super) fn send_event(&mut self, wire: usize, out: &mut MixOutbox) -> bool {
        let (output, id) = self.output_of(wire);
        let Some(payload_type) = output.events_payload_type else { return false };
        let Some(relay) = self.groups[output.group as usize].relay else { return false };
        if output.own_place == Some(relay.source) || output.settings.deaf {
            return false;
        }
        let wire = &mut self.wires[wire];
        let format = self.formats[wire.format as usize].as_ref().expect("an output's format is there");
        let packet = relay.packet(format.codec.clock_hz);
        // All packets of an event have the timestamp of its beginning.
        let timestamp = format.timestamp.wrapping_sub(packet.back);
        let written = out.payload(packet.payload.len(), |bytes| {
            bytes.copy_from_slice(&packet.payload);
            Ok::<_, Infallible>(packet.payload.len())
        });
        let span = written.unwrap_or_default();
        for copy in 0..packet.copies {
            let header = wire.header(packet.first && copy == 0, payload_type, timestamp);
            out.packet(id, header, span);
        }
        // Sound that comes back is a new beginning.
        wire.marker = true;
        true
    }

    /// Forgets events whose end was sent.
    pub(super) fn end_events(&mut self) {
        for group in &mut self.groups {
            if group.relay.is_some_and(|relay| relay.is_last()) {
                group.relay = None;
            }
        }
    }
}
