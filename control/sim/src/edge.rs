//! The edge of a control process towards the store and towards other control processes, as
//! `control/src/store_edge.rs` and `control/src/runtime.rs` are: what is about one conference is done in order,
//! different conferences go side by side, and reading everything waits for what was asked for before.

use crate::checks::Mutation;
use crate::message::{Ask, Reply, Waiting, Who, css_index};
use crate::node::Life;
use crate::world::World;
use motet_control::conference::{
    DomainAnswer, DomainOrder, Effect, Event, Phase, Record, Request, RequestId, Token,
};
use motet_control::peers::PeerFailure;
use motet_control::store::{Base, Changes, Cursor, Reader, StoreError};
use std::collections::{BTreeMap, VecDeque};

const STORE_TIMEOUT_MS: u64 = 1_000;
/// As in `control/src/peers/grpc.rs`.
const PEER_TIMEOUT_MS: u64 = 5_000;

/// What waits, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    /// By conference. One that is being worked on has a lane, if an empty one.
    lanes: BTreeMap<String, VecDeque<Effect>>,
    /// What came after a reading of the whole store.
    held: VecDeque<Effect>,
    loading: bool,
    /// Readings that wait; only one is done at a time.
    reads: VecDeque<Read>,
    reading: bool,
    reader: Reader,
    /// What was written since the feed was read.
    written: Vec<String>,
}

/// A reading of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Read {
    All,
    News(Token),
}

impl World {
    pub(crate) fn carry_to_store(&mut self, index: usize, effect: Effect) {
        let conference = match &effect {
            Effect::StoreFollow { token } => {
                self.css[index].edge.reads.push_back(Read::News(*token));
                return self.next_read(index);
            }
            Effect::LeaseRenew => {
                let me = motet_control::store::Peer {
                    id: self.css[index].state.options.css.clone(),
                    address: self.css[index].state.options.css_address.clone(),
                };
                let ask = Ask::Renew(me, self.css[index].state.options.css_lease_ms);
                return self.ask_store(index, ask, Waiting::Lease);
            }
            Effect::Domains(DomainOrder::Load) => {
                return self.ask_store(index, Ask::Domains, Waiting::Domains);
            }
            _ if self.css[index].edge.loading => return self.css[index].edge.held.push_back(effect),
            Effect::StoreLoad => {
                self.css[index].edge.loading = true;
                return self.load_if_idle(index);
            }
            Effect::StorePut { record, .. } => record.id.clone(),
            Effect::StoreGet { conference } | Effect::StoreRemove { conference } => conference.clone(),
            other => return self.violated("core", format!("no way is known here to do {other:?}")),
        };
        match self.css[index].edge.lanes.get_mut(&conference) {
            Some(lane) => lane.push_back(effect),
            None => {
                self.css[index].edge.lanes.insert(conference, VecDeque::new());
                self.send_next(index, effect);
            }
        }
    }

    fn ask_store(&mut self, index: usize, ask: Ask, waiting: Waiting) {
        self.call(Who::Css(index), Who::Store, ask, waiting, STORE_TIMEOUT_MS);
    }

    fn send_next(&mut self, index: usize, effect: Effect) {
        let ask = match &effect {
            Effect::StorePut { record, base, .. } => self.written(index, record, *base),
            Effect::StoreRemove { conference } => Ask::Remove(conference.clone()),
            Effect::StoreGet { conference } => Ask::Read(conference.clone()),
            other => unreachable!("{other:?} has no lane"),
        };
        self.ask_store(index, ask, Waiting::Store(Box::new(effect)));
    }

    /// A write, as a wrong world makes it.
    fn written(&mut self, index: usize, record: &Record, base: Option<Base>) -> Ask {
        let mut record = Box::new(record.clone());
        if self.plan.mutation == Some(Mutation::StoreIgnoresClaims) {
            record.number = "700".into();
        }
        if self.plan.mutation == Some(Mutation::EndedComesBack) && record.phase == Phase::Ended {
            let version = record.version + 1;
            let again = Box::new(Record { version, phase: Phase::Running, ..(*record).clone() });
            let ask = Ask::Write { record: again, base: Some(Base::of(&record)) };
            self.ask_store(index, ask, Waiting::Delete);
        }
        Ask::Write { record, base }
    }

    /// The store answered what is about one conference, or did not.
    pub(crate) fn store_answered(&mut self, index: usize, effect: Effect, reply: Result<Reply, &str>) {
        let why = why_not(&reply);
        let (conference, event) = match effect {
            Effect::StorePut { token, record, .. } => {
                let result = match reply {
                    Ok(Reply::Written(result)) => result,
                    _ => Err(StoreError::Unavailable(why)),
                };
                let conference = record.id.clone();
                if result.is_ok() && self.plan.shared {
                    self.css[index].edge.written.push(conference.clone());
                }
                (conference.clone(), Event::StorePutDone { token, conference, result })
            }
            Effect::StoreGet { conference } => {
                let result = match reply {
                    Ok(Reply::Found(record)) => Ok(record),
                    _ => Err(StoreError::Unavailable(why)),
                };
                (conference.clone(), Event::StoreGot { conference, result })
            }
            Effect::StoreRemove { conference } => {
                let result = match reply {
                    Ok(Reply::Written(result)) => result,
                    _ => Err(StoreError::Unavailable(why)),
                };
                (conference.clone(), Event::StoreRemoved { conference, result })
            }
            other => unreachable!("{other:?} has no lane"),
        };
        let start = self.css[index].start;
        self.css_event(index, event);
        if self.css[index].start == start && self.css[index].life != Life::Down {
            self.go_on_with(index, &conference);
        }
    }

    fn go_on_with(&mut self, index: usize, conference: &str) {
        let edge = &mut self.css[index].edge;
        match edge.lanes.get_mut(conference).and_then(VecDeque::pop_front) {
            Some(next) => self.send_next(index, next),
            None => {
                edge.lanes.remove(conference);
                self.load_if_idle(index);
            }
        }
    }

    fn load_if_idle(&mut self, index: usize) {
        let edge = &mut self.css[index].edge;
        if edge.loading && edge.lanes.is_empty() && !edge.reads.iter().any(|read| matches!(read, Read::All)) {
            edge.reads.push_back(Read::All);
            self.next_read(index);
        }
    }

    fn next_read(&mut self, index: usize) {
        let now_ms = self.now_ms;
        let edge = &mut self.css[index].edge;
        if edge.reading {
            return;
        }
        let Some(read) = edge.reads.front().copied() else { return };
        edge.reading = true;
        let since = match read {
            Read::All => Cursor::default(),
            Read::News(_) => edge.reader.since(now_ms),
        };
        self.ask_store(index, Ask::Changes(since), Waiting::Changes);
    }

    /// What was read of the store.
    pub(crate) fn store_read(&mut self, index: usize, reply: Result<Reply, &str>) {
        let (now_ms, why) = (self.now_ms, why_not(&reply));
        let edge = &mut self.css[index].edge;
        edge.reading = false;
        let changes: Option<Changes> = match reply {
            Ok(Reply::Changed(changes)) => Some(*changes),
            _ => None,
        };
        let Some(read) = edge.reads.pop_front() else { return };
        let event = match (read, changes) {
            (Read::All, Some(changes)) => Event::StoreLoaded(edge.reader.all(changes, now_ms)),
            (Read::All, None) => Event::StoreLoadFailed(why),
            (Read::News(token), changes) => {
                let written = std::mem::take(&mut edge.written);
                let news = changes.map(|changes| edge.reader.news(changes, written, now_ms));
                Event::StoreChanged { token, result: news.ok_or(StoreError::Unavailable(why)) }
            }
        };
        let held = match read {
            Read::All => {
                edge.loading = false;
                std::mem::take(&mut edge.held)
            }
            Read::News(_) => VecDeque::new(),
        };
        let start = self.css[index].start;
        // They were asked for before the core hears of it.
        for effect in held {
            self.carry_to_store(index, effect);
        }
        self.css_event(index, event);
        if self.css[index].start == start && self.css[index].life != Life::Down {
            self.next_read(index);
        }
    }

    pub(crate) fn lease_renewed(&mut self, index: usize, reply: Result<Reply, &str>) {
        let why = why_not(&reply);
        let seen = match reply {
            Ok(Reply::Peers(peers)) => Ok(peers),
            _ => Err(StoreError::Unavailable(why)),
        };
        self.css_event(index, Event::PeersSeen(seen));
    }

    pub(crate) fn domains_read(&mut self, index: usize, reply: Result<Reply, &str>) {
        let why = why_not(&reply);
        let result = match reply {
            Ok(Reply::Written(_)) => Ok(Vec::new()),
            _ => Err(StoreError::Unavailable(why)),
        };
        self.css_event(index, Event::Domains(DomainAnswer::Loaded(result)));
    }

    /// Passes a request on to another control process.
    pub(crate) fn pass_to_peer(&mut self, index: usize, id: RequestId, address: &str, request: Box<Request>) {
        let Some(other) = css_index(address) else {
            return self.violated("core", format!("'{address}' is not the address of a control process"));
        };
        self.count("passed on");
        let waiting = Waiting::Forward { id };
        self.call(Who::Css(index), Who::Css(other), Ask::Forward(request), waiting, PEER_TIMEOUT_MS);
    }

    pub(crate) fn peer_answered(&mut self, index: usize, id: RequestId, reply: Result<Reply, &str>) {
        let result = match reply {
            Ok(Reply::Core(answer)) => answer.map_err(PeerFailure::Refused),
            other => Err(PeerFailure::Unreachable(why_not(&other))),
        };
        self.css_event(index, Event::ForwardDone { id, result: Box::new(result) });
    }
}

fn why_not(reply: &Result<Reply, &str>) -> String {
    match reply {
        Err(why) => (*why).to_owned(),
        _ => "does not serve".to_owned(),
    }
}
