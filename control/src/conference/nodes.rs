//! Nodes that come, go and come back, and what they report.

use super::conferences::ids_after;
use super::detect::{Hold, node_of};
use super::effect::Effect;
use super::listing::Lists;
use super::model::{Conference, MediaEvent, Node, NodeAnnouncement, Phase, RequestId};
use super::requests::Response;
use super::step::{About, Step};
use crate::refusal::Refusal;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::node::NodeDescription;
use motet_proto::node::event::Kind as Media;
use motet_proto::registry::{AnnounceResponse, HeldConference, NodeState};

/// After a start of control, nodes have so long to announce themselves before their conferences move.
const START_PATIENCE_MS: u64 = 5_000;
/// Conferences of a lost node that one step takes care of.
const LOST_AT_ONCE_MAX: usize = 256;

impl Step<'_> {
    /// Whether another node runs what this one held under an epoch.
    fn is_elsewhere(&self, node: &str, moid: &str, epoch: u64) -> bool {
        let known = self.state.conferences.get(moid).map(|conference| &conference.record);
        known.is_some_and(|record| {
            record.phase != Phase::Ended && record.node_id != node && record.epoch > epoch
        })
    }

    /// A node announced itself: the first time, again, or to say that it leaves.
    pub(super) fn announced(&mut self, request: RequestId, announcement: NodeAnnouncement) {
        let NodeAnnouncement { held, address, description, leaving } = announcement;
        let id = description.node_id.clone();
        if id.is_empty() || description.boot_id.is_empty() {
            let refusal = Refusal::invalid("node.node_id", "and node.boot_id must not be empty");
            return self.reply(request, Err(refusal));
        }
        if address.is_empty() {
            return self.reply(request, Err(Refusal::invalid("address", "must not be empty")));
        }
        let (lease_ms, announce_ms) = (self.state.options.lease_ms, self.state.options.announce_ms);
        let give_up = held.into_iter().filter(|(moid, epoch)| self.is_elsewhere(&id, moid, *epoch));
        let answer = AnnounceResponse {
            lease_ms: lease_ms as u32,
            interval_ms: announce_ms as u32,
            give_up: give_up.map(|(id, epoch)| HeldConference { id, epoch }).collect(),
        };
        self.reply(request, Ok(Response::Announced(answer)));
        if leaving {
            self.lose_node(&id, "has ended in good order", None);
            // Nobody is to look for it.
            self.state.nodes.remove(&id);
            return self.look_for_restores();
        }
        let now = self.now.steady_ms;
        let known = self.state.nodes.get(&id);
        let same = known.is_some_and(|known| {
            known.description.boot_id == description.boot_id
                && known.address == address
                && known.state != NodeState::Lost
        });
        if same {
            return self.announced_again(&id, description);
        }
        let boot_id = description.boot_id.clone();
        let node = Node {
            address: address.clone(),
            description,
            state: NodeState::Joining,
            announced_ms: now,
            lease_until_ms: now + lease_ms,
            lists: Lists::default(),
            doubt: None,
            isolation: None,
            hold: None,
            lost_ms: 0,
            lost_why: String::new(),
            avoid_until_ms: 0,
        };
        self.state.nodes.insert(id.clone(), node);
        self.effects.push(Effect::NodeWatch { address, node: id.clone(), boot_id });
        self.ask_list(&id);
        self.kick(&id);
    }

    /// The same start of a node that is not lost announced itself.
    fn announced_again(&mut self, id: &str, description: NodeDescription) {
        let (now, draining) = (self.now.steady_ms, description.draining);
        let lease_ms = self.state.options.lease_ms;
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        node.description = description;
        (node.announced_ms, node.lease_until_ms) = (now, now + lease_ms);
        if node.doubt.is_some() {
            self.doubted_announced(id);
            return;
        }
        match (node.state, draining) {
            (NodeState::Ready, true) => {
                node.state = NodeState::Draining;
                self.draining_changed(id);
            }
            (NodeState::Draining, false) => {
                node.state = NodeState::Ready;
                self.draining_changed(id);
            }
            _ => {}
        }
    }

    /// Leases, lists, and nodes that never came back after a restart of control.
    pub(super) fn tick_nodes(&mut self) {
        let now = self.now.steady_ms;
        let ids: Vec<String> = self.state.nodes.keys().cloned().collect();
        for id in ids {
            let node = &self.state.nodes[&id];
            if node.state == NodeState::Lost || node.doubt.is_some() {
                continue;
            }
            if now >= node.lease_until_ms {
                let silent_s = (now - node.announced_ms) as f64 / 1000.0;
                let why = format!("has not announced itself for {silent_s:.1} s");
                self.suspect(&id, why, false, false);
            } else if node.lists.are_due(now) {
                self.ask_list(&id);
            }
        }
        self.tick_lists();
        self.tick_doubts();
        self.sweep_orphans();
    }

    /// When nodes have had the time to announce themselves after a start of control.
    pub(super) fn patience_until_ms(&self) -> u64 {
        let patience_ms = START_PATIENCE_MS.max(2 * self.state.options.lease_ms);
        self.state.started_ms.unwrap_or(self.now.steady_ms) + patience_ms
    }

    /// Conferences of nodes that never came back after a restart of control, or were lost before the store said
    /// what they carry.
    fn sweep_orphans(&mut self) {
        let patient = self.now.steady_ms < self.patience_until_ms();
        let why = |node: &str| match self.state.nodes.get(node) {
            None if patient => None,
            None => Some(format!("node {node} has not announced itself since control started")),
            Some(known) if known.state == NodeState::Lost => Some(known.lost_why.clone()),
            Some(_) => None,
        };
        let orphaned = self.state.conferences.nodes().into_iter();
        let orphaned: Vec<(String, String)> =
            orphaned.filter_map(|node| why(&node).map(|why| (node, why))).collect();
        for (node, why) in orphaned {
            let placed =
                self.state.conferences.placed_on(&node, ids_after(&self.state.swept, None), LOST_AT_ONCE_MAX);
            let last = placed.last().filter(|_| placed.len() == LOST_AT_ONCE_MAX);
            let last = last.map(|conference| conference.record.id.clone());
            let idle = placed.into_iter().filter(|conference| conference.operation.is_none());
            for id in idle.map(|conference| conference.record.id.clone()).collect::<Vec<_>>() {
                self.pending_restore(&id, &why);
            }
            self.state.swept = last.unwrap_or_default();
        }
    }

    /// Its event stream broke and it does not answer, unless another start of it is known by now.
    pub(super) fn node_unreachable(&mut self, id: &str, boot_id: &str, why: String, certain: bool) {
        let same = self.state.nodes.get(id).is_some_and(|node| node.description.boot_id == boot_id);
        if same {
            self.suspect(id, why, certain, true);
        }
    }

    pub(super) fn lose_node(&mut self, id: &str, why: &str, hold: Option<Hold>) {
        let now = self.now.steady_ms;
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        if node.state == NodeState::Lost {
            return;
        }
        node.state = NodeState::Lost;
        node.lists.stop();
        (node.hold, node.lost_ms) = (hold, now);
        self.effects.push(Effect::NodeUnwatch { node: id.to_owned() });
        let about = About { node: id, ..About::default() };
        match hold {
            None => self.emit(Kind::NodeLost, about, format!("node {id} is lost: it {why}")),
            Some(hold) => {
                let message = format!("node {id} is lost: it {why}; {}", hold.reason());
                self.emit(Kind::NodeLost, about, message);
            }
        }
        let reason = match hold {
            None => format!("node {id} {why}"),
            Some(hold) => format!("node {id} {why}; {}", hold.reason()),
        };
        // The others follow with the next steps; see `sweep_orphans`.
        let placed = self.state.conferences.placed_on(id, ids_after("", None), LOST_AT_ONCE_MAX).into_iter();
        let carried: Vec<String> = placed.map(|conference| conference.record.id.clone()).collect();
        for conference in carried {
            self.pending_restore(&conference, &reason);
        }
        node_of(self, id).lost_why = reason;
        self.fail_operations(id, why);
        self.kick(id);
    }

    /// An event of a node about a conference that it carries.
    pub(super) fn media(&mut self, event: &MediaEvent) {
        let node = event.node_id.as_str();
        let Some(conference) = self.state.conferences.get(&event.conference) else { return };
        if conference.record.node_id != node || conference.record.epoch != event.epoch {
            return;
        }
        let number = conference.record.number.clone();
        let mut tell = |who: &str, kind: Kind, message: String| {
            let about = About { conference: &event.conference, participant: who, node, ..About::default() };
            self.emit(kind, about, message);
        };
        match &event.kind {
            Some(Media::LegAlive(alive)) => {
                let (who, source) = (&alive.leg, &alive.source);
                tell(
                    who,
                    Kind::ParticipantAlive,
                    format!("{who} sends to conference {number} from {source}"),
                );
                self.set_alive(event, who, true);
            }
            Some(Media::LegSilent(silent)) => {
                let who = &silent.leg;
                let seconds = silent.silent_ms as f64 / 1000.0;
                tell(who, Kind::ParticipantSilent, format!("nothing from {who} for {seconds:.1} s"));
                self.set_alive(event, who, false);
            }
            Some(Media::StreamStarted(started)) => {
                let (who, medium) = (&started.leg, &started.medium);
                tell(who, Kind::StreamStarted, format!("{who} sends {medium}, ssrc {}", started.ssrc));
            }
            Some(Media::StreamResumed(resumed)) => {
                let (who, medium) = (&resumed.leg, &resumed.medium);
                tell(who, Kind::StreamStarted, format!("{who} sends {medium} again"));
            }
            Some(Media::StreamSilent(silent)) => {
                let (who, medium) = (&silent.leg, &silent.medium);
                tell(who, Kind::StreamSilent, format!("{who} sends no {medium} any more"));
            }
            Some(Media::StreamEnded(ended)) => {
                let (who, medium) = (&ended.leg, &ended.medium);
                tell(who, Kind::StreamEnded, format!("{who} said goodbye to {medium}"));
            }
            Some(kind) if self.recorded(event, &number, kind) => {}
            Some(kind) => self.sound(event, &number, kind),
            None => {}
        }
    }

    /// An event of a mix or a canvas.
    fn sound(&mut self, event: &MediaEvent, number: &str, kind: &Media) {
        let (kind, who, message) = match kind {
            Media::SpeakerChanged(changed) if changed.speaking => {
                let message = format!("{} talks in conference {number}", changed.leg);
                (Kind::SpeakerStarted, changed.leg.as_str(), message)
            }
            Media::SpeakerChanged(changed) => {
                let message = format!("{} no longer talks in conference {number}", changed.leg);
                (Kind::SpeakerStopped, changed.leg.as_str(), message)
            }
            Media::ActiveSpeakerChanged(changed) => {
                let who = if changed.leg.is_empty() { "nobody" } else { &changed.leg };
                let message = format!("{who} talks most in conference {number}");
                (Kind::ActiveSpeaker, changed.leg.as_str(), message)
            }
            Media::KeyPressed(pressed) => {
                let (who, key) = (pressed.leg.as_str(), &pressed.key);
                (Kind::KeyPressed, who, format!("{who} pressed {key} for {} ms", pressed.duration_ms))
            }
            Media::PromptFinished(finished) => {
                let how = if finished.complete { "has been played" } else { "was stopped" };
                (Kind::PromptFinished, "", format!("prompt {} {how} in conference {number}", finished.prompt))
            }
            Media::PlaybackEnded(ended) => {
                let file = &ended.file;
                let message = match ended.complete {
                    true => format!("{file} has been played to its end in conference {number}"),
                    false => {
                        format!("{file} cannot be played further in conference {number}: {}", ended.message)
                    }
                };
                (Kind::PlaybackEnded, ended.leg.as_str(), message)
            }
            Media::LectureChanged(changed) if changed.leg.is_empty() => {
                (Kind::LectureChanged, "", format!("the lecture in conference {number} is over"))
            }
            Media::LectureChanged(changed) => {
                let message = format!("{} holds a lecture in conference {number}", changed.leg);
                (Kind::LectureChanged, changed.leg.as_str(), message)
            }
            Media::CanvasRateChanged(changed) => {
                let (rate, wanted) = (changed.frames_per_second, changed.wanted);
                let message =
                    format!("the canvas of conference {number} has {rate:.1} of {wanted} pictures a second");
                (Kind::CanvasRateChanged, "", message)
            }
            _ => return,
        };
        let about = About {
            conference: &event.conference,
            participant: who,
            node: &event.node_id,
            ..About::default()
        };
        self.emit(kind, about, message);
    }

    fn set_alive(&mut self, event: &MediaEvent, who: &str, alive: bool) {
        let there = |known: &Conference| known.record.participants.contains_key(who);
        let there = self.state.conferences.get(&event.conference).is_some_and(there);
        let Some((known, told)) = self.state.conferences.alive_mut(&event.conference) else { return };
        *told = event.sequence;
        if !alive {
            known.remove(who);
        } else if there {
            known.insert(who.to_owned());
        }
    }
}

#[cfg(test)]
impl Node {
    /// A node in this state, for tests of placement.
    pub(crate) fn for_test(state: NodeState, description: motet_proto::node::NodeDescription) -> Node {
        Node {
            address: "http://127.0.0.1:1".to_owned(),
            description,
            state,
            announced_ms: 0,
            lease_until_ms: 0,
            lists: Lists::default(),
            doubt: None,
            isolation: None,
            hold: None,
            lost_ms: 0,
            lost_why: String::new(),
            avoid_until_ms: 0,
        }
    }
}
