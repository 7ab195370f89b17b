//! What nodes run, against what control knows: adoption and repair, never deletion by absence.

use super::access::Role;
use super::audio::{Audio, PairGain, ParticipantAudio};
use super::content::Content;
use super::media::media_of_leg;
use super::model::{Conference, Participant, Phase, Record, RunningCopy, Token};
use super::recordings::Recording;
use super::specification::runs_as_written;
use super::step::{About, Step};
use super::video::Video;
use super::views::ParticipantVideo;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::node::{ConferenceAllocation, ConferenceSpec, Leg};
use std::collections::BTreeMap;

/// What a list says of those who are heard in a conference.
pub(super) struct Heard {
    pub(super) epoch: u64,
    pub(super) legs: Vec<String>,
    /// The last event of the node that this includes.
    pub(super) sequence: u64,
}

impl Step<'_> {
    /// A node told this in full.
    pub(super) fn copy_told(&mut self, node: &str, token: Token, copy: RunningCopy) {
        let known = self.state.conferences.get(&copy.id);
        if !known.is_some_and(|known| self.ours(&copy.id) && known.is_what_runs(node, &copy)) {
            self.copy_found(node, token, copy);
        }
    }

    /// Whether a node is to tell more of what it runs: it says that nothing has changed there, and what is known here
    /// is something else.
    pub(super) fn is_too_brief(&self, node: &str, token: Token, copy: &RunningCopy) -> bool {
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

    /// A node says from whom packets come, who may be others than its events have said: control was started
    /// after them, or the stream broke.
    pub(super) fn heard_on(&mut self, node: &str, id: &str, said: Heard) {
        let Some(conference) = self.state.conferences.get(id) else { return };
        let record = &conference.record;
        let here = (record.node_id.as_str(), record.epoch) == (node, said.epoch);
        let carries = here && matches!(record.phase, Phase::Running | Phase::Restoring);
        // Zero: it says nothing of this; less than what is known here: an event overtook the list.
        if !carries || said.sequence == 0 || said.sequence < conference.alive_told {
            return;
        }
        let takes_part = |who: &String| record.participants.contains_key(who);
        // Mostly as before: ten thousand conferences are listed every few seconds.
        let news = !said.legs.iter().eq(&conference.alive);
        let legs = news.then(|| said.legs.into_iter().filter(takes_part).collect());
        if let Some((alive, told)) = self.state.conferences.alive_mut(id) {
            *alive = legs.unwrap_or_else(|| std::mem::take(alive));
            *told = said.sequence;
        }
    }

    /// What the conference's node runs of it is not known: the next list tells.
    pub(super) fn look_at_node(&mut self, moid: &str) {
        let asked = self.token();
        let Some(conference) = self.conference(moid) else { return };
        (conference.heard, conference.repair, conference.confirmed) = (false, false, asked);
        let node = conference.record.node_id.clone();
        if let Some(node) = self.state.nodes.get_mut(&node) {
            node.lists.soon();
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
