//! What operators say about nodes, and what they ask: give up, cordon, what if.

use super::detect::node_of;
use super::model::{Conference, Phase, RequestId};
use super::requests::Response;
use super::step::{About, Step};
use crate::refusal::Refusal;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::registry::{self, GiveUpNodeResponse, NodeState, PlannedMove, WhatIfLostResponse};
use std::collections::BTreeMap;
use tonic::Code;

impl Step<'_> {
    /// An operator says that a node, or (empty) all that are held, will not come back.
    pub(super) fn give_up(&mut self, request: RequestId, id: &str) {
        let given_up: Vec<String> = if id.is_empty() {
            let held = self.state.nodes.iter().filter(|(_, node)| node.hold.is_some());
            held.map(|(id, _)| id.clone()).collect()
        } else {
            let Some(node) = self.state.nodes.get(id) else {
                let why = format!("no node has announced itself as '{id}'");
                return self.reply(request, Err(Refusal::at(Code::NotFound, "node_id", why)));
            };
            if node.doubt.is_none() && node.hold.is_none() && node.state != NodeState::Lost {
                let why = format!("node {id} answers; drain it instead");
                return self.reply(request, Err(Refusal::at(Code::FailedPrecondition, "node_id", why)));
            }
            vec![id.to_owned()]
        };
        for id in &given_up {
            self.lose_node(id, "was given up by an operator", None);
            let node = node_of(self, id);
            (node.doubt, node.hold) = (None, None);
            if let Some(mass) = &mut self.state.mass_loss {
                mass.lost.remove(id);
            }
        }
        self.look_for_restores();
        let carried = given_up.iter().flat_map(|node| {
            let on_node = self.state.conferences.on_node(node).into_iter();
            on_node.filter(move |conference| conference.record.node_id == *node)
        });
        let to_move = |conference: &&Conference| conference.record.phase == Phase::PendingRestore;
        let conferences = carried.filter(to_move).count() as u32;
        self.reply(request, Ok(Response::GivenUp(GiveUpNodeResponse { conferences })));
    }

    /// Nothing new goes to a node, whatever it says itself, or (`None`) something may again. The node need not
    /// be known yet: a machine may be cordoned before it is started again.
    pub(super) fn cordon(&mut self, request: RequestId, node: String, why: Option<String>) {
        if node.is_empty() || node.len() > 128 || why.as_ref().is_some_and(|why| why.len() > 256) {
            let why = "must be 1 to 128 bytes, and the reason at most 256";
            return self.reply(request, Err(Refusal::invalid("node_id", why)));
        }
        let about = About { node: &node, ..About::default() };
        let cordoned = why.is_some();
        match why {
            Some(why) => {
                let message = if why.is_empty() {
                    format!("node {node} is cordoned: nothing new goes there")
                } else {
                    format!("node {node} is cordoned ({why}): nothing new goes there")
                };
                if self.state.cordons.insert(node.clone(), why.clone()) != Some(why) {
                    self.emit(Kind::NodeCordoned, about, message);
                }
            }
            None => {
                if self.state.cordons.remove(&node).is_some() {
                    self.emit(Kind::NodeReady, about, format!("node {node} is cordoned no longer"));
                    self.look_for_restores();
                }
            }
        }
        self.reply(request, Ok(Response::Cordoned(registry::CordonNodeResponse { cordoned })));
    }

    /// Nodes that take nothing: those that were tried, and those that are cordoned.
    pub(super) fn left_out(&self, mut tried: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (node, why) in &self.state.cordons {
            let why = if why.is_empty() { "is cordoned".to_owned() } else { format!("is cordoned: {why}") };
            tried.entry(node.clone()).or_insert(why);
        }
        tried
    }

    /// What would move where if this node were lost now, and what would not fit.
    pub(super) fn what_if(&self, id: &str) -> Result<WhatIfLostResponse, Refusal> {
        if !self.state.nodes.contains_key(id) {
            let why = format!("no node has announced itself as '{id}'");
            return Err(Refusal::at(Code::NotFound, "node_id", why));
        }
        let carried = |conference: &&Conference| {
            let record = conference.next_record();
            record.node_id == id && record.holds_places()
        };
        let mut carried: Vec<&Conference> =
            self.state.conferences.on_node(id).into_iter().filter(carried).collect();
        // As restores go: those with participants first.
        carried.sort_by_key(|conference| (conference.record.participants.is_empty(), &conference.record.id));
        let mut promised = self.state.conferences.promised();
        let mut moves = Vec::new();
        for record in carried.into_iter().map(Conference::next_record) {
            let without = BTreeMap::from([(id.to_owned(), "is the one that is lost".to_owned())]);
            let (to_node, why) = match self.place_again(record, &promised, without, "") {
                Ok(placed) => {
                    promised.entry(placed.node.clone()).or_default().add(record);
                    (placed.node, placed.why)
                }
                Err(refusal) => (String::new(), refusal.message),
            };
            moves.push(PlannedMove {
                conference: record.id.clone(),
                number: record.number.clone(),
                name: record.name.clone(),
                participants: record.participants.len() as u32,
                units: record.units(),
                to_node,
                why,
            });
        }
        Ok(WhatIfLostResponse { moves })
    }
}
