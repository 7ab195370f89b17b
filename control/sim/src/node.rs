//! The media node's double. It keeps to the contract of `proto/proto/media_node.proto`, and so to the
//! refusals of `engine/node/src/state.rs`; media themselves are left out.

use crate::checks::Mutation;
use crate::message::{Ask, CallId, Who};
use motet_control::nodes::NodeFailure;
use motet_proto::node as wire;
use std::collections::BTreeMap;
use tonic::Code;

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Up,
    /// SIGSTOP: what comes waits.
    Stopped,
    Down,
}

/// A conference on a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) spec: wire::ConferenceSpec,
    pub(crate) allocation: wire::ConferenceAllocation,
    /// See [`Node::list`].
    changed: u64,
}

/// A media node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) room: String,
    pub(crate) life: Life,
    /// Counts starts.
    pub(crate) boot: u64,
    pub(crate) draining: bool,
    pub(crate) conferences: BTreeMap<String, Running>,
    /// Epoch and revision of what ended here.
    ended: BTreeMap<String, (u64, u64)>,
    pub(crate) legs_max: u32,
    next_port: u32,
    /// What came while it was stopped.
    pub(crate) inbox: Vec<(Who, CallId, Ask)>,
    /// Control processes that watch, with the generation of their watch.
    pub(crate) watchers: BTreeMap<usize, u64>,
    pub(crate) sequence: u64,
    /// Counts changes of conferences.
    changes: u64,
    pub(crate) mutation: Option<Mutation>,
}

impl Node {
    pub(crate) fn new(index: usize, mutation: Option<Mutation>) -> Node {
        Node {
            name: Who::Node(index).to_string(),
            room: format!("room{}", 1 + index / 2),
            life: Life::Up,
            boot: 1,
            draining: false,
            conferences: BTreeMap::new(),
            ended: BTreeMap::new(),
            legs_max: 0,
            next_port: 0,
            inbox: Vec::new(),
            watchers: BTreeMap::new(),
            sequence: 0,
            changes: 0,
            mutation,
        }
    }

    pub(crate) fn boot_id(&self) -> String {
        format!("{}.{}", self.name, self.boot)
    }

    /// The process is gone, with all that it held.
    pub(crate) fn crash(&mut self) {
        self.life = Life::Down;
        self.boot += 1;
        self.draining = false;
        self.conferences.clear();
        self.ended.clear();
        self.inbox.clear();
        self.watchers.clear();
        self.sequence = 0;
    }

    pub(crate) fn describe(&self) -> wire::NodeDescription {
        let legs = self.conferences.values().map(|running| running.spec.legs.len() as u32).sum();
        wire::NodeDescription {
            node_id: self.name.clone(),
            boot_id: self.boot_id(),
            room: self.room.clone(),
            draining: self.draining,
            capacity: Some(wire::Capacity {
                workers: 2,
                legs_max: self.legs_max,
                mixing_threads: 1,
                canvas_threads: 1,
                ..Default::default()
            }),
            load: Some(wire::Load { conferences: self.conferences.len() as u32, legs, ..Default::default() }),
            ..Default::default()
        }
    }

    pub(crate) fn put(
        &mut self,
        put: &wire::PutConferenceRequest,
    ) -> Result<wire::ConferenceAllocation, NodeFailure> {
        let mut spec = put.spec.clone().ok_or_else(|| refused(Code::InvalidArgument, "spec is missing"))?;
        let (epoch, revision) = (put.epoch, put.revision);
        if epoch == 0 || revision == 0 {
            return Err(refused(Code::InvalidArgument, "epoch and revision must be at least 1"));
        }
        if let Some(running) = self.conferences.get(&spec.id) {
            let stale = (epoch, revision) < (running.epoch, running.revision);
            if stale && self.mutation != Some(Mutation::NodeTakesStaleEpochs) {
                return Err(refused(Code::FailedPrecondition, "epoch or revision is older than what runs"));
            }
            if (epoch, revision) == (running.epoch, running.revision) {
                if running.spec == spec {
                    return Ok(running.allocation.clone());
                }
                return Err(refused(Code::FailedPrecondition, "revision runs with another specification"));
            }
        } else {
            if self.ended.get(&spec.id).is_some_and(|ended| (epoch, revision) <= *ended) {
                return Err(refused(Code::FailedPrecondition, "ended here in this epoch"));
            }
            if self.draining {
                return Err(refused(Code::Unavailable, "drains"));
            }
        }
        if self.mutation == Some(Mutation::NodeLosesLegs) && spec.legs.len() > 1 {
            spec.legs.pop();
        }
        let allocation = self.allocate(&spec, epoch, revision);
        self.changes += 1;
        let changed = self.changes;
        let running = Running { epoch, revision, spec, allocation: allocation.clone(), changed };
        self.conferences.insert(allocation.id.clone(), running);
        Ok(allocation)
    }

    /// Legs that are there already keep their ports.
    fn allocate(
        &mut self,
        spec: &wire::ConferenceSpec,
        epoch: u64,
        revision: u64,
    ) -> wire::ConferenceAllocation {
        let before = self.conferences.get(&spec.id).map(|running| running.allocation.clone());
        let before = before.unwrap_or_default();
        let mut legs = Vec::new();
        for leg in &spec.legs {
            let kept = before.legs.iter().find(|kept| kept.leg == leg.id).cloned();
            legs.push(kept.unwrap_or_else(|| {
                let transports = leg.transports.iter().map(|transport| {
                    self.next_port += 2;
                    wire::TransportAllocation {
                        transport: transport.id.clone(),
                        local: format!("{}:{}", self.name, 20_000 + self.next_port),
                        local_rtcp: format!("{}:{}", self.name, 20_001 + self.next_port),
                    }
                });
                wire::LegAllocation { leg: leg.id.clone(), transports: transports.collect() }
            }));
        }
        wire::ConferenceAllocation { id: spec.id.clone(), epoch, revision, legs, ..Default::default() }
    }

    /// True: it ran and runs no longer.
    pub(crate) fn delete(&mut self, delete: &wire::DeleteConferenceRequest) -> bool {
        let Some(running) = self.conferences.get(&delete.id) else { return false };
        if delete.epoch < running.epoch || self.mutation == Some(Mutation::NodeKeepsDeleted) {
            return false;
        }
        self.ended.insert(delete.id.clone(), (delete.epoch, running.revision));
        self.conferences.remove(&delete.id);
        true
    }

    /// What it runs and is asked for.
    pub(crate) fn list(&self, asked: &wire::ListConferencesRequest) -> wire::ListConferencesResponse {
        let known = asked.since.split_once('/').filter(|(boot_id, _)| *boot_id == self.boot_id());
        let known = known.and_then(|(_, changes)| changes.parse::<u64>().ok());
        let brief = |(id, running): (&String, &Running)| {
            known.is_some_and(|known| running.changed <= known) && !asked.in_full.contains(id)
        };
        let in_brief = |(id, running): (&String, &Running)| wire::RunningConference {
            id: id.clone(),
            epoch: running.epoch,
            revision: running.revision,
            brief: true,
            ..wire::RunningConference::default()
        };
        let in_full = |(id, running): (&String, &Running)| wire::RunningConference {
            id: id.clone(),
            epoch: running.epoch,
            revision: running.revision,
            legs: running.spec.legs.iter().map(|leg| leg.id.clone()).collect(),
            metadata: running.spec.metadata.clone(),
            spec: Some(running.spec.clone()),
            allocation: Some(running.allocation.clone()),
            workers: vec![0],
            ..wire::RunningConference::default()
        };
        let limit = if asked.limit == 0 { usize::MAX } else { asked.limit as usize };
        let mut conferences = self.conferences.iter().filter(|(id, _)| **id > asked.after);
        let page = conferences.by_ref().take(limit);
        let page = page.map(|copy| if brief(copy) { in_brief(copy) } else { in_full(copy) }).collect();
        wire::ListConferencesResponse {
            node_id: self.name.clone(),
            boot_id: self.boot_id(),
            conferences: page,
            more: conferences.next().is_some(),
            cursor: format!("{}/{}", self.boot_id(), self.changes),
            ..wire::ListConferencesResponse::default()
        }
    }

    pub(crate) fn drain(&mut self, drain: Option<wire::DrainRequest>) -> u32 {
        self.draining = drain.is_some();
        if drain.is_some() { self.conferences.len() as u32 } else { 0 }
    }
}

fn refused(code: Code, message: &str) -> NodeFailure {
    NodeFailure::Refused { code, message: message.to_owned() }
}
