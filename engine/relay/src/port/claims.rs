//! Which addresses and SSRCs are whose at shared ports: checked when control declares them, and kept in step
//! with what latches lock.

use super::{Owner, Port, PortUse};
use crate::leg::{Leg, Transport};
use crate::relay::Relay;
use crate::{CommandError, LegId, LegSpec, PortId, StreamSpec, TransportSpec};
use std::net::SocketAddr;

type Checked = Result<(), CommandError>;

impl Relay {
    /// What a transport may ask of its ports. `taken` are the ports of the leg's other transports.
    pub(crate) fn check_ports(&self, leg: LegId, spec: &TransportSpec, taken: &mut Vec<PortId>) -> Checked {
        let shared = self.is_shared(spec.rtp);
        if shared {
            self.check_shared_remote(leg, spec.rtp, spec.remote, spec.remote_rtcp)?;
            if spec.rtcp.is_some() {
                let why = "must be none at a shared port, which is for RTP and RTCP";
                return Err(CommandError::OutOfRange { field: "rtcp", why });
            }
        }
        for port in [Some(spec.rtp).filter(|_| !shared), spec.rtcp].into_iter().flatten() {
            self.check_port_is_free(port)?;
            if taken.contains(&port) {
                return Err(CommandError::PortInUse(port));
            }
            taken.push(port);
        }
        Ok(())
    }

    /// Whether a transport may have these remote addresses; any will do at a port of its own.
    pub(crate) fn check_shared_remote(
        &self,
        leg: LegId,
        port: PortId,
        remote: Option<SocketAddr>,
        remote_rtcp: Option<SocketAddr>,
    ) -> Checked {
        let Port::Shared(shared) = self.port(port) else { return Ok(()) };
        if remote_rtcp.is_some() && remote_rtcp != remote {
            let why = "must be none at a shared port, where RTCP comes from the RTP address";
            return Err(CommandError::OutOfRange { field: "remote_rtcp", why });
        }
        let owner = remote.and_then(|remote| self.shared_ports[shared as usize].by_address.get(&remote));
        match (owner, remote) {
            (Some(owner), Some(remote))
                if owner.place.leg != leg && self.declares(owner.place.leg, port, remote) =>
            {
                Err(CommandError::AddressInUse(remote))
            }
            _ => Ok(()),
        }
    }

    /// Whether what a transport publishes can be found at a shared port with this remote address.
    pub(crate) fn check_can_be_found(&self, leg: LegId, index: u8, remote: Option<SocketAddr>) -> Checked {
        let transport = self.transport(leg, index).expect("the caller looked it up");
        let nothing = transport.streams.is_empty() || self.has_declared_ssrc(transport);
        if remote.is_some() || nothing || !self.is_shared(transport.rtp) {
            return Ok(());
        }
        let why = "is needed at a shared port by a leg whose streams have no SSRC";
        Err(CommandError::OutOfRange { field: "remote", why })
    }

    /// Whether a stream can be told apart at its port. Its leg and transport exist.
    pub(crate) fn check_shared_stream(&self, spec: &StreamSpec) -> Checked {
        let transport = self.transport(spec.leg, spec.transport).expect("the caller looked it up");
        let Port::Shared(shared) = self.port(transport.rtp) else { return Ok(()) };
        match spec.ssrc {
            None if transport.latch.remote().is_none() && !self.has_declared_ssrc(transport) => {
                let why = "is needed at a shared port by a leg without a remote address";
                Err(CommandError::OutOfRange { field: "ssrc", why })
            }
            Some(ssrc) if self.shared_ports[shared as usize].by_ssrc.contains_key(&ssrc) => {
                Err(CommandError::SsrcInUse(ssrc))
            }
            _ => Ok(()),
        }
    }

    fn has_declared_ssrc(&self, transport: &Transport) -> bool {
        let mut streams = transport.streams.iter().filter_map(|id| self.streams[id.0 as usize].as_ref());
        streams.any(|stream| stream.spec.ssrc.is_some())
    }

    /// True when control said that the address is the leg's at that port.
    pub(crate) fn declares(&self, leg: LegId, port: PortId, remote: SocketAddr) -> bool {
        let transports = self.leg(leg).into_iter().flat_map(|leg| &leg.transports);
        transports.filter(|transport| transport.rtp == port).any(|t| t.latch.remote() == Some(remote))
    }

    /// Gives each transport of a new leg its ports.
    pub(crate) fn take_ports(&mut self, leg: LegId, spec: &LegSpec) {
        for (index, transport) in (0..).zip(&spec.transports) {
            let used = |rtcp_only| Port::Own(PortUse { leg, transport: index, rtcp_only });
            if !self.is_shared(transport.rtp) {
                self.set_port(transport.rtp, used(false));
            }
            if let Some(rtcp) = transport.rtcp {
                self.set_port(rtcp, used(true));
            }
        }
    }

    /// Takes back the ports and the addresses of a leg that is about to be removed.
    pub(crate) fn give_back_ports(&mut self, leg: LegId) {
        self.forget_addresses(leg);
        for index in 0..self.leg(leg).map_or(0, |leg| leg.transports.len()) {
            let transport = &self.leg(leg).expect("it has transports").transports[index];
            let (rtp, rtcp) = (transport.rtp, transport.rtcp);
            if !self.is_shared(rtp) {
                self.set_port(rtp, Port::Free);
            }
            rtcp.into_iter().for_each(|rtcp| self.set_port(rtcp, Port::Free));
        }
    }

    /// A stream was added, or is about to be removed: what it declares is known at its port, or is not any
    /// more.
    pub(crate) fn declare_ssrc(&mut self, spec: &StreamSpec, declared: bool) {
        let transport = self.transport(spec.leg, spec.transport).expect("a stream belongs to a transport");
        let (Port::Shared(shared), Some(ssrc)) = (self.port(transport.rtp), spec.ssrc) else { return };
        let by_ssrc = &mut self.shared_ports[shared as usize].by_ssrc;
        if declared {
            let place = PortUse { leg: spec.leg, transport: spec.transport, rtcp_only: false };
            by_ssrc.insert(ssrc, place);
        } else {
            by_ssrc.remove(&ssrc);
        }
    }

    /// Brings in step what follows from a transport's latch: where media goes, and which addresses at a
    /// shared port are the leg's. To be called after every change of a latch.
    pub(crate) fn settle(&mut self, id: LegId, transport: u8) {
        self.aim(id, transport);
        let port = self.transport(id, transport).expect("the caller looked it up").rtp;
        if self.is_shared(port) {
            self.settle_addresses(id);
        }
    }

    /// Lets a transport's media go where its latch now says.
    pub(crate) fn aim(&mut self, id: LegId, transport: u8) {
        let place = self.transport(id, transport).expect("the caller looked it up");
        let (sink, destination) = (place.sink, place.latch.destination());
        self.sinks.at(sink).destination = destination;
    }

    fn settle_addresses(&mut self, id: LegId) {
        self.forget_addresses(id);
        let transports = &self.leg(id).expect("the caller looked it up").transports;
        let mut addresses = Vec::new();
        for (index, transport) in (0..).zip(transports) {
            let Port::Shared(shared) = self.port(transport.rtp) else { continue };
            let alone = transports.iter().filter(|other| other.rtp == transport.rtp).count() == 1;
            let owner = Owner { place: PortUse { leg: id, transport: index, rtcp_only: false }, alone };
            let both = [transport.latch.source(), transport.latch.remote()];
            addresses.extend(both.into_iter().flatten().map(|address| (shared, address, owner)));
        }
        for (shared, address, owner) in addresses {
            let known = self.shared_ports[shared as usize].by_address.get(&address).copied();
            match known {
                Some(known) if known.place.leg == id => continue,
                Some(known) => self.evict(known.place.leg, shared, address),
                None => {}
            }
            self.shared_ports[shared as usize].by_address.insert(address, owner);
            self.leg_mut(id).addresses.push((shared, address));
        }
    }

    fn forget_addresses(&mut self, id: LegId) {
        for (shared, address) in std::mem::take(&mut self.leg_mut(id).addresses) {
            self.shared_ports[shared as usize].by_address.remove(&address);
        }
    }

    /// Another leg has this address now. Who only latched it has to prove itself again.
    fn evict(&mut self, id: LegId, shared: u32, address: SocketAddr) {
        let port = self.shared_ports[shared as usize].id;
        self.leg_mut(id).addresses.retain(|known| *known != (shared, address));
        for index in 0..self.leg_mut(id).transports.len() {
            let transport = &mut self.leg_mut(id).transports[index];
            if transport.rtp == port && transport.latch.source() == Some(address) {
                transport.latch.unlock();
                let (sink, destination) = (transport.sink, transport.latch.destination());
                self.sinks.at(sink).destination = destination;
            }
        }
    }

    fn leg_mut(&mut self, id: LegId) -> &mut Leg {
        self.legs[id.0 as usize].as_mut().expect("the caller looked it up")
    }
}
