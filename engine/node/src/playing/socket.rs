//! The way of a medium to the leg's port.

use super::Target;
use motet_rtp::demux::{PacketClass, classify};
use motet_rtp::rtcp::{Compound, Packet, SenderInfo, write_sdes_cname, write_sender_report};
use motet_rtp::{Ntp, RtpBuilder, WireSeq, WireTimestamp};
use std::net::{SocketAddr, UdpSocket};

/// A socket, and the stream that leaves by it.
pub(super) struct Way {
    socket: UdpSocket,
    rtcp_mux: bool,
    pub(super) payload_type: u8,
    ssrc: u32,
    sequence: WireSeq,
    /// Timestamp of the clock's time 0.
    origin: u32,
    clock_hz: u32,
    packets: u32,
    octets: u32,
    rtcp: Vec<u8>,
}

impl Way {
    pub(super) fn open(target: &Target) -> Result<Way, String> {
        // From the address that it goes to: both are this node's.
        let from = SocketAddr::new(target.to.ip(), 0);
        let open = || {
            let socket = UdpSocket::bind(from)?;
            socket.connect(target.to)?;
            socket.set_nonblocking(true)?;
            std::io::Result::Ok(socket)
        };
        let socket = open().map_err(|error| format!("cannot open a UDP socket on {}: {error}", from.ip()))?;
        Ok(Way {
            socket,
            rtcp_mux: target.rtcp_mux,
            payload_type: target.codec.payload_type,
            ssrc: rand::random(),
            sequence: WireSeq(rand::random()),
            origin: rand::random(),
            clock_hz: target.codec.clock_hz,
            packets: 0,
            octets: 0,
            rtcp: Vec::new(),
        })
    }

    /// Sends a packet of what is due so many nanoseconds after the clock's beginning.
    pub(super) fn send(&mut self, at_ns: u64, marker: bool, payload: &[u8]) {
        let packet = RtpBuilder::new(self.ssrc)
            .payload_type(self.payload_type)
            .sequence(self.sequence)
            .timestamp(self.timestamp(at_ns))
            .marker(marker)
            .payload(payload)
            .to_vec();
        self.sequence = self.sequence.next();
        (self.packets, self.octets) =
            (self.packets.wrapping_add(1), self.octets.wrapping_add(payload.len() as u32));
        // What the kernel has no room for is lost, as on any network.
        let _ = self.socket.send(&packet);
    }

    /// Tells which timestamp a moment has.
    pub(super) fn report(&mut self, at_ns: u64, ntp: Ntp, cname: &str) {
        if !self.rtcp_mux || self.packets == 0 {
            return;
        }
        let rtp_timestamp = self.timestamp(at_ns);
        let info = SenderInfo { ntp, rtp_timestamp, packets: self.packets, octets: self.octets };
        self.rtcp.clear();
        write_sender_report(&mut self.rtcp, self.ssrc, &info, &[]);
        write_sdes_cname(&mut self.rtcp, &[(self.ssrc, cname)]);
        let _ = self.socket.send(&self.rtcp);
    }

    /// Takes what came. True: somebody asks for a key frame.
    pub(super) fn listen(&mut self) -> bool {
        let (mut asked, mut bytes) = (false, [0; 2048]);
        // Bounded, so that a flood does not hold up what is due.
        for _ in 0..64 {
            let Ok(length) = self.socket.recv(&mut bytes) else { break };
            let datagram = &bytes[..length];
            if classify(datagram) != PacketClass::Rtcp {
                continue;
            }
            let Ok(compound) = Compound::reduced(datagram) else { continue };
            asked |= compound.packets().any(|packet| matches!(packet, Packet::Pli(_) | Packet::Fir(_)));
        }
        asked
    }

    fn timestamp(&self, at_ns: u64) -> WireTimestamp {
        let ticks = u128::from(at_ns) * u128::from(self.clock_hz) / 1_000_000_000;
        // It wraps, as timestamps do.
        WireTimestamp(self.origin.wrapping_add(ticks as u32))
    }
}
