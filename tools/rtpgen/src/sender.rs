//! Writes the packets that are due.

use crate::account::latency_histogram;
use crate::payload::{Pattern, STAMP_BYTES, Stamp, punch};
use crate::schedule::{Beat, Schedule, Tick};
use hdrhistogram::Histogram;
use motet_net::SocketId;
use motet_rtp::Time;
use motet_rtp::rtp::FIXED_HEADER_BYTES;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The smallest packet that can be accounted: RTP header and stamp.
pub const PACKET_BYTES_MIN: usize = FIXED_HEADER_BYTES + STAMP_BYTES;

/// Packets written per call, so that receiving is never put off for long.
const CALL_PACKETS_MAX: u64 = 512;

/// One stream to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPlan {
    /// Number of the stream over all workers.
    pub stream: u32,
    /// Socket of the worker to send from.
    pub socket: SocketId,
    /// Where to.
    pub destination: SocketAddr,
    /// Synchronization source to send with.
    pub ssrc: u32,
    /// Payload type to send with, 0 to 127.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock_hz: u32,
    /// Packets of a burst, at least 1. All have the timestamp of the burst; the last has the marker.
    pub burst: u32,
    /// Bytes of a packet, RTP header included; at least [`PACKET_BYTES_MIN`].
    pub packet_bytes: usize,
    /// When bursts leave.
    pub beat: Beat,
}

/// The sending half of a worker.
#[derive(Debug)]
pub struct Sender {
    streams: Vec<StreamPlan>,
    sent: Vec<u64>,
    schedule: Schedule,
    pattern: Arc<Pattern>,
    packet: Vec<u8>,
    lateness: Histogram<u64>,
    packets: u64,
}

impl Sender {
    /// A sender of the given streams from `start` on. Panics when a packet cannot hold its stamp.
    pub fn new(start: Time, duration: Duration, streams: Vec<StreamPlan>, pattern: Arc<Pattern>) -> Self {
        assert!(
            streams.iter().all(|stream| stream.packet_bytes >= PACKET_BYTES_MIN),
            "a packet is at least {PACKET_BYTES_MIN} bytes"
        );
        let beats = streams.iter().map(|stream| stream.beat).collect();
        Sender {
            sent: vec![0; streams.len()],
            schedule: Schedule::new(start, duration, beats),
            streams,
            pattern,
            packet: Vec::new(),
            lateness: latency_histogram(),
            packets: 0,
        }
    }

    /// Gives what is due at `now` to `queue`; true when more is due already.
    pub fn handle_due(&mut self, now: Time, mut queue: impl FnMut(SocketId, SocketAddr, &[u8])) -> bool {
        let end = self.packets + CALL_PACKETS_MAX;
        while self.packets < end {
            let Some(tick) = self.schedule.poll(now) else { return false };
            self.send_burst(now, tick, &mut queue);
        }
        true
    }

    fn send_burst(&mut self, now: Time, tick: Tick, queue: &mut impl FnMut(SocketId, SocketAddr, &[u8])) {
        let late_ns = now.since(tick.intended).as_nanos() as u64;
        self.lateness.saturating_record(late_ns.max(1));
        let burst = self.streams[tick.stream].burst;
        for position in 0..burst {
            self.write(&tick, position + 1 == burst);
            let stream = &self.streams[tick.stream];
            queue(stream.socket, stream.destination, &self.packet);
        }
        self.packets += u64::from(burst);
    }

    fn write(&mut self, tick: &Tick, marker: bool) {
        let stream = &self.streams[tick.stream];
        let sequence = self.sent[tick.stream];
        self.sent[tick.stream] += 1;
        // Multiplied, not summed up, so that odd intervals do not let the media clock drift.
        let media_ns = stream.beat.interval.as_nanos() * u128::from(tick.number);
        let timestamp = (media_ns * u128::from(stream.clock_hz) / 1_000_000_000) as u32;
        write_header(&mut self.packet, stream, sequence as u16, timestamp, marker);
        self.packet.resize(stream.packet_bytes, 0);
        let stamp = Stamp {
            run: self.pattern.run(),
            stream: stream.stream,
            payload_bytes: (stream.packet_bytes - FIXED_HEADER_BYTES) as u32,
            sequence,
            intended: tick.intended,
            timestamp,
        };
        self.pattern.write(&stamp, &mut self.packet[FIXED_HEADER_BYTES..]);
    }

    /// When something is due next; none at the end.
    pub fn next_due(&self) -> Option<Time> {
        self.schedule.next_due()
    }

    /// Streams and the packets that each has sent.
    pub fn sent(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.streams.iter().zip(&self.sent).map(|(stream, sent)| (stream.stream, *sent))
    }

    /// Packets sent.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Nanoseconds by which bursts left late.
    pub fn lateness(&self) -> &Histogram<u64> {
        &self.lateness
    }
}

/// A packet that opens a path through a relay with symmetric RTP; it is not accounted.
pub fn punch_packet(ssrc: u32, payload_type: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type & 0x7f];
    packet.extend(sequence.to_be_bytes());
    packet.extend(0_u32.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(punch());
    packet
}

fn write_header(packet: &mut Vec<u8>, stream: &StreamPlan, sequence: u16, timestamp: u32, marker: bool) {
    packet.clear();
    packet.extend([0x80, (stream.payload_type & 0x7f) | (u8::from(marker) << 7)]);
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(stream.ssrc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Reading;
    use motet_rtp::rtp::RtpView;

    fn plan(burst: u32) -> StreamPlan {
        StreamPlan {
            stream: 5,
            socket: SocketId(2),
            destination: "127.0.0.1:9".parse().expect("an address"),
            ssrc: 0x1234,
            payload_type: 96,
            clock_hz: 90_000,
            burst,
            packet_bytes: 300,
            beat: Beat { interval: Duration::from_millis(10), phase: Duration::ZERO },
        }
    }

    #[test]
    fn a_burst_shares_its_timestamp_and_ends_with_the_marker() {
        let pattern = Arc::new(Pattern::new(1));
        let mut sender = Sender::new(Time::ZERO, Duration::from_millis(20), vec![plan(3)], pattern.clone());
        let mut packets = Vec::new();
        let more = sender.handle_due(Time::from_millis(10), |socket, _, bytes| {
            assert_eq!(socket, SocketId(2));
            packets.push(bytes.to_vec());
        });
        assert!(!more);
        let read = packets.iter().map(|packet| {
            let view = RtpView::new(packet).expect("valid RTP");
            let Reading::Intact(stamp) = pattern.read(view.payload()) else { panic!("unreadable") };
            assert_eq!((stamp.sequence as u16, stamp.timestamp), (view.sequence().0, view.timestamp().0));
            assert_eq!((packet.len(), view.ssrc(), view.payload_type()), (300, 0x1234, 96));
            (stamp.sequence, stamp.timestamp, stamp.intended, view.marker())
        });
        let (first, second) = (Time::ZERO, Time::from_millis(10));
        let expected = [
            (0, 0, first, false),
            (1, 0, first, false),
            (2, 0, first, true),
            (3, 900, second, false),
            (4, 900, second, false),
            (5, 900, second, true),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected);
        assert_eq!(sender.sent().collect::<Vec<_>>(), [(5, 6)]);
        assert_eq!(sender.lateness().max(), sender.lateness().highest_equivalent(10_000_000));
    }

    #[test]
    fn a_late_sender_sends_everything_in_bounded_steps() {
        let pattern = Arc::new(Pattern::new(1));
        let mut sender = Sender::new(Time::ZERO, Duration::from_secs(20), vec![plan(1)], pattern);
        let mut calls = 0;
        while sender.handle_due(Time::from_millis(60_000), |_, _, _| ()) {
            calls += 1;
        }
        assert_eq!((sender.packets(), calls), (2000, 3));
        assert_eq!(sender.next_due(), None);
    }

    #[test]
    fn punches_are_rtp_and_not_accounted() {
        let packet = punch_packet(1, 96, 7);
        let view = RtpView::new(&packet).expect("valid RTP");
        assert_eq!(Pattern::new(1).read(view.payload()), Reading::Punch);
    }
}
