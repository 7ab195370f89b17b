//! Access units to packets and back, over networks that lose, double and reorder.

use motet_rtp::payload::{
    Depacketizer, H264Mode, PacketizeError, Packetizer, PayloadDrop, PayloadFormat, PicturePacket, nal_units,
    parameter_sets,
};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const WAIT: Duration = Duration::from_millis(50);
const FORMATS: [PayloadFormat; 3] = [PayloadFormat::H264, PayloadFormat::H265, PayloadFormat::Vp8];

#[derive(Clone, Debug)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
struct Unit {
    timestamp: u32,
    bytes: Vec<u8>,
    key_frame: bool,
    damaged: bool,
    missing: u32,
}

/// Puts units into packets, 3000 ticks apart.
fn packetize(format: PayloadFormat, units: &[Vec<u8>], bytes_max: usize, first: u16) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let mut packetizer = match format {
            PayloadFormat::H264 => Packetizer::h264(unit, H264Mode::NonInterleaved, bytes_max),
            PayloadFormat::H265 => Packetizer::h265(unit, bytes_max),
            PayloadFormat::Vp8 => Packetizer::vp8(unit, index as u16, bytes_max),
        }
        .expect("a unit");
        let mut room = vec![0; bytes_max];
        while let Some(payload) = packetizer.next_payload(&mut room) {
            assert!(payload.bytes <= bytes_max);
            packets.push(Packet {
                sequence: first.wrapping_add(packets.len() as u16),
                timestamp: (u32::MAX - 5000).wrapping_add(3000 * index as u32),
                marker: payload.marker,
                payload: room[..payload.bytes].to_vec(),
            });
        }
        assert!(packets.last().expect("a packet").marker);
    }
    packets
}

/// Hands packets over, 1 ms apart, and waits for what is missing in the end.
fn receive(depacketizer: &mut Depacketizer, packets: &[Packet]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut now = Time::from_millis(5);
    for Packet { sequence, timestamp, marker, payload } in packets {
        let (sequence, timestamp) = (WireSeq(*sequence), WireTimestamp(*timestamp));
        depacketizer.handle_packet(now, &PicturePacket { sequence, timestamp, marker: *marker, payload });
        drain(depacketizer, now, &mut units);
        now += Duration::from_millis(1);
    }
    while let Some(due) = depacketizer.poll_timeout() {
        drain(depacketizer, due, &mut units);
    }
    units
}

fn drain(depacketizer: &mut Depacketizer, now: Time, units: &mut Vec<Unit>) {
    while let Some(unit) = depacketizer.poll_unit(now) {
        let (timestamp, bytes) = (unit.timestamp.0, unit.bytes.to_vec());
        let (key_frame, damaged, missing) = (unit.key_frame, unit.damaged, unit.missing);
        units.push(Unit { timestamp, bytes, key_frame, damaged, missing });
    }
}

fn depacketizer(format: PayloadFormat) -> Depacketizer {
    Depacketizer::new(format, WAIT, Vec::new())
}

/// A unit: parameter sets if it is a key frame, then slices, of which the first says that it is.
fn unit(format: PayloadFormat, key: bool, slices: &[Vec<u8>]) -> Vec<u8> {
    if format == PayloadFormat::Vp8 {
        let mut frame = vec![u8::from(!key)];
        slices.iter().for_each(|slice| frame.extend_from_slice(slice));
        return frame;
    }
    let mut nals: Vec<Vec<u8>> = Vec::new();
    let header = |kind: u8| match format {
        PayloadFormat::H264 => vec![0x60 | kind],
        _ => vec![kind << 1, 1],
    };
    let (sets, slice): (&[u8], u8) = match (format, key) {
        (PayloadFormat::H264, true) => (&[7, 8], 5),
        (PayloadFormat::H264, false) => (&[], 1),
        (_, true) => (&[32, 33, 34], 19),
        (_, false) => (&[], 1),
    };
    nals.extend(sets.iter().map(|kind| [header(*kind), vec![0x42; 9]].concat()));
    for (index, data) in slices.iter().enumerate() {
        let first = if index == 0 { 0x88 } else { 0x48 };
        nals.push([header(slice), vec![first], data.clone()].concat());
    }
    nals.iter().flat_map(|nal| [vec![0, 0, 0, 1], nal.clone()].concat()).collect()
}

fn slices() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // Without zeros there are no start codes within, as encoders see to by escaping.
    prop::collection::vec(prop::collection::vec(1_u8..=255, 1..400), 1..5)
}

fn units() -> impl Strategy<Value = (PayloadFormat, Vec<Vec<u8>>)> {
    let format = prop::sample::select(FORMATS.to_vec());
    (format, prop::collection::vec((any::<bool>(), slices()), 1..8)).prop_map(|(format, units)| {
        (format, units.iter().map(|(key, slices)| unit(format, *key, slices)).collect())
    })
}

proptest! {
    #[test]
    fn what_is_sent_comes_whole((format, sent) in units(), bytes_max in 32_usize..1300, first: u16) {
        let packets = packetize(format, &sent, bytes_max, first);
        let mut depacketizer = depacketizer(format);
        let found = receive(&mut depacketizer, &packets);
        prop_assert_eq!(found.iter().map(|unit| &unit.bytes).collect::<Vec<_>>(), sent.iter().collect::<Vec<_>>());
        prop_assert!(found.iter().all(|unit| !unit.damaged && unit.missing == 0));
        prop_assert_eq!(depacketizer.stats().units, sent.len() as u64);
    }

    /// Whatever the network does: units come in order, one whose packets all came is there and whole, and one of which
    /// nothing is missing is as it was sent.
    #[test]
    fn loss_and_reordering_are_told(
        (format, sent) in units(),
        bytes_max in 32_usize..300,
        first: u16,
        fates in prop::collection::vec((0_u8..100, 0_usize..12), 600),
    ) {
        let packets = packetize(format, &sent, bytes_max, first);
        let mut came: Vec<(usize, Packet)> = Vec::new();
        let mut lost = BTreeSet::new();
        let mut lost_count = 0;
        for (index, packet) in packets.iter().enumerate() {
            let (fate, delay) = fates[index % fates.len()];
            // The first one fixes where the stream begins, and the last one shows what was lost before it.
            let fixed = index == 0 || index + 1 == packets.len();
            match fate {
                0..=9 if !fixed => {
                    lost.insert(packet.timestamp);
                    lost_count += 1;
                }
                10..=29 if !fixed => came.push((index + delay, packet.clone())),
                30..=34 => {
                    came.push((index, packet.clone()));
                    came.push((index + delay, packet.clone()));
                }
                _ => came.push((index, packet.clone())),
            }
        }
        came.sort_by_key(|(place, packet)| (*place, packet.sequence.wrapping_sub(first)));
        let came: Vec<Packet> = came.into_iter().map(|(_, packet)| packet).collect();
        let mut depacketizer = depacketizer(format);
        let found = receive(&mut depacketizer, &came);

        let all: BTreeMap<u32, &Vec<u8>> = packets.iter().map(|packet| packet.timestamp).collect::<BTreeSet<_>>()
            .into_iter().map(|timestamp| (timestamp, &sent[(timestamp.wrapping_sub(u32::MAX - 5000) / 3000) as usize]))
            .collect();
        let order: Vec<u32> = found.iter().map(|unit| unit.timestamp.wrapping_sub(u32::MAX - 5000)).collect();
        prop_assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
        for (timestamp, bytes) in &all {
            let unit = found.iter().find(|unit| unit.timestamp == *timestamp);
            if !lost.contains(timestamp) {
                let unit = unit.expect("all of its packets came");
                prop_assert!(!unit.damaged && unit.bytes == **bytes);
            } else if let Some(unit) = unit {
                prop_assert!(unit.missing > 0);
                prop_assert!(unit.damaged || unit.bytes.len() < bytes.len());
            }
        }
        prop_assert_eq!(depacketizer.stats().lost, lost_count);
    }
}

#[test]
fn key_frames_are_known() {
    for format in FORMATS {
        let sent: Vec<_> = [true, false, true].map(|key| unit(format, key, &[vec![7; 90]])).into();
        let packets = packetize(format, &sent, 48, 1);
        let keys: Vec<bool> =
            receive(&mut depacketizer(format), &packets).iter().map(|unit| unit.key_frame).collect();
        assert_eq!(keys, [true, false, true], "{format:?}");
    }
}

/// RFC 6184 section 5.7.1 and 5.8, and RFC 7798 section 4.4, byte by byte.
#[test]
fn packets_are_as_the_documents_say() {
    let units = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x28, 3, 0, 0, 0, 1, 0x65, 0x88];
    let long = [&units[..], &[9; 40]].concat();
    let packets = packetize(PayloadFormat::H264, &[long], 32, 1);
    assert_eq!(packets[0].payload, [0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x28, 3]);
    assert_eq!(packets[1].payload[..3], [0x7c, 0x85, 0x88]);
    assert_eq!(packets[2].payload[..3], [0x7c, 0x45, 9]);
    assert_eq!(packets.len(), 3);

    let units = [0, 0, 0, 1, 0x40, 1, 5, 0, 0, 1, 0x42, 2, 6, 0, 0, 0, 1, 0x26, 1, 0x88];
    let long = [&units[..], &[9; 40]].concat();
    let packets = packetize(PayloadFormat::H265, &[long], 32, 1);
    assert_eq!(packets[0].payload, [0x60, 1, 0, 3, 0x40, 1, 5, 0, 3, 0x42, 2, 6]);
    assert_eq!(packets[1].payload[..4], [0x62, 1, 0x93, 0x88]);
    assert_eq!(packets[2].payload[..4], [0x62, 1, 0x53, 9]);

    let packets = packetize(PayloadFormat::Vp8, &[vec![5; 40]], 32, 1);
    assert_eq!(packets[0].payload[..5], [0x90, 0x80, 0x80, 0, 5]);
    assert_eq!(packets[1].payload[..5], [0x80, 0x80, 0x80, 0, 5]);
}

#[test]
fn single_nal_mode_neither_joins_nor_cuts() {
    let unit = unit(PayloadFormat::H264, true, &[vec![3; 20], vec![4; 20]]);
    let mut packetizer = Packetizer::h264(&unit, H264Mode::SingleNal, 64).expect("they fit");
    let mut room = [0; 64];
    let sent: Vec<Vec<u8>> = std::iter::from_fn(|| {
        packetizer.next_payload(&mut room).map(|payload| room[..payload.bytes].to_vec())
    })
    .collect();
    assert!(sent.iter().map(Vec::as_slice).eq(nal_units(&unit)));
    let long = Packetizer::h264(&unit, H264Mode::SingleNal, 16 + 16).map(drop);
    assert_eq!(long, Ok(()));
    let too_long = self::unit(PayloadFormat::H264, true, &[vec![3; 70]]);
    let refused = Packetizer::h264(&too_long, H264Mode::SingleNal, 64).map(drop);
    assert_eq!(refused, Err(PacketizeError::NalTooLong { bytes: 72 }));
}

#[test]
fn what_cannot_be_packetized_is_refused() {
    let least = PacketizeError::PayloadBytesMax { given: 31, least: 32 };
    assert_eq!(Packetizer::vp8(&[1], 0, 31).map(drop), Err(least));
    assert_eq!(Packetizer::vp8(&[], 0, 100).map(drop), Err(PacketizeError::Empty));
    assert_eq!(Packetizer::h265(&[1, 2, 3], 100).map(drop), Err(PacketizeError::Empty));
    assert_eq!(Packetizer::h265(&[0, 0, 1, 0x40, 1], 100).map(drop), Err(PacketizeError::Empty));
}

#[test]
fn what_receivers_would_read_as_another_packet_is_not_sent() {
    // STAP-A, a fragment, the forbidden bit, a header alone: between two slices.
    let parts: [&[u8]; 6] =
        [&[0x41, 1], &[0x78, 0, 2, 0x65, 9], &[0x7c, 0xc5, 9], &[0xc1, 9], &[9], &[0x41, 2]];
    let sent: Vec<u8> = parts.iter().flat_map(|nal| [&[0, 0, 1][..], nal].concat()).collect();
    let packets = packetize(PayloadFormat::H264, std::slice::from_ref(&sent), 100, 1);
    let found = receive(&mut depacketizer(PayloadFormat::H264), &packets);
    assert_eq!(found[0].bytes, [0, 0, 0, 1, 0x41, 1, 0, 0, 0, 1, 0x41, 2]);
    assert!(found.len() == 1 && !found[0].damaged);
    let refused = Packetizer::h264(&[0, 0, 1, 0x78, 0, 2, 0x65, 9], H264Mode::SingleNal, 100).map(drop);
    assert_eq!(refused, Err(PacketizeError::Empty));
}

#[test]
fn parameter_sets_of_the_description_stand_in_for_those_in_band() {
    let fmtp = "packetization-mode=1; sprop-parameter-sets=Z0IAHg==,aM4G4g; profile-level-id=42001e";
    let sets = parameter_sets(PayloadFormat::H264, fmtp);
    assert_eq!(sets, [&[0, 0, 0, 1, 0x67, 0x42, 0, 0x1e][..], &[0, 0, 0, 1, 0x68, 0xce, 6, 0xe2]].concat());
    let bare = [0, 0, 0, 1, 0x65, 0x88, 1];
    let whole = unit(PayloadFormat::H264, true, &[vec![1]]);
    let packets = packetize(PayloadFormat::H264, &[bare.to_vec(), whole.clone(), bare.to_vec()], 100, 1);
    let mut depacketizer = Depacketizer::new(PayloadFormat::H264, WAIT, sets.clone());
    let found: Vec<Vec<u8>> =
        receive(&mut depacketizer, &packets).into_iter().map(|unit| unit.bytes).collect();
    assert_eq!(found, [[&sets[..], &bare].concat(), whole, bare.to_vec()]);
    let h265 = "sprop-sps=QgE=;sprop-vps=QAE=;sprop-pps=!,RAE=";
    let sets = parameter_sets(PayloadFormat::H265, h265);
    assert_eq!(sets, [0, 0, 0, 1, 0x40, 1, 0, 0, 0, 1, 0x42, 1, 0, 0, 0, 1, 0x44, 1]);
}

#[test]
fn a_sender_without_markers_is_understood() {
    let sent: Vec<_> = (0..4).map(|n| unit(PayloadFormat::H264, n == 0, &[vec![7; 90]])).collect();
    let mut packets = packetize(PayloadFormat::H264, &sent, 48, 65_533);
    packets.iter_mut().for_each(|packet| packet.marker = false);
    let found = receive(&mut depacketizer(PayloadFormat::H264), &packets);
    assert_eq!(found.len(), 3, "the last one may go on");
    assert!(found.iter().zip(&sent).all(|(found, sent)| found.bytes == *sent && !found.damaged));
}

#[test]
fn bad_packets_are_counted_by_reason() {
    let cases: [(PayloadFormat, &[u8], PayloadDrop); 15] = [
        (PayloadFormat::H264, &[], PayloadDrop::Empty),
        (PayloadFormat::H264, &[0x65], PayloadDrop::Empty),
        (PayloadFormat::H264, &[0x7c, 0x85], PayloadDrop::Empty),
        (PayloadFormat::H264, &[0xe5, 1], PayloadDrop::ForbiddenBit),
        (PayloadFormat::H264, &[0x78, 0, 9, 0x65, 1], PayloadDrop::Truncated),
        (PayloadFormat::H264, &[0x78, 0, 0, 0], PayloadDrop::Empty),
        (PayloadFormat::H264, &[0x79, 0, 0, 1], PayloadDrop::UnsupportedType),
        (PayloadFormat::H264, &[0x7d, 0x85, 0, 0, 1], PayloadDrop::UnsupportedType),
        (PayloadFormat::H264, &[0x7c, 0x45, 1], PayloadDrop::NoStart),
        (PayloadFormat::H265, &[0x26, 1], PayloadDrop::Empty),
        (PayloadFormat::H265, &[0x64, 1, 1], PayloadDrop::UnsupportedType),
        (PayloadFormat::H265, &[0x60, 1, 0, 9, 0x40], PayloadDrop::Truncated),
        (PayloadFormat::Vp8, &[0x90, 0xff, 0x80], PayloadDrop::Truncated),
        (PayloadFormat::Vp8, &[0x10], PayloadDrop::Empty),
        (PayloadFormat::Vp8, &[0x00, 1], PayloadDrop::NoStart),
    ];
    for (format, payload, reason) in cases {
        let mut depacketizer = depacketizer(format);
        let packet = Packet { sequence: 1, timestamp: 1, marker: true, payload: payload.to_vec() };
        assert_eq!(receive(&mut depacketizer, &[packet]), [], "{payload:02x?}");
        assert_eq!(depacketizer.stats().dropped(reason), 1, "{format:?} {payload:02x?}");
    }
    let mut depacketizer = depacketizer(PayloadFormat::Vp8);
    let long = Packet { sequence: 1, timestamp: 1, marker: true, payload: vec![0x10; 2049] };
    receive(&mut depacketizer, &[long]);
    assert_eq!(depacketizer.stats().dropped(PayloadDrop::TooLong), 1);
}

#[test]
fn padding_damages_nothing() {
    let sent = [unit(PayloadFormat::Vp8, true, &[vec![1; 100]])];
    let mut packets = packetize(PayloadFormat::Vp8, &sent, 60, 1);
    packets.insert(1, Packet { sequence: 2, timestamp: 99, marker: false, payload: Vec::new() });
    packets[2..].iter_mut().for_each(|packet| packet.sequence += 1);
    let found = receive(&mut depacketizer(PayloadFormat::Vp8), &packets);
    assert_eq!((&found[0].bytes, found[0].missing), (&sent[0], 0));
}

#[test]
fn a_unit_without_end_is_given_up() {
    let mut depacketizer = depacketizer(PayloadFormat::H264);
    let mut packets: Vec<Packet> = (0..3000_u16)
        .map(|n| {
            let fragment = if n == 0 { 0x85 } else { 0x05 };
            let payload = [&[0x7c, fragment][..], &[0x88; 2000]].concat();
            Packet { sequence: n, timestamp: 1, marker: false, payload }
        })
        .collect();
    let sound = unit(PayloadFormat::H264, true, &[vec![1]]);
    let mut after = packetize(PayloadFormat::H264, std::slice::from_ref(&sound), 100, 3000);
    packets.append(&mut after);
    let found = receive(&mut depacketizer, &packets);
    assert_eq!(found.iter().map(|unit| &unit.bytes).collect::<Vec<_>>(), [&sound]);
    assert!(found[0].missing >= 3000 && !found[0].damaged);
    assert!(depacketizer.stats().dropped(PayloadDrop::UnitTooLong) > 800);
}

#[test]
fn a_sender_that_begins_anew_is_followed() {
    for first in [40_000, 900] {
        let sent: Vec<_> = (0..20).map(|_| unit(PayloadFormat::Vp8, true, &[vec![1; 10]])).collect();
        let mut packets = packetize(PayloadFormat::Vp8, &sent, 100, 1000);
        packets.extend(packetize(PayloadFormat::Vp8, &sent, 100, first));
        let mut depacketizer = depacketizer(PayloadFormat::Vp8);
        let found = receive(&mut depacketizer, &packets);
        assert_eq!(depacketizer.stats().restarts, 1, "{first}");
        assert!(found.len() >= 30, "{first}: {}", found.len());
        assert_eq!(found.iter().filter(|unit| unit.missing > 0).count(), 1, "told once");
    }
    let stray = Packet { sequence: 40_000, timestamp: 1, marker: true, payload: vec![0x10, 0] };
    let mut packets =
        packetize(PayloadFormat::Vp8, &vec![unit(PayloadFormat::Vp8, true, &[vec![1]]); 3], 100, 7);
    packets.insert(1, stray);
    let mut depacketizer = depacketizer(PayloadFormat::Vp8);
    assert_eq!(receive(&mut depacketizer, &packets).len(), 3);
    assert_eq!(depacketizer.stats().dropped(PayloadDrop::Jump), 1);
}

#[test]
fn packets_that_begin_a_key_frame_are_known() {
    use PayloadFormat::{H264, H265, Vp8};
    let begins: [(PayloadFormat, &[u8]); 9] = [
        (H264, &[0x67, 0x42]),
        // A slice with first_mb_in_slice 0, alone, with its parameter sets, and in fragments.
        (H264, &[0x65, 0x88]),
        (H264, &[0x18, 0, 2, 0x67, 0x42, 0, 2, 0x65, 0x88]),
        (H264, &[0x7c, 0x85, 0x88]),
        (H265, &[0x40, 0x01, 0x0c]),
        (H265, &[0x26, 0x01, 0x80]),
        (H265, &[0x62, 0x01, 0x93, 0x80]),
        (Vp8, &[0x10, 0x00]),
        (Vp8, &[0x90, 0x80, 0x81, 0x02, 0x00]),
    ];
    let others: [(PayloadFormat, &[u8]); 10] = [
        (H264, &[0x41, 0x9a]),
        // Another slice of the picture, and another fragment.
        (H264, &[0x65, 0x40]),
        (H264, &[0x7c, 0x05, 0x88]),
        (H264, &[0x18, 0, 2, 0x06, 0x01, 0, 2, 0x41, 0x9a]),
        (H264, &[0x18, 0, 9, 0x67]),
        (H264, &[]),
        (H265, &[0x02, 0x01, 0x80]),
        (Vp8, &[0x10, 0x01]),
        (Vp8, &[0x00, 0x00]),
        (Vp8, &[0x10]),
    ];
    for (format, payload) in begins {
        assert!(format.begins_key_frame(payload), "{format:?} {payload:x?}");
    }
    for (format, payload) in others {
        assert!(!format.begins_key_frame(payload), "{format:?} {payload:x?}");
    }
}
