//! A relay with a script: what tests, fuzzers and benchmarks drive it with. Virtual time, no sockets.

use crate::{
    Command, Event, Inbound, Kind, Latch, LegId, LegSpec, Numbering, Outbox, PayloadType, PortId, Relay,
    RelayConfig, RouteId, RouteSpec, StreamId, StreamSpec, TransportSpec,
};
use motet_rtp::Time;
use std::net::SocketAddr;
use std::time::Duration;

/// A datagram that left the relay, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Port that it left from.
    pub port: PortId,
    /// Where it goes.
    pub destination: SocketAddr,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A relay, its outbox and a clock that only the script moves.
#[derive(Debug)]
pub struct Script {
    /// The relay under test.
    pub relay: Relay,
    /// Now.
    pub now: Time,
    /// Routes made from now on share the numbers of their stream, under SSRC `0xb000 + stream`.
    pub share: bool,
    out: Outbox,
    events: Vec<Event>,
    peers: Vec<(PortId, SocketAddr)>,
}

/// Address of a participant's socket: one for each port of the relay.
pub fn participant(port: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 30_000 + port as u16))
}

impl Default for Script {
    fn default() -> Self {
        Script {
            relay: Relay::new(RelayConfig::default()),
            now: Time::from_millis(1_000),
            share: false,
            out: Outbox::new(),
            events: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl Script {
    /// Adds leg `n` with one multiplexed transport at port `n`, of participant `n`.
    pub fn leg(&mut self, n: u32, latch: Latch) -> Vec<Sent> {
        let remote = (latch != Latch::Symmetric).then(|| participant(n));
        let transport = TransportSpec { rtp: PortId(n), rtcp: None, remote, remote_rtcp: None, latch };
        let spec = LegSpec {
            cname: format!("leg{n}@test"),
            report_ssrc: 0xf000_0000 | n,
            transports: vec![transport],
        };
        self.command(Command::AddLeg(LegId(n), spec))
    }

    /// Adds stream `n` of leg `leg`: payload type 96 for video at 90 kHz, 111 for audio at 48 kHz.
    pub fn stream(&mut self, n: u32, leg: u32, kind: Kind) -> Vec<Sent> {
        let payload_type = match kind {
            Kind::Video => PayloadType { number: 96, clock_hz: 90_000 },
            Kind::Audio => PayloadType { number: 111, clock_hz: 48_000 },
        };
        let spec =
            StreamSpec { leg: LegId(leg), transport: 0, kind, ssrc: None, payload_types: vec![payload_type] };
        self.command(Command::AddStream(StreamId(n), spec))
    }

    /// Adds route `n`, with SSRC `0xa000 + n`, first sequence number 1,000 and first timestamp 5,000.
    pub fn route(&mut self, n: u32, stream: u32, leg: u32) -> Vec<Sent> {
        let spec = RouteSpec {
            stream: StreamId(stream),
            leg: LegId(leg),
            transport: 0,
            ssrc: if self.share { 0xb000 + stream } else { 0xa000 + n },
            payload_map: vec![(96, 97), (111, 112)],
            numbering: Numbering::Begin { sequence: 1_000, timestamp: 5_000 },
            active: true,
            shared: self.share,
        };
        self.command(Command::AddRoute(RouteId(n), spec))
    }

    /// Applies a command that must be accepted; gives what was sent because of it.
    pub fn command(&mut self, command: Command) -> Vec<Sent> {
        let shown = format!("{command:?}");
        let answer = self.relay.handle_command(self.now, command, &mut self.out);
        assert_eq!(answer, Ok(()), "{shown}");
        self.take(&[])
    }

    /// Hands in runs of datagrams as one batch; gives what was sent because of it.
    pub fn batch(&mut self, inbound: &[Inbound<'_>]) -> Vec<Sent> {
        self.relay.handle_batch(self.now, inbound.iter().copied(), &mut self.out);
        self.take(inbound)
    }

    /// Hands in one datagram.
    pub fn packet(&mut self, port: u32, source: SocketAddr, bytes: &[u8]) -> Vec<Sent> {
        self.batch(&[Inbound { port: PortId(port), source, bytes, segment_bytes: bytes.len().max(1) }])
    }

    /// Lets time pass, with every timer on its way; gives what was sent meanwhile.
    pub fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while self.relay.poll_timeout() <= end {
            self.now = self.now.max(self.relay.poll_timeout());
            self.relay.handle_timeout(self.now, &mut self.out);
            sent.extend(self.take(&[]));
        }
        self.now = end;
        sent
    }

    /// Events since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What [`Outbox::peers`] said since the last call.
    pub fn peers(&mut self) -> Vec<(PortId, SocketAddr)> {
        std::mem::take(&mut self.peers)
    }

    fn take(&mut self, inbound: &[Inbound<'_>]) -> Vec<Sent> {
        let mut runs: Vec<Vec<u8>> = inbound.iter().map(|run| run.bytes.to_vec()).collect();
        for patch in self.out.patches() {
            let at = patch.offset as usize;
            runs[patch.inbound as usize][at..at + patch.header.len()].copy_from_slice(&patch.header);
        }
        let sent = self.out.messages().flat_map(|message| {
            let mut bytes = message.header.to_vec();
            if let Some(payload) = message.payload {
                let run = &runs[payload.inbound as usize];
                bytes.extend(&run[payload.offset as usize..][..payload.len as usize]);
            }
            let (port, destination) = (message.port, message.destination);
            let datagrams = bytes.chunks(message.segment_bytes as usize).map(<[u8]>::to_vec);
            datagrams.map(|bytes| Sent { port, destination, bytes }).collect::<Vec<_>>()
        });
        let sent = sent.collect();
        self.events.extend(self.out.events());
        self.peers.extend(self.out.peers());
        self.out.clear();
        sent
    }
}

/// Legs 4 and 5 share port 7: one is known by address, one by SSRC, which is that of many zeros.
fn fuzz_shared_port(script: &mut Script) {
    let rtp = PortId(7);
    script.command(Command::SharePort(rtp));
    for (n, remote, ssrc) in [(4, Some(participant(4)), None), (5, None, Some(0))] {
        let transport = TransportSpec { rtp, rtcp: None, remote, remote_rtcp: None, latch: Latch::Symmetric };
        let (cname, report_ssrc) = (format!("leg{n}@test"), 0xf000_0000 | n);
        let spec = LegSpec { cname, report_ssrc, transports: vec![transport] };
        script.command(Command::AddLeg(LegId(n), spec));
        let payload_types = vec![PayloadType { number: 111, clock_hz: 48_000 }];
        let spec = StreamSpec { leg: LegId(n), transport: 0, kind: Kind::Audio, ssrc, payload_types };
        script.command(Command::AddStream(StreamId(n + 4), spec));
        script.route(40 + n, n + 4, 0);
        script.route(50 + n, 0, n);
    }
}

/// Whatever the bytes are: no panic, every datagram accounted for, and what is sent is well formed.
///
/// The bytes are a list of datagrams: port, source, length, content. Some are commands.
pub fn fuzz_relay(bytes: &[u8]) {
    let mut script = Script::default();
    for n in 0..4 {
        script.leg(n, [Latch::Symmetric, Latch::Fixed, Latch::Strict, Latch::Symmetric][n as usize]);
        script.stream(2 * n, n, Kind::Audio);
        script.stream(2 * n + 1, n, Kind::Video);
    }
    for n in 0..8 {
        (0..4).filter(|leg| *leg != n / 2).for_each(|leg| {
            script.route(4 * n + leg, n, leg);
        });
    }
    fuzz_shared_port(&mut script);
    let mut rest = bytes;
    let mut given = 0;
    while let Some((&[place, length, step], more)) = rest.split_first_chunk::<3>() {
        let length = usize::from(length).min(more.len());
        let (datagram, more) = more.split_at(length);
        rest = more;
        let (port, source) = (u32::from(place & 7), participant(u32::from(place >> 3 & 7)));
        let segment_bytes = if place & 0x40 == 0 { length.max(1) } else { 20 };
        let run = Inbound { port: PortId(port), source, bytes: datagram, segment_bytes };
        given += if length == 0 { 1 } else { length.div_ceil(segment_bytes) as u64 };
        for sent in script.batch(&[run]) {
            assert!(motet_rtp::demux::classify(&sent.bytes) != motet_rtp::demux::PacketClass::Other);
        }
        if place & 0x80 != 0 {
            let command = match step % 6 {
                0 => Command::SetRouteActive(RouteId(1), step & 8 == 0),
                1 => Command::RequestKeyFrame(StreamId(1)),
                2 => Command::RemoveStream(StreamId(u32::from(step >> 3 & 7))),
                4 => Command::DetachRoute(RouteId(u32::from(step >> 3))),
                3 => Command::SwitchRoute {
                    route: RouteId(u32::from(step >> 3)),
                    stream: StreamId(u32::from(step & 7)),
                    payload_map: vec![(96, 96)],
                },
                _ => Command::RemoveRoute(RouteId(u32::from(step >> 3))),
            };
            let _ = script.relay.handle_command(script.now, command, &mut script.out);
            script.out.clear();
        }
        script.pass(Duration::from_millis(u64::from(step) * 4));
    }
    assert_eq!(script.relay.counts().packets_in, given);
}
