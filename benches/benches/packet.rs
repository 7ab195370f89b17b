//! What one packet costs in the pure crates: parse, rewrite, route. No sockets, no system calls.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use motet_relay::testing::{Script, participant};
use motet_relay::{Inbound, Kind, Latch, Outbox, PortId};
use motet_rtp::{FixedHeader, RtpBuilder, RtpView, WireSeq, WireTimestamp, rewrite_header};
use std::hint::black_box;
use std::time::Duration;

const PACKET_BYTES: usize = 1200;
const BURST: usize = 10;

fn packet(sequence: u16) -> Vec<u8> {
    RtpBuilder::new(0x1234)
        .payload_type(96)
        .sequence(WireSeq(sequence))
        .timestamp(WireTimestamp(u32::from(sequence) / BURST as u32 * 900))
        .payload(&[0x5a; PACKET_BYTES - 12])
        .to_vec()
}

fn parse(criterion: &mut Criterion) {
    let packet = packet(7);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    group.bench_function("FixedHeader", |bencher| bencher.iter(|| FixedHeader::read(black_box(&packet))));
    group.bench_function("RtpView", |bencher| bencher.iter(|| RtpView::new(black_box(&packet))));
    group.finish();
}

fn rewrite(criterion: &mut Criterion) {
    let packet = packet(7);
    let mut group = criterion.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(1));
    let fixed = FixedHeader::read(&packet).expect("the builder writes RTP");
    group.bench_function("header", |bencher| {
        bencher.iter(|| {
            let (sequence, timestamp) = (WireSeq(4711), WireTimestamp(90_000));
            let fixed = black_box(fixed);
            rewrite_header(fixed.first_byte, fixed.marker, 97, sequence, timestamp, 0xabcd)
        });
    });
    group.finish();
}

/// A burst of ten packets of one stream, as it comes from one GRO message, to so many legs.
fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for fan_out in [1, 20, 100] {
        group.throughput(Throughput::Elements(u64::from(fan_out) * BURST as u64));
        group.bench_function(BenchmarkId::new("burst of 10", fan_out), |bencher| {
            let mut script = script(fan_out);
            let mut outbox = Outbox::new();
            let mut run: Vec<u8> = (0..BURST as u16).flat_map(packet).collect();
            let (mut sequence, mut timestamp) = (0_u16, 0_u32);
            bencher.iter(|| {
                for segment in run.chunks_mut(PACKET_BYTES) {
                    segment[2..4].copy_from_slice(&sequence.to_be_bytes());
                    segment[4..8].copy_from_slice(&timestamp.to_be_bytes());
                    sequence = sequence.wrapping_add(1);
                }
                timestamp = timestamp.wrapping_add(900);
                script.now += Duration::from_millis(10);
                let inbound = Inbound {
                    port: PortId(0),
                    source: participant(0),
                    bytes: &run,
                    segment_bytes: PACKET_BYTES,
                };
                script.relay.handle_batch(script.now, std::iter::once(inbound), &mut outbox);
                let messages = black_box(&outbox).messages().count();
                outbox.clear();
                messages
            });
            // Measuring a relay that drops everything would be a fine result.
            let counts = script.relay.counts();
            let due = counts.packets_in * u64::from(fan_out);
            assert!(counts.packets_out >= due - due / 10, "{counts:?}");
        });
    }
    group.finish();
}

fn script(fan_out: u32) -> Script {
    let mut script = Script::default();
    script.leg(0, Latch::Fixed);
    script.stream(0, 0, Kind::Video);
    for leg in 1..=fan_out {
        script.leg(leg, Latch::Fixed);
        script.route(leg, 0, leg);
    }
    script
}

criterion_group!(benches, parse, rewrite, route);
criterion_main!(benches);
