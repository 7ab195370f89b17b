//! Any packets to a depacketizer, against what must hold whatever comes; what it gives is packetized again.

use crate::payload::{
    Depacketizer, H264Mode, Packetizer, PayloadDrop, PayloadFormat, PicturePacket, UNIT_BYTES_MAX, nal_units,
};
use crate::{Time, WireSeq, WireTimestamp};
use std::time::Duration;

/// H.264 from any peer.
///
/// # Panics
/// When the depacketizer or the packetizer is wrong.
pub fn fuzz_payload_h264(bytes: &[u8]) {
    fuzz(PayloadFormat::H264, bytes);
}

/// H.265 from any peer.
///
/// # Panics
/// When the depacketizer or the packetizer is wrong.
pub fn fuzz_payload_h265(bytes: &[u8]) {
    fuzz(PayloadFormat::H265, bytes);
}

/// VP8 from any peer.
///
/// # Panics
/// When the depacketizer or the packetizer is wrong.
pub fn fuzz_payload_vp8(bytes: &[u8]) {
    fuzz(PayloadFormat::Vp8, bytes);
}

/// A packet is four bytes (how the number goes on, how time goes on, marker and wait, bytes of payload) and a payload.
fn fuzz(format: PayloadFormat, mut bytes: &[u8]) {
    let mut depacketizer = Depacketizer::new(format, Duration::from_millis(50), vec![0, 0, 0, 1, 0x67, 1]);
    let (mut now, mut sequence, mut timestamp) = (Time::from_millis(1000), 65_530_u16, u32::MAX - 9000);
    let (mut packets, mut units, mut damaged) = (0_u64, 0_u64, 0_u64);
    while let Some(([step, tick, flags, length], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min((*length).into()));
        bytes = rest;
        sequence = match step {
            0..=199 => sequence.wrapping_add(1),
            200..=239 => sequence.wrapping_add(u16::from(*step)).wrapping_sub(220),
            _ => sequence.wrapping_add(u16::from(*step) << 7),
        };
        timestamp = timestamp.wrapping_add(u32::from(tick >> 6) * 3000);
        now += Duration::from_millis(u64::from(flags >> 1));
        let (sequence, timestamp) = (WireSeq(sequence), WireTimestamp(timestamp));
        let packet = PicturePacket { sequence, timestamp, marker: flags & 1 != 0, payload };
        depacketizer.handle_packet(now, &packet);
        packets += 1;
        while let Some(unit) = depacketizer.poll_unit(now) {
            units += 1;
            damaged += u64::from(unit.damaged);
            assert!(!unit.bytes.is_empty() && unit.bytes.len() <= UNIT_BYTES_MAX);
            assert!(!unit.damaged || unit.missing > 0, "what is missing was counted");
            check_again(format, unit.bytes);
        }
        assert!(depacketizer.poll_timeout().is_none_or(|due| due > now), "what was due was given up");
    }
    let stats = depacketizer.stats();
    assert_eq!((stats.packets, stats.units, stats.units_damaged), (packets, units, damaged));
    let dropped: u64 = PayloadDrop::ALL.iter().map(|reason| stats.dropped(*reason)).sum();
    assert!(dropped <= packets, "a packet is dropped once");
}

/// What comes out goes in again, and nothing is lost by that.
fn check_again(format: PayloadFormat, unit: &[u8]) {
    let bytes_max = 32 + unit.len() % 97;
    let packetizer = match format {
        PayloadFormat::H264 => Packetizer::h264(unit, H264Mode::NonInterleaved, bytes_max),
        PayloadFormat::H265 => Packetizer::h265(unit, bytes_max),
        PayloadFormat::Vp8 => Packetizer::vp8(unit, 7, bytes_max),
    };
    // Garbage may be made of zeros and start codes.
    let Ok(mut packetizer) = packetizer else { return };
    let mut again = Depacketizer::new(format, Duration::ZERO, Vec::new());
    let (mut room, mut sequence, mut marked) = ([0; 256], WireSeq(1), false);
    while let Some(payload) = packetizer.next_payload(&mut room) {
        assert!(!marked && payload.bytes <= bytes_max);
        marked = payload.marker;
        let payload = &room[..payload.bytes];
        let packet = PicturePacket { sequence, timestamp: WireTimestamp(1), marker: marked, payload };
        again.handle_packet(Time::ZERO, &packet);
        sequence = sequence.next();
    }
    assert!(marked, "the last payload says that it is the last");
    let found = again.poll_unit(Time::ZERO).expect("what was sent is found");
    assert!(!found.damaged && found.missing == 0);
    match format {
        PayloadFormat::Vp8 => assert_eq!(found.bytes, unit),
        _ => assert!(nal_units(found.bytes).eq(nal_units(unit).filter(|nal| may_be_sent(format, nal)))),
    }
}

/// Garbage may hold start codes, and behind them what no NAL unit is.
fn may_be_sent(format: PayloadFormat, nal: &[u8]) -> bool {
    let forbidden = nal[0] & 0x80 != 0;
    match format {
        PayloadFormat::H264 => nal.len() > 1 && !forbidden && (1..24).contains(&(nal[0] & 0x1f)),
        _ => nal.len() > 2 && !forbidden && (nal[0] >> 1) & 0x3f < 48,
    }
}
