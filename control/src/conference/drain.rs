//! Nodes that are to take no new conferences, or to take them again.

use super::effect::Effect;
use super::model::RequestId;
use super::requests::Response;
use super::step::{About, Step};
use crate::nodes::NodeFailure;
use crate::placement::reachable;
use crate::refusal::Refusal;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::node::DrainRequest;
use motet_proto::registry::{DrainNodeResponse, NodeState, UndrainNodeResponse};
use tonic::Code;

impl Step<'_> {
    /// Tells a node to drain, or (`None`) to stop that. The node alone knows whether it drains; it says so
    /// with its answer and with each announcement.
    pub(super) fn drain_node(&mut self, request: RequestId, node: String, drain: Option<DrainRequest>) {
        let Some(known) = self.state.nodes.get(&node) else {
            let why = format!("no node has announced itself as '{node}'");
            return self.reply(request, Err(Refusal::at(Code::NotFound, "node_id", why)));
        };
        if !reachable(known) {
            let why = format!("node {node} does not answer; a node that is lost takes nothing anyway");
            return self.reply(request, Err(Refusal::at(Code::Unavailable, "node_id", why)));
        }
        let address = known.address.clone();
        self.effects.push(Effect::NodeDrain { request, address, node, drain });
    }

    /// The node has done it, or not.
    pub(super) fn node_drained(
        &mut self,
        request: RequestId,
        id: &str,
        drain: Option<DrainRequest>,
        result: Result<u32, NodeFailure>,
    ) {
        let conferences_left = match result {
            Ok(left) => left,
            Err(failure) => return self.reply(request, Err(failure.into())),
        };
        if let Some(node) = self.state.nodes.get_mut(id).filter(|node| reachable(node)) {
            let before = node.state;
            node.description.draining = drain.is_some();
            node.description.drain_left_ms = drain.map_or(0, |drain| drain.deadline_ms);
            node.state = if drain.is_some() { NodeState::Draining } else { NodeState::Ready };
            if node.state != before {
                self.draining_changed(id);
            }
        }
        self.reply(
            request,
            Ok(match drain {
                Some(_) => Response::Draining(DrainNodeResponse { conferences_left }),
                None => Response::Undrained(UndrainNodeResponse {}),
            }),
        );
    }

    /// Tells the watchers what has become of a node that is ready or drains.
    pub(super) fn draining_changed(&mut self, id: &str) {
        let Some(node) = self.state.nodes.get(id) else { return };
        let about = About { node: id, ..About::default() };
        match (node.state, node.description.drain_left_ms) {
            (NodeState::Draining, 0) => self.emit(Kind::NodeDraining, about, format!("node {id} drains")),
            (NodeState::Draining, left_ms) => {
                let seconds = left_ms.div_ceil(1000);
                let message = format!("node {id} drains and ends within {seconds} s");
                self.emit(Kind::NodeDraining, about, message);
            }
            _ => self.emit(Kind::NodeReady, about, format!("node {id} takes new conferences again")),
        }
    }
}
