//! Numbers and ports for planning, taken for good or given back together.

use crate::error::NodeError;
use crate::ids::IdPool;
use crate::model::Transport;
use crate::placement::{Limits, WorkerLoad, choose};
use crate::plan::{HeldPorts, Released, Resources};
use crate::ports::PortPool;
use motet_net::SocketId;
use motet_relay::limits::{LEGS_MAX, ROUTES_MAX, STREAMS_MAX};
use motet_relay::{LegId, PortId, RouteId, StreamId};
use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;

/// The numbers of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerIds {
    pub(crate) legs: IdPool,
    pub(crate) streams: IdPool,
    pub(crate) routes: IdPool,
    pub(crate) ports: IdPool,
    /// One for each pool, if legs share the worker's ports.
    pub(crate) shared: Vec<HeldPorts>,
}

/// How many take part, and in how many conferences, on each thread. Mixing threads come after the workers, and canvas
/// threads after those.
#[derive(Clone, Debug, Default)]
pub(crate) struct ThreadLoads {
    pub(crate) mixing: Vec<(usize, usize)>,
    pub(crate) canvas: Vec<(usize, usize)>,
}

/// Takes numbers and ports, and remembers them until they are kept or given back.
pub(crate) struct Taker<'a> {
    ids: &'a mut [WorkerIds],
    pools: &'a mut [PortPool],
    /// With what this plan has placed so far.
    loads: Vec<WorkerLoad>,
    limits: Limits,
    /// What other threads have to do.
    threads: ThreadLoads,
    /// The recorder's place in the exchange.
    recorder: Option<usize>,
    taken: Released,
    /// Sockets of the taken ports, by worker.
    pub(crate) opened: BTreeMap<usize, Vec<(SocketId, UdpSocket)>>,
}

impl<'a> Taker<'a> {
    pub(crate) fn new(
        ids: &'a mut [WorkerIds],
        pools: &'a mut [PortPool],
        loads: &[WorkerLoad],
        limits: Limits,
        threads: ThreadLoads,
    ) -> Taker<'a> {
        let (loads, taken) = (loads.to_vec(), Released::default());
        Taker { ids, pools, loads, limits, threads, recorder: None, taken, opened: BTreeMap::new() }
    }

    /// With a recorder, if there is one.
    pub(crate) fn recording(self, recorder: Option<usize>) -> Taker<'a> {
        Taker { recorder, ..self }
    }

    /// Gives back all that was taken.
    pub(crate) fn undo(self) {
        let Taker { ids, pools, taken, opened, .. } = self;
        drop(opened);
        give_back(ids, pools, taken);
    }
}

/// Gives numbers and ports back to where they came from.
pub(crate) fn give_back(ids: &mut [WorkerIds], pools: &mut [PortPool], released: Released) {
    released.legs.iter().for_each(|(worker, id)| ids[*worker].legs.give_back(id.0));
    released.streams.iter().for_each(|(worker, id)| ids[*worker].streams.give_back(id.0));
    released.routes.iter().for_each(|(worker, id)| ids[*worker].routes.give_back(id.0));
    released.trunk_ports.iter().for_each(|(worker, id)| ids[*worker].ports.give_back(id.0));
    for (worker, ports) in released.ports.into_iter().filter(|(_, ports)| !ports.shared) {
        pools[ports.pool].give_back(ports.base);
        ids[worker].ports.give_back(ports.rtp.0.0);
        if let Some((port, _)) = ports.rtcp {
            ids[worker].ports.give_back(port.0);
        }
    }
}

/// A number, unless as many as the relay can hold are in use.
fn take(pool: &mut IdPool, max: usize, field: &str, what: &str) -> Result<u32, NodeError> {
    if pool.taken() as usize >= max {
        let why =
            format!("the worker already holds {max} {what}, its limit; use more workers or another node");
        return Err(NodeError::Exhausted { field: field.to_owned(), why });
    }
    Ok(pool.take())
}

/// The thread with least to do.
fn least(threads: &[(usize, usize)]) -> Option<usize> {
    (0..threads.len()).min_by_key(|thread| threads[*thread])
}

impl Resources for Taker<'_> {
    fn worker(&mut self, legs: &BTreeMap<usize, u32>) -> usize {
        let worker = choose(&self.loads, legs, &self.limits);
        self.loads[worker].place(1, 0);
        worker
    }

    fn leg(&mut self, worker: usize) -> Result<LegId, NodeError> {
        let id = LegId(take(&mut self.ids[worker].legs, LEGS_MAX, "spec.legs", "legs")?);
        self.taken.legs.push((worker, id));
        Ok(id)
    }

    fn stream(&mut self, worker: usize) -> Result<StreamId, NodeError> {
        let pool = &mut self.ids[worker].streams;
        let id = StreamId(take(pool, STREAMS_MAX, "spec.legs.media", "streams")?);
        self.taken.streams.push((worker, id));
        Ok(id)
    }

    fn route(&mut self, worker: usize) -> Result<RouteId, NodeError> {
        let id = RouteId(take(&mut self.ids[worker].routes, ROUTES_MAX, "spec.routes", "routes")?);
        self.taken.routes.push((worker, id));
        Ok(id)
    }

    fn trunk_port(&mut self, worker: usize) -> PortId {
        let port = PortId(self.ids[worker].ports.take());
        self.taken.trunk_ports.push((worker, port));
        port
    }

    fn ports(&mut self, worker: usize, transport: &Transport) -> Result<HeldPorts, NodeError> {
        let Transport { ipv6, rtcp_mux, port_wanted, .. } = *transport;
        let field = "spec.legs.transports";
        let Some(pool) = self.pools.iter().position(|pool| pool.ip().is_ipv6() == ipv6) else {
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            return Err(NodeError::invalid(
                field,
                format!("this node has no {family} media address (--media-ip)"),
            ));
        };
        if let Some(shared) = self.ids[worker].shared.get(pool) {
            return Ok(shared.clone());
        }
        let ports = &mut self.pools[pool];
        let pair = ports.take(port_wanted, rtcp_mux).map_err(|error| NodeError::Exhausted {
            field: field.to_owned(),
            why: match error.kind() {
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => format!(
                    "port range exhausted: {} of {} pairs of {} are in use here and other programs hold the rest; \
                     give a wider --port-range",
                    ports.used(),
                    ports.pairs(),
                    ports.ip()
                ),
                _ => format!("cannot open a UDP socket on {}: {error}", ports.ip()),
            },
        })?;
        let ids = &mut self.ids[worker].ports;
        let opened = self.opened.entry(worker).or_default();
        let rtp = PortId(ids.take());
        opened.push((SocketId(rtp.0), pair.rtp));
        let rtcp = pair.rtcp.map(|socket| {
            let port = PortId(ids.take());
            opened.push((SocketId(port.0), socket));
            let mut address = pair.rtp_address;
            address.set_port(pair.base + 1);
            (port, address)
        });
        let held = HeldPorts { pool, base: pair.base, rtp: (rtp, pair.rtp_address), rtcp, shared: false };
        self.taken.ports.push((worker, held.clone()));
        Ok(held)
    }

    fn mixer(&mut self) -> Result<usize, NodeError> {
        let why = "this node has no mixing threads (--mixing-threads)";
        let least = least(&self.threads.mixing);
        let least =
            least.ok_or_else(|| NodeError::Exhausted { field: "spec.audio.mode".into(), why: why.into() })?;
        Ok(self.loads.len() + least)
    }

    fn canvas(&mut self) -> Result<usize, NodeError> {
        let why = "this node has no canvas threads (--canvas-threads)";
        let least = least(&self.threads.canvas);
        let least =
            least.ok_or_else(|| NodeError::Exhausted { field: "spec.video.mode".into(), why: why.into() })?;
        Ok(self.loads.len() + self.threads.mixing.len() + least)
    }

    fn recorder(&mut self) -> Option<usize> {
        self.recorder
    }

    fn random(&mut self) -> u32 {
        rand::random()
    }
}
