//! Which control process changes a conference, where several work on one store.
//!
//! All are equals. Each says in the store that it lives, again and again (a lease). A conference has one
//! maintainer: whoever created it, until its lease is gone and another claims the conference by writing its
//! own id into the record, by compare-and-set. A process that was stopped and goes on finds its next write
//! refused, reads what is there, and follows.
//!
//! A change is done by the maintainer: whoever is asked passes it on, once. What is read is read from
//! memory, which follows the store.

use super::effect::Effect;
use super::model::{Phase, RequestId, State, Token, Work};
use super::options::Options;
use super::requests::{Request, Response};
use super::step::{About, Step};
use crate::peers::PeerFailure;
use crate::refusal::Refusal;
use crate::store::{Peer, StoreError};
use motet_proto::conference::ConferenceEventKind as Kind;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

/// Claims that may be on their way together.
const CLAIMS_MAX: usize = 64;
/// Conferences of one maintainer that is gone that one step looks at.
const ORPHANS_MAX: usize = 256;
/// How long a request waits for a maintainer that does not answer to be counted out.
const PARKED_MS: u64 = 6_000;

/// What is known of the other control processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Peers {
    /// Addresses of those that live, by id; this one too.
    living: BTreeMap<String, String>,
    /// When the lease of this one was renewed last, and since when it has been without a gap.
    renewed_ms: Option<u64>,
    steady_since_ms: u64,
    /// When to renew it, and to ask for what has changed.
    renew_at_ms: u64,
    follow_at_ms: u64,
    renewing: bool,
    /// Maintainers whose lease is gone, and since when that is known.
    gone: BTreeMap<String, u64>,
    /// The last of their conferences that was looked at; the next step goes on after it.
    orphan_looked: Option<String>,
    /// Requests that were passed on, and those whose maintainer does not answer.
    passed_on: BTreeMap<RequestId, PassedOn>,
    /// Requests that another control process has passed on to this one.
    pub(super) hops: BTreeSet<RequestId>,
    /// The feed is being read, since this step.
    pub(super) following: Option<Token>,
    /// Requests about what is not known here, and since which step they wait for the feed.
    pub(super) lookups: Vec<(Token, RequestId, Request)>,
    /// Conferences of others that the store lacks: how long they may be written again, and whether the store was
    /// asked after that.
    pub(super) missing: BTreeMap<String, (u64, bool)>,
    /// The longest time without a lease since the whole store was read.
    pub(super) lapse_ms_max: u64,
}

/// A request that another control process is to carry out.
#[derive(Clone, Debug, PartialEq)]
struct PassedOn {
    conference: String,
    request: Request,
    until_ms: u64,
    /// On its way; else it waits.
    asked: bool,
}

/// Who changes a conference.
enum Whose {
    Ours,
    Theirs(Peer),
    Nobodys,
}

impl State {
    /// Whether this control process maintains the conference: it alone changes, places, restores, expires
    /// and repairs it. False for what is not known.
    pub fn maintains(&self, conference: &str) -> bool {
        let known = self.conferences.get(conference);
        known.is_some_and(|known| !self.options.shared || known.record.maintainer == self.options.css)
    }

    /// Control processes that live, by id; empty where there can be no other.
    pub fn living(&self) -> impl Iterator<Item = &str> {
        self.peers.living.keys().map(String::as_str)
    }
}

impl Step<'_> {
    /// See [`State::maintains`].
    pub(super) fn ours(&self, conference: &str) -> bool {
        self.state.maintains(conference)
    }

    /// Whether what this maintainer has is to be left to it.
    pub(super) fn left_to(&self, maintainer: &str) -> bool {
        let Options { shared, css, .. } = &self.state.options;
        *shared && maintainer != css && self.state.peers.living.contains_key(maintainer)
    }

    fn whose(&self, conference: &str) -> Whose {
        if self.ours(conference) {
            return Whose::Ours;
        }
        let Some(known) = self.state.conferences.get(conference) else { return Whose::Nobodys };
        let id = &known.record.maintainer;
        match self.state.peers.living.get(id) {
            Some(address) => Whose::Theirs(Peer { id: id.clone(), address: address.clone() }),
            None => Whose::Nobodys,
        }
    }

    /// Has a change done: here, or where the conference is maintained.
    pub(super) fn route(&mut self, id: RequestId, moid: &str, request: Request) {
        match self.whose(moid) {
            Whose::Ours => {
                self.conference(moid).expect("it is ours").queue.push_back((id, request));
                self.next_request(moid);
            }
            Whose::Theirs(peer) if self.state.peers.hops.contains(&id) => {
                // It may have waited here for somebody to maintain it.
                self.state.peers.passed_on.remove(&id);
                let why = format!("control process {} maintains it now; ask again", peer.id);
                self.reply(id, Err(Refusal::at(Code::Aborted, "conference", why)));
            }
            Whose::Theirs(peer) => self.pass_on(id, moid, request, peer),
            Whose::Nobodys if !self.settled() && self.state.conferences.contains_key(moid) => {
                let (conference, until_ms) = (moid.to_owned(), self.now.steady_ms + PARKED_MS);
                let waits = PassedOn { conference, request, until_ms, asked: false };
                self.state.peers.passed_on.entry(id).or_insert(waits);
            }
            Whose::Nobodys => match self.conference(moid) {
                Some(conference) => {
                    conference.queue.push_back((id, request));
                    self.claim(moid);
                }
                None => {
                    let refusal = Refusal::at(Code::NotFound, "conference", "it was removed");
                    self.reply(id, Err(refusal));
                }
            },
        }
    }

    /// Requests that waited for a conference go where it is maintained now.
    pub(super) fn route_queue(&mut self, moid: &str) {
        let Some(conference) = self.conference(moid) else { return };
        let joins = std::mem::take(&mut conference.restore.joins).into_iter();
        let waiting = std::mem::take(&mut conference.queue).into_iter();
        for (id, request) in waiting.chain(joins.map(|(id, join, _)| (id, join))).collect::<Vec<_>>() {
            self.change(id, request);
        }
    }

    /// Answers a read of one conference; exactly, where its maintainer can be asked.
    pub(super) fn read(&mut self, id: RequestId, moid: &str, request: Request) {
        match self.whose(moid) {
            Whose::Theirs(peer) if !self.state.peers.hops.contains(&id) => {
                self.pass_on(id, moid, request, peer)
            }
            _ => self.read_here(id, moid),
        }
    }

    fn read_here(&mut self, id: RequestId, moid: &str) {
        let answer = self.found(moid).map(|found| Response::Conference(Box::new(self.state.info(found))));
        self.reply(id, answer);
    }

    fn pass_on(&mut self, id: RequestId, moid: &str, request: Request, peer: Peer) {
        let until_ms = self.now.steady_ms + PARKED_MS;
        let passed =
            PassedOn { conference: moid.to_owned(), request: request.clone(), until_ms, asked: true };
        self.state.peers.passed_on.entry(id).or_insert(passed).asked = true;
        self.effects.push(Effect::Forward { id, address: peer.address, request: Box::new(request) });
    }

    /// Another control process has answered what was passed on, or not.
    pub(super) fn forwarded(&mut self, id: RequestId, result: Result<Response, PeerFailure>) {
        let Some(passed) = self.state.peers.passed_on.get_mut(&id) else { return };
        match result {
            Ok(response) => {
                self.state.peers.passed_on.remove(&id);
                self.reply(id, Ok(response));
            }
            Err(PeerFailure::Refused(refusal)) if refusal.code != Code::Aborted => {
                self.state.peers.passed_on.remove(&id);
                self.reply(id, Err(refusal));
            }
            // It ends, or maintains it no longer. Asking again does no harm: ids are chosen already.
            Err(_) if matches!(passed.request, Request::Get(_)) => {
                let moid = passed.conference.clone();
                self.state.peers.passed_on.remove(&id);
                self.read_here(id, &moid);
            }
            // Perhaps it is not what is known here.
            Err(PeerFailure::Refused(_)) => {
                passed.asked = false;
                self.follow_now();
            }
            Err(_) => passed.asked = false,
        }
    }

    /// Makes the conference this process's own.
    fn claim(&mut self, moid: &str) {
        if self.state.store_fault.is_some() {
            return;
        }
        let Some(conference) = self.conference(moid) else { return };
        if conference.operation.is_some() || conference.flushing.is_some() {
            return;
        }
        let next = conference.record.clone();
        self.start(moid, next, Work::Claim);
    }

    /// The claim is in the store.
    pub(super) fn claimed(&mut self, moid: &str) {
        let conference = self.conference(moid).expect("the caller found it");
        let creating = conference.record.phase == Phase::Creating;
        let (number, css) = (conference.record.number.clone(), self.state.options.css.clone());
        self.look_at_node(moid);
        let about = About { conference: moid, ..About::default() };
        self.emit(Kind::Adopted, about, format!("conference {number} is maintained by {css} now"));
        if creating {
            // Whoever asked for it has had no answer, and will have none.
            let refusal = Refusal::at(Code::NotFound, "conference", "it could not be created");
            return self.forget(moid, RequestId::NOBODY, refusal);
        }
        self.take_up(moid);
        self.route_queue(moid);
    }

    /// What waits to be restored is from now on restored here. What was under way is settled by what its node
    /// says, or when that is lost.
    pub(super) fn take_up(&mut self, moid: &str) {
        let phase = self.state.conferences.get(moid).map(|conference| conference.record.phase);
        if phase == Some(Phase::PendingRestore) && self.ours(moid) {
            self.wait_for_restore();
        }
    }

    /// The claim was refused: who waits for it is sent on when the record has been read.
    pub(super) fn not_claimed(&mut self, moid: &str, refusal: &Refusal) {
        let Some(conference) = self.conference(moid) else { return };
        if refusal.code == Code::Aborted {
            return;
        }
        for (id, _) in std::mem::take(&mut conference.queue) {
            self.reply(id, Err(refusal.clone()));
        }
    }

    /// Another control process took the conference over while something was being done to it.
    pub(super) fn give_up_operation(&mut self, moid: &str) {
        let Some(operation) = self.conference(moid).and_then(|conference| conference.operation.take()) else {
            return;
        };
        if let Some(request) = operation.work.request() {
            let why = "another control process changed the conference; ask again";
            self.reply(request, Err(Refusal::plain(Code::Aborted, why)));
        }
    }

    /// Who lives, this one among them.
    pub(super) fn peers_seen(&mut self, seen: Result<Vec<Peer>, StoreError>) {
        let now_ms = self.now.steady_ms;
        let lease_ms = self.state.options.css_lease_ms;
        let peers = &mut self.state.peers;
        peers.renewing = false;
        let living = match seen {
            Ok(living) => living,
            Err(StoreError::Unavailable(why)) => return self.store_failed(why),
            Err(_) => return,
        };
        let lapse_ms = peers.renewed_ms.map_or(0, |renewed_ms| now_ms.saturating_sub(renewed_ms));
        let lapsed = peers.renewed_ms.is_none() || lapse_ms > lease_ms;
        if lapsed {
            peers.steady_since_ms = now_ms;
        }
        peers.renewed_ms = Some(now_ms);
        peers.living = living.into_iter().map(|peer| (peer.id, peer.address)).collect();
        peers.lapse_ms_max = peers.lapse_ms_max.max(lapse_ms);
        if lapse_ms > lease_ms && self.state.loaded {
            // Others may have taken over what was maintained here.
            self.effects.push(Effect::StoreLoad);
        }
    }

    /// Whether this process was away for so long that another may have claimed, ended and removed what it
    /// maintained.
    pub(super) fn may_have_been_removed(&self) -> bool {
        if !self.state.options.shared {
            return false;
        }
        let since_ms = self.now.steady_ms.saturating_sub(self.state.peers.renewed_ms.unwrap_or(0));
        let longest_ms = self.state.peers.lapse_ms_max.max(since_ms);
        longest_ms >= self.state.options.tombstone_ms.unsigned_abs() / 2
    }

    /// Leases, the feed, and conferences whose maintainer is gone.
    pub(super) fn tick_peers(&mut self) {
        if !self.state.options.shared {
            return;
        }
        let now_ms = self.now.steady_ms;
        let css_renew_ms = self.state.options.css_renew_ms;
        let peers = &mut self.state.peers;
        if !peers.renewing && now_ms >= peers.renew_at_ms {
            (peers.renewing, peers.renew_at_ms) = (true, now_ms + css_renew_ms);
            self.effects.push(Effect::LeaseRenew);
        }
        let usable = self.state.loaded && self.state.store_fault.is_none();
        if usable && now_ms >= self.state.peers.follow_at_ms {
            self.follow_now();
        }
        self.retry_passed_on();
        if usable {
            self.ask_for_missing();
        }
        if usable && self.settled() {
            self.claim_orphans();
        }
    }

    /// Has the feed read, unless it is being read.
    pub(super) fn follow_now(&mut self) {
        if self.state.peers.following.is_none() {
            self.state.peers.follow_at_ms = self.now.steady_ms + self.state.options.follow_ms;
            let token = self.token();
            self.state.peers.following = Some(token);
            self.effects.push(Effect::StoreFollow { token });
        }
    }

    /// Whether the lease of this process has lasted for so long that those who live have been seen: others may
    /// have been started with it.
    fn settled(&self) -> bool {
        let (now_ms, lease_ms) = (self.now.steady_ms, self.state.options.css_lease_ms);
        let peers = &self.state.peers;
        peers.renewed_ms.is_some_and(|renewed_ms| renewed_ms + lease_ms > now_ms)
            && peers.steady_since_ms + lease_ms <= now_ms
    }

    /// What waits for a maintainer that did not answer.
    fn retry_passed_on(&mut self) {
        let now_ms = self.now.steady_ms;
        let waiting = self.state.peers.passed_on.iter().filter(|(_, passed)| !passed.asked);
        let waiting: Vec<(RequestId, String, Request, u64)> = waiting
            .map(|(id, passed)| (*id, passed.conference.clone(), passed.request.clone(), passed.until_ms))
            .collect();
        for (id, conference, request, until_ms) in waiting {
            let conference = self.has_number_now(&request).unwrap_or(conference);
            match self.whose(&conference) {
                Whose::Theirs(_) if now_ms < until_ms => {
                    self.route(id, &conference, request);
                    continue;
                }
                Whose::Nobodys if now_ms < until_ms && !self.settled() => continue,
                _ => {}
            }
            self.state.peers.passed_on.remove(&id);
            if now_ms < until_ms {
                self.route(id, &conference, request);
            } else {
                let why = "the control process that maintains the conference does not answer; ask again";
                self.reply(id, Err(Refusal::plain(Code::Unavailable, why)));
            }
        }
    }

    /// The living conference that a request means: its number may have gone from one that has ended to a new one.
    fn has_number_now(&self, request: &Request) -> Option<String> {
        let found = self.state.find(request.conference())?;
        (found.record.phase != Phase::Ended).then(|| found.record.id.clone())
    }

    /// Claims what nobody maintains. The living agree who claims first, so that they do not all try.
    fn claim_orphans(&mut self) {
        let now_ms = self.now.steady_ms;
        let lease_ms = self.state.options.css_lease_ms;
        let css = self.state.options.css.clone();
        let peers = &self.state.peers;
        let maintainers = self.state.conferences.maintainers().into_iter().map(|(maintainer, _)| maintainer);
        let gone = maintainers.filter(|other| *other != css && !peers.living.contains_key(other));
        let gone: BTreeMap<String, u64> =
            gone.map(|other| (other.clone(), peers.gone.get(&other).copied().unwrap_or(now_ms))).collect();
        let mut free = CLAIMS_MAX.saturating_sub(self.state.conferences.claiming());
        for (maintainer, since_ms) in &gone {
            let looked = self.state.peers.orphan_looked.take().unwrap_or_default();
            let orphans = self.state.conferences.maintained_by(maintainer, &looked, ORPHANS_MAX);
            let orphans: Vec<String> = orphans.iter().map(|orphan| orphan.record.id.clone()).collect();
            self.state.peers.orphan_looked = orphans.last().cloned();
            for id in orphans {
                let first = first_for(self.state.peers.living.keys(), &id);
                let late = now_ms >= since_ms + lease_ms;
                if free > 0 && (late || first == Some(css.as_str())) {
                    free -= 1;
                    self.claim(&id);
                }
            }
        }
        self.state.peers.gone = gone;
    }
}

/// Which of these control processes is the first to claim a conference: each pair has a number, and the
/// highest wins (rendezvous hashing).
fn first_for<'a>(living: impl Iterator<Item = &'a String>, conference: &str) -> Option<&'a str> {
    // FNV-1a, <https://www.ietf.org/archive/id/draft-eastlake-fnv-21.html>
    let number = |css: &str| {
        let bytes = css.bytes().chain([0]).chain(conference.bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    living.map(String::as_str).max_by_key(|css| (number(css), *css))
}
