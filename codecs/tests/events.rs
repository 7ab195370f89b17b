//! Telephone events: bytes as in RFC 4733, and what a receiver makes of what is lost.

use motet_codecs::AudioError;
use motet_codecs::audio::events::{
    EventChange, EventReceiver, EventSender, TelephoneEvent, accepts, event_of_key,
};
use proptest::prelude::*;

fn packet(event: u8, end: bool, duration_ticks: u16) -> TelephoneEvent {
    TelephoneEvent { event, end, volume: 10, duration_ticks }
}

fn started(event: u8) -> EventChange {
    EventChange::Started { event, volume: 10 }
}

fn ended(event: u8, duration_ticks: u32) -> EventChange {
    EventChange::Ended { event, duration_ticks }
}

fn changes(packets: &[(u32, TelephoneEvent)]) -> Vec<EventChange> {
    let mut receiver = EventReceiver::new();
    packets.iter().flat_map(|(timestamp, packet)| receiver.handle_event(*timestamp, packet)).collect()
}

#[test]
fn bytes_are_as_in_the_rfc() {
    // Event 11 (#), its end, 10 dB below 1 mW, 160 ms at 8 kHz.
    let event = TelephoneEvent { event: 11, end: true, volume: 10, duration_ticks: 1280 };
    assert_eq!(event.to_bytes(), [11, 0x8a, 0x05, 0x00]);
    assert_eq!(TelephoneEvent::parse(&[11, 0x8a, 0x05, 0x00]), Ok(event));
    // The reserved bit is ignored, and of several events the newest counts.
    assert_eq!(TelephoneEvent::parse(&[1, 0, 0, 1, 11, 0xca, 0x05, 0x00]), Ok(event));
    assert_eq!(event.key(), Some('#'));
    assert_eq!(packet(16, false, 0).key(), None);
    assert_eq!(
        ["0", "9", "*", "#", "a", "D"].map(|key| event_of_key(key.chars().next()?)),
        [0, 9, 10, 11, 12, 15].map(Some)
    );
    assert_eq!(event_of_key('E'), None);
}

#[test]
fn bad_payloads_are_refused() {
    for bad in [&[][..], &[1], &[1, 2, 3], &[1, 2, 3, 4, 5], &[0; 1499]] {
        let reason = "a telephone event has four bytes";
        assert_eq!(TelephoneEvent::parse(bad), Err(AudioError::BadPayload { bytes: bad.len(), reason }));
    }
}

#[test]
fn what_is_accepted_is_as_sdp_says() {
    let table = [("", 15, true), ("", 16, false), ("0-15", 0, true), ("0-11,66,70", 66, true)];
    let more = [("0-11,66,70", 12, false), ("events=0-15", 3, true), ("nonsense", 3, false), ("5", 5, true)];
    for (fmtp, event, expected) in table.into_iter().chain(more) {
        assert_eq!(accepts(fmtp, event), expected, "{fmtp:?} {event}");
    }
}

#[test]
fn a_key_pressed_is_one_start_and_one_end() {
    let sent: Vec<_> = EventSender::new(5, 10, 480, 160).collect();
    let expected = [(160, false), (320, false), (480, true), (480, true), (480, true)];
    let expected = expected.map(|(ticks, end)| (packet(5, end, ticks), ticks == 160));
    assert_eq!(sent, expected);
    let packets: Vec<_> = sent.iter().map(|(packet, _)| (1000, *packet)).collect();
    assert_eq!(changes(&packets), [started(5), ended(5, 480)]);
    // Whichever are lost, as long as one end comes.
    for kept in 2..5 {
        assert_eq!(changes(&packets[kept..=kept]), [started(5), ended(5, 480)]);
    }
}

#[test]
fn the_same_key_twice_is_two() {
    let packets = [(1000, packet(5, false, 160)), (1000, packet(5, true, 320)), (2000, packet(5, true, 320))];
    assert_eq!(changes(&packets), [started(5), ended(5, 320), started(5), ended(5, 320)]);
}

#[test]
fn an_end_that_is_lost_comes_with_the_next_key_or_silence() {
    let packets =
        [(1000, packet(5, false, 160)), (1000, packet(5, false, 320)), (2000, packet(6, false, 160))];
    assert_eq!(changes(&packets), [started(5), ended(5, 320), started(6)]);
    let mut receiver = EventReceiver::new();
    assert_eq!(receiver.handle_silence(), None);
    assert_eq!(receiver.handle_event(1000, &packet(5, false, 160)).count(), 1);
    assert_eq!(receiver.handle_silence(), Some(ended(5, 160)));
    assert_eq!(receiver.handle_silence(), None);
    assert_eq!(receiver.handle_event(1000, &packet(5, true, 320)).count(), 0);
}

#[test]
fn an_event_of_several_segments_is_one() {
    let first = u32::MAX - 100;
    let second = first.wrapping_add(0xffff);
    let packets =
        [(first, packet(3, false, 0xffff)), (second, packet(3, false, 160)), (second, packet(3, true, 320))];
    assert_eq!(changes(&packets), [started(3), ended(3, 0xffff + 320)]);
}

proptest! {
    #[test]
    fn what_is_written_is_read(event: u8, end: bool, volume in 0_u8..64, duration_ticks: u16) {
        let packet = TelephoneEvent { event, end, volume, duration_ticks };
        prop_assert_eq!(TelephoneEvent::parse(&packet.to_bytes()), Ok(packet));
    }

    #[test]
    fn starts_and_ends_alternate(packets: Vec<(u8, [u8; 4])>) {
        let mut receiver = EventReceiver::new();
        let mut running = None;
        for (timestamp, bytes) in packets {
            let packet = TelephoneEvent::parse(&bytes).expect("four bytes");
            for change in receiver.handle_event(timestamp.into(), &packet) {
                match change {
                    EventChange::Started { event, .. } => prop_assert_eq!(running.replace(event), None),
                    EventChange::Ended { event, .. } => prop_assert_eq!(running.take(), Some(event)),
                }
            }
        }
    }
}
