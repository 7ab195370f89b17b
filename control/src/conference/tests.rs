//! Histories of the core, step by step.

use super::*;
use crate::nodes::NodeFailure;
use crate::refusal::Refusal;
use crate::store::StoreError;
use motet_proto::conference as wire;
use motet_proto::media::MediaKind;
use motet_proto::node::{
    self, ConferenceAllocation, ListConferencesRequest, ListConferencesResponse, NodeDescription,
    RunningConference,
};
use motet_proto::registry::{self, NodeState};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;
use wire::ConferenceEventKind as Kind;

mod admission;
mod booking;
mod content;
mod draining;
mod following;
mod heard;
mod histories;
mod isolation;
mod listing;
mod losing;
mod many;
mod notes;
mod operating;
mod pictures;
mod recordings;
mod restoring;
mod room;
mod settling;
mod sound;
mod sources;
mod unrestored;
mod waits;

/// What a node runs of a conference: epoch, revision, metadata.
type Copy = (u64, u64, Vec<u8>);

/// A world in which store and nodes do as they are told, unless the script says otherwise.
struct World {
    state: State,
    now: Now,
    requests: u64,
    /// What is waiting for an answer.
    pending: Vec<Effect>,
    replies: BTreeMap<u64, Result<Response, Refusal>>,
    events: Vec<(Kind, String)>,
    /// The same, as they are told.
    told: Vec<wire::ConferenceEvent>,
    /// What each node runs: epoch, revision, metadata, by conference.
    nodes: BTreeMap<String, BTreeMap<String, Copy>>,
    stored: BTreeMap<String, Record>,
    notes: BTreeMap<String, NodeNote>,
    /// Start of each node.
    boots: BTreeMap<String, String>,
    /// Whom packets come from, and the last event that says so, as lists have it.
    heard: (Vec<String>, u64),
    /// Nodes that answer nobody.
    dead: BTreeSet<String>,
    /// Nodes that control does not reach, and other nodes do.
    cut: BTreeSet<String>,
    /// Of these, nodes that other nodes do not reach either.
    alone: BTreeSet<String>,
    /// The indexes are checked after each event.
    checked: bool,
    /// Conferences that control looked at: the most in one step, and all together.
    looked_max: u64,
    looked: u64,
}

impl World {
    fn new() -> World {
        let mut world = World::unloaded();
        world.event(Event::StoreLoaded(vec![]));
        world
    }

    fn unloaded() -> World {
        World {
            state: State::new(Options::default()),
            now: Now { steady_ms: 1_000, unix_ms: 1_700_000_000_000 },
            requests: 0,
            pending: Vec::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            told: Vec::new(),
            nodes: BTreeMap::new(),
            stored: BTreeMap::new(),
            notes: BTreeMap::new(),
            boots: BTreeMap::new(),
            heard: Default::default(),
            dead: BTreeSet::new(),
            cut: BTreeSet::new(),
            alone: BTreeSet::new(),
            checked: true,
            looked_max: 0,
            looked: 0,
        }
    }

    fn event(&mut self, event: Event) {
        for effect in step(&mut self.state, event, self.now) {
            match effect {
                Effect::Reply(id, answer) => {
                    assert!(self.replies.insert(id.0, *answer).is_none(), "answered twice");
                }
                Effect::Emit(event) => {
                    self.told.push((*event).clone());
                    self.events.push((event.kind(), event.message));
                }
                other => self.pending.push(other),
            }
        }
        let looked = self.state.conferences.looked();
        (self.looked_max, self.looked) = (self.looked_max.max(looked), self.looked + looked);
        if self.checked {
            self.state.conferences.check();
        }
    }

    fn request(&mut self, request: Request) -> u64 {
        self.requests += 1;
        self.event(Event::Request(RequestId(self.requests), request));
        self.requests
    }

    /// Announces a node that listens at an address made of its name.
    fn announce(&mut self, name: &str, boot: &str) {
        self.requests += 1;
        self.nodes.entry(name.to_owned()).or_default();
        self.boots.insert(name.into(), boot.into());
        let description =
            NodeDescription { node_id: name.into(), boot_id: boot.into(), ..Default::default() };
        let node = NodeAnnouncement { held: Vec::new(), address: name.into(), description, leaving: false };
        self.event(Event::Announced(RequestId(self.requests), Box::new(node)));
    }

    /// Answers the first thing that waits, well or badly. False: nothing waits.
    fn answer(&mut self, well: bool) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        match self.pending.remove(0) {
            Effect::StorePut { token, record, .. } => {
                let result = if well { Ok(()) } else { Err(StoreError::Unavailable("away".into())) };
                let conference = record.id.clone();
                if well {
                    self.stored.insert(conference.clone(), *record);
                }
                self.event(Event::StorePutDone { token, conference, result });
            }
            Effect::StoreLoad if well => {
                self.event(Event::StoreLoaded(self.stored.values().cloned().collect()))
            }
            Effect::StoreLoad => self.event(Event::StoreLoadFailed("away".into())),
            Effect::Notes(order) => self.answer_note(order, well),
            Effect::StoreRemove { conference } => {
                let result = if well { Ok(()) } else { Err(StoreError::Unavailable("away".into())) };
                if well {
                    self.stored.remove(&conference);
                }
                self.event(Event::StoreRemoved { conference, result });
            }
            Effect::NodePut { token, conference, to, put } => {
                let well = well && self.hears(&to);
                let result = if well { self.put(&to.address, &put) } else { Err(cut()) };
                self.event(Event::NodePutDone { token, conference, result });
            }
            Effect::NodeDelete { to, delete } => {
                let reached = self.hears(&to);
                let runs = self.nodes.get_mut(&to.address).expect("a known node");
                if reached && runs.get(&delete.id).is_some_and(|(epoch, ..)| *epoch <= delete.epoch) {
                    runs.remove(&delete.id);
                }
            }
            Effect::NodeList { token, node, list, .. } => {
                let well = well && self.reached(&node);
                let result = if well { Ok(self.page(&node, &list)) } else { Err(cut()) };
                self.event(Event::NodeListed { token, node, result });
            }
            Effect::NodeDescribe { token, node, .. } => {
                let well = well && self.reached(&node);
                let boot_id = self.boots.get(&node).cloned().unwrap_or_default();
                let description = NodeDescription { node_id: node.clone(), boot_id, ..Default::default() };
                self.event(Event::NodeDescribed {
                    token,
                    node,
                    result: Box::new(if well { Ok(description) } else { Err(cut()) }),
                });
            }
            Effect::NodeProbe { token, node, by, .. } => {
                let reachable = !self.dead.contains(&node) && !self.alone.contains(&node);
                let boot_id = self.boots.get(&node).cloned().filter(|_| reachable).unwrap_or_default();
                let said = node::ProbeResponse { reachable, boot_id, why: String::new() };
                let result = if well && self.reached(&by) { Ok(said) } else { Err(cut()) };
                self.event(Event::NodeProbed { token, node, by, result });
            }
            _ => {}
        }
        true
    }

    fn answer_note(&mut self, order: NoteOrder, well: bool) {
        let away = || StoreError::Unavailable("away".into());
        match order {
            NoteOrder::Load => {
                let loaded = self.notes.values().cloned().collect();
                let result = if well { Ok(loaded) } else { Err(away()) };
                self.event(Event::Notes(NoteAnswer::Loaded(result)));
            }
            NoteOrder::Put(request, note) => {
                if well && note.is_empty() {
                    self.notes.remove(&note.node);
                } else if well {
                    self.notes.insert(note.node.clone(), note.clone());
                }
                let result = if well { Ok(()) } else { Err(away()) };
                self.event(Event::Notes(NoteAnswer::Put(request, note, result)));
            }
        }
    }

    /// Whether a node hears what is sent to it, or through another one.
    fn hears(&self, to: &NodeAddress) -> bool {
        match &to.via {
            None => self.reached(&to.address),
            Some(via) => {
                let (dead, alone) = (self.dead.contains(&to.address), self.alone.contains(&to.address));
                self.reached(via) && !dead && !alone
            }
        }
    }

    fn reached(&self, node: &str) -> bool {
        !self.dead.contains(node) && !self.cut.contains(node)
    }

    fn put(
        &mut self,
        node: &str,
        put: &node::PutConferenceRequest,
    ) -> Result<ConferenceAllocation, NodeFailure> {
        let spec = put.spec.clone().expect("a specification");
        let runs = self.nodes.get_mut(node).expect("a known node");
        if runs.get(&spec.id).is_some_and(|(epoch, ..)| *epoch > put.epoch) {
            return Err(NodeFailure::Refused { code: Code::FailedPrecondition, message: "epoch".into() });
        }
        runs.insert(spec.id.clone(), (put.epoch, put.revision, spec.metadata));
        let given = |leg: &node::Leg| {
            let given = leg.transports.iter().map(|asked| node::TransportAllocation {
                transport: asked.id.clone(),
                local: format!("{node}:5000"),
                ..Default::default()
            });
            node::LegAllocation { leg: leg.id.clone(), transports: given.collect() }
        };
        let legs = spec.legs.iter().map(given);
        Ok(ConferenceAllocation { id: spec.id, legs: legs.collect(), ..Default::default() })
    }

    fn list(&self, node: &str) -> ListConferencesResponse {
        let boot_id = self.boots[node].clone();
        let conferences =
            self.nodes[node].iter().map(|(id, (epoch, revision, metadata))| RunningConference {
                id: id.clone(),
                epoch: *epoch,
                revision: *revision,
                metadata: metadata.clone(),
                alive_legs: self.heard.0.clone(),
                ..Default::default()
            });
        let (conferences, event_sequence) = (conferences.collect(), self.heard.1);
        ListConferencesResponse {
            node_id: node.into(),
            boot_id,
            conferences,
            event_sequence,
            ..Default::default()
        }
    }

    /// What it was asked for of what it runs.
    fn page(&self, node: &str, asked: &ListConferencesRequest) -> ListConferencesResponse {
        let mut list = self.list(node);
        list.conferences.retain(|copy| copy.id > asked.after);
        list.more = asked.limit > 0 && list.conferences.len() > asked.limit as usize;
        if list.more {
            list.conferences.truncate(asked.limit as usize);
        }
        list
    }

    fn settle(&mut self) {
        while self.answer(true) {}
    }

    fn pass(&mut self, ms: u64) {
        self.now.steady_ms += ms;
        self.now.unix_ms += ms as i64;
        self.event(Event::Tick);
    }

    fn create(&mut self, id: &str, number: &str) -> u64 {
        let create = wire::CreateRequest { number: number.into(), ..Default::default() };
        self.request(Request::Create { id: id.into(), seed: 7, create })
    }

    fn join(&mut self, conference: &str, participant: &str) -> u64 {
        let medium = wire::ParticipantMedium { kind: MediaKind::Audio.into(), ..Default::default() };
        let add = wire::AddParticipantRequest {
            conference: conference.into(),
            participant: participant.into(),
            media: vec![medium],
            ..Default::default()
        };
        self.request(Request::Add { id: "chosen".into(), add })
    }

    fn refusal(&self, request: u64) -> &Refusal {
        self.replies[&request].as_ref().expect_err("a refusal")
    }

    fn phase(&self, id: &str) -> Phase {
        self.state.conferences[id].record.phase
    }

    fn emitted(&self, kind: Kind) -> usize {
        self.events.iter().filter(|(known, _)| *known == kind).count()
    }
}

fn cut() -> NodeFailure {
    NodeFailure::Unreachable("cut".into())
}

/// One node, and a conference with one participant on it.
fn running() -> World {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.settle();
    world.create("c1", "700");
    world.settle();
    world.join("700", "alice");
    world.settle();
    assert_eq!(world.phase("c1"), Phase::Running);
    world
}

#[test]
fn a_conference_from_creation_to_end() {
    let mut world = running();
    let request = world.join("c1", "bob");
    assert!(!world.replies.contains_key(&request), "the store and the node come first");
    world.settle();
    assert!(matches!(&world.replies[&request], Ok(Response::Participant(info)) if info.id == "bob"));
    assert_eq!(world.nodes["n1"]["c1"].1, 3, "creation and two joins");
    let end =
        world.request(Request::End(wire::EndRequest { conference: "700".into(), ..Default::default() }));
    world.settle();
    assert!(world.replies[&end].is_ok());
    assert_eq!((world.phase("c1"), world.nodes["n1"].len()), (Phase::Ended, 0));
    world.create("c2", "700");
    world.settle();
    assert_eq!(world.phase("c2"), Phase::Running, "the number is free again");
}

#[test]
fn refusals_name_the_field_and_change_nothing() {
    let mut world = running();
    let before = world.state.conferences.clone();
    let cases = [
        (world.create("c9", "12x"), Code::InvalidArgument, "number"),
        (world.create("c9", "700"), Code::AlreadyExists, "number"),
        (world.join("999", "x"), Code::NotFound, "conference"),
        (world.join("700", "a b"), Code::InvalidArgument, "participant"),
    ];
    for (request, code, field) in cases {
        let refusal = world.refusal(request);
        assert_eq!((refusal.code, refusal.field.as_str()), (code, field), "{refusal}");
    }
    assert_eq!(world.state.conferences, before);
    assert_eq!(world.pending, []);
}

#[test]
fn the_same_again_is_harmless() {
    let mut world = running();
    let again = world.join("700", "alice");
    assert!(world.replies[&again].is_ok() && world.pending.is_empty());
    let create = wire::CreateRequest { request_id: "r1".into(), ..Default::default() };
    let first = world.request(Request::Create { id: "c2".into(), seed: 7, create: create.clone() });
    world.settle();
    let second = world.request(Request::Create { id: "c3".into(), seed: 7, create });
    assert_eq!(world.replies[&first], world.replies[&second]);
}

#[test]
fn a_node_that_does_not_answer_is_passed_over() {
    let mut world = World::new();
    world.announce("n1", "b1");
    world.announce("n2", "b1");
    world.settle();
    let request = world.create("c1", "");
    let first = world.state.conferences["c1"].record.node_id.clone();
    world.answer(true);
    world.answer(false);
    world.settle();
    assert!(world.replies[&request].is_ok());
    let record = &world.state.conferences["c1"].record;
    assert_eq!((record.node_id == first, record.epoch), (false, 2), "each assignment has its epoch");
}

#[test]
fn without_a_node_the_reason_is_given() {
    let mut world = World::new();
    let request = world.create("c1", "");
    assert_eq!(world.refusal(request).code, Code::ResourceExhausted);
    assert!(world.state.conferences.is_empty());
}

#[test]
fn a_join_that_the_node_did_not_confirm_is_taken_back() {
    let mut world = running();
    let request = world.join("700", "bob");
    world.answer(true);
    // The node does it, and the answer is lost.
    let Some(Effect::NodePut { to, put, .. }) = world.pending.first().cloned() else { panic!("a put") };
    world.put(&to.address, &put).expect("the node is well");
    world.answer(false);
    assert_eq!(world.refusal(request).code, Code::Unavailable);
    assert!(!world.state.conferences["c1"].record.participants.contains_key("bob"));
    world.live(1_500);
    let (_, revision, metadata) = &world.nodes["n1"]["c1"];
    let record: Record = serde_json::from_slice(metadata).expect("a record");
    assert!(*revision > 3 && !record.participants.contains_key("bob"), "the node was repaired");
}

#[test]
fn without_the_store_changes_are_refused_and_reads_go_on() {
    let mut world = running();
    let request = world.join("700", "bob");
    world.answer(false);
    assert_eq!(world.refusal(request).code, Code::Unavailable);
    assert!(world.refusal(request).message.contains("store"), "{}", world.refusal(request));
    let get = world.request(Request::Get(wire::GetRequest { conference: "700".into() }));
    assert!(world.replies[&get].is_ok());
    let create = world.create("c2", "");
    assert_eq!(world.refusal(create).code, Code::Unavailable);
    world.pass(2_000);
    world.settle();
    let again = world.join("700", "bob");
    world.settle();
    assert!(world.replies[&again].is_ok(), "{:?}", world.replies[&again]);
}

#[test]
fn control_that_was_started_again_takes_over_what_runs() {
    let old = running();
    let mut world = World::new();
    world.nodes = old.nodes;
    world.announce("n1", "b1");
    world.settle();
    let record = &world.state.conferences["c1"].record;
    assert_eq!((record.number.as_str(), record.phase, record.revision), ("700", Phase::Running, 2));
    assert!(record.participants.contains_key("alice"));
    let join = world.join("700", "bob");
    world.settle();
    assert!(world.replies[&join].is_ok());
}

#[test]
fn a_copy_of_an_ended_conference_or_of_an_old_epoch_is_removed() {
    let mut world = running();
    world.request(Request::End(wire::EndRequest { conference: "700".into(), ..Default::default() }));
    world.answer(true);
    // The node does not hear of it.
    world.pending.clear();
    world.pass(5_000);
    world.announce("n1", "b1");
    world.settle();
    assert!(world.nodes["n1"].is_empty());
    assert_eq!(world.phase("c1"), Phase::Ended);
}
