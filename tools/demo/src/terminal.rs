//! A participant's receiving end: one port per medium, where the packets of all the others arrive.
//!
//! It tells senders apart by the SSRC that control announced, counts, and hands every sender's packets
//! to the ffmpeg that decodes that sender. Pictures from their first key frame on, as any terminal does:
//! before it, a decoder can only complain.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use motet_rtp::{FixedHeader, SeqExtender, SeqNo};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::ports;

/// RTCP packet type of a sender report (RFC 3550 section 6.4.1).
const SENDER_REPORT: u8 = 200;

/// What came in on one SSRC.
#[derive(Debug, Default)]
pub struct Flow {
    /// Packets.
    pub packets: u64,
    /// Sender reports.
    pub reports: u64,
    sequence: SeqExtender,
    first: Option<SeqNo>,
    /// Where the decoder takes it.
    decoder: Option<SocketAddr>,
    /// H.264, of which no key frame came yet.
    waits_for_key_frame: bool,
}

impl Flow {
    /// Packets between the first and the last sequence number that did not come; duplicates make it negative.
    pub fn lost(&self) -> i64 {
        match (self.first, self.sequence.highest()) {
            (Some(first), Some(last)) => last.distance(first) + 1 - self.packets as i64,
            _ => 0,
        }
    }

    fn count(&mut self, header: &FixedHeader) {
        let number = self.sequence.extend(header.sequence);
        self.first = Some(self.first.map_or(number, |first| first.min(number)));
        self.packets += 1;
    }

    /// Whether the decoder can make use of a packet with this payload.
    fn is_decodable(&mut self, payload: &[u8]) -> bool {
        self.waits_for_key_frame &= !begins_key_frame(payload);
        !self.waits_for_key_frame
    }
}

/// Whether an H.264 payload holds the parameters that a key frame begins with: alone, or first in an
/// aggregate (RFC 6184 sections 5.6 and 5.7.1).
fn begins_key_frame(payload: &[u8]) -> bool {
    const SEQUENCE_PARAMETERS: u8 = 7;
    const AGGREGATE: u8 = 24;
    let unit = |at: usize| payload.get(at).map(|byte| byte & 0x1f);
    match unit(0) {
        Some(AGGREGATE) => unit(3) == Some(SEQUENCE_PARAMETERS),
        first => first == Some(SEQUENCE_PARAMETERS),
    }
}

#[derive(Debug, Default)]
struct Counts {
    flows: HashMap<u32, Flow>,
    /// Packets that are not RTP, or have an SSRC that control did not announce.
    strays: u64,
}

/// One medium's port. Dropping it closes the port.
pub struct Port {
    /// Where RTP is taken.
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    tasks: [JoinHandle<()>; 2],
}

impl Port {
    /// Opens a port for RTP and the next one for RTCP.
    pub fn open() -> Result<Port> {
        let (rtp, rtcp) = ports::udp_pair()?;
        let address = rtp.local_addr()?;
        for socket in [&rtp, &rtcp] {
            socket.set_nonblocking(true)?;
        }
        let (rtp, rtcp) = (UdpSocket::from_std(rtp)?, UdpSocket::from_std(rtcp)?);
        let forward = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        forward.set_nonblocking(true)?;
        let counts = Arc::new(Mutex::new(Counts::default()));
        let tasks = [
            tokio::spawn(take_rtp(rtp, forward, Arc::clone(&counts))),
            tokio::spawn(take_rtcp(rtcp, Arc::clone(&counts))),
        ];
        Ok(Port { address, counts, tasks })
    }

    /// Announces an SSRC, and the port of its decoder.
    pub fn expect(&self, ssrc: u32, decoder_port: u16, is_h264: bool) {
        let decoder = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, decoder_port)));
        let flow = Flow { decoder, waits_for_key_frame: is_h264, ..Flow::default() };
        self.counts.lock().expect("counting does not panic").flows.insert(ssrc, flow);
    }

    /// Announces an SSRC that is only counted.
    pub fn count(&self, ssrc: u32) {
        self.counts.lock().expect("counting does not panic").flows.insert(ssrc, Flow::default());
    }

    /// Packets, lost packets and sender reports of an SSRC.
    pub fn counted(&self, ssrc: u32) -> (u64, i64, u64) {
        let counts = self.counts.lock().expect("counting does not panic");
        counts.flows.get(&ssrc).map_or((0, 0, 0), |flow| (flow.packets, flow.lost(), flow.reports))
    }

    /// Packets that belong to nobody: the participant's own, coming back, would be among them.
    pub fn strays(&self) -> u64 {
        self.counts.lock().expect("counting does not panic").strays
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn take_rtp(socket: UdpSocket, forward: std::net::UdpSocket, counts: Arc<Mutex<Counts>>) {
    let mut buffer = vec![0; 65_536];
    while let Ok((bytes, _)) = socket.recv_from(&mut buffer).await {
        let packet = &buffer[..bytes];
        let mut counts = counts.lock().expect("counting does not panic");
        let header = FixedHeader::read(packet).ok();
        match header.and_then(|header| counts.flows.get_mut(&header.ssrc).map(|flow| (header, flow))) {
            Some((header, flow)) => {
                flow.count(&header);
                let payload = packet.get(header.header_bytes as usize..).unwrap_or_default();
                if let Some(decoder) = flow.decoder.filter(|_| flow.is_decodable(payload)) {
                    // A decoder that has ended or is behind loses the packet, as a terminal would.
                    let _ = forward.send_to(packet, decoder);
                }
            }
            None => counts.strays += 1,
        }
    }
}

async fn take_rtcp(socket: UdpSocket, counts: Arc<Mutex<Counts>>) {
    let mut buffer = vec![0; 2_048];
    while let Ok((bytes, _)) = socket.recv_from(&mut buffer).await {
        if let Some(ssrc) = sender_report_ssrc(&buffer[..bytes])
            && let Some(flow) = counts.lock().expect("counting does not panic").flows.get_mut(&ssrc)
        {
            flow.reports += 1;
        }
    }
}

/// The sender of a compound packet that begins with a sender report.
fn sender_report_ssrc(packet: &[u8]) -> Option<u32> {
    let ssrc = packet.get(4..8)?.try_into().ok()?;
    (packet[1] == SENDER_REPORT).then(|| u32::from_be_bytes(ssrc))
}

/// An address that control gave, as text.
pub fn address(text: &str) -> Result<SocketAddr> {
    text.parse().with_context(|| format!("control gave '{text}', which is not an address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use motet_rtp::WireSeq;

    fn flow(numbers: &[u16]) -> Flow {
        let mut flow = Flow::default();
        for number in numbers {
            let header = FixedHeader {
                sequence: WireSeq(*number),
                ..FixedHeader::read(&RTP).expect("a whole header")
            };
            flow.count(&header);
        }
        flow
    }

    const RTP: [u8; 12] = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    #[test]
    fn loss_is_what_is_missing_between_first_and_last() {
        assert_eq!(flow(&[]).lost(), 0);
        assert_eq!(flow(&[7]).lost(), 0);
        assert_eq!(flow(&[65_534, 65_535, 0, 1]).lost(), 0);
        assert_eq!(flow(&[10, 12, 11, 15]).lost(), 2);
        assert_eq!(flow(&[11, 10, 12]).lost(), 0);
        assert_eq!(flow(&[1, 1, 2]).lost(), -1);
    }

    #[test]
    fn decoding_begins_with_a_key_frame() {
        let slice: &[u8] = &[0x41, 1, 2];
        let (alone, aggregate): (&[u8], &[u8]) = (&[0x67, 1], &[0x78, 0, 2, 0x67, 1]);
        for key in [alone, aggregate] {
            let mut flow = Flow { waits_for_key_frame: true, ..Flow::default() };
            let sent: Vec<bool> = [&[], slice, key, slice].map(|payload| flow.is_decodable(payload)).into();
            assert_eq!(sent, [false, false, true, true]);
        }
        assert!(Flow::default().is_decodable(slice));
    }
}
