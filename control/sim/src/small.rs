//! A world small enough to be looked at from all sides: every order of answers, losses, deaths and take-overs.
//!
//! Two control processes on one store, two nodes, one conference that is created, moved and ended. Each process
//! is the real core; one does not see that the other lives, so that both may think that a conference is theirs.
//! [`Small::choices`] says what can happen next, [`Small::after`] what the world is then. `tests/model.rs` has
//! Stateright walk through all of it.

mod essence;

use crate::message::{effect_words, node_index, record_words};
use crate::node::Node;
use essence::essence;
use motet_control::conference::{
    Effect, Event, NodeAddress, NodeAnnouncement, Now, Options, Phase, Record, Request, RequestId, Response,
    State, step,
};
use motet_control::nodes::NodeFailure;
use motet_control::store::{Base, News, Peer, StoreError, Tables};
use motet_proto::conference::{CreateRequest, EndRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How an effect comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is done, and the answer is heard.
    Well,
    /// It is done, and the answer is lost.
    Unheard,
    /// It is not done.
    Lost,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// This effect of this process comes out so.
    Effect(usize, usize, Outcome),
    /// The conference is asked for, of this process, with the same request id each time.
    Create(usize),
    /// Its end is asked for.
    End(usize),
    /// A node loses its memory, and says that it has started again.
    Restart(usize),
    /// The first process dies.
    Kill,
    /// The second process starts, sees nobody else live, and claims what it finds.
    TakeOver,
    /// Time passes at this process.
    Tick(usize),
}

/// What may happen how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Answers and commands that are lost.
    pub losses: u8,
    /// Nodes that lose their memory.
    pub restarts: u8,
    /// Times that the conference is asked for.
    pub creates: u8,
    /// Times that its end is asked for.
    pub ends: u8,
    /// Deaths of the first process.
    pub kills: u8,
    /// Starts of the second.
    pub takeovers: u8,
    /// Ticks.
    pub ticks: u8,
}

/// The world.
pub struct Small {
    /// A core is not to be looked at by several threads at once, and worlds are.
    css: [Option<Mutex<Process>>; 2],
    nodes: Arc<Vec<Node>>,
    records: Arc<BTreeMap<String, Record>>,
    budget: Budget,
    seen: Seen,
    /// Stands for all of it.
    print: u64,
}

/// A control process, and what it waits for.
#[derive(Clone, Debug)]
struct Process {
    state: State,
    pending: Vec<Effect>,
    now_ms: u64,
    requests: u64,
}

/// What the rules are about.
#[derive(Clone, Debug, Default, Hash)]
struct Seen {
    /// Id of the conference that was acknowledged.
    acknowledged: BTreeSet<String>,
    end_asked: bool,
    /// Conferences whose end the store has held.
    ended: BTreeSet<String>,
    /// Nodes of each assignment.
    assigned: BTreeMap<(String, u64), BTreeSet<usize>>,
    moved: bool,
    came_back: bool,
}

const LEASE_MS: u64 = 3_000;
const REQUEST: &str = "r1";
const NUMBER: &str = "700";

impl Small {
    /// Two nodes that are ready, and the first process.
    pub fn new(budget: Budget) -> Small {
        let mut small = Small {
            css: [None, None],
            nodes: Arc::new((0..2).map(|index| Node::new(index, None)).collect()),
            records: Arc::default(),
            budget,
            seen: Seen::default(),
            print: 0,
        };
        small.start(0);
        small.print = small.fingerprint();
        small
    }

    /// What can happen next.
    pub fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for css in 0..2 {
            let Some(process) = self.process(css) else { continue };
            for index in process.first_of_lanes() {
                choices.push(Choice::Effect(css, index, Outcome::Well));
                if self.budget.losses > 0 {
                    choices.push(Choice::Effect(css, index, Outcome::Lost));
                    if matches!(process.pending[index], Effect::StorePut { .. } | Effect::NodePut { .. }) {
                        choices.push(Choice::Effect(css, index, Outcome::Unheard));
                    }
                }
            }
            let known = process.state.conferences.values().any(|known| known.record.phase != Phase::Ended);
            choices.extend((self.budget.creates > 0).then_some(Choice::Create(css)));
            choices.extend((self.budget.ends > 0 && known).then_some(Choice::End(css)));
            choices.extend((self.budget.ticks > 0).then_some(Choice::Tick(css)));
        }
        let runs = |node: &usize| !self.nodes[*node].conferences.is_empty();
        choices.extend((0..2).filter(runs).filter(|_| self.budget.restarts > 0).map(Choice::Restart));
        let first = self.css[0].is_some();
        choices.extend((first && self.budget.kills > 0).then_some(Choice::Kill));
        choices.extend((self.css[1].is_none() && self.budget.takeovers > 0).then_some(Choice::TakeOver));
        choices
    }

    /// The world when this has happened.
    pub fn after(&self, choice: Choice) -> Small {
        let mut small = self.clone();
        match choice {
            Choice::Effect(css, index, outcome) => small.effect(css, index, outcome),
            Choice::Create(css) => {
                small.budget.creates -= 1;
                let id = format!("c{}", 1 + small.budget.creates);
                let create =
                    CreateRequest { number: NUMBER.into(), request_id: REQUEST.into(), ..Default::default() };
                small.request(css, Request::Create { id, seed: 1, create });
            }
            Choice::End(css) => {
                small.budget.ends -= 1;
                small.seen.end_asked = true;
                small.request(
                    css,
                    Request::End(EndRequest { conference: NUMBER.into(), ..Default::default() }),
                );
            }
            Choice::Restart(node) => {
                small.budget.restarts -= 1;
                Arc::make_mut(&mut small.nodes)[node].crash();
                for css in 0..2 {
                    small.announce(css, node);
                }
            }
            Choice::Kill => {
                small.budget.kills -= 1;
                small.css[0] = None;
            }
            Choice::TakeOver => {
                small.budget.takeovers -= 1;
                small.start(1);
                small.css_event(1, Event::PeersSeen(Ok(vec![peer(1)])));
                small.pass(1, LEASE_MS);
                small.css_event(1, Event::PeersSeen(Ok(vec![peer(1)])));
                small.css_event(1, Event::Tick);
            }
            Choice::Tick(css) => {
                small.budget.ticks -= 1;
                small.pass(css, 1_100);
                small.css_event(css, Event::Tick);
            }
        }
        small.print = small.fingerprint();
        small
    }

    /// An assignment runs on one node only.
    pub fn one_assignment_for_an_epoch(&self) -> bool {
        self.seen.assigned.values().all(|nodes| nodes.len() == 1)
    }

    /// Who was told that it exists finds it as long as nobody asks to end it.
    pub fn acknowledged_is_there(&self) -> bool {
        let lives = |id: &String| self.records.get(id).is_some_and(|record| record.phase != Phase::Ended);
        self.seen.end_asked || self.seen.acknowledged.iter().all(lives)
    }

    /// The request id made one conference.
    pub fn acknowledged_once(&self) -> bool {
        self.seen.acknowledged.len() <= 1
    }

    /// What has ended stays ended.
    pub fn ended_stays_ended(&self) -> bool {
        !self.seen.came_back
    }

    /// A conference went to another assignment, and that runs.
    pub fn was_restored(&self) -> bool {
        self.seen.moved
    }

    /// The second process maintains what the first has made.
    pub fn was_taken_over(&self) -> bool {
        let second = |record: &Record| record.maintainer == peer(1).id && record.phase == Phase::Running;
        !self.seen.acknowledged.is_empty() && self.records.values().any(second)
    }

    /// It has ended, and no node runs it.
    pub fn has_ended(&self) -> bool {
        let runs = self.nodes.iter().any(|node| !node.conferences.is_empty());
        !self.seen.acknowledged.is_empty() && !self.seen.ended.is_empty() && !runs
    }

    fn process(&self, css: usize) -> Option<MutexGuard<'_, Process>> {
        Some(self.css[css].as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn process_mut(&mut self, css: usize) -> Option<&mut Process> {
        self.css[css].as_mut()?.get_mut().ok()
    }

    fn start(&mut self, css: usize) {
        let detection = motet_control::conference::Detection::default();
        let options = Options {
            shared: true,
            css: peer(css).id,
            css_address: peer(css).address,
            css_lease_ms: LEASE_MS,
            // Nodes fall silent only by losing their memory.
            lease_ms: u64::MAX / 4,
            detection,
            ..Options::default()
        };
        let state = State::new(options);
        self.css[css] = Some(Mutex::new(Process { state, pending: Vec::new(), now_ms: 1_000, requests: 0 }));
        self.css_event(css, Event::StoreLoaded(self.records.values().cloned().collect()));
        for node in 0..2 {
            self.announce(css, node);
        }
        // Nodes that are well are heard at once.
        while let Some(index) = self.process(css).and_then(|process| process.listing()) {
            self.effect(css, index, Outcome::Well);
        }
    }

    fn pass(&mut self, css: usize, ms: u64) {
        if let Some(process) = self.process_mut(css) {
            process.now_ms += ms;
        }
    }

    fn request(&mut self, css: usize, request: Request) {
        let Some(process) = self.process_mut(css) else { return };
        process.requests += 1;
        let id = RequestId(process.requests);
        self.css_event(css, Event::Request(id, request));
    }

    fn announce(&mut self, css: usize, node: usize) {
        let node = &self.nodes[node];
        let (address, description) = (node.name.clone(), node.describe());
        let announcement = NodeAnnouncement { held: Vec::new(), address, description, leaving: false };
        self.css_event(css, Event::Announced(RequestId(1_000), Box::new(announcement)));
    }

    fn css_event(&mut self, css: usize, event: Event) {
        let Some(process) = self.css[css].as_mut().and_then(|process| process.get_mut().ok()) else { return };
        let unix_ms = crate::world::UNIX_MS + process.now_ms as i64;
        let now = Now { steady_ms: process.now_ms, unix_ms };
        for effect in step(&mut process.state, event, now) {
            match effect {
                Effect::Reply(_, answer) => {
                    if let Ok(Response::Conference(info)) = *answer
                        && !self.seen.end_asked
                    {
                        self.seen.acknowledged.insert(info.id.clone());
                    }
                }
                // Each change is asked for anew.
                Effect::Emit(_)
                | Effect::NodeWatch { .. }
                | Effect::NodeUnwatch { .. }
                | Effect::LeaseRenew
                | Effect::Domains(_) => {}
                other => process.pending.push(other),
            }
        }
    }

    /// Something that a process waits for comes out somehow.
    fn effect(&mut self, css: usize, index: usize, outcome: Outcome) {
        let Some(process) = self.process_mut(css) else { return };
        let effect = process.pending.remove(index);
        if outcome != Outcome::Well {
            self.budget.losses -= 1;
        }
        let done = outcome != Outcome::Lost;
        let away = || StoreError::Unavailable("lost".into());
        let silent = || NodeFailure::Unreachable("lost".into());
        let event = match effect {
            Effect::StorePut { token, record, base } => {
                let mut result = if done { self.put(&record, base) } else { Err(away()) };
                if outcome == Outcome::Unheard {
                    result = Err(away());
                }
                Event::StorePutDone { token, conference: record.id.clone(), result }
            }
            Effect::StoreRemove { conference } => {
                if done {
                    Arc::make_mut(&mut self.records).remove(&conference);
                }
                Event::StoreRemoved { conference, result: if done { Ok(()) } else { Err(away()) } }
            }
            Effect::StoreGet { conference } => {
                let record = self.records.get(&conference).cloned().map(Box::new);
                Event::StoreGot { conference, result: if done { Ok(record) } else { Err(away()) } }
            }
            Effect::StoreLoad if done => Event::StoreLoaded(self.records.values().cloned().collect()),
            Effect::StoreLoad => Event::StoreLoadFailed("lost".into()),
            Effect::StoreFollow { token } => {
                let records = self.records.values().cloned().collect();
                let news = News { records, ..News::default() };
                Event::StoreChanged { token, result: if done { Ok(news) } else { Err(away()) } }
            }
            Effect::NodePut { token, conference, to, put } => {
                let node = node_index(&to.address).expect("a node of this world");
                let mut result = Err(silent());
                if done {
                    result = Arc::make_mut(&mut self.nodes)[node].put(&put);
                    if result.is_ok() {
                        self.seen.assigned.entry((conference.clone(), put.epoch)).or_default().insert(node);
                        self.seen.moved |= put.epoch > 1 && outcome == Outcome::Well;
                    }
                }
                if outcome == Outcome::Unheard {
                    result = Err(silent());
                }
                Event::NodePutDone { token, conference, result }
            }
            Effect::NodeDelete { to, delete } => {
                if done && let Some(node) = node_index(&to.address) {
                    Arc::make_mut(&mut self.nodes)[node].delete(&delete);
                }
                return;
            }
            Effect::NodeList { token, node, list, .. } => {
                let there = node_index(&node).expect("a node of this world");
                let result = if done { Ok(self.nodes[there].list(&list)) } else { Err(silent()) };
                Event::NodeListed { token, node, result }
            }
            _ => return,
        };
        self.css_event(css, event);
    }

    fn put(&mut self, record: &Record, base: Option<Base>) -> Result<(), StoreError> {
        // As the real ones do it.
        let mut tables = Tables::default();
        for known in self.records.values() {
            tables.put(known, None)?;
        }
        tables.put(record, base)?;
        let ended = record.phase == Phase::Ended;
        self.seen.came_back |= !ended && self.seen.ended.contains(&record.id);
        if ended {
            self.seen.ended.insert(record.id.clone());
        }
        Arc::make_mut(&mut self.records).insert(record.id.clone(), record.clone());
        Ok(())
    }

    /// What tells this world from others. Histories and how many steps were made tell nothing: without them worlds that
    /// were reached in different ways are one.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut text = String::new();
        for css in 0..2 {
            text.clear();
            write!(text, "{:?}", self.process(css).as_deref()).expect("a string takes everything");
            essence(&text).hash(&mut hasher);
        }
        text.clear();
        write!(text, "{:?} {:?}", self.nodes, self.records).expect("a string takes everything");
        essence(&text).hash(&mut hasher);
        self.budget.hash(&mut hasher);
        self.seen.hash(&mut hasher);
        hasher.finish()
    }
}

impl Process {
    /// Effects that may come next: what is about one conference in the store, or one node, keeps its order.
    fn first_of_lanes(&self) -> Vec<usize> {
        let mut lanes = BTreeSet::new();
        let mut first = Vec::new();
        for (index, effect) in self.pending.iter().enumerate() {
            let lane = match effect {
                Effect::StorePut { record, .. } => format!("store {}", record.id),
                Effect::StoreGet { conference } | Effect::StoreRemove { conference } => {
                    format!("store {conference}")
                }
                Effect::NodePut { to: NodeAddress { address, .. }, .. }
                | Effect::NodeDelete { to: NodeAddress { address, .. }, .. }
                | Effect::NodeList { address, .. } => format!("node {address}"),
                _ => "read".to_owned(),
            };
            if lanes.insert(lane) {
                first.push(index);
            }
        }
        first
    }

    fn listing(&self) -> Option<usize> {
        self.pending.iter().position(|effect| matches!(effect, Effect::NodeList { .. }))
    }
}

fn peer(css: usize) -> Peer {
    let name = format!("css{}", css + 1);
    Peer { id: name.clone(), address: name }
}

impl Clone for Small {
    fn clone(&self) -> Small {
        Small {
            css: [0, 1].map(|css| self.process(css).map(|process| Mutex::new(process.clone()))),
            nodes: Arc::clone(&self.nodes),
            records: Arc::clone(&self.records),
            budget: self.budget,
            seen: self.seen.clone(),
            print: self.print,
        }
    }
}

impl PartialEq for Small {
    fn eq(&self, other: &Small) -> bool {
        self.print == other.print
    }
}

impl Hash for Small {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.print.hash(hasher);
    }
}

impl fmt::Debug for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in self.records.values() {
            writeln!(f, "store: {}", record_words(record))?;
        }
        for node in self.nodes.iter() {
            for (id, running) in &node.conferences {
                writeln!(f, "{}: {id} e{} r{}", node.name, running.epoch, running.revision)?;
            }
        }
        for css in 0..2 {
            let Some(process) = self.process(css) else { continue };
            let pending: Vec<String> = process.pending.iter().map(effect_words).collect();
            writeln!(f, "css{} waits for {}", css + 1, pending.join(", "))?;
        }
        write!(f, "{:?}", self.seen)
    }
}
