//! Join, leave, end, and what the store and the node say to each change: first the store, then the node,
//! then the answer. [`super::create`] begins a conference.

use super::audio::{AudioChange, PairGain, ParticipantAudio, mode_name};
use super::media::{check_identifier, check_media, leg};
use super::model::{
    Abandoned, Conference, Effect, Operation, Participant, Phase, Record, RequestId, Token, Work,
};
use super::requests::{Request, Response};
use super::step::{About, RETRY_MS, Step};
use crate::nodes::NodeFailure;
use crate::placement;
use crate::refusal::Refusal;
use crate::store::StoreError;
use motet_proto::conference as wire;
use motet_proto::node;
use tonic::Code;
use wire::ConferenceEventKind as Kind;

impl Step<'_> {
    /// A request that changes something; the store can be used.
    pub(super) fn change(&mut self, id: RequestId, request: Request) {
        if let Request::Create { id: moid, create } = request {
            return match self.create(id, moid, create) {
                Ok(Some(response)) => self.reply(id, Ok(response)),
                Ok(None) => {}
                Err(refusal) => self.reply(id, Err(refusal)),
            };
        }
        let name = match &request {
            Request::Add { add, .. } => &add.conference,
            Request::Remove(remove) => &remove.conference,
            Request::End(end) => &end.conference,
            Request::SetAudio(set) => &set.conference,
            Request::SetParticipantAudio(set) => &set.conference,
            Request::SetPairGain(set) => &set.conference,
            _ => unreachable!("reads and creates were taken before"),
        };
        match self.found(name).map(|found| found.record.id.clone()) {
            Ok(moid) => {
                let conference = self.conference(&moid).expect("it was found a moment ago");
                conference.queue.push_back((id, request));
                self.next_request(&moid);
            }
            Err(refusal) => self.reply(id, Err(refusal)),
        }
    }

    /// Takes requests from the queue until one has to wait for an answer.
    fn next_request(&mut self, moid: &str) {
        while let Some(conference) = self.conference(moid) {
            if conference.operation.is_some() {
                return;
            }
            let Some((id, request)) = conference.queue.pop_front() else { break };
            let answer = match request {
                Request::Add { id: chosen, add } => self.add(id, moid, chosen, add),
                Request::Remove(remove) => self.remove(id, moid, &remove.participant),
                Request::End(end) => self.end(id, moid, end.reason),
                Request::SetAudio(set) => self.set_audio(id, moid, set.audio),
                Request::SetParticipantAudio(set) => self.set_participant_audio(id, moid, set),
                Request::SetPairGain(set) => self.set_pair_gain(id, moid, set.pair_gain),
                _ => unreachable!("only changes are queued"),
            };
            match answer {
                Ok(None) => {}
                Ok(Some(response)) => self.reply(id, Ok(response)),
                Err(refusal) => self.reply(id, Err(refusal)),
            }
        }
        let dirty = self.conference(moid).is_some_and(|conference| conference.dirty);
        if dirty {
            self.flush(moid);
        }
    }

    fn add(
        &mut self,
        request: RequestId,
        moid: &str,
        chosen: String,
        add: wire::AddParticipantRequest,
    ) -> Result<Option<Response>, Refusal> {
        let participant = if add.participant.is_empty() { chosen } else { add.participant };
        check_identifier("participant", &participant)?;
        if add.name.chars().count() > 128 {
            return Err(Refusal::invalid("name", "has more than 128 characters"));
        }
        let media = check_media(&participant, &add.media)?;
        let audio = ParticipantAudio::check(add.audio.as_ref())?;
        let mut next = self.running(moid)?.record.clone();
        let conference = self.conference(moid).expect("it runs");
        if let Some(known) = next.participants.get(&participant) {
            if known.media == media {
                let info = conference.participant_info(&participant).expect("it is there");
                return Ok(Some(Response::Participant(Box::new(info))));
            }
            let why = format!("'{participant}' is in the conference with other media; remove it first");
            return Err(Refusal::at(Code::AlreadyExists, "participant", why));
        }
        let before = next.clone();
        next.participants.insert(participant.clone(), Participant { name: add.name, media, audio });
        self.check_growth(&before, &next)?;
        next.revision += 1;
        self.start(moid, next, Work::Change { request, joins: true, participant });
        Ok(None)
    }

    fn remove(
        &mut self,
        request: RequestId,
        moid: &str,
        participant: &str,
    ) -> Result<Option<Response>, Refusal> {
        let mut next = self.running(moid)?.record.clone();
        if next.participants.remove(participant).is_none() {
            return Ok(Some(Response::Removed(wire::RemoveParticipantResponse { existed: false })));
        }
        next.forget_pairs(participant);
        next.revision += 1;
        self.start(moid, next, Work::Change { request, joins: false, participant: participant.to_owned() });
        Ok(None)
    }

    fn end(&mut self, request: RequestId, moid: &str, reason: String) -> Result<Option<Response>, Refusal> {
        let conference = self.conference(moid).expect("the caller found it");
        if conference.record.phase == Phase::Ended {
            return Ok(Some(Response::Conference(Box::new(conference.info()))));
        }
        let mut next = conference.record.clone();
        next.phase = Phase::Ended;
        next.ended_unix_ms = self.now.unix_ms;
        next.reason = if reason.is_empty() { "ended by request".to_owned() } else { reason };
        self.start(moid, next, Work::End { request });
        Ok(None)
    }

    /// The conference, if it runs.
    pub(super) fn running(&self, moid: &str) -> Result<&Conference, Refusal> {
        let conference = self.found(moid)?;
        let record = &conference.record;
        match record.phase {
            Phase::Running => Ok(conference),
            Phase::Ended => Err(Refusal::at(
                Code::FailedPrecondition,
                "conference",
                format!("{} has ended", record.number),
            )),
            phase => {
                let why = format!("{} is {}: {}", record.number, phase.name(), record.reason);
                Err(Refusal::at(Code::FailedPrecondition, "conference", why))
            }
        }
    }

    /// Begins an operation by writing what it leads to.
    pub(super) fn start(&mut self, moid: &str, mut next: Record, work: Work) {
        let token = self.token();
        let new = matches!(&work, Work::Create { tried, .. } if tried.is_empty());
        let conference = self.conference(moid).expect("an operation is about a known conference");
        if !new {
            next.version = conference.record.version + 1;
            conference.record.version = next.version;
        }
        conference.operation = Some(Operation { token, next: next.clone(), work });
        self.effects.push(Effect::StorePut { token, record: Box::new(next), new });
    }

    /// The store answered an operation.
    pub(super) fn stored(&mut self, moid: &str, result: Result<(), StoreError>) {
        let conference = self.conference(moid).expect("the caller found it");
        let operation = conference.operation.take().expect("the caller saw it");
        if let Err(error) = result {
            return self.not_stored(moid, operation, error);
        }
        match &operation.work {
            Work::End { request } => {
                let (request, node) = (*request, operation.next.node_id.clone());
                let epoch = operation.next.epoch;
                conference.record = operation.next;
                conference.alive.clear();
                conference.repair = false;
                let info = conference.info();
                self.delete_on(&node, moid, epoch);
                let about = About { conference: moid, ..About::default() };
                self.emit(Kind::Ended, about, format!("conference {} ended: {}", info.number, info.reason));
                self.reply(request, Ok(Response::Conference(Box::new(info))));
                self.next_request(moid);
            }
            _ => {
                let (next, token) = (operation.next.clone(), operation.token);
                conference.operation = Some(operation);
                self.put_on_node(moid, token, &next);
            }
        }
    }

    fn not_stored(&mut self, moid: &str, operation: Operation, error: StoreError) {
        let store = self.state.options.store.clone();
        let number = operation.next.number.clone();
        let refusal = match error {
            StoreError::Unavailable(why) => Refusal::plain(
                Code::Unavailable,
                format!("the store {store} cannot be used: {why}; nothing was changed, media goes on"),
            ),
            StoreError::Conflict => {
                Refusal::plain(Code::Aborted, "another control process changed the conference; ask again")
            }
            StoreError::NumberTaken => {
                let why = format!("{number} belongs to another conference that has not ended");
                Refusal::at(Code::AlreadyExists, "number", why)
            }
        };
        match operation.work {
            Work::Create { request, tried, number_chosen } => {
                let retry = (number_chosen && refusal.code == Code::AlreadyExists)
                    .then(|| self.free_number(Some(&number)).ok())
                    .flatten();
                if let Some(number) = retry {
                    let next = Record { number, ..operation.next };
                    self.conference(moid).expect("it is being created").record = next.clone();
                    return self.start(moid, next, Work::Create { request, tried, number_chosen });
                }
                // An answer that was lost may still have been a write; what it wrote must not stay.
                self.forget(moid);
                self.reply(request, Err(refusal));
            }
            Work::Change { request, .. } | Work::Audio { request, .. } | Work::End { request } => {
                self.flush(moid);
                self.reply(request, Err(refusal));
                self.next_request(moid);
            }
            Work::Repair => self.retry_repair(moid),
        }
    }

    /// Tells the node that carries `record` all of it.
    pub(super) fn put_on_node(&mut self, moid: &str, token: Token, record: &Record) {
        let participants = record.participants.iter();
        let legs = participants.map(|(id, participant)| leg(id, &participant.media, participant.audio));
        let spec = node::ConferenceSpec {
            id: record.id.clone(),
            legs: legs.collect(),
            metadata: serde_json::to_vec(record).expect("a record is plain data"),
            audio: record.audio.to_wire(),
            pair_gains: record.pair_gains.iter().map(PairGain::to_wire).collect(),
            ..node::ConferenceSpec::default()
        };
        let put =
            node::PutConferenceRequest { spec: Some(spec), epoch: record.epoch, revision: record.revision };
        match self.state.nodes.get(&record.node_id) {
            Some(node) => {
                let address = node.address.clone();
                let conference = moid.to_owned();
                self.effects.push(Effect::NodePut { token, conference, address, put: Box::new(put) });
            }
            None => {
                let why = format!("node {} is not known here", record.node_id);
                self.node_put_done(token, moid, Err(NodeFailure::Unreachable(why)));
            }
        }
    }

    pub(super) fn delete_on(&mut self, node: &str, moid: &str, epoch: u64) {
        if let Some(node) = self.state.nodes.get(node) {
            let delete = node::DeleteConferenceRequest { id: moid.to_owned(), epoch };
            self.effects.push(Effect::NodeDelete { address: node.address.clone(), delete });
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
                conference.record = Record { version, ..operation.next };
                conference.allocation = Some(allocation);
                conference.confirmed = confirmed;
                conference.repair = false;
                self.confirmed(moid, operation.work);
            }
            Err(failure) => self.not_confirmed(moid, operation, failure),
        }
        self.next_request(moid);
    }

    fn confirmed(&mut self, moid: &str, work: Work) {
        let conference = self.conference(moid).expect("the caller found it");
        let (number, node) = (conference.record.number.clone(), conference.record.node_id.clone());
        let about = About { conference: moid, node: &node, ..About::default() };
        match work {
            Work::Create { request, .. } => {
                conference.record.phase = Phase::Running;
                conference.dirty = true;
                let info = Box::new(conference.info());
                self.emit(Kind::Created, about, format!("conference {number} created"));
                self.emit(Kind::Running, about, format!("conference {number} runs on node {node}"));
                self.reply(request, Ok(Response::Conference(info)));
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
                if what == AudioChange::Mode {
                    let mode = mode_name(&conference.record.audio);
                    let message = format!("the sound of conference {number} is {mode} now");
                    self.emit(Kind::AudioChanged, about, message);
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
            Work::End { .. } => unreachable!("an end does not wait for a node"),
        }
    }

    fn not_confirmed(&mut self, moid: &str, operation: Operation, failure: NodeFailure) {
        match operation.work {
            Work::Create { request, mut tried, number_chosen } => {
                tried.insert(operation.next.node_id.clone(), failure.to_string());
                // It may have heard all the same.
                self.delete_on(&operation.next.node_id, moid, operation.next.epoch);
                match self.place(operation.next.units(), operation.next.seats(), &tried) {
                    Ok((node_id, room)) => {
                        let epoch = operation.next.epoch + 1;
                        let next = Record { node_id, room, epoch, ..operation.next };
                        self.conference(moid).expect("it is being created").record.epoch = epoch;
                        self.start(moid, next, Work::Create { request, tried, number_chosen });
                    }
                    Err(refusal) => {
                        self.forget(moid);
                        self.reply(request, Err(refusal));
                    }
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
            Work::Repair => self.retry_repair(moid),
            Work::End { .. } => unreachable!("an end does not wait for a node"),
        }
    }

    /// A conference that never came to be; who waits for it is told.
    fn forget(&mut self, moid: &str) {
        self.effects.push(Effect::StoreRemove { conference: moid.to_owned() });
        let Some(conference) = self.state.conferences.remove(moid) else { return };
        let until_ms = self.now.steady_ms + self.state.options.tombstone_ms.unsigned_abs();
        let abandoned = Abandoned { epoch: conference.record.epoch, until_ms };
        self.state.abandoned.insert(moid.to_owned(), abandoned);
        for (id, _) in conference.queue {
            let refusal = Refusal::at(Code::NotFound, "conference", "it could not be created");
            self.reply(id, Err(refusal));
        }
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
        let ready = self.state.nodes.get(&conference.record.node_id).is_some_and(placement::reachable);
        if !ready || conference.record.phase == Phase::Ended {
            return;
        }
        let (next, token) = (conference.record.clone(), self.token());
        let conference = self.conference(moid).expect("looked at a moment ago");
        conference.operation = Some(Operation { token, next: next.clone(), work: Work::Repair });
        self.put_on_node(moid, token, &next);
    }
}
