//! What the store holds, as far as is known here, and what it says.
//!
//! A write names the version that it replaces ([`Stored::base`]). One that is refused with a conflict, or
//! whose answer is lost, leaves open what is there: it is read again before anything else is written.

use super::audio::mode_name;
use super::effect::Effect;
use super::model::{Conference, Phase, Record, Token};
use super::step::{About, RETRY_MS, Step};
use crate::store::{Base, News, StoreError};
use motet_proto::conference::ConferenceEventKind as Kind;
use std::collections::{BTreeMap, BTreeSet};

/// How long a record waits that something else in the store is in the way of.
const FOREIGN_WAIT_MS: u64 = 10_000;

/// What the store holds of a conference.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stored {
    /// The version that is there when all writes on their way are done; none: nothing is there.
    pub(super) base: Option<Base>,
    /// Writes on their way, and what each replaces.
    puts: BTreeMap<Token, Option<Base>>,
    /// Step at which the last one was answered; what was read before says nothing.
    settled: Token,
    /// Not to be written before this time.
    wait_until_ms: u64,
}

impl Stored {
    /// The store holds this record.
    pub(super) fn of(record: &Record) -> Stored {
        Stored { base: Some(Base::of(record)), ..Stored::default() }
    }

    /// Whether it is being found out what is there.
    pub(super) fn waits(&self, now_ms: u64) -> bool {
        self.wait_until_ms > now_ms
    }
}

impl Conference {
    /// A version above all that were written or tried.
    pub(super) fn next_version(&self) -> u64 {
        self.record.version.max(self.stored.base.unwrap_or_default().version) + 1
    }
}

impl Step<'_> {
    /// Has the store write a record in the place of what it holds.
    pub(super) fn store_put(&mut self, token: Token, record: Record) {
        let conference = self.conference(&record.id).expect("what is written is known");
        let base = conference.stored.base.replace(Base::of(&record));
        conference.stored.puts.insert(token, base);
        self.effects.push(Effect::StorePut { token, record: Box::new(record), base });
    }

    pub(super) fn store_put_done(&mut self, token: Token, id: &str, result: Result<(), StoreError>) {
        if let Err(StoreError::Unavailable(why)) = &result {
            self.store_failed(why.clone());
        }
        let (settled, now_ms) = (self.token(), self.now.steady_ms);
        let Some(conference) = self.conference(id) else { return };
        let Some(base) = conference.stored.puts.remove(&token) else { return };
        conference.stored.settled = settled;
        if let Err(error) = &result {
            // Nothing that was to follow it has been written either.
            conference.stored.base = conference.stored.base.min(base);
            match error {
                StoreError::Conflict => {
                    conference.stored.wait_until_ms = now_ms + RETRY_MS;
                    self.effects.push(Effect::StoreGet { conference: id.to_owned() });
                }
                StoreError::Foreign(_) => conference.stored.wait_until_ms = now_ms + FOREIGN_WAIT_MS,
                // The number is another's, since the store had forgotten that it was taken: until that one ends.
                StoreError::NumberTaken | StoreError::RequestTaken { .. }
                    if conference.flushing == Some(token) =>
                {
                    conference.stored.wait_until_ms = now_ms + RETRY_MS;
                }
                _ => {}
            }
        }
        let Some(conference) = self.conference(id) else { return };
        if conference.flushing == Some(token) {
            conference.flushing = None;
            conference.dirty |= result.is_err();
        } else if conference.operation.as_ref().is_some_and(|operation| operation.token == token) {
            let written = result.is_ok();
            self.stored(id, result);
            if written {
                self.doubt_others_with_number_of(id);
            }
        }
    }

    /// The store gave a conference its number: what others had under it has ended, and the feed has not told yet. Until
    /// it did, requests would go to who does not maintain it.
    fn doubt_others_with_number_of(&mut self, id: &str) {
        let Some(known) = self.state.conferences.get(id) else { return };
        let record = &known.record;
        if record.number.is_empty() || record.phase == Phase::Ended {
            return;
        }
        let living = |other: &&Conference| other.record.id != id && other.record.phase != Phase::Ended;
        let others = self.state.conferences.with_number(&record.number).into_iter().filter(living);
        let doubtful: Vec<String> = others.map(|other| other.record.id.clone()).collect();
        self.effects.extend(doubtful.into_iter().map(|conference| Effect::StoreGet { conference }));
    }

    /// Writes what the store does not hold yet.
    pub(super) fn flush(&mut self, id: &str) {
        let (token, now_ms) = (self.token(), self.now.steady_ms);
        let usable = self.state.store_fault.is_none();
        let (ours, css) = (self.ours(id), self.state.options.css.clone());
        let Some(conference) = self.conference(id) else { return };
        conference.dirty = ours;
        let waits = conference.stored.waits(now_ms) || conference.ending.is_some();
        if ours && usable && !waits && conference.operation.is_none() && conference.flushing.is_none() {
            conference.dirty = false;
            conference.noted_ms = None;
            conference.flushing = Some(token);
            conference.record.version = conference.next_version();
            conference.record.maintainer = css;
            let record = conference.record.clone();
            self.store_put(token, record);
        }
    }

    /// Has the store forget a conference; it is asked until it has.
    pub(super) fn store_remove(&mut self, id: &str) {
        self.state.removals.insert(id.to_owned(), u64::MAX);
        self.effects.push(Effect::StoreRemove { conference: id.to_owned() });
    }

    pub(super) fn store_removed(&mut self, id: &str, result: Result<(), StoreError>) {
        let now_ms = self.now.steady_ms;
        let Some(again_ms) = self.state.removals.get_mut(id) else { return };
        match result {
            Ok(()) => {
                self.state.removals.remove(id);
            }
            Err(StoreError::Unavailable(why)) => {
                *again_ms = now_ms + RETRY_MS;
                self.store_failed(why);
            }
            Err(_) => *again_ms = now_ms + FOREIGN_WAIT_MS,
        }
    }

    /// Removals that were not answered well.
    pub(super) fn tick_removals(&mut self) {
        let now_ms = self.now.steady_ms;
        if self.state.store_fault.is_some() {
            return;
        }
        let due = self.state.removals.iter().filter(|(_, again_ms)| **again_ms <= now_ms);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.store_remove(&id);
        }
    }

    pub(super) fn store_failed(&mut self, why: String) {
        self.state.store_fault = Some(why);
        self.state.store_retry_ms = self.now.steady_ms + RETRY_MS;
    }

    /// All that the store holds; nothing was on its way to it meanwhile.
    pub(super) fn store_loaded(&mut self, records: Vec<Record>) {
        self.state.store_fault = None;
        let first = !std::mem::replace(&mut self.state.loaded, true);
        let listed: BTreeSet<String> = records.iter().map(|record| record.id.clone()).collect();
        let asked = self.token();
        for record in records {
            self.seen(record, asked, true, first);
        }
        let absent: Vec<String> =
            self.state.conferences.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        for id in absent {
            self.absent(&id);
        }
        self.state.peers.lapse_ms_max = 0;
        self.look_for_restores();
        // What nodes said before now is to be seen in the light of the records.
        for node in self.state.nodes.values_mut() {
            node.lists.in_full();
        }
    }

    /// What has changed in the store since the last time, which was asked for at step `asked`.
    pub(super) fn store_changed(&mut self, asked: Token, changed: Result<News, StoreError>) {
        if self.state.peers.following != Some(asked) {
            return;
        }
        self.state.peers.following = None;
        match changed {
            Ok(News { records, removed, missing }) => {
                for record in records {
                    self.seen(record, asked, false, false);
                }
                for id in removed {
                    self.gone(&id, asked);
                }
                for id in missing {
                    self.not_there(&id, asked);
                }
            }
            Err(StoreError::Unavailable(why)) => self.store_failed(why),
            Err(_) => {}
        }
        self.looked_up(asked);
    }

    /// One record, as the store has it at this moment.
    pub(super) fn store_got(&mut self, id: &str, got: Result<Option<Box<Record>>, StoreError>) {
        let asked = self.token();
        match got {
            Ok(Some(record)) => self.seen(*record, asked, true, false),
            Ok(None) => self.absent(id),
            Err(StoreError::Unavailable(why)) => self.store_failed(why),
            // It is left alone, and so is what is known here.
            Err(_) => {}
        }
    }

    /// The store holds this record. `decided`: its primary says so. `quiet`: it is no news.
    fn seen(&mut self, record: Record, asked: Token, decided: bool, quiet: bool) {
        let id = record.id.clone();
        let there = Base::of(&record);
        self.state.peers.missing.remove(&id);
        let Some(known) = self.state.conferences.get_mut(&id) else { return self.discovered(record, quiet) };
        if !known.stored.puts.is_empty() || known.stored.settled > asked {
            return;
        }
        known.stored.wait_until_ms = 0;
        let Some(base) = known.stored.base else { return self.seen_after_adoption(record) };
        if base == there && known.record.maintainer == record.maintainer {
            return;
        }
        if there < base && self.ours(&id) {
            if !decided {
                return self.effects.push(Effect::StoreGet { conference: id });
            }
            // It has forgotten what it had acknowledged.
            return self.write_again(&id, Some(there));
        }
        self.follow(record, quiet);
    }

    /// A node told of the conference before the store did.
    fn seen_after_adoption(&mut self, record: Record) {
        let known = self.conference(&record.id).expect("the caller found it");
        let newer = (known.record.epoch, known.record.revision) < (record.epoch, record.revision);
        if known.operation.is_none() && (newer || record.phase == Phase::Ended) {
            self.follow(record, true);
        } else {
            let (id, there) = (record.id.clone(), Base::of(&record));
            known.record.maintainer = record.maintainer;
            self.write_again(&id, Some(there));
            self.take_up(&id);
        }
    }

    fn write_again(&mut self, id: &str, there: Option<Base>) {
        let Some(conference) = self.conference(id) else { return };
        conference.stored.base = there;
        conference.stored.wait_until_ms = 0;
        conference.dirty = true;
        self.flush(id);
    }

    /// A conference that was not known here.
    fn discovered(&mut self, record: Record, quiet: bool) {
        let id = record.id.clone();
        if self.state.removals.contains_key(&id) {
            return;
        }
        let mine = !self.state.options.shared || record.maintainer == self.state.options.css;
        let abandoned = self.state.abandoned.get(&id);
        let abandoned = abandoned.is_some_and(|abandoned| record.epoch <= abandoned.epoch);
        // Nobody was told that it exists. If a node runs it all the same, it will be deleted there.
        let creating = mine && record.phase == Phase::Creating;
        if mine && abandoned || creating && !record.schedule.booking.is_empty() {
            return self.abandon(&id, record.epoch);
        }
        let mut conference = Conference { heard: false, ..Conference::new(record) };
        conference.stored = Stored::of(&conference.record);
        if !quiet {
            self.tell_difference(&Record::default(), &conference.record);
        }
        self.state.conferences.insert(id.clone(), conference);
        if creating {
            self.bury(&id, "the control process that did it ended meanwhile");
        } else if mine {
            self.take_up(&id);
        }
    }

    /// Takes over what the store says.
    fn follow(&mut self, record: Record, quiet: bool) {
        let id = record.id.clone();
        self.give_up_operation(&id);
        let Some(known) = self.state.conferences.get_mut(&id) else { return };
        known.stored = Stored { settled: known.stored.settled, ..Stored::of(&record) };
        let before = std::mem::replace(&mut known.record, record);
        let after = known.record.clone();
        known.dirty = false;
        if matches!(after.phase, Phase::Running | Phase::Restoring) && after.epoch == before.epoch {
            known.alive.retain(|participant| after.participants.contains_key(participant));
        } else {
            known.nobody_is_heard();
        }
        known.repair = false;
        if self.ours(&id) {
            // A node may run what control knew before.
            self.look_at_node(&id);
            self.take_up(&id);
        } else if before.epoch != after.epoch
            && let Some(node) = self.state.nodes.get_mut(&after.node_id)
        {
            // It knows where participants send now.
            node.lists.soon();
        }
        if !quiet {
            self.tell_difference(&before, &after);
        }
        self.route_queue(&id);
    }

    /// The feed says that the conference was removed.
    fn gone(&mut self, id: &str, asked: Token) {
        let Some(known) = self.state.conferences.get(id) else { return };
        if !known.stored.puts.is_empty() || known.stored.settled > asked {
            return;
        }
        if self.ours(id) {
            return self.effects.push(Effect::StoreGet { conference: id.to_owned() });
        }
        self.drop_conference(id);
    }

    /// The store lacked it, and nobody has removed it.
    fn not_there(&mut self, id: &str, asked: Token) {
        let Some(known) = self.state.conferences.get(id) else { return };
        if !known.stored.puts.is_empty() || known.stored.settled > asked {
            return;
        }
        // Its maintainer may write it again; others are not to take it for gone before.
        if self.ours(id) || !self.is_missing(id) {
            self.effects.push(Effect::StoreGet { conference: id.to_owned() });
        }
    }

    /// The store holds nothing of it.
    fn absent(&mut self, id: &str) {
        let Some(known) = self.state.conferences.get(id) else { return };
        if !known.stored.puts.is_empty() {
            return;
        }
        let removed = known.stored.base.is_some() && self.may_have_been_removed();
        if removed || !self.ours(id) && !self.is_missing(id) {
            return self.drop_conference(id);
        }
        if !self.ours(id) {
            return;
        }
        // It was lost, or never written.
        self.write_again(id, None);
    }

    fn drop_conference(&mut self, id: &str) {
        self.state.peers.missing.remove(id);
        self.give_up_operation(id);
        self.route_queue(id);
        self.state.conferences.remove(id);
    }

    /// Tells the watchers what another control process did to a conference.
    fn tell_difference(&mut self, before: &Record, after: &Record) {
        let (number, node) = (after.number.clone(), after.node_id.clone());
        let about =
            About { conference: &after.id, node: &node, user_domain: &after.user_domain, ..About::default() };
        let unmade = |record: &Record| record.id.is_empty() || record.phase == Phase::Creating;
        if after.phase == Phase::Creating || before.phase == Phase::Creating && after.phase == Phase::Ended {
            return;
        }
        if unmade(before) && after.phase != Phase::Ended {
            self.emit(Kind::Created, about, format!("conference {number} created"));
        }
        if before.id.is_empty() || before.phase != after.phase {
            let reason = &after.reason;
            match after.phase {
                Phase::Running => {
                    self.emit(Kind::Running, about, format!("conference {number} runs on node {node}"));
                }
                Phase::PendingRestore => {
                    let message = format!("conference {number} waits to be restored: {reason}");
                    self.emit(Kind::PendingRestore, about, message);
                }
                Phase::Ended => self.emit(Kind::Ended, about, format!("conference {number} ended: {reason}")),
                _ => {}
            }
        }
        for who in after.participants.keys().filter(|who| !before.participants.contains_key(*who)) {
            let about = About { participant: who, ..about };
            self.emit(Kind::ParticipantJoined, about, format!("{who} joined conference {number}"));
        }
        for who in before.participants.keys().filter(|who| !after.participants.contains_key(*who)) {
            let about = About { participant: who, ..about };
            self.emit(Kind::ParticipantLeft, about, format!("{who} left conference {number}"));
        }
        if !before.id.is_empty() && before.audio != after.audio {
            let mode = mode_name(&after.audio);
            self.emit(Kind::AudioChanged, about, format!("the sound of conference {number} is {mode} now"));
        }
        if !before.id.is_empty() && before.video != after.video {
            let mode = after.video.mode_name();
            self.emit(
                Kind::VideoChanged,
                about,
                format!("the pictures of conference {number} are {mode} now"),
            );
        }
    }
}
