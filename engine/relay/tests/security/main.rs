//! Attacks on the relay, one test for each rule of docs/security.md: packet scripts in virtual time.

#![forbid(unsafe_code)]

mod floods;
mod identity;
mod rtcp;
mod sources;

use motet_relay::testing::{Script, Sent};
use motet_relay::{Kind, Latch};
use motet_rtp::{RtpBuilder, RtpView, WireSeq};
use std::net::SocketAddr;
use std::time::Duration;

/// SSRC of participant `n`.
pub(crate) fn ssrc(n: u32) -> u32 {
    0x1111_0000 + n
}

pub(crate) fn sound_of(ssrc: u32, sequence: u16) -> Vec<u8> {
    RtpBuilder::new(ssrc).payload_type(111).sequence(WireSeq(sequence)).payload(&[7; 60]).to_vec()
}

pub(crate) fn sound(n: u32, sequence: u16) -> Vec<u8> {
    sound_of(ssrc(n), sequence)
}

pub(crate) fn video(n: u32, sequence: u16) -> Vec<u8> {
    RtpBuilder::new(ssrc(n)).payload_type(96).sequence(WireSeq(sequence)).payload(&[7; 900]).to_vec()
}

/// An address of nobody who was invited.
pub(crate) fn stranger(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, (n >> 8) as u8 + 1], 10_000 + n))
}

/// Participants 0 to 2, who all hear each other: stream `n` of leg `n`, route `3 * from + to`.
pub(crate) fn meeting(latch: Latch, kind: Kind) -> Script {
    let mut script = Script::default();
    for leg in 0..3 {
        script.leg(leg, latch);
        script.stream(leg, leg, kind);
    }
    for (from, to) in pairs() {
        script.route(3 * from + to, from, to);
    }
    script
}

pub(crate) fn pairs() -> impl Iterator<Item = (u32, u32)> {
    (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

pub(crate) fn is_rtcp(sent: &Sent) -> bool {
    (192..=223).contains(&sent.bytes[1])
}

/// Without the RTCP that goes along.
pub(crate) fn rtp(sent: Vec<Sent>) -> Vec<Sent> {
    sent.into_iter().filter(|sent| !is_rtcp(sent)).collect()
}

/// Sequence numbers that a port sent.
pub(crate) fn numbers(sent: &[Sent], port: u32) -> Vec<u16> {
    let to = sent.iter().filter(|sent| sent.port.0 == port && !is_rtcp(sent));
    to.map(|sent| RtpView::new(&sent.bytes).expect("well-formed RTP").sequence().0).collect()
}

/// Sends so many packets of `n`, 20 ms apart, the first with number `first`; gives what was sent.
pub(crate) fn talk(script: &mut Script, n: u32, from: SocketAddr, first: u16, count: u16) -> Vec<Sent> {
    let mut sent = Vec::new();
    for index in 0..count {
        sent.extend(script.packet(n, from, &sound(n, first.wrapping_add(index))));
        sent.extend(script.pass(Duration::from_millis(20)));
    }
    sent
}
