//! The packet path does not allocate once it is warm, shown by an allocator that counts, and what goes to one
//! receiver lies together (benches/budgets.toml).
//!
//! The packet path is `handle_batch` with RTP. Timers are handled between the batches here, as a worker does,
//! but not counted: reports are a few datagrams a second for each leg, and may allocate.

use allocation_counter::measure;
use motet_relay::testing::{Script, participant};
use motet_relay::{Inbound, Kind, Latch, Outbox, PortId};
use motet_rtp::{RtpBuilder, WireSeq, WireTimestamp};
use std::time::Duration;

const FAN_OUT: u32 = 20;
const BURST: u16 = 10;

#[derive(Default)]
struct Counted {
    /// Of the packet path.
    allocations: u64,
    /// Packets.
    forwarded: u64,
    /// Neighbours among them that go from one port to one destination with equal sizes.
    runs: u64,
    /// Messages that timers made.
    reports: u64,
}

/// Bursts of video and single packets of sound to 20 receivers.
fn run(script: &mut Script, out: &mut Outbox, first: u16, batches: u16) -> Counted {
    let (mut video, mut audio) = (Vec::with_capacity(20_000), Vec::with_capacity(2_000));
    let mut counted = Counted::default();
    for batch in 0..batches {
        video.clear();
        audio.clear();
        let at = first.wrapping_add(batch);
        for index in 0..BURST {
            let sequence = WireSeq(at.wrapping_mul(BURST).wrapping_add(index));
            let timestamp = WireTimestamp(u32::from(at) * 900);
            let packet = RtpBuilder::new(1).payload_type(96).sequence(sequence).timestamp(timestamp);
            packet.payload(&[0; 1188]).write(&mut video);
        }
        let timestamp = WireTimestamp(u32::from(at) * 480);
        let packet = RtpBuilder::new(2).payload_type(111).sequence(WireSeq(at)).timestamp(timestamp);
        packet.payload(&[0; 160]).write(&mut audio);
        let source = participant(0);
        let inbound = [
            Inbound { port: PortId(0), source, bytes: &video, segment_bytes: 1200 },
            Inbound { port: PortId(0), source, bytes: &audio, segment_bytes: 172 },
        ];
        let handled = measure(|| script.relay.handle_batch(script.now, inbound.into_iter(), out));
        counted.allocations += handled.count_total;
        let mut last = None;
        for message in out.messages() {
            let run = (message.port, message.destination, message.payload.map(|payload| payload.len));
            counted.runs += u64::from(last.replace(run) != Some(run));
            counted.forwarded += 1;
        }
        out.clear();
        script.now += Duration::from_millis(10);
        if script.relay.poll_timeout() <= script.now {
            script.relay.handle_timeout(script.now, out);
            counted.reports += out.messages().count() as u64;
            out.clear();
        }
    }
    counted
}

#[test]
fn forwarding_does_not_allocate_and_keeps_runs_together() {
    let mut script = Script::default();
    (0..=FAN_OUT).for_each(|n| {
        script.leg(n, Latch::Strict);
    });
    script.stream(0, 0, Kind::Video);
    script.stream(1, 0, Kind::Audio);
    for leg in 1..=FAN_OUT {
        script.route(2 * leg, 0, leg);
        script.route(2 * leg + 1, 1, leg);
    }
    let mut out = Outbox::new();
    let warm_up = run(&mut script, &mut out, 0, 10);
    assert!(warm_up.allocations > 0, "the counter counts");
    let counted = run(&mut script, &mut out, 10, 5_000);
    assert_eq!(counted.forwarded, 5_000 * u64::from(FAN_OUT) * (u64::from(BURST) + 1));
    // 50 s, and a report a second to each leg.
    assert!(counted.reports >= 49 * u64::from(FAN_OUT + 1), "{} reports", counted.reports);
    let packets = counted.forwarded as f64;
    const CASE: &str = "video bursts and sound to 20";
    motet_budget::hold("relay.allocations", &[(CASE, counted.allocations as f64 / packets)]);
    motet_budget::hold("relay.runs", &[(CASE, counted.runs as f64 / packets)]);
}
