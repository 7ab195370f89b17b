//! By what participants are told apart where they share a port: which address and which SSRC is whose.
//!
//! What the relay would refuse is found here first, in all conferences of the node, so that it does not
//! matter on which worker one runs.

use crate::error::NodeError;
use crate::model::{Leg, Medium, Spec, Transport};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Whose an address or an SSRC is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    conference: String,
    leg: String,
}

/// All that is claimed on this node.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    addresses: HashMap<SocketAddr, Owner>,
    ssrcs: HashMap<u32, Owner>,
}

const REMOTE: &str = "spec.legs.transports.remote";

impl Claims {
    /// Whether everybody in a conference can be told from everybody else on the node, if it were as given.
    pub(crate) fn check(&self, spec: &Spec) -> Result<(), NodeError> {
        // What the conference claims now does not count.
        let others = |owner: &&Owner| owner.conference != spec.id;
        let mut own = Claims::default();
        for leg in spec.legs.values() {
            for transport in &leg.transports {
                check_transport(leg, transport)?;
                let Some(remote) = transport.remote else { continue };
                let within = own.addresses.get(&remote).filter(|owner| leg.id != *owner.leg);
                if let Some(owner) = within.or(self.addresses.get(&remote).filter(others)) {
                    return Err(taken(REMOTE, leg, &remote.to_string(), owner));
                }
            }
            check_payload_types(leg)?;
            for (medium, ssrc) in declared(leg) {
                if let Some(owner) = own.ssrcs.get(&ssrc).or(self.ssrcs.get(&ssrc).filter(others)) {
                    let what = format!("ssrc {ssrc} of '{}'", medium.id);
                    return Err(taken("spec.legs.media.ssrc", leg, &what, owner));
                }
                own.claim_ssrc(spec, leg, ssrc);
            }
            own.claim_addresses(spec, leg);
        }
        Ok(())
    }

    /// The conference is now as given.
    pub(crate) fn put(&mut self, before: Option<&Spec>, spec: &Spec) {
        before.into_iter().for_each(|before| self.remove(before));
        for leg in spec.legs.values() {
            self.claim_addresses(spec, leg);
            declared(leg).for_each(|(_, ssrc)| self.claim_ssrc(spec, leg, ssrc));
        }
    }

    /// The conference has ended.
    pub(crate) fn remove(&mut self, spec: &Spec) {
        for leg in spec.legs.values() {
            leg.transports.iter().filter_map(|transport| transport.remote).for_each(|remote| {
                self.addresses.remove(&remote);
            });
            declared(leg).for_each(|(_, ssrc)| {
                self.ssrcs.remove(&ssrc);
            });
        }
    }

    fn claim_addresses(&mut self, spec: &Spec, leg: &Leg) {
        for remote in leg.transports.iter().filter_map(|transport| transport.remote) {
            self.addresses.insert(remote, Owner { conference: spec.id.clone(), leg: leg.id.to_string() });
        }
    }

    fn claim_ssrc(&mut self, spec: &Spec, leg: &Leg, ssrc: u32) {
        self.ssrcs.insert(ssrc, Owner { conference: spec.id.clone(), leg: leg.id.to_string() });
    }
}

/// SSRCs under which the participant will send.
fn declared(leg: &Leg) -> impl Iterator<Item = (&Medium, u32)> {
    let sent = leg.media.iter().filter(|medium| medium.sends);
    sent.filter_map(|medium| medium.ssrc.map(|ssrc| (medium, ssrc)))
}

fn check_transport(leg: &Leg, transport: &Transport) -> Result<(), NodeError> {
    if transport.remote_rtcp.is_some() && transport.remote_rtcp != transport.remote {
        let why = format!(
            "leg '{}': RTP and RTCP come from one address where participants share a port (--shared-port); leave \
             it out",
            leg.id
        );
        return Err(NodeError::invalid("spec.legs.transports.remote_rtcp", why));
    }
    let here = |medium: &Medium| leg.transports[medium.transport].id == transport.id;
    if transport.remote.is_some() || declared(leg).any(|(medium, _)| here(medium)) {
        return Ok(());
    }
    let media = leg.media.iter().filter(|medium| here(medium)).map(|medium| medium.id.as_str());
    let media: Vec<&str> = media.collect();
    let why = format!(
        "leg '{}', {}: participants share a port (--shared-port) and are told apart by address or SSRC; give the \
         remote address, or the ssrc of what is sent",
        leg.id,
        media.join(" and ")
    );
    Err(NodeError::invalid(REMOTE, why))
}

/// All that a leg sends may come from one address, so that only SSRCs and payload types tell it apart.
fn check_payload_types(leg: &Leg) -> Result<(), NodeError> {
    let mut known: HashMap<u8, &Medium> = HashMap::new();
    for medium in leg.media.iter().filter(|medium| medium.sends) {
        for codec in &medium.codecs {
            let Some(other) = known.insert(codec.payload_type, medium) else { continue };
            if other.id != medium.id && (other.ssrc.is_none() || medium.ssrc.is_none()) {
                let why = format!(
                    "leg '{}': '{}' and '{}' both send payload type {}; where participants share a port \
                     (--shared-port), give each an ssrc, or other payload types",
                    leg.id, other.id, medium.id, codec.payload_type
                );
                return Err(NodeError::invalid("spec.legs.media.codecs.payload_type", why));
            }
        }
    }
    Ok(())
}

fn taken(field: &str, leg: &Leg, what: &str, owner: &Owner) -> NodeError {
    let why = format!(
        "leg '{}': {what} belongs to leg '{}' of conference '{}', and participants share a port (--shared-port)",
        leg.id, owner.leg, owner.conference
    );
    NodeError::invalid(field, why)
}

#[cfg(test)]
mod tests;
