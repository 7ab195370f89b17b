//! One event, and what follows from it.

use super::domains::Domain;
use super::effect::Effect;
use super::event::Event;
use super::model::{Conference, Now, Phase, Record, RequestId, State, Token};
use super::requests::{Request, Response};
use super::restore::Restore;
use super::schedule::Watch;
use super::storing::Stored;
use crate::refusal::Refusal;
use motet_proto::conference::{ConferenceEvent, ConferenceEventKind};
use motet_proto::domains::ListResponse;
use motet_proto::node::DrainRequest;
use motet_proto::registry::{self, ListNodesResponse};
use std::collections::{BTreeSet, VecDeque};
use tonic::Code;

/// How long to wait before the store or a node is tried again.
pub(super) const RETRY_MS: u64 = 1_000;

/// Takes an event; gives what to do, in order.
pub fn step(state: &mut State, event: Event, now: Now) -> Vec<Effect> {
    let now = state.clock.judge(now);
    let mut step = Step { state, now, effects: Vec::new() };
    step.state.started_ms.get_or_insert(now.steady_ms);
    match event {
        Event::Request(id, request) => step.request(id, request),
        Event::Domains(answer) => step.domains_done(answer),
        Event::Notes(answer) => step.notes_done(answer),
        Event::Forwarded(id, request) => {
            step.state.peers.hops.insert(id);
            step.request(id, request);
        }
        Event::StoreGot { conference, result } => step.store_got(&conference, result),
        Event::StoreChanged { token, result } => step.store_changed(token, result),
        Event::PeersSeen(result) => step.peers_seen(result),
        Event::ForwardDone { id, result } => step.forwarded(id, *result),
        Event::StoreLoaded(records) => step.store_loaded(records),
        Event::StoreLoadFailed(why) => step.store_failed(why),
        Event::StorePutDone { token, conference, result } => step.store_put_done(token, &conference, result),
        Event::StoreRemoved { conference, result } => step.store_removed(&conference, result),
        Event::Announced(id, announcement) => step.announced(id, *announcement),
        Event::NodePutDone { token, conference, result } => step.node_put_done(token, &conference, result),
        Event::NodeListed { token, node, result } => step.node_listed(token, &node, result),
        Event::NodeDrained { request, node, drain, result } => {
            step.node_drained(request, &node, drain, result)
        }
        Event::NodeOrdered { request, result } => step.node_ordered(request, result),
        Event::Media(event) => step.media(&event),
        Event::NodeUnreachable { node, boot_id, why, certain } => {
            step.node_unreachable(&node, &boot_id, why, certain)
        }
        Event::NodeDescribed { token, node, result } => step.node_described(token, &node, *result),
        Event::NodeProbed { token, node, by, result } => step.node_probed(token, &node, &by, result),
        Event::Tick => step.tick(),
    }
    step.restore_due();
    step.effects
}

/// The state and what is to be done, during one step.
pub(super) struct Step<'a> {
    pub(super) state: &'a mut State,
    pub(super) now: Now,
    pub(super) effects: Vec<Effect>,
}

impl Step<'_> {
    pub(super) fn token(&mut self) -> Token {
        self.state.last_token += 1;
        Token(self.state.last_token)
    }

    pub(super) fn reply(&mut self, id: RequestId, result: Result<Response, Refusal>) {
        if id == RequestId::NOBODY {
            return;
        }
        self.state.peers.hops.remove(&id);
        for other in self.answered(id, &result) {
            self.effects.push(Effect::Reply(other, Box::new(result.clone())));
        }
        self.effects.push(Effect::Reply(id, Box::new(result)));
    }

    pub(super) fn emit(&mut self, kind: ConferenceEventKind, about: About<'_>, message: impl Into<String>) {
        let message = message.into();
        self.note(kind, about, &message);
        let known = self.state.conferences.get(about.conference);
        let user_domain =
            known.map_or(about.user_domain, |known| known.record.user_domain.as_str()).to_owned();
        self.effects.push(Effect::Emit(Box::new(ConferenceEvent {
            sequence: 0,
            unix_ms: self.now.unix_ms,
            conference: about.conference.to_owned(),
            participant: about.participant.to_owned(),
            node_id: about.node.to_owned(),
            kind: kind.into(),
            message,
            participant_info: None,
            user_domain,
        })));
    }

    fn request(&mut self, id: RequestId, request: Request) {
        if let Some(request) = self.look_up(id, request) {
            self.request_known(id, request);
        }
    }

    /// A request about what is known, or about what nobody knows.
    pub(super) fn request_known(&mut self, id: RequestId, request: Request) {
        let Some(request) = self.unscoped(id, request) else { return };
        if self.repeated(id, &request) {
            return;
        }
        match request {
            Request::Get(get) => match self.found(&get.conference).map(|found| found.record.id.clone()) {
                Ok(moid) => self.read(id, &moid, Request::Get(get)),
                Err(refusal) => self.reply(id, Err(refusal)),
            },
            Request::List(list) => {
                let conferences = self.state.list(&list);
                self.reply(
                    id,
                    Ok(Response::Conferences(motet_proto::conference::ListResponse { conferences })),
                );
            }
            Request::ListDomains => {
                let domains = self.state.domains.iter().map(Domain::to_wire).collect();
                self.reply(id, Ok(Response::Domains(ListResponse { domains })));
            }
            Request::ResolveDomain(resolve) => {
                let answer = self.resolve_domain(&resolve.user_domain);
                self.reply(id, answer);
            }
            Request::ListNodes => {
                let nodes = self.state.list_nodes(self.now.steady_ms);
                self.reply(id, Ok(Response::Nodes(ListNodesResponse { nodes })));
            }
            // The store is not needed for it: nodes keep it to themselves.
            Request::Drain(drain) => {
                let registry::DrainNodeRequest { node_id, deadline_ms } = drain;
                self.drain_node(id, node_id, Some(DrainRequest { deadline_ms }));
            }
            // Prompts are not remembered either, nor are snapshots.
            Request::Play { id: chosen, play } => self.play_prompt(id, chosen, play),
            Request::StopPrompt(stop) => self.stop_prompt(id, stop),
            Request::Snapshot(snapshot) => self.take_snapshot(id, snapshot),
            Request::Playback(playback) => self.order_playback(id, playback),
            Request::Undrain(undrain) => self.drain_node(id, undrain.node_id, None),
            Request::Cordon(cordon) => self.cordon(id, cordon.node_id, Some(cordon.reason)),
            Request::Uncordon(uncordon) => self.cordon(id, uncordon.node_id, None),
            Request::WhatIf(what_if) => {
                let answer = self.what_if(&what_if.node_id).map(Response::WhatIf);
                self.reply(id, answer);
            }
            Request::History(asked) => {
                let found = self.found(&asked.conference).map(|found| found.record.told());
                self.reply(id, found.map(|told| Response::History(Box::new(told))));
            }
            Request::GiveUp(give_up) => self.give_up(id, &give_up.node_id),
            change => match self.store_ready() {
                Ok(()) => self.change(id, change),
                Err(refusal) => self.reply(id, Err(refusal)),
            },
        }
    }

    /// What changes something needs the store, so that it is not forgotten.
    pub(super) fn store_ready(&self) -> Result<(), Refusal> {
        match &self.state.store_fault {
            None => Ok(()),
            Some(why) => {
                let store = &self.state.options.store;
                let message =
                    format!("the store {store} cannot be used: {why}; nothing was changed, media goes on");
                Err(Refusal::plain(Code::Unavailable, message))
            }
        }
    }

    /// The conference with this id or number.
    pub(super) fn found(&self, conference: &str) -> Result<&Conference, Refusal> {
        self.found_in(None, conference)
    }

    /// The same, as who asks in the name of a user domain sees it; none: of all.
    pub(super) fn found_in(
        &self,
        user_domain: Option<&str>,
        conference: &str,
    ) -> Result<&Conference, Refusal> {
        let unread = !self.state.loaded || self.state.options.shared && self.state.store_fault.is_some();
        // Its number may have gone to one that another control process has made since.
        let left = |found: &Conference| found.record.phase == Phase::Ended && found.record.id != conference;
        let found = self.state.find_in(user_domain, conference).filter(|found| !(unread && left(found)));
        found.ok_or_else(|| {
            if !self.state.loaded {
                // It may be there all the same; "not found" would be believed.
                let why = "the store's records have not been read yet; ask again";
                return Refusal::plain(Code::Unavailable, why);
            }
            if unread {
                let why = "the store cannot be asked whether another control process has made it; ask again";
                return Refusal::plain(Code::Unavailable, why);
            }
            let why = format!("no conference has the id or number '{conference}'");
            Refusal::at(Code::NotFound, "conference", why)
        })
    }

    pub(super) fn conference(&mut self, id: &str) -> Option<&mut Conference> {
        self.state.conferences.get_mut(id)
    }

    fn tick(&mut self) {
        let now_ms = self.now.steady_ms;
        if self.state.store_fault.is_some() && now_ms >= self.state.store_retry_ms {
            self.state.store_retry_ms = now_ms + RETRY_MS;
            self.effects.push(Effect::StoreLoad);
        }
        self.tick_peers();
        self.tick_nodes();
        self.tick_domains();
        self.tick_notes();
        self.tick_places();
        self.state.answers.expire(now_ms);
        self.state.wrong.retain(|_, wrong| wrong.until_ms > now_ms);
        self.tick_joins();
        self.state.abandoned.retain(|_, abandoned| abandoned.until_ms > now_ms);
        self.tick_removals();
        self.tick_conferences();
    }
}

/// What an event is about.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'a> {
    pub(super) conference: &'a str,
    pub(super) participant: &'a str,
    pub(super) node: &'a str,
    /// Of a conference that is not known here yet.
    pub(super) user_domain: &'a str,
}

impl Conference {
    /// The record as it will be when what is being done succeeds.
    pub(crate) fn next_record(&self) -> &Record {
        self.operation.as_ref().map_or(&self.record, |operation| &operation.next)
    }

    /// Its node does not run it any more; another one, or another start of it, counts its events anew.
    pub(super) fn nobody_is_heard(&mut self) {
        self.alive.clear();
        self.alive_told = 0;
    }

    pub(crate) fn new(record: Record) -> Conference {
        Conference {
            record,
            allocation: None,
            alive: BTreeSet::new(),
            alive_told: 0,
            stored: Stored::default(),
            dirty: false,
            flushing: None,
            repair: false,
            repair_at_ms: 0,
            confirmed: Token(0),
            watch: Watch::default(),
            restore: Restore::default(),
            noted_ms: None,
            heard: true,
            ending: None,
            begun_ms: 0,
            ended_ms: None,
            operation: None,
            queue: VecDeque::new(),
        }
    }
}
