//! Ports, and whose packets come in at them.
//!
//! A port belongs to one transport, or it is *shared* by any number of legs, for places where no range of
//! ports can be opened. At a shared port a packet belongs to
//!
//! 1. the leg that its source address is of: the remote address that control gave, or the source that the
//!    leg's latch locked. Within a leg with several transports at the port, its SSRC decides, then its
//!    payload type, then where it comes from;
//! 2. if the address is nobody's, the transport that control declared its SSRC for (`StreamSpec::ssrc`). Its
//!    latch judges it by all of its rules, as a source that it does not know;
//! 3. else nobody.
//!
//! So an SSRC alone opens nothing that a port of one's own would not: it takes the place of the port number.
//! An address is of one leg at most. Control's word takes it from a leg that only latched it; packets take it
//! only when nothing came from there for as long as it takes an RTCP participant to be gone.

use crate::drop::DropReason;
use crate::limits::RTCP_SILENCE_MAX;
use crate::relay::{Inbound, Relay};
use crate::stream::Stream;
use crate::{CommandError, LegId, Outbox, PortId};
use motet_rtp::Time;
use motet_rtp::demux::{PacketClass, classify};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;

mod claims;

/// What a port is to a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortUse {
    pub(crate) leg: LegId,
    pub(crate) transport: u8,
    pub(crate) rtcp_only: bool,
}

/// What a port is used for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Port {
    #[default]
    Free,
    /// One transport's.
    Own(PortUse),
    /// Shared by many; its place in the table of such ports.
    Shared(u32),
}

/// Who is at a shared port.
#[derive(Debug)]
pub(crate) struct SharedPort {
    id: PortId,
    by_address: HashMap<SocketAddr, Owner, BuildHasherDefault<Mixer>>,
    /// By SSRCs that control declared.
    by_ssrc: HashMap<u32, PortUse, BuildHasherDefault<Mixer>>,
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    /// The first of the leg's transports with this address.
    place: PortUse,
    /// It is the only one that the leg has at the port.
    alone: bool,
}

/// Hashes quickly, by multiplication. The standard hash withstands keys that are chosen to collide; here, a
/// stranger adds no key, and a participant one for each of its transports.
#[derive(Clone, Copy)]
struct Mixer(u64);

impl Default for Mixer {
    fn default() -> Mixer {
        // Digits of pi.
        Mixer(0x243f_6a88_85a3_08d3)
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.write_u64(chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        // Digits of the golden ratio; odd.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    #[inline]
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// What a datagram says of whose it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hint {
    /// Of its sender; none: it has none.
    ssrc: Option<u32>,
    /// Of RTP, with the marker; of RTCP, the packet type.
    second_byte: Option<u8>,
}

impl Hint {
    fn of(datagram: &[u8]) -> Hint {
        let at = match classify(datagram) {
            PacketClass::Rtp => Some(8),
            // All packets that may come first name their sender here (RFC 3550 section 6, RFC 4585 section
            // 6.1).
            PacketClass::Rtcp => Some(4),
            _ => None,
        };
        let ssrc = at.and_then(|at| datagram.get(at..at + 4)).and_then(|bytes| bytes.try_into().ok());
        Hint { ssrc: ssrc.map(u32::from_be_bytes), second_byte: datagram.get(1).copied() }
    }

    /// None for RTCP and for what is neither.
    fn payload_type(self) -> Option<u8> {
        self.second_byte.filter(|byte| !(192..=223).contains(byte)).map(|byte| byte & 0x7f)
    }
}

impl Relay {
    /// Makes a free port one that legs share.
    pub(crate) fn share_port(&mut self, id: PortId) -> Result<(), CommandError> {
        self.check_port_is_free(id)?;
        self.set_port(id, Port::Shared(self.shared_ports.len() as u32));
        self.shared_ports.push(SharedPort {
            id,
            by_address: HashMap::default(),
            by_ssrc: HashMap::default(),
        });
        Ok(())
    }

    pub(crate) fn port(&self, id: PortId) -> Port {
        self.ports.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn is_shared(&self, id: PortId) -> bool {
        matches!(self.port(id), Port::Shared(_))
    }

    pub(crate) fn check_port_is_free(&self, id: PortId) -> Result<(), CommandError> {
        if id.0 as usize >= crate::limits::PORTS_MAX {
            return Err(CommandError::Limit("ports"));
        }
        match self.port(id) {
            Port::Free => Ok(()),
            _ => Err(CommandError::PortInUse(id)),
        }
    }

    pub(crate) fn set_port(&mut self, id: PortId, port: Port) {
        let index = id.0 as usize;
        if self.ports.len() <= index {
            self.ports.resize(index + 1, Port::Free);
        }
        self.ports[index] = port;
    }

    /// Sorts a run that came in at a shared port.
    pub(crate) fn sort_shared(
        &mut self,
        now: Time,
        index: u32,
        shared: u32,
        run: Inbound<'_>,
        out: &mut Outbox,
    ) {
        let owner = self.shared_ports[shared as usize].by_address.get(&run.source).copied();
        // A run mostly is of one stream.
        let mut last: Option<(Hint, PortUse)> = None;
        self.each_datagram(index, run, |relay, at, datagram| {
            let hint = Hint::of(datagram);
            let place = match last {
                Some((known, place)) if known == hint => Ok(place),
                _ => relay.whose(now, (shared, run.source), owner, hint),
            };
            match place {
                Ok(place) => {
                    last = Some((hint, place));
                    relay.take(now, place, &run, at, out);
                }
                Err(reason) => relay.drops.add(reason, 1),
            }
        });
    }

    /// The transport that a datagram at a shared port is for.
    fn whose(
        &self,
        now: Time,
        (shared, source): (u32, SocketAddr),
        owner: Option<Owner>,
        hint: Hint,
    ) -> Result<PortUse, DropReason> {
        let port = &self.shared_ports[shared as usize];
        let declared = hint.ssrc.and_then(|ssrc| port.by_ssrc.get(&ssrc)).copied();
        match (owner, declared) {
            (None, declared) => declared.ok_or(DropReason::UnknownSource),
            (Some(owner), Some(place)) if owner.place.leg == place.leg => Ok(place),
            (Some(owner), Some(place)) => {
                let leg = owner.place.leg;
                let free = self.has_left(now, leg) && !self.declares(leg, port.id, source);
                if free { Ok(place) } else { Err(DropReason::AddressTaken) }
            }
            (Some(owner), None) if owner.alone => Ok(owner.place),
            (Some(owner), None) => Ok(self.pick(port.id, owner.place, hint)),
        }
    }

    /// Nothing came from the leg for as long as it takes a participant to be gone.
    fn has_left(&self, now: Time, leg: LegId) -> bool {
        let heard = self.leg(leg).map_or(Time::ZERO, |leg| leg.heard);
        now.since(heard) >= RTCP_SILENCE_MAX.max(self.config.relatch_after)
    }

    /// Which of a leg's transports at a shared port a datagram is for whose SSRC was not declared.
    fn pick(&self, port: PortId, by_address: PortUse, hint: Hint) -> PortUse {
        let leg = self.leg(by_address.leg).expect("an address is of an existing leg");
        let publisher = |test: &dyn Fn(&Stream) -> bool| {
            let mut here = (0..).zip(&leg.transports).filter(|(_, transport)| transport.rtp == port);
            let found = here.find(|(_, transport)| {
                let mut streams =
                    transport.streams.iter().filter_map(|id| self.streams[id.0 as usize].as_ref());
                streams.any(test)
            });
            found.map(|(index, _)| index)
        };
        let by_ssrc = publisher(&|stream| hint.ssrc.is_some() && stream.ssrc == hint.ssrc);
        let carries = |stream: &Stream| hint.payload_type().is_some_and(|t| stream.clock_hz(t).is_some());
        let by_type = || publisher(&|stream| stream.spec.ssrc.is_none() && carries(stream));
        let transport = by_ssrc.or_else(by_type).unwrap_or(by_address.transport);
        PortUse { transport, ..by_address }
    }
}

// What each run looks up: as large as before ports could be shared.
const _: () = assert!(size_of::<Port>() == 8);
