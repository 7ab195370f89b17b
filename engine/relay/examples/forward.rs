//! Forwards packets in virtual time and does nothing else, for those who count instructions
//! (`tests/instructions.rs` of this crate, or by hand: `valgrind --tool=callgrind forward CASE BATCHES`).
//!
//! Prints how many packets left the relay.

use motet_relay::testing::{Script, participant};
use motet_relay::{Inbound, Kind, Latch, Outbox, PortId};
use motet_rtp::RtpBuilder;
use std::hint::black_box;
use std::time::Duration;

/// What one batch brings, and to how many it goes.
struct Case {
    name: &'static str,
    publishers: u32,
    /// Packets of each publisher in a batch.
    burst: u32,
    payload_bytes: usize,
    kind: Kind,
    fan_out: u32,
    reports: bool,
    /// The receivers know the stream under one SSRC.
    shared: bool,
}

const CASES: [Case; 8] = [
    Case::small("small-1", 1, 1),
    Case::small("small-20", 1, 20),
    Case::small("small-200", 1, 200),
    Case { name: "burst-10x20", burst: 10, payload_bytes: 1188, kind: Kind::Video, ..Case::small("", 1, 20) },
    Case { shared: true, ..Case::small("shared-200", 1, 200) },
    Case {
        name: "shared-burst-10x20",
        burst: 10,
        payload_bytes: 1188,
        kind: Kind::Video,
        shared: true,
        ..Case::small("", 1, 20)
    },
    // One packet in each batch from each of 64 who talk to each other in pairs: nothing can be shared.
    Case::small("calls-64", 64, 1),
    // What timers make: a report a second to each of 20 who publish pictures and get one stream each.
    Case { reports: true, kind: Kind::Video, ..Case::small("reports-20", 20, 1) },
];

impl Case {
    const fn small(name: &'static str, publishers: u32, fan_out: u32) -> Case {
        let (payload_bytes, kind) = (160, Kind::Audio);
        Case { name, publishers, burst: 1, payload_bytes, kind, fan_out, reports: false, shared: false }
    }

    fn scene(&self) -> Script {
        let mut script = Script::default();
        script.share = self.shared;
        let legs = if self.publishers > 1 { self.publishers } else { 1 + self.fan_out };
        (0..legs).for_each(|leg| {
            script.leg(leg, Latch::Fixed);
        });
        let mut routes = 0..;
        for publisher in 0..self.publishers {
            script.stream(publisher, publisher, self.kind);
            let other = publisher ^ 1;
            let receivers = if self.publishers > 1 { other..=other } else { 1..=self.fan_out };
            for (receiver, route) in receivers.zip(&mut routes) {
                script.route(route, publisher, receiver);
            }
        }
        script
    }

    fn packets(&self) -> Vec<Vec<u8>> {
        let payload_type = if self.kind == Kind::Video { 96 } else { 111 };
        let packet = |publisher| {
            let payload = vec![0; self.payload_bytes];
            RtpBuilder::new(publisher + 1).payload_type(payload_type).payload(&payload).to_vec()
        };
        (0..self.publishers).map(|publisher| packet(publisher).repeat(self.burst as usize)).collect()
    }

    /// Runs so many batches; gives the number of packets that left.
    fn run(&self, batches: u32) -> u64 {
        let (mut script, mut packets) = (self.scene(), self.packets());
        let segment_bytes = 12 + self.payload_bytes;
        let mut out = Outbox::new();
        for batch in 0..batches {
            for run in &mut packets {
                for (index, packet) in (0..).zip(run.chunks_mut(segment_bytes)) {
                    packet[2..4].copy_from_slice(&((batch * self.burst + index) as u16).to_be_bytes());
                    packet[4..8].copy_from_slice(&(batch * 900).to_be_bytes());
                }
            }
            let inbound = (0..).zip(&packets).map(|(port, bytes)| {
                let source = participant(port);
                Inbound { port: PortId(port), source, bytes, segment_bytes }
            });
            script.relay.handle_batch(script.now, inbound, &mut out);
            script.now += Duration::from_millis(10);
            if self.reports {
                // Of every batch, so that the few packets weigh little.
                out.clear();
                script.now += Duration::from_millis(990);
                while script.relay.poll_timeout() <= script.now {
                    script.relay.handle_timeout(script.now, &mut out);
                }
            }
            black_box(out.patches());
            out.messages().for_each(|message| {
                black_box(message);
            });
            out.clear();
        }
        let counts = script.relay.counts();
        if self.reports { counts.rtcp_out } else { counts.packets_out }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, batches] = arguments.as_slice() else { panic!("usage: forward CASE BATCHES") };
    let case = CASES.iter().find(|case| case.name == name).expect("one of the cases above");
    println!("{}", case.run(batches.parse().expect("a number of batches")));
}
