//! What operators say about nodes, and what they ask: give up, cordon, what if.

use super::detect::node_of;
use super::model::{Conference, Phase, RequestId};
use super::requests::Response;
use super::step::Step;
use crate::refusal::Refusal;
use motet_proto::registry::{GiveUpNodeResponse, NodeState, PlannedMove, WhatIfLostResponse};
use std::collections::BTreeMap;
use tonic::Code;

impl Step<'_> {
    /// An operator says that a node, or (empty) all that are held, will not come back.
    pub(super) fn give_up(&mut self, request: RequestId, id: &str) {
        let given_up: Vec<String> = if id.is_empty() {
            let held = self.state.nodes.iter().filter(|(_, node)| node.hold.is_some());
            held.map(|(id, _)| id.clone()).collect()
        } else {
            if !self.state.nodes.contains_key(id) {
                let why = format!("no node has announced itself as '{id}'");
                return self.reply(request, Err(Refusal::at(Code::NotFound, "node_id", why)));
            }
            if !self.may_be_given_up(id) {
                let why = format!("node {id} answers; drain it instead");
                return self.reply(request, Err(Refusal::at(Code::FailedPrecondition, "node_id", why)));
            }
            vec![id.to_owned()]
        };
        for id in &given_up {
            self.give_up_node(id, "was given up by an operator");
            if self.state.options.shared {
                let boot_id = node_of(self, id).description.boot_id.clone();
                self.note_given_up(id, &boot_id);
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

    /// Whether something speaks against the life of a node.
    pub(super) fn may_be_given_up(&self, id: &str) -> bool {
        let known = self.state.nodes.get(id);
        known.is_some_and(|node| node.doubt.is_some() || node.hold.is_some() || node.state == NodeState::Lost)
    }

    /// The node will not come back.
    pub(super) fn give_up_node(&mut self, id: &str, why: &str) {
        self.lose_node(id, why, None);
        let node = node_of(self, id);
        (node.doubt, node.hold) = (None, None);
        if let Some(mass) = &mut self.state.mass_loss {
            mass.lost.remove(id);
        }
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
                _ if record.no_restore => (String::new(), "ends: it is not to be restored".to_owned()),
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
