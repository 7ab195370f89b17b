//! Playing a source does not allocate once it is warm, shown by an allocator that counts: with loss, jitter,
//! reordering, skipping and steps of the delay.

mod support;

use allocation_counter::measure;
use motet_mixer::playout::{Playout, Pulled, SourcePacket};
use motet_rtp::{Time, WireSeq, WireTimestamp};
use support::{Dice, PathConfig, path};

/// Ticks of a stream of payloads over a bad network; the allocations of the playout alone.
fn run(
    playout: &mut Playout,
    payloads: &[Vec<u8>],
    clock_hz: u32,
    payload_type: u8,
    ticks: std::ops::Range<u64>,
) -> u64 {
    let mut dice = Dice(5);
    let mut out = vec![0.0; playout.tick_samples()];
    let mut allocations = 0;
    for tick in ticks {
        let now = Time::from_nanos(tick * 20_000_000);
        // Up to two packets late, one in twenty lost, some twice.
        for number in [tick, tick - 1, tick - 2] {
            if number % 20 == 19 || dice.roll().is_multiple_of(3) {
                continue;
            }
            let packet = SourcePacket {
                ssrc: 1,
                sequence: WireSeq(number as u16),
                timestamp: WireTimestamp((number as u32).wrapping_mul(clock_hz / 50)),
                marker: false,
                payload_type,
                level: Some(20),
                payload: &payloads[number as usize % payloads.len()],
            };
            allocations += measure(|| _ = playout.insert(now, &packet)).count_total;
        }
        let played = measure(|| {
            if tick / 50 % 4 == 3 {
                playout.skip(now);
            } else {
                playout.pull(now, &mut out);
            }
            playout.stats(now);
        });
        allocations += played.count_total;
    }
    allocations
}

#[test]
fn playing_does_not_allocate_once_warm() {
    for (codec, payload_type, mix_rate_hz) in [
        (("opus", 48_000), 111, 48_000),
        (("PCMU", 8000), 0, 48_000),
        (("G722", 8000), 9, 8000),
        (("L16", 44_100), 97, 32_000),
    ] {
        let mut path = path(codec, mix_rate_hz, PathConfig { payload_type, ..PathConfig::default() });
        let rate_hz = path.source_rate_hz();
        let payloads: Vec<_> = (0..50).map(|_| path.encode_one(support::tone(300.0, rate_hz))).collect();
        let playout = &mut path.playout;
        run(playout, &payloads, codec.1, payload_type, 10..500);
        let allocations = run(playout, &payloads, codec.1, payload_type, 500..5000);
        assert_eq!(allocations, 0, "{codec:?}");
        let stats = playout.stats(Time::ZERO);
        assert!(
            stats.lost > 100 && stats.concealed_ms > 300 && stats.duplicate > 100,
            "{codec:?}: {stats:?}"
        );
        let mut out = vec![0.0; playout.tick_samples()];
        assert_ne!(playout.pull(Time::from_millis(5000 * 20), &mut out), Pulled::Silence, "{codec:?}");
    }
    let one = measure(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(one.count_total, 1, "the counter counts");
}
