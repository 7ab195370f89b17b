//! Scripts of packets; operation sequences against a naive model are in `tests/jitter.rs`.

use super::*;
use crate::WireTimestamp;

const CONFIG: JitterConfig = JitterConfig { delay_us_min: 0, delay_us_max: 200_000 };
const TICKS: u32 = 160;
/// Timestamps wrap soon, and so do the numbers.
const START: u32 = u32::MAX - 300;

struct Script {
    buffer: JitterBuffer,
    taken: Taken,
}

impl Script {
    fn new() -> Script {
        Script { buffer: JitterBuffer::new(CONFIG), taken: Taken::default() }
    }

    /// Packet number `index` of 20 ms at 8 kHz comes at `at_ms`.
    fn packet(&mut self, at_ms: u64, index: u32) -> JitterVerdict {
        self.raw(at_ms, 1, 65_530_u16.wrapping_add(index as u16), START.wrapping_add(index * TICKS))
    }

    fn raw(&mut self, at_ms: u64, ssrc: u32, sequence: u16, timestamp: u32) -> JitterVerdict {
        let packet = JitterPacket {
            ssrc,
            sequence: WireSeq(sequence),
            timestamp: WireTimestamp(timestamp),
            clock_hz: 8000,
            duration_ticks: TICKS,
            payload_type: 0,
            marker: false,
            level: None,
            payload: &sequence.to_be_bytes(),
        };
        self.buffer.insert(Time::from_millis(at_ms), &packet)
    }

    fn take(&mut self, at_ms: u64) -> Option<u16> {
        let took = self.buffer.take(Time::from_millis(at_ms), &mut self.taken);
        took.then(|| u16::from_be_bytes([self.taken.payload[0], self.taken.payload[1]]).wrapping_sub(65_530))
    }
}

#[test]
fn packets_leave_in_order_whatever_their_order_of_arrival() {
    let mut script = Script::new();
    for index in [1, 0, 3, 2, 4, 9, 8, 7, 6, 5] {
        assert_eq!(script.packet(u64::from(index), index), JitterVerdict::Queued);
    }
    let order: Vec<_> = std::iter::from_fn(|| script.take(10)).collect();
    assert_eq!(order, (0..10).collect::<Vec<_>>());
    let stats = script.buffer.stats();
    assert_eq!((stats.received, stats.reordered, stats.lost, stats.late), (10, 6, 0, 0));
}

#[test]
fn a_hole_is_loss_until_the_packet_comes_and_then_it_is_late() {
    let mut script = Script::new();
    (0..6).filter(|index| *index != 2 && *index != 4).for_each(|index| {
        script.packet(20 * u64::from(index), index);
    });
    assert_eq!((script.take(100), script.take(100)), (Some(0), Some(1)));
    let head = script.buffer.head().expect("packet 3 waits");
    assert_eq!((head.missing, head.gap_ticks), (1, i64::from(TICKS)));
    assert_eq!((script.take(100), script.take(100), script.take(100)), (Some(3), Some(5), None));
    assert_eq!(script.buffer.stats().lost, 2);
    assert_eq!(script.packet(130, 2), JitterVerdict::Late);
    assert_eq!(script.packet(131, 2), JitterVerdict::Duplicate);
    assert_eq!(script.packet(131, 5), JitterVerdict::Duplicate);
    let stats = script.buffer.stats();
    assert_eq!((stats.lost, stats.late, stats.duplicate), (1, 1, 2));
}

#[test]
fn a_gap_in_timestamps_alone_is_silence() {
    let mut script = Script::new();
    script.packet(0, 0);
    assert_eq!(script.take(1), Some(0));
    // A second of silence: the number follows, the timestamp is a second on.
    script.raw(1020, 1, 65_531, START.wrapping_add(TICKS + 8000));
    let head = script.buffer.head().expect("it waits");
    assert_eq!((head.gap_ticks, head.missing), (8000, 0));
}

#[test]
fn a_packet_that_goes_another_way_is_not_lost() {
    let mut script = Script::new();
    script.packet(0, 0);
    script.buffer.note(1, WireSeq(65_531));
    script.packet(40, 2);
    assert_eq!(script.take(40), Some(0));
    assert_eq!(script.buffer.head().map(|head| head.missing), Some(0));
    assert_eq!(script.take(40), Some(2));
    assert_eq!(script.buffer.stats().lost, 0);
}

#[test]
fn one_stray_packet_changes_nothing_and_two_begin_anew() {
    let mut script = Script::new();
    (0..3).for_each(|index| {
        script.packet(20 * u64::from(index), index);
    });
    assert_eq!(script.raw(50, 1, 30_000, 77), JitterVerdict::Jump);
    assert_eq!(script.packet(60, 3), JitterVerdict::Queued);
    assert_eq!(script.raw(70, 1, 30_001, 77 + TICKS), JitterVerdict::Jump, "not right after the first stray");
    assert_eq!(script.raw(90, 1, 30_002, 77 + 2 * TICKS), JitterVerdict::Restarted);
    assert_eq!(script.raw(91, 9, 5, 5), JitterVerdict::Jump, "another sender");
    assert_eq!(script.raw(92, 9, 6, 5 + TICKS), JitterVerdict::Restarted);
    let stats = script.buffer.stats();
    assert_eq!((stats.restarts, stats.jumps, stats.flushed), (2, 3, 5));
    assert!(script.take(95).is_some() && script.taken.restart);
    assert!(script.take(95).is_none());
}

#[test]
fn a_sender_that_begins_anew_not_far_back_is_late_for_ten_packets_only() {
    let mut script = Script::new();
    for index in 0..300 {
        script.packet(20 * u64::from(index), index);
        script.take(20 * u64::from(index));
    }
    let verdicts: Vec<_> = (0..20_u16)
        .map(|index| {
            let at_ms = 6000 + 20 * u64::from(index);
            script.raw(at_ms, 1, 65_430 + index, START.wrapping_add((300 + u32::from(index)) * TICKS))
        })
        .collect();
    assert_eq!(verdicts[..10], [JitterVerdict::Late; 10]);
    assert_eq!(verdicts[10], JitterVerdict::Restarted);
    assert_eq!(verdicts[11..], [JitterVerdict::Queued; 9]);
}

#[test]
fn a_timestamp_that_jumps_begins_anew_at_once() {
    let mut script = Script::new();
    (0..3).for_each(|index| {
        script.packet(20 * u64::from(index), index);
    });
    assert_eq!(script.raw(60, 1, 65_533, 0x4000_0000), JitterVerdict::Restarted);
    assert_eq!(script.raw(80, 1, 65_534, 0x4000_0000 + TICKS), JitterVerdict::Queued);
    // The clock stood still for two seconds of silence.
    assert_eq!(script.raw(2100, 1, 65_535, 0x4000_0000 + 2 * TICKS), JitterVerdict::Restarted);
}

#[test]
fn a_packet_is_due_when_the_slower_ones_would_be_there() {
    let mut script = Script::new();
    (0..200).for_each(|index| {
        script.packet(20 * u64::from(index) + u64::from(index % 4) * 10, index);
        script.take(20 * u64::from(index) + 50);
    });
    let now = Time::from_millis(4000);
    // 30 ms of jitter, the next millisecond's edge, and the margin.
    assert_eq!(script.buffer.target_us(now), 31_750);
    script.packet(4000, 200);
    let media = script.buffer.head().expect("it waits").media;
    assert!(script.buffer.early_us(Time::from_millis(4031), media) < 0);
    assert!(script.buffer.early_us(Time::from_millis(4032), media) >= 0);
}

#[test]
fn a_sender_ahead_of_its_clock_is_dropped_by_rule_and_memory_is_bounded() {
    let mut script = Script::new();
    let (mut index, mut most, mut played) = (0, 0, 0);
    for tick in 1..2000_u64 {
        for _ in 0..3 {
            script.packet(20 * tick - 1, index);
            index += 1;
        }
        let now = Time::from_millis(20 * tick);
        script.buffer.trim(now);
        let head = script.buffer.head().expect("there is more than enough");
        assert!(script.buffer.delay_us(now, head.media) <= 240_000);
        played += u64::from(script.take(20 * tick).is_some());
        most = most.max(script.buffer.len());
    }
    assert!(most < 20, "{most} packets waited");
    let stats = script.buffer.stats();
    assert_eq!(played, 1999);
    assert_eq!(stats.overflow + played + script.buffer.len() as u64, u64::from(index));
    assert_eq!((stats.lost, stats.jumps, stats.restarts), (0, 0, 0));
}

#[test]
fn too_many_packets_push_out_the_oldest() {
    let mut script = Script::new();
    for index in 0..1000 {
        script.packet(1, index);
        assert!(script.buffer.len() <= PACKETS_MAX);
    }
    assert_eq!(script.buffer.stats().overflow, 1000 - PACKETS_MAX as u64);
    assert_eq!(script.packet(50_000, 3500), JitterVerdict::Queued, "a long gap in numbers");
    assert_eq!(script.buffer.len(), 1);
}

#[test]
fn a_payload_that_is_too_long_is_refused() {
    let mut script = Script::new();
    let packet = JitterPacket {
        ssrc: 1,
        sequence: WireSeq(1),
        timestamp: WireTimestamp(1),
        clock_hz: 48_000,
        duration_ticks: 960,
        payload_type: 111,
        marker: true,
        level: None,
        payload: &[0; PAYLOAD_BYTES_MAX + 1],
    };
    assert_eq!(script.buffer.insert(Time::ZERO, &packet), JitterVerdict::TooLong);
    let packet = JitterPacket { payload: &packet.payload[1..], ..packet };
    assert_eq!(script.buffer.insert(Time::ZERO, &packet), JitterVerdict::Queued);
    assert_eq!(script.buffer.payload_bytes(), PAYLOAD_BYTES_MAX);
}
