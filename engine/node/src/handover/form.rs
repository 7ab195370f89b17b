//! What a node knows besides its relays, written down.
//!
//! Specifications are in the wire's own form. Protobuf passes over fields that it does not know, so a
//! specification that comes out different when it is written again is refused.

use crate::error::NodeError;
use crate::model::{Codec, RouteKey};
use crate::plan::{HeldLeg, HeldPorts, HeldRoute, Holdings};
use crate::routing::{Mapping, Wanted, shared};
use motet_proto::{media, node as wire};
use motet_relay::snapshot::Address;
use motet_relay::{LegId, PortId, RouteId, StreamId};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

macro_rules! form {
    ($($(#[$doc:meta])* struct $name:ident { $($(#[$of:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $name {
                $($(#[$of])* pub(crate) $field: $kind,)*
            }
        )*
    };
}

mod mix;
mod recording;

pub(crate) use mix::MixForm;
pub(crate) use recording::RecordingForm;

form! {
    /// A node. `ntp_origin` is the wall clock at the origin of the monotonic one, the same for all workers.
    struct NodeForm {
        node_id: String,
        boot_id: String,
        workers: usize,
        draining: bool,
        ntp_origin: u64,
        metrics: Option<SocketAddr>,
        pools: Vec<PoolForm>,
        conferences: Vec<ConferenceForm>,
        ended: Vec<(String, u64, u64)>,
    }

    /// A pool of ports: its free ones, first those to be taken next.
    struct PoolForm {
        ip: IpAddr,
        free: Vec<u16>,
    }

    /// A conference that runs.
    struct ConferenceForm {
        spec: Vec<u8>,
        epoch: u64,
        revision: u64,
        legs: Vec<LegForm>,
        streams: Vec<(String, String, StreamId)>,
        routes: Vec<RouteForm>,
        refused: Vec<(KeyForm, String)>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mix: Option<MixForm>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording: Option<RecordingForm>,
    }

    /// A leg.
    struct LegForm {
        name: String,
        worker: usize,
        id: LegId,
        report_ssrc: u32,
        ports: Vec<PortsForm>,
    }

    /// The ports of a transport. `pool` counts the node's pools.
    struct PortsForm {
        pool: usize,
        base: u16,
        rtp: (PortId, Address),
        rtcp: Option<(PortId, Address)>,
    }

    /// A route.
    struct RouteForm {
        key: KeyForm,
        id: RouteId,
        ssrc: u32,
        stream: StreamId,
        payload_map: Vec<(u8, u8)>,
        codecs: Vec<Vec<u8>>,
        ssrc_wanted: Option<u32>,
        active: bool,
    }

    /// The ends of a route.
    struct KeyForm {
        from_leg: String,
        from_medium: String,
        to_leg: String,
        to_medium: String,
    }
}

/// What the routes of a conference share.
#[derive(Default)]
struct Known {
    /// Codecs by how they are written down.
    codecs: HashMap<Vec<u8>, Arc<Codec>>,
    mappings: Vec<Arc<Mapping>>,
}

/// A message of the wire, refused when it holds what is not known here.
pub(crate) fn message<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, String> {
    let message = M::decode(bytes).map_err(|error| format!("{what} cannot be read: {error}"))?;
    if message.encode_to_vec() != bytes {
        return Err(format!("{what} holds a field that this version of the software does not know"));
    }
    Ok(message)
}

impl NodeForm {
    /// Leaves out what a version of the form does not know.
    pub(crate) fn speak(&mut self, version: u32) -> Result<(), String> {
        if version >= 2 {
            return Ok(());
        }
        for conference in &mut self.conferences {
            let mut spec: wire::ConferenceSpec =
                message("the specification of a conference", &conference.spec)?;
            spec.seed = 0;
            let legs = spec.legs.iter_mut();
            legs.flat_map(|leg| &mut leg.transports).for_each(|transport| transport.port_wanted = 0);
            conference.spec = spec.encode_to_vec();
        }
        Ok(())
    }
}

impl ConferenceForm {
    pub(crate) fn new(spec: &wire::ConferenceSpec, (epoch, revision): (u64, u64), held: &Holdings) -> Self {
        // A node with trunks to other workers, or with canvases, is not taken over.
        let Holdings { legs, streams, routes, trunks: _, refused, mix: _, canvas: _, recording: _ } = held;
        ConferenceForm {
            spec: spec.encode_to_vec(),
            epoch,
            revision,
            legs: legs.iter().map(|(name, held)| LegForm::new(name, held)).collect(),
            streams: streams
                .iter()
                .map(|((leg, medium), id)| (leg.to_string(), medium.to_string(), *id))
                .collect(),
            routes: routes.iter().map(|(key, held)| RouteForm::new(key, held)).collect(),
            refused: refused.iter().map(|(key, why)| (key.into(), why.clone())).collect(),
            mix: None,
            recording: None,
        }
    }

    /// What it holds. `pool_of` tells which of the reader's pools a writer's pool is.
    pub(crate) fn holdings(self, pool_of: &[usize]) -> Result<Holdings, String> {
        let mut held = Holdings::default();
        for leg in self.legs {
            let (name, leg) = leg.held(pool_of)?;
            held.legs.insert(name.into(), leg);
        }
        held.streams =
            self.streams.into_iter().map(|(leg, medium, id)| ((leg.into(), medium.into()), id)).collect();
        let mut known = Known::default();
        for route in self.routes {
            let (key, route) = route.held(&mut known)?;
            held.routes.insert(key, route);
        }
        held.refused = self.refused.into_iter().map(|(key, why)| (key.into(), why)).collect();
        Ok(held)
    }
}

impl LegForm {
    fn new(name: &str, held: &HeldLeg) -> LegForm {
        let HeldLeg { worker, id, report_ssrc, ports } = held;
        let ports = ports.iter().map(|held| {
            let HeldPorts { pool, base, rtp, rtcp, shared: _ } = *held;
            let port = |(id, address): (PortId, SocketAddr)| (id, address.into());
            PortsForm { pool, base, rtp: port(rtp), rtcp: rtcp.map(port) }
        });
        let (name, ports) = (name.to_owned(), ports.collect());
        LegForm { name, worker: *worker, id: *id, report_ssrc: *report_ssrc, ports }
    }

    fn held(self, pool_of: &[usize]) -> Result<(String, HeldLeg), String> {
        let mut ports = Vec::new();
        for form in &self.ports {
            let pool = *pool_of.get(form.pool).ok_or_else(|| format!("pool {} is unknown", form.pool))?;
            let port = |(id, address): &(PortId, Address)| (*id, address.into());
            let (rtp, rtcp) = (port(&form.rtp), form.rtcp.as_ref().map(port));
            ports.push(HeldPorts { pool, base: form.base, rtp, rtcp, shared: false });
        }
        let LegForm { name, worker, id, report_ssrc, .. } = self;
        Ok((name, HeldLeg { worker, id, report_ssrc, ports }))
    }
}

impl RouteForm {
    fn new(key: &RouteKey, held: &HeldRoute) -> RouteForm {
        let HeldRoute { id, ssrc, stream, wanted } = held;
        // What is transcoded comes from a canvas thread.
        let Wanted { mapping, ssrc: ssrc_wanted, active, transcoded: _ } = wanted;
        let Mapping { payload_types: payload_map, codecs } = &**mapping;
        RouteForm {
            key: key.into(),
            id: *id,
            ssrc: *ssrc,
            stream: *stream,
            payload_map: payload_map.clone(),
            codecs: codecs.iter().map(|codec| codec.wire.encode_to_vec()).collect(),
            ssrc_wanted: *ssrc_wanted,
            active: *active,
        }
    }

    fn held(self, known: &mut Known) -> Result<(RouteKey, HeldRoute), String> {
        let mut codecs = Vec::new();
        for bytes in &self.codecs {
            if let Some(codec) = known.codecs.get(bytes) {
                codecs.push(Arc::clone(codec));
                continue;
            }
            let codec: media::Codec = message("a codec of a route", bytes)?;
            let codec = Arc::new(Codec::read(&codec).map_err(|error: NodeError| error.to_string())?);
            known.codecs.insert(bytes.clone(), Arc::clone(&codec));
            codecs.push(codec);
        }
        let mapping = shared(&mut known.mappings, Mapping { payload_types: self.payload_map, codecs });
        let (ssrc, active) = (self.ssrc_wanted, self.active);
        let wanted = Wanted { mapping, ssrc, active, transcoded: None };
        Ok((self.key.into(), HeldRoute { id: self.id, ssrc: self.ssrc, stream: self.stream, wanted }))
    }
}

impl From<&RouteKey> for KeyForm {
    fn from(key: &RouteKey) -> KeyForm {
        let RouteKey { from_leg, from_medium, to_leg, to_medium } = key;
        KeyForm {
            from_leg: from_leg.to_string(),
            from_medium: from_medium.to_string(),
            to_leg: to_leg.to_string(),
            to_medium: to_medium.to_string(),
        }
    }
}

impl From<KeyForm> for RouteKey {
    fn from(key: KeyForm) -> RouteKey {
        let KeyForm { from_leg, from_medium, to_leg, to_medium } = key;
        RouteKey {
            from_leg: from_leg.into(),
            from_medium: from_medium.into(),
            to_leg: to_leg.into(),
            to_medium: to_medium.into(),
        }
    }
}
