//! What the store and nodes said to an operation, and what follows.

use super::audio::AudioChange;
use super::effect::{Effect, NodeAddress};
use super::limits::no_place;
use super::model::{Abandoned, Node, Operation, Phase, Record, RequestId, Token, Work};
use super::requests::Response;
use super::specification::specification;
use super::step::{About, RETRY_MS, Step};
use crate::nodes::NodeFailure;
use crate::refusal::Refusal;
use crate::store::StoreError;
use motet_proto::conference as wire;
use motet_proto::node;
use motet_proto::registry::NodeState;
use std::net::SocketAddr;
use tonic::Code;
use wire::ConferenceEventKind as Kind;

const NO_NODE: &str = "it does not wait for a node";

impl Step<'_> {
    /// The store answered an operation.
    pub(super) fn stored(&mut self, moid: &str, result: Result<(), StoreError>) {
        let conference = self.conference(moid).expect("the caller found it");
        let operation = conference.operation.take().expect("the caller saw it");
        if let Err(error) = result {
            return self.not_stored(moid, operation, error);
        }
        match operation.work {
            Work::Save { request, told } => self.saved(moid, operation.next, request, told),
            Work::Book { request, .. } => {
                let record = &operation.next;
                let told = format!("{} {} was made", record.schedule.kind.name(), record.label());
                self.saved(moid, operation.next, request, vec![(Kind::Booked, told)]);
            }
            Work::End { request } => {
                let node = operation.next.node_id.clone();
                let epoch = operation.next.epoch;
                conference.record = operation.next;
                conference.alive.clear();
                conference.repair = false;
                conference.ending = None;
                let label = conference.record.label().to_owned();
                let info = self.state.info(&self.state.conferences[moid]);
                self.delete_on(&node, moid, epoch);
                let about = About { conference: moid, ..About::default() };
                self.emit(Kind::Ended, about, format!("conference {label} ended: {}", info.reason));
                self.reply(request, Ok(Response::Conference(Box::new(info))));
                self.refuse_joins(moid);
                self.look_for_restores();
                self.next_request(moid);
            }
            _ if self.kept_for_later(&operation) => {
                let conference = self.conference(moid).expect("the caller found it");
                let version = conference.record.version;
                let before = std::mem::replace(&mut conference.record, Record { version, ..operation.next });
                conference.repair = conference.record.phase == Phase::Running;
                self.changed(moid, operation.work, &before);
                self.wait_for_restore();
                self.next_request(moid);
            }
            Work::Confirm { request } => {
                self.conference(moid).expect("the caller found it").record = operation.next;
                self.created_at_last(moid, request);
            }
            Work::Claim => {
                self.conference(moid).expect("the caller found it").record = operation.next;
                self.claimed(moid);
            }
            _ => {
                let (next, token) = (operation.next.clone(), operation.token);
                let from = match &operation.work {
                    Work::Restore { from, .. } => Some(from.clone()),
                    _ => None,
                };
                let since_ms = self.now.steady_ms;
                let operation = Operation { at_node: true, since_ms, ..operation };
                self.conference(moid).expect("the caller found it").operation = Some(operation);
                if let Some(from) = from {
                    let (node, number) = (next.node_id.as_str(), &next.number);
                    let message = format!("conference {number} goes from node {from} to node {node}");
                    self.emit(Kind::Restoring, About { conference: moid, node, ..About::default() }, message);
                }
                self.put_on_node(moid, token, &next);
            }
        }
    }

    /// The store holds it as running: whoever asked is told.
    fn created_at_last(&mut self, moid: &str, request: RequestId) {
        let info = Box::new(self.state.info(&self.state.conferences[moid]));
        let (number, node) = (info.number.clone(), info.node_id.clone());
        let about = About { conference: moid, node: &node, ..About::default() };
        self.emit(Kind::Created, about, format!("conference {number} created"));
        self.emit(Kind::Running, about, format!("conference {number} runs on node {node}"));
        self.reply(request, Ok(Response::Conference(info)));
        let lost = |node: &Node| matches!(node.state, NodeState::Lost | NodeState::Joining);
        if self.state.nodes.get(&node).is_none_or(lost) {
            self.pending_restore(moid, &format!("node {node} was lost meanwhile"));
        }
        self.next_request(moid);
    }

    fn not_stored(&mut self, moid: &str, operation: Operation, error: StoreError) {
        if let StoreError::Promised(why) = error {
            return self.not_promised(moid, operation, why);
        }
        let number = operation.next.number.clone();
        let unknown = matches!(error, StoreError::Unavailable(_) | StoreError::Conflict);
        let refusal = self.store_refusal(error, &number);
        match operation.work {
            Work::Create { request, tried, number_chosen } => {
                let retry = (number_chosen && refusal.code == Code::AlreadyExists)
                    .then(|| self.free_number(Some(&number), &operation.next.user_domain).ok())
                    .flatten();
                if let Some(number) = retry {
                    let next = Record { number, ..operation.next };
                    self.conference(moid).expect("it is being created").record = next.clone();
                    return self.start(moid, next, Work::Create { request, tried, number_chosen });
                }
                // An answer that was lost may still have been a write; what it wrote must not stay.
                let nothing = !unknown && self.state.conferences[moid].stored.base.is_none();
                if nothing {
                    self.never_was(moid, request, refusal)
                } else {
                    self.forget(moid, request, refusal)
                }
            }
            Work::Book { request, number_chosen } => {
                self.not_booked(request, operation.next, number_chosen, refusal);
            }
            // It may hold it, and others may have said that it is there: that is tried again.
            Work::Confirm { request } if unknown => {
                self.reply(request, Err(refusal));
                self.next_request(moid);
            }
            Work::Confirm { request } => {
                self.delete_on(&operation.next.node_id, moid, operation.next.epoch);
                self.forget(moid, request, refusal);
            }
            Work::End { request } if refusal.code == Code::Unavailable => {
                self.end_later(moid, operation.next.reason);
                self.reply(request, Err(refusal));
            }
            Work::Change { request, .. }
            | Work::Audio { request, .. }
            | Work::Save { request, .. }
            | Work::End { request } => {
                self.flush(moid);
                self.reply(request, Err(refusal));
                self.next_request(moid);
            }
            Work::Repair => self.retry_repair(moid),
            Work::Restore { .. } => {
                self.flush(moid);
                self.restore_later(moid);
                self.next_request(moid);
            }
            Work::Claim => self.not_claimed(moid, &refusal),
        }
    }

    /// What who asked is told when the store did not take what is about a conference with this number.
    fn store_refusal(&self, error: StoreError, number: &str) -> Refusal {
        let store = &self.state.options.store;
        match error {
            StoreError::Unavailable(why) => Refusal::plain(
                Code::Unavailable,
                format!("the store {store} cannot be used: {why}; nothing was changed, media goes on"),
            ),
            StoreError::Conflict => {
                Refusal::plain(Code::Aborted, "another control process changed the conference; ask again")
            }
            StoreError::NoPlace(claim) => no_place(&claim.domain, claim.class, claim.max.unwrap_or_default()),
            // A record is not a place; the edge says which claim found none.
            StoreError::Full { occupied } => {
                Refusal::plain(Code::ResourceExhausted, format!("{occupied} conferences are there already"))
            }
            StoreError::NumberTaken => {
                let why = format!("{number} belongs to another conference that has not ended");
                Refusal::at(Code::AlreadyExists, "number", why)
            }
            StoreError::NotInTurn(waited) => {
                let why = format!("others reserve in ZooKeeper, and the turn did not come within {waited:?}");
                Refusal::plain(Code::Unavailable, why).retry_in(RETRY_MS)
            }
            StoreError::RequestTaken { .. } => Refusal::plain(
                Code::Aborted,
                "another control process carries out the same request; ask again",
            ),
            error => {
                Refusal::plain(Code::FailedPrecondition, format!("the store {store} refused it: {error}"))
            }
        }
    }

    /// The node that was chosen for a new conference is promised to others: another one is chosen.
    fn not_promised(&mut self, moid: &str, operation: Operation, why: String) {
        let Work::Create { request, mut tried, number_chosen } = operation.work else {
            unreachable!("only what is being created is reserved")
        };
        tried.insert(operation.next.node_id.clone(), why);
        match self.place(&operation.next, &tried) {
            Ok(placed) => {
                let mut next = operation.next;
                next.assign(placed, self.now.unix_ms);
                self.start(moid, next, Work::Create { request, tried, number_chosen });
            }
            Err(refusal) => self.forget(moid, request, refusal),
        }
    }

    /// Asks for the ports that the legs had under an earlier epoch, on another node: an address may move along.
    fn want_ports(&self, moid: &str, epoch: u64, legs: &mut [node::Leg]) {
        let known = self.state.conferences.get(moid).and_then(|known| known.allocation.as_ref());
        let Some(known) = known.filter(|allocation| allocation.epoch < epoch) else { return };
        for leg in legs {
            let had = known.legs.iter().filter(|had| had.leg == leg.id).flat_map(|had| &had.transports);
            for had in had {
                let port = had.local.parse().map_or(0, |local: SocketAddr| local.port());
                let transport = leg.transports.iter_mut().find(|known| known.id == had.transport);
                if let Some(transport) = transport.filter(|_| port >= 1024 && port.is_multiple_of(2)) {
                    transport.port_wanted = port.into();
                }
            }
        }
    }

    /// Tells the node that carries `record` all of it.
    pub(super) fn put_on_node(&mut self, moid: &str, token: Token, record: &Record) {
        let mut spec = specification(record);
        spec.metadata = serde_json::to_vec(&record.for_nodes()).expect("a record is plain data");
        self.want_ports(moid, record.epoch, &mut spec.legs);
        let put =
            node::PutConferenceRequest { spec: Some(spec), epoch: record.epoch, revision: record.revision };
        match self.way_to(&record.node_id) {
            Some(to) => {
                let conference = moid.to_owned();
                self.effects.push(Effect::NodePut { token, conference, to, put: Box::new(put) });
            }
            None => {
                let why = self.unreached(&record.node_id);
                self.node_put_done(token, moid, Err(NodeFailure::Unreachable(why)));
            }
        }
    }

    pub(super) fn delete_on(&mut self, node: &str, moid: &str, epoch: u64) {
        let way = self.way_to(node);
        if let Some(node) = self.state.nodes.get(node) {
            // Receivers are told goodbye only when it is over.
            let known = self.state.conferences.get(moid).map(|conference| &conference.record);
            let elsewhere = known.is_some_and(|record| {
                record.phase != Phase::Ended && record.node_id != node.description.node_id
            });
            let delete = node::DeleteConferenceRequest { id: moid.to_owned(), epoch, elsewhere };
            // Who is not reached may be again by the time it is sent.
            let to = way.unwrap_or_else(|| NodeAddress { address: node.address.clone(), via: None });
            self.effects.push(Effect::NodeDelete { to, delete });
        }
    }

    /// A node answered.
    pub(super) fn node_put_done(
        &mut self,
        token: Token,
        moid: &str,
        result: Result<node::ConferenceAllocation, NodeFailure>,
    ) {
        let confirmed = self.token();
        let Some(conference) = self.conference(moid) else { return };
        if conference.operation.as_ref().is_none_or(|operation| operation.token != token) {
            return;
        }
        let operation = conference.operation.take().expect("looked at a moment ago");
        match result {
            Ok(allocation) => {
                let version = conference.record.version;
                let before = std::mem::replace(&mut conference.record, Record { version, ..operation.next });
                conference.allocation = Some(allocation);
                conference.confirmed = confirmed;
                conference.repair = false;
                conference.heard = true;
                self.changed(moid, operation.work, &before);
            }
            Err(failure) => self.not_confirmed(moid, operation, failure),
        }
        self.next_request(moid);
    }

    /// The record is another one than before, in the node or, while there is none, only here.
    fn changed(&mut self, moid: &str, work: Work, before: &Record) {
        // Who leaves gives the floor away without being asked.
        let silent = matches!(work, Work::Change { .. });
        self.confirmed(moid, work);
        if silent {
            self.tell_floor(moid, &before.content.holder);
        }
    }

    fn confirmed(&mut self, moid: &str, work: Work) {
        let conference = self.conference(moid).expect("the caller found it");
        let (number, node) = (conference.record.number.clone(), conference.record.node_id.clone());
        let about = About { conference: moid, node: &node, ..About::default() };
        match work {
            Work::Create { request, .. } => {
                // Whoever asked is told when the store holds it: what is still being created is dropped at a
                // restart.
                let next = Record { phase: Phase::Running, ..conference.record.clone() };
                self.start(moid, next, Work::Confirm { request });
            }
            Work::Change { request, joins: true, participant } => {
                let info = conference.participant_info(&participant).expect("it has just been added");
                let about = About { participant: &participant, ..about };
                self.emit(
                    Kind::ParticipantJoined,
                    about,
                    format!("{participant} joined conference {number}"),
                );
                self.reply(request, Ok(Response::Participant(Box::new(info))));
            }
            Work::Change { request, participant, .. } => {
                conference.alive.remove(&participant);
                let about = About { participant: &participant, ..about };
                self.emit(Kind::ParticipantLeft, about, format!("{participant} left conference {number}"));
                let removed = wire::RemoveParticipantResponse { existed: true };
                self.reply(request, Ok(Response::Removed(removed)));
            }
            Work::Audio { request, what } => {
                let response = conference.audio_response(&what);
                if let Some((kind, message)) = conference.record.news(&what) {
                    let participant = match &what {
                        AudioChange::View(who, _) | AudioChange::Content(_, who, _) => who.as_str(),
                        _ => "",
                    };
                    self.emit(kind, About { participant, ..about }, message);
                }
                if let AudioChange::Role(who) = &what {
                    let role = self.role_name(moid, who);
                    let about = About { participant: who, ..about };
                    self.emit(
                        Kind::RoleChanged,
                        about,
                        format!("{who} is {role} of conference {number} now"),
                    );
                }
                self.reply(request, Ok(response));
            }
            Work::Repair => {
                if conference.record.phase != Phase::Running {
                    conference.record.phase = Phase::Running;
                    conference.record.reason.clear();
                    self.emit(Kind::Running, about, format!("conference {number} runs on node {node}"));
                }
                self.flush(moid);
            }
            Work::Restore { from, epoch } => self.restored(moid, &from, epoch),
            Work::End { .. } | Work::Confirm { .. } | Work::Book { .. } | Work::Save { .. } | Work::Claim => {
                unreachable!("{NO_NODE}")
            }
        }
    }

    fn not_confirmed(&mut self, moid: &str, operation: Operation, failure: NodeFailure) {
        match operation.work {
            Work::Create { request, mut tried, number_chosen } => {
                tried.insert(operation.next.node_id.clone(), failure.to_string());
                // It may have heard all the same.
                self.delete_on(&operation.next.node_id, moid, operation.next.epoch);
                match self.place(&operation.next, &tried) {
                    Ok(placed) => {
                        let epoch = operation.next.epoch + 1;
                        let mut next = Record { epoch, ..operation.next };
                        next.assign(placed, self.now.unix_ms);
                        self.conference(moid).expect("it is being created").record.epoch = epoch;
                        self.start(moid, next, Work::Create { request, tried, number_chosen });
                    }
                    Err(refusal) => self.forget(moid, request, refusal),
                }
            }
            Work::Change { request, .. } | Work::Audio { request, .. } => {
                // What was there before is the truth again, under a revision above the one that failed.
                let conference = self.conference(moid).expect("the caller found it");
                conference.record.revision = operation.next.revision + 1;
                conference.repair = true;
                conference.dirty = true;
                self.reply(request, Err(failure.into()));
            }
            Work::Repair
                if matches!(failure, NodeFailure::Refused { code: Code::FailedPrecondition, .. }) =>
            {
                self.look_at_node(moid);
            }
            Work::Repair => self.retry_repair(moid),
            Work::Restore { .. } => self.not_restored(moid, operation, &failure),
            Work::End { .. } | Work::Confirm { .. } | Work::Book { .. } | Work::Save { .. } | Work::Claim => {
                unreachable!("{NO_NODE}")
            }
        }
    }

    /// A conference that never came to be; who waits for it is told. The store may hold it, and a node may run it:
    /// it is kept as one that has ended, so that neither brings it back.
    pub(super) fn forget(&mut self, moid: &str, request: RequestId, refusal: Refusal) {
        let Some(known) = self.state.conferences.get(moid) else { return };
        if !known.record.schedule.booking.is_empty() {
            // It is tried again under the same id.
            self.abandon(moid, known.record.epoch);
            return self.never_was(moid, request, refusal);
        }
        let waiting = self.bury(moid, &refusal.message);
        for id in [request].into_iter().chain(waiting) {
            self.reply(id, Err(refusal.clone()));
        }
    }

    /// A conference that neither the store nor a node has heard of.
    fn never_was(&mut self, moid: &str, request: RequestId, refusal: Refusal) {
        let Some(conference) = self.state.conferences.remove(moid) else { return };
        self.booking_failed(&conference.record.schedule.booking, &refusal);
        let waiting = conference.queue.into_iter().map(|(id, _)| id);
        for id in [request].into_iter().chain(waiting) {
            self.reply(id, Err(refusal.clone()));
        }
    }

    /// What is still being created has ended instead. Its request may be made again. Gives who waits for it.
    pub(super) fn bury(&mut self, moid: &str, why: &str) -> Vec<RequestId> {
        let ended_unix_ms = self.now.unix_ms;
        let Some(conference) = self.conference(moid) else { return Vec::new() };
        let record = &mut conference.record;
        (record.phase, record.ended_unix_ms) = (Phase::Ended, ended_unix_ms);
        record.reason = format!("it could not be created: {why}");
        record.request_id.clear();
        conference.operation = None;
        let waiting = std::mem::take(&mut conference.queue).into_iter().map(|(id, _)| id).collect();
        self.flush(moid);
        waiting
    }

    /// Writes that it runs once more, where the store has not answered.
    pub(super) fn confirm_again(&mut self, moid: &str) {
        let now_ms = self.now.steady_ms;
        let Some(conference) = self.conference(moid) else { return };
        let creating = conference.record.phase == Phase::Creating && conference.operation.is_none();
        if creating && self.ours(moid) && !self.state.conferences[moid].stored.waits(now_ms) {
            let next = Record { phase: Phase::Running, ..self.state.conferences[moid].record.clone() };
            self.start(moid, next, Work::Confirm { request: RequestId::NOBODY });
        }
    }

    /// Neither the store nor a node shall keep what never came to be.
    pub(super) fn abandon(&mut self, moid: &str, epoch: u64) {
        self.store_remove(moid);
        let until_ms = self.now.steady_ms + self.state.options.tombstone_ms.unsigned_abs();
        self.state.abandoned.insert(moid.to_owned(), Abandoned { epoch, until_ms });
    }

    fn retry_repair(&mut self, moid: &str) {
        let at = self.now.steady_ms + RETRY_MS;
        if let Some(conference) = self.conference(moid) {
            (conference.repair, conference.repair_at_ms) = (true, at);
        }
    }

    /// Tells the node again what it shall run, if it can be told.
    pub(super) fn repair(&mut self, moid: &str) {
        let Some(conference) = self.state.conferences.get(moid) else { return };
        let told = self.hears(&conference.record.node_id);
        if !told || conference.record.phase != Phase::Running || !self.ours(moid) {
            return;
        }
        let (next, token, since_ms) = (conference.record.clone(), self.token(), self.now.steady_ms);
        let conference = self.conference(moid).expect("looked at a moment ago");
        conference.operation =
            Some(Operation { token, next: next.clone(), work: Work::Repair, at_node: true, since_ms });
        self.put_on_node(moid, token, &next);
    }
}
