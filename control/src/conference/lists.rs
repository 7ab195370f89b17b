//! What nodes run, against what control knows: adoption and repair, never deletion by absence.

use super::access::Role;
use super::audio::{Audio, PairGain, ParticipantAudio};
use super::content::Content;
use super::media::media_of_leg;
use super::model::{Conference, Node, Participant, Phase, Record, RunningCopy, Token};
use super::recordings::Recording;
use super::specification::runs_as_written;
use super::step::{About, RETRY_MS, Step};
use super::video::Video;
use super::views::ParticipantVideo;
use crate::nodes::NodeFailure;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::node::{ConferenceAllocation, ConferenceSpec, Leg, ListConferencesResponse};
use motet_proto::registry::NodeState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Copies that one step compares.
const COPIES_MAX: usize = 512;

/// What a node said that it runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    /// Step at which it was asked.
    token: Token,
    /// The last event of the node that this includes; 0: it does not tell.
    sequence: u64,
    /// What was not compared yet.
    copies: VecDeque<RunningCopy>,
    /// Ids of all.
    listed: BTreeSet<String>,
    /// The last conference of which it was looked whether it is among them.
    looked: String,
    /// For the next list.
    cursor: String,
    /// Something was told in brief of which more is to be known.
    too_brief: bool,
}

impl Node {
    /// Asks soon, and for everything.
    pub(super) fn list_in_full(&mut self) {
        self.listed.clear();
        self.list_at_ms = 0;
    }
}

/// What a list says of those who are heard in a conference.
struct Heard {
    epoch: u64,
    legs: Vec<String>,
    /// The last event of the node that this includes.
    sequence: u64,
}

impl Step<'_> {
    /// A node said what it runs, or did not.
    pub(super) fn node_listed(
        &mut self,
        token: Token,
        id: &str,
        result: Result<ListConferencesResponse, NodeFailure>,
    ) {
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        if node.listing != Some(token) {
            return;
        }
        node.listing = None;
        let list = match result {
            Ok(list) if list.boot_id == node.description.boot_id => list,
            // Another start of the node answered; its announcement comes.
            Ok(_) => return,
            Err(_) => {
                node.list_at_ms = self.now.steady_ms + RETRY_MS;
                return;
            }
        };
        let listed = list.conferences.iter().map(|copy| copy.id.clone()).collect();
        let (sequence, copies, cursor) = (list.event_sequence, list.conferences.into(), list.cursor);
        let (looked, too_brief) = (String::new(), false);
        node.told = Some(Told { token, sequence, copies, listed, looked, cursor, too_brief });
        self.compare_list(id);
    }

    /// Compares some of what a node said that it runs; the rest follows with the next steps.
    fn compare_list(&mut self, id: &str) {
        for _ in 0..COPIES_MAX {
            let Some(told) = self.state.nodes.get_mut(id).and_then(|node| node.told.as_mut()) else { return };
            let (token, sequence) = (told.token, told.sequence);
            let Some(mut copy) = told.copies.pop_front() else { return self.list_compared(id) };
            let legs = std::mem::take(&mut copy.alive_legs);
            let (conference, said) = (copy.id.clone(), Heard { epoch: copy.epoch, legs, sequence });
            let known = self.state.conferences.get(&copy.id);
            if copy.brief {
                if self.is_too_brief(id, token, &copy)
                    && let Some(told) = self.state.nodes.get_mut(id).and_then(|node| node.told.as_mut())
                {
                    told.too_brief = true;
                }
            } else if !known.is_some_and(|known| self.ours(&copy.id) && known.is_what_runs(id, &copy)) {
                self.copy_found(id, token, copy);
            }
            self.heard_on(id, &conference, said);
        }
    }

    /// All that the node runs was compared: what it did not mention does not run there.
    fn list_compared(&mut self, id: &str) {
        if !self.missed(id) {
            return;
        }
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let Some(told) = node.told.take() else { return };
        if told.too_brief {
            node.listed.clear();
            node.list_at_ms = node.list_at_ms.min(self.now.steady_ms + RETRY_MS);
            return;
        }
        let token = told.token;
        node.listed = told.cursor;
        let answers_again = std::mem::take(&mut node.look_when_listed);
        if node.state == NodeState::Joining {
            node.state = if node.description.draining { NodeState::Draining } else { NodeState::Ready };
            let address = node.address.clone();
            let about = About { node: id, ..About::default() };
            self.emit(Kind::NodeReady, about, format!("node {id} at {address} is ready"));
            self.look_for_restores();
            self.kick(id);
        } else if answers_again {
            // What waits to be restored from it stayed there as long as nobody knew what it runs.
            self.look_for_restores();
        }
        let unheard = self.state.conferences.unheard_on(id).into_iter();
        for id in unheard.map(|conference| conference.record.id.clone()).collect::<Vec<_>>() {
            if let Some(conference) = self.conference(&id) {
                conference.heard = conference.confirmed <= token;
            }
        }
    }

    /// Whether a node is to tell more of what it runs: it says that nothing has changed there, and what is known here
    /// is something else.
    fn is_too_brief(&self, node: &str, token: Token, copy: &RunningCopy) -> bool {
        let Some(known) = self.state.conferences.get(&copy.id) else { return true };
        let record = &known.record;
        let here = (record.node_id.as_str(), record.epoch) == (node, copy.epoch);
        if !self.ours(&copy.id) {
            let of = |of: &ConferenceAllocation| (of.epoch, of.revision) == (copy.epoch, copy.revision);
            return here && !known.allocation.as_ref().is_some_and(of);
        }
        // The list is older than what is being done, or than what the node confirmed since.
        if known.operation.is_some() || known.confirmed > token {
            return false;
        }
        let same = here && record.revision == copy.revision && record.phase == Phase::Running;
        !(same && known.heard && known.allocation.is_some())
    }

    /// Lists that were too long for one step.
    pub(super) fn tick_lists(&mut self) {
        let long = self.state.nodes.iter().filter(|(_, node)| node.told.is_some());
        for id in long.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.compare_list(&id);
        }
    }

    /// A node says from whom packets come, who may be others than its events have said: control was started
    /// after them, or the stream broke.
    fn heard_on(&mut self, node: &str, id: &str, said: Heard) {
        let Some(conference) = self.state.conferences.get(id) else { return };
        let record = &conference.record;
        let here = (record.node_id.as_str(), record.epoch) == (node, said.epoch);
        let carries = here && matches!(record.phase, Phase::Running | Phase::Restoring);
        // Zero: it says nothing of this; less than what is known here: an event overtook the list.
        if !carries || said.sequence == 0 || said.sequence < conference.alive_told {
            return;
        }
        let takes_part = |who: &String| record.participants.contains_key(who);
        let legs = said.legs.into_iter().filter(takes_part).collect();
        if let Some((alive, told)) = self.state.conferences.alive_mut(id) {
            (*alive, *told) = (legs, said.sequence);
        }
    }

    /// What the conference's node runs of it is not known: the next list tells.
    pub(super) fn look_at_node(&mut self, moid: &str) {
        let asked = self.token();
        let Some(conference) = self.conference(moid) else { return };
        (conference.heard, conference.repair, conference.confirmed) = (false, false, asked);
        let node = conference.record.node_id.clone();
        if let Some(node) = self.state.nodes.get_mut(&node) {
            node.list_in_full();
        }
    }

    /// A node runs this.
    fn copy_found(&mut self, node: &str, token: Token, copy: RunningCopy) {
        let Some(conference) = self.state.conferences.get_mut(&copy.id) else {
            return match self.state.abandoned.get(&copy.id) {
                // Who asked for it was told that it could not be created.
                Some(abandoned) if copy.epoch <= abandoned.epoch => {
                    self.delete_on(node, &copy.id, copy.epoch)
                }
                _ => self.adopt(node, copy),
            };
        };
        if self.state.options.shared && conference.record.maintainer != self.state.options.css {
            return self.copy_of_another(node, copy);
        }
        // The list is older than what is being done, or than what the node confirmed since.
        if conference.operation.is_some() || conference.confirmed > token {
            return;
        }
        let record = &mut conference.record;
        let here = record.node_id == node;
        if record.phase == Phase::PendingRestore && copy.epoch < record.epoch && !here {
            // What was to take its place failed: it stays where media may still flow.
            return self.restore_here(&copy.id, node);
        }
        if record.phase == Phase::Ended || copy.epoch < record.epoch || (copy.epoch == record.epoch && !here)
        {
            let (id, epoch) = (copy.id, copy.epoch);
            return self.delete_on(node, &id, epoch);
        }
        if copy.epoch > record.epoch || copy.revision > record.revision {
            // The node knows better: control lost what it had written last.
            return self.adopt(node, copy);
        }
        if conference.record.phase == Phase::Creating {
            // The store is to hold that it runs, first.
            return;
        }
        let before = conference.addresses();
        conference.allocation = copy.allocation.or(conference.allocation.take());
        let after = conference.addresses();
        conference.repair |= copy.revision < conference.record.revision;
        let other = |spec: &ConferenceSpec| !runs_as_written(&conference.record, spec);
        if !conference.heard
            && copy.revision == conference.record.revision
            && copy.spec.as_ref().is_some_and(other)
        {
            // It would refuse another specification under the same revision.
            conference.record.revision += 1;
            (conference.repair, conference.dirty) = (true, true);
        }
        if conference.record.phase != Phase::Running {
            conference.record.phase = Phase::Running;
            conference.record.reason.clear();
            let (id, number) = (copy.id, conference.record.number.clone());
            let about = About { conference: &id, node, ..About::default() };
            self.emit(Kind::Running, about, format!("conference {number} runs on node {node}, as before"));
            self.tell_moved(&id, |who| before.get(who) != after.get(who));
            self.runs_again(&id);
            self.flush(&id);
            self.next_request(&id);
        } else if before != after {
            // Control may have ended before it said so, and have known nothing since it was started again.
            self.tell_moved(&copy.id, |who| before.get(who) != after.get(who));
        }
    }

    /// A node runs what another control process maintains, which has its own list.
    fn copy_of_another(&mut self, node: &str, copy: RunningCopy) {
        let Some(conference) = self.conference(&copy.id) else { return };
        if (conference.record.epoch, conference.record.node_id.as_str()) != (copy.epoch, node) {
            return;
        }
        let of_before = conference.allocation.as_ref().map(|allocation| allocation.epoch);
        let before = conference.addresses();
        conference.allocation = copy.allocation;
        let after = conference.addresses();
        // Who joined where its maintainer is, was told there; unless the conference has moved since, or may have.
        let went = of_before.map_or(copy.epoch > 1, |epoch| epoch != copy.epoch);
        let had_one = |who: &str| before.get(who).is_some_and(|all| all.iter().all(|to| !to.is_empty()));
        let moved = |who: &str| (went || had_one(who)) && before.get(who) != after.get(who);
        self.tell_moved(&copy.id, moved);
    }

    /// Takes over a conference that a node runs and that is not known here.
    fn adopt(&mut self, node: &str, copy: RunningCopy) {
        let mut record = serde_json::from_slice::<Record>(&copy.metadata)
            .ok()
            .filter(|record| record.id == copy.id)
            .unwrap_or_else(|| self.unnamed(&copy));
        if self.left_to(&record.maintainer) {
            return;
        }
        record.maintainer.clone_from(&self.state.options.css);
        record.phase = Phase::Running;
        record.reason.clear();
        record.node_id = node.to_owned();
        record.room =
            self.state.nodes.get(node).map(|node| node.description.room.clone()).unwrap_or_default();
        (record.epoch, record.revision) = (copy.epoch, copy.revision);
        let (id, number) = (record.id.clone(), record.number.clone());
        let mut conference = match self.state.conferences.remove(&id) {
            // What the store is known to hold is what the record is to replace there.
            Some(known) => {
                record.access.recognize(&known.record.access);
                record.history = known.record.history;
                record.version = record.version.max(known.record.version);
                let Conference { alive, alive_told, stored, flushing, queue, .. } = known;
                Conference { alive, alive_told, stored, flushing, queue, ..Conference::new(record) }
            }
            None => Conference::new(record),
        };
        conference.allocation = copy.allocation;
        self.state.conferences.insert(id.clone(), conference);
        let about = About { conference: &id, node, ..About::default() };
        self.emit(
            Kind::Adopted,
            about,
            format!("conference {number} runs on node {node} and was taken over"),
        );
        self.flush(&id);
    }

    /// What can be said of a conference that was not put there by control, or by a much older one.
    fn unnamed(&self, copy: &RunningCopy) -> Record {
        let legs = copy.spec.iter().flat_map(|spec| &spec.legs);
        let participants: BTreeMap<String, Participant> =
            legs.map(|leg| (leg.id.clone(), participant_of_leg(leg))).collect();
        let spec = copy.spec.as_ref();
        let audio = spec.and_then(|spec| Audio::check(spec.audio.as_ref()).ok()).unwrap_or_default();
        let video = spec.and_then(|spec| Video::check(spec.video.as_ref()).ok()).unwrap_or_default();
        let recordings = spec.iter().flat_map(|spec| &spec.recordings).map(Recording::from_wire).collect();
        let content = spec.and_then(|spec| spec.content.as_ref());
        // Which rule it is nobody knows; a chair may change that.
        let floor = motet_proto::media::ContentFloor::Moderated.into();
        let content =
            content.map(|content| Content { floor, holder: content.leg.clone(), waiting: Vec::new() });
        let content = content.unwrap_or_default();
        let pair_gains = spec.iter().flat_map(|spec| &spec.pair_gains).map(PairGain::from_wire).collect();
        Record {
            id: copy.id.clone(),
            created_unix_ms: self.now.unix_ms,
            phase: Phase::Running,
            platform: self.state.options.platform.clone(),
            epoch: copy.epoch,
            revision: copy.revision,
            participants,
            audio,
            video,
            pair_gains,
            recordings,
            content,
            seed: spec.map_or(0, |spec| spec.seed),
            ..Record::default()
        }
    }

    /// Conferences that the node should run and did not mention: they wait to be restored, nothing is
    /// deleted. True: all were looked at.
    fn missed(&mut self, node: &str) -> bool {
        let Some(told) = self.state.nodes.get(node).and_then(|node| node.told.as_ref()) else { return false };
        let placed = self.state.conferences.placed_on(node, &told.looked, COPIES_MAX);
        let looked = placed.last().filter(|_| placed.len() == COPIES_MAX).map(|last| last.record.id.clone());
        let missed = placed.into_iter().filter(|conference| {
            conference.operation.is_none()
                && conference.confirmed < told.token
                && !told.listed.contains(&conference.record.id)
        });
        for id in missed.map(|conference| conference.record.id.clone()).collect::<Vec<_>>() {
            self.pending_restore(&id, &format!("node {node} was started again and no longer runs it"));
        }
        let Some(looked) = looked else { return true };
        if let Some(told) = self.state.nodes.get_mut(node).and_then(|node| node.told.as_mut()) {
            told.looked = looked;
        }
        false
    }
}

impl Conference {
    /// Whether the node runs exactly what is known here.
    fn is_what_runs(&self, node: &str, copy: &RunningCopy) -> bool {
        let record = &self.record;
        self.heard
            && record.phase == Phase::Running
            && (record.node_id.as_str(), record.epoch, record.revision) == (node, copy.epoch, copy.revision)
            && self.allocation == copy.allocation
    }
}

/// What can be said of a participant by its leg.
fn participant_of_leg(leg: &Leg) -> Participant {
    let audio = ParticipantAudio::check(leg.audio.as_ref()).unwrap_or_default();
    let video = ParticipantVideo::check(leg.video.as_ref()).unwrap_or_default();
    let (name, media) = (leg.display_name.clone(), media_of_leg(leg));
    Participant { name, media, audio, video, role: Role::default() }
}
