//! Whether a node lives: one path that fell silent is not enough to move what runs there.
//!
//! ```text
//! ready --(no announcement for the lease, or the event stream broke)--> suspect
//!   suspect: control asks the node itself, and up to three other ready nodes whether they reach it
//!     the node answers control                         -> ready, as before
//!     another node reaches it                          -> isolated: nothing moves, nothing new goes there
//!     all say no, and the grace is over                -> lost: its conferences are restored elsewhere
//!     nobody can be asked, and the grace is over       -> lost, held: nothing moves until somebody can
//!     more than half of at least three nodes at once   -> lost, held: until an operator says so
//! ```
//!
//! A node that keeps announcing itself, but cannot be called, is isolated too: it lives. Doubt goes on until
//! it is dispelled or confirmed, so an isolated node that dies is lost a second later.

use super::effect::Effect;
use super::model::{Node, Token};
use super::reach::Isolation;
use super::step::{About, Step};
use crate::nodes::NodeFailure;
use crate::placement::reachable;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::node::{NodeDescription, ProbeResponse};
use motet_proto::registry::NodeState;
use std::collections::BTreeSet;

/// When a node counts as lost. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// From the first doubt until the node may be lost.
    pub grace_ms: u64,
    /// The same when nothing listens at its address any more, so that its process has surely ended.
    pub grace_certain_ms: u64,
    /// How long a node has to say that it lives.
    pub probe_timeout_ms: u64,
    /// Until an isolated node is asked about again.
    pub probe_again_ms: u64,
    /// How long a node must have been isolated, and out of every other node's reach too, before a conference
    /// of it moves for somebody who wants to join.
    pub leave_isolated_ms: u64,
    /// Nodes that are asked about another one.
    pub probers_max: usize,
    /// Nodes that are lost within so long are lost at once.
    pub mass_window_ms: u64,
}

impl Default for Detection {
    fn default() -> Self {
        Detection {
            grace_ms: 500,
            grace_certain_ms: 100,
            probe_timeout_ms: 300,
            probe_again_ms: 1_000,
            leave_isolated_ms: 15_000,
            probers_max: 3,
            mass_window_ms: 10_000,
        }
    }
}

/// What speaks against the life of a node, and who was asked about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Doubt {
    since_ms: u64,
    /// For people, after "node n1".
    pub(super) why: String,
    /// Nothing listens at its address.
    certain: bool,
    /// Its event stream broke and it did not answer, so announcements alone prove that it lives, not that it
    /// can be called.
    uncallable: bool,
    /// It announced itself since the round began.
    announced: bool,
    /// It had not said yet what it runs.
    joining: bool,
    round: Token,
    /// Who has not answered yet; "" is control.
    waiting: BTreeSet<String>,
    /// Other nodes that were asked in this round.
    asked: usize,
    /// Other nodes that do not reach it.
    denied: usize,
    /// Another node that reaches it.
    reached_by: Option<String>,
    /// When to judge again, or to ask again.
    next_ms: u64,
}

/// Why conferences of a lost node stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// No other node could be asked.
    Unwitnessed,
    /// More than half of the nodes were lost at once.
    MassLoss,
}

impl Hold {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Hold::Unwitnessed => "no other node can say whether it still runs",
            Hold::MassLoss => {
                "more than half of the nodes were lost at once, so nothing moves until they come back or an \
                 operator gives them up (motet nodes give-up)"
            }
        }
    }
}

/// So many nodes were lost at once that the fault is more likely with control or the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MassLoss {
    /// Nodes that there were.
    pub(super) total: usize,
    /// Nodes that were lost.
    pub(super) lost: BTreeSet<String>,
}

impl Node {
    /// Whether it did not answer a command a short while ago.
    pub(crate) fn avoided(&self, now_ms: u64) -> bool {
        now_ms < self.avoid_until_ms
    }

    /// Why it is not simply ready, for people.
    pub(super) fn reason(&self) -> String {
        let doubt = self.doubt.as_ref().map(|doubt| doubt.why.clone());
        let hold = self.hold.map(|hold| hold.reason().to_owned());
        doubt.into_iter().chain(hold).collect::<Vec<_>>().join("; ")
    }
}

impl Step<'_> {
    /// Something speaks against the life of a node.
    pub(super) fn suspect(&mut self, id: &str, why: String, certain: bool, uncallable: bool) {
        let now = self.now.steady_ms;
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        if node.state == NodeState::Lost {
            return;
        }
        if let Some(doubt) = &mut node.doubt {
            doubt.certain |= certain;
            doubt.uncallable |= uncallable;
            return;
        }
        let message = format!("node {id} {why}; it is being found out whether it lives");
        node.doubt = Some(Doubt {
            since_ms: now,
            why,
            certain,
            uncallable,
            announced: false,
            joining: node.state == NodeState::Joining,
            round: Token(0),
            waiting: BTreeSet::new(),
            asked: 0,
            denied: 0,
            reached_by: None,
            next_ms: now,
        });
        node.state = NodeState::Suspect;
        node.lists.stop();
        self.emit(Kind::NodeSuspect, About { node: id, ..About::default() }, message);
        self.ask_around(id);
    }

    /// Asks the node itself, and others about it.
    fn ask_around(&mut self, id: &str) {
        let token = self.token();
        let detection = self.state.options.detection;
        let others =
            |(other, node): &(&String, &Node)| *other != id && reachable(node) && node.doubt.is_none();
        let mut probers: Vec<(String, String)> = Vec::new();
        // Those that come after it by name, around: not always the same ones for all.
        let after = self.state.nodes.range(id.to_owned()..);
        for (other, node) in after.chain(self.state.nodes.range(..id.to_owned())).filter(others) {
            if probers.len() < detection.probers_max {
                probers.push((other.clone(), node.address.clone()));
            }
        }
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let address = node.address.clone();
        let Some(doubt) = &mut node.doubt else { return };
        doubt.round = token;
        (doubt.asked, doubt.denied, doubt.reached_by) = (probers.len(), 0, None);
        doubt.announced = false;
        doubt.waiting = probers.iter().map(|(other, _)| other.clone()).chain([String::new()]).collect();
        let timeout_ms = detection.probe_timeout_ms;
        for (by, by_address) in probers {
            let (node, address) = (id.to_owned(), address.clone());
            self.effects.push(Effect::NodeProbe { token, node, by, by_address, address, timeout_ms });
        }
        self.effects.push(Effect::NodeDescribe { token, node: id.to_owned(), address, timeout_ms });
    }

    /// The doubted node answered control, or did not.
    pub(super) fn node_described(
        &mut self,
        token: Token,
        id: &str,
        result: Result<NodeDescription, NodeFailure>,
    ) {
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let Some(doubt) = node.doubt.as_mut().filter(|doubt| doubt.round == token) else { return };
        doubt.waiting.remove("");
        match result {
            Ok(description) if description.boot_id == node.description.boot_id => {
                node.description = description;
                return self.doubt_dispelled(id);
            }
            // Another start of it answers; what ran in the one before is gone, and it will announce itself.
            Ok(_) => doubt.certain = true,
            Err(failure) => doubt.certain |= matches!(failure, NodeFailure::NotThere(_)),
        }
        self.judge(id);
    }

    /// Another node was asked about the doubted one.
    pub(super) fn node_probed(
        &mut self,
        token: Token,
        id: &str,
        by: &str,
        result: Result<ProbeResponse, NodeFailure>,
    ) {
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let boot_id = node.description.boot_id.clone();
        let Some(doubt) = node.doubt.as_mut().filter(|doubt| doubt.round == token) else { return };
        if !doubt.waiting.remove(by) {
            return;
        }
        match result {
            Ok(said) if said.reachable && said.boot_id == boot_id => doubt.reached_by = Some(by.to_owned()),
            Ok(_) => doubt.denied += 1,
            // Whoever does not answer says nothing about others.
            Err(_) => {}
        }
        self.judge(id);
    }

    /// The doubted node announced itself; true: that proves all that is needed.
    pub(super) fn doubted_announced(&mut self, id: &str) -> bool {
        let Some(doubt) = self.state.nodes.get_mut(id).and_then(|node| node.doubt.as_mut()) else {
            return false;
        };
        doubt.announced = true;
        if doubt.uncallable {
            return false;
        }
        self.doubt_dispelled(id);
        true
    }

    /// Doubts whose time has come.
    pub(super) fn tick_doubts(&mut self) {
        let now = self.now.steady_ms;
        let doubted: Vec<String> = self
            .state
            .nodes
            .iter()
            .filter(|(_, node)| node.doubt.as_ref().is_some_and(|doubt| now >= doubt.next_ms))
            .map(|(id, _)| id.clone())
            .collect();
        for id in doubted {
            let Some(node) = self.state.nodes.get(&id) else { continue };
            let Some(doubt) = &node.doubt else { continue };
            let settled = node.state != NodeState::Suspect || doubt.asked > 0 && doubt.denied == 0;
            if !doubt.waiting.is_empty() {
                continue;
            }
            if settled { self.ask_around(&id) } else { self.judge(&id) }
        }
        self.check_mass_loss();
    }

    /// All who were asked have answered: what is to be made of it?
    fn judge(&mut self, id: &str) {
        let detection = self.state.options.detection;
        let now = self.now.steady_ms;
        // It may have announced itself just before a round that was over at once.
        let recent_ms = 2 * self.state.options.announce_ms;
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let (state, announced_ms) = (node.state, node.announced_ms);
        let Some(doubt) = node.doubt.as_mut().filter(|doubt| doubt.waiting.is_empty()) else { return };
        let recent = announced_ms > doubt.since_ms && now <= announced_ms + recent_ms;
        if doubt.reached_by.is_some() || doubt.announced || recent {
            doubt.next_ms = now + detection.probe_again_ms;
            let via = doubt.reached_by.clone();
            return self.isolate(id, via);
        }
        if doubt.asked > 0 && doubt.denied == 0 {
            // Nobody could say anything: they may be cut off themselves.
            doubt.next_ms = now + detection.probe_timeout_ms;
            return;
        }
        let grace_ms = if doubt.certain { detection.grace_certain_ms } else { detection.grace_ms };
        let due_ms = doubt.since_ms + grace_ms;
        doubt.next_ms = due_ms;
        if now < due_ms {
            return;
        }
        let (why, witnessed) = (doubt.why.clone(), doubt.asked > 0);
        if state == NodeState::Lost {
            if witnessed {
                // It was lost while nobody could be asked; now somebody says so.
                node.doubt = None;
                node.hold = None;
                self.look_for_restores();
            } else {
                doubt.next_ms = now + detection.probe_again_ms;
            }
            return;
        }
        let hold =
            if self.mass_loss(id) { Some(Hold::MassLoss) } else { (!witnessed).then_some(Hold::Unwitnessed) };
        if hold != Some(Hold::Unwitnessed) {
            node_of(self, id).doubt = None;
        } else if let Some(doubt) = &mut node_of(self, id).doubt {
            doubt.next_ms = now + detection.probe_again_ms;
        }
        self.lose_node(id, &why, hold);
    }

    /// The node lives, and control does not reach it; another node may.
    fn isolate(&mut self, id: &str, via: Option<String>) {
        let now = self.now.steady_ms;
        let node = node_of(self, id);
        node.hold = None;
        if node.state == NodeState::Isolated {
            if let Some(isolation) = &mut node.isolation {
                isolation.reached_by(via);
            }
            return;
        }
        let witness = match &via {
            Some(by) => format!("node {by} reaches it"),
            None => "it announces itself".to_owned(),
        };
        node.state = NodeState::Isolated;
        node.isolation = Some(Isolation::new(now, via));
        let why = node.doubt.as_ref().map(|doubt| doubt.why.clone()).unwrap_or_default();
        let message = format!("node {id} lives ({witness}), but it {why}; what runs there stays there");
        self.emit(Kind::NodeIsolated, About { node: id, ..About::default() }, message);
        self.kick(id);
    }

    /// The node is well: it is followed and asked what it runs again.
    fn doubt_dispelled(&mut self, id: &str) {
        let lease_ms = self.state.options.lease_ms;
        let now = self.now.steady_ms;
        let node = node_of(self, id);
        let joining = node.doubt.take().is_some_and(|doubt| doubt.joining) || node.state == NodeState::Lost;
        (node.announced_ms, node.lease_until_ms) = (now, now + lease_ms);
        let (address, boot_id) = (node.address.clone(), node.description.boot_id.clone());
        node.hold = None;
        if joining {
            // What it runs decides; see `node_listed`.
            node.state = NodeState::Joining;
        } else {
            node.state = if node.description.draining { NodeState::Draining } else { NodeState::Ready };
            let about = About { node: id, ..About::default() };
            self.emit(Kind::NodeReady, about, format!("node {id} answers again"));
            node_of(self, id).lists.look_for_restores();
        }
        self.effects.push(Effect::NodeWatch { address, node: id.to_owned(), boot_id });
        self.ask_list(id);
        self.kick(id);
    }

    /// Whether this loss makes it more than half of at least three nodes at once.
    fn mass_loss(&mut self, id: &str) -> bool {
        let now = self.now.steady_ms;
        let window_ms = self.state.options.detection.mass_window_ms;
        if let Some(mass) = &mut self.state.mass_loss {
            mass.lost.insert(id.to_owned());
            return true;
        }
        let recent = |node: &Node| now.saturating_sub(node.lost_ms) <= window_ms;
        let nodes = self.state.nodes.iter();
        let there: Vec<_> = nodes
            .filter(|(_, node)| node.state != NodeState::Lost || node.hold.is_some() || recent(node))
            .collect();
        let gone = |node: &Node| matches!(node.state, NodeState::Lost | NodeState::Suspect);
        let lost = there.iter().filter(|(other, node)| gone(node) || *other == id);
        let lost: BTreeSet<String> = lost.map(|(id, _)| (*id).clone()).collect();
        let total = there.len();
        if total < 3 || 2 * lost.len() <= total {
            return false;
        }
        let names = lost.iter().cloned().collect::<Vec<_>>().join(", ");
        let message = format!(
            "{} of {total} nodes were lost at once ({names}); their conferences stay where they are until the \
             nodes come back, or until an operator gives them up (motet nodes give-up)",
            lost.len()
        );
        self.state.mass_loss = Some(MassLoss { total, lost });
        self.emit(Kind::NodesMassLoss, About::default(), message);
        true
    }

    /// When enough nodes are back, the others were lost like any node.
    fn check_mass_loss(&mut self) {
        let Some(mass) = &self.state.mass_loss else { return };
        let gone = |id: &&String| {
            let node = self.state.nodes.get(*id);
            node.is_some_and(|node| matches!(node.state, NodeState::Lost | NodeState::Suspect))
        };
        if 2 * mass.lost.iter().filter(gone).count() <= mass.total {
            self.end_mass_loss();
        }
    }

    /// Nothing is held because of a mass loss any more.
    pub(super) fn end_mass_loss(&mut self) {
        self.state.mass_loss = None;
        let held: Vec<String> = self
            .state
            .nodes
            .iter()
            .filter(|(_, node)| node.hold == Some(Hold::MassLoss))
            .map(|(id, _)| id.clone())
            .collect();
        for id in held {
            node_of(self, &id).hold = None;
            self.look_for_restores();
        }
    }
}

/// A node that was looked at a moment ago.
pub(super) fn node_of<'a>(step: &'a mut Step<'_>, id: &str) -> &'a mut Node {
    step.state.nodes.get_mut(id).expect("the caller saw it")
}
