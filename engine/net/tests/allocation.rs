//! After warm-up the packet path does not allocate (benches/budgets.toml).

mod common;

use allocation_counter::measure;
use common::{Open, add, peer, send_gso, turn, wait};
use motet_net::{DatagramsIndex, Io, Options, Slice, SocketId};
use std::time::Duration;

on_both!(receiving_and_forwarding_allocates_nothing);

fn receiving_and_forwarding_allocates_nothing(open: Open<'_>) {
    const SINKS: u32 = 30;
    let mut io = open(Options::default());
    let (at, source) = (add(&mut io, 0), peer());
    let sinks: Vec<_> = (1..=SINKS).map(|id| (add(&mut io, id), peer())).collect();
    let to: Vec<_> = sinks.iter().map(|(_, sink)| sink.local_addr().expect("bound")).collect();
    let burst = [3; 12_000];
    let mut counted = 0;
    for round in 0..150 {
        send_gso(&source, at, &burst, 1200);
        source.send_to(b"single", at).expect("loopback");
        let forwarded = measure(|| {
            let turn_ = wait(&mut io);
            for index in 0..turn_.received as u32 {
                let run = io.datagrams(DatagramsIndex(index));
                let (len, segment) = (run.bytes.len() as u32, run.segment_bytes as u32);
                for (to, socket) in to.iter().zip(1..) {
                    // Several copies, so that chunks are sent early, too.
                    for offset in (0..len).step_by(segment as usize).cycle().take(80) {
                        let len = segment.min(len - offset);
                        let slice = Slice { datagrams: DatagramsIndex(index), offset, len };
                        io.queue(SocketId(socket), *to, &[1; 12], Some(slice));
                    }
                }
            }
            turn(&mut io, Duration::ZERO);
        });
        if round >= 20 {
            counted += forwarded.count_total;
        }
    }
    assert!(io.stats().datagrams_sent > 150 * 30 * 80, "{:?}", io.stats());
    let packets = f64::from(130 * SINKS * 80);
    motet_budget::hold(
        &format!("net.allocations.{}", io.name()),
        &[("bursts to 30", counted as f64 / packets)],
    );
}
