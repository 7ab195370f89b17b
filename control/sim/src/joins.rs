//! Many at once ask for a room that does not exist yet: however their requests, answers and losses interleave,
//! it is made once, on one node, and all are in it.
//!
//! No time passes in a trial, so that a million of them take minutes.

use crate::message::{Who, css_index, effect_words, event_words, node_index};
use crate::node::Node;
use crate::random::Random;
use crate::store::Store;
use motet_control::conference::{
    Effect, Event, NodeAnnouncement, Now, Options, Phase, RequestId, State, step,
};
use motet_control::conference::{Request, Response};
use motet_control::nodes::NodeFailure;
use motet_control::peers::PeerFailure;
use motet_control::refusal::Refusal;
use motet_control::store::{News, Peer};
use motet_proto::conference as wire;
use motet_proto::media::MediaKind;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

/// What a trial is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Who ask at once.
    pub people: usize,
    /// Nodes that could take the room.
    pub nodes: usize,
    /// Control processes that are asked, on one store.
    pub css: usize,
    /// Answers of nodes that are lost, of a thousand.
    pub lost_permille: u64,
}

/// What is wrong at the end of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The room was made twice, or ran on two nodes. Else somebody was refused, or was not in it.
    pub twice: bool,
    /// What there was.
    pub found: String,
}

/// What came of many trials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joins {
    /// Trials made.
    pub trials: u64,
    /// Seeds of trials after which something was wrong, and what.
    pub wrong: Vec<(u64, Wrong)>,
    /// Creates that were refused since another was first.
    pub late: u64,
    /// Assignments to another node, since one did not answer.
    pub moved: u64,
}

const NUMBER: &str = "700";
/// Requests of nodes, and those that were passed on, are counted from here.
const NODE: u64 = 1_000_000;
const PASSED_ON: u64 = 2_000_000;
/// Times that processes look at what waits.
const ROUNDS_MAX: usize = 20;
const NOW: Now = Now { steady_ms: 1_000, unix_ms: 1_700_000_000_000 };

/// A trial: control processes whose effects are carried out in any order.
struct Trial {
    states: Vec<State>,
    store: Store,
    nodes: Vec<Node>,
    pending: Vec<(usize, Effect)>,
    /// Requests that one process has passed on to another: who asked, and how it calls it.
    passed_on: BTreeMap<u64, (usize, RequestId)>,
    replies: BTreeMap<u64, Result<Response, Refusal>>,
    random: Random,
    lost_permille: u64,
    assigned: BTreeMap<(String, u64), BTreeSet<usize>>,
    /// What happened, if that is wanted.
    trace: Option<Vec<String>>,
}

/// Control processes that know their nodes and have nothing to do.
fn ready(crowd: Crowd) -> Vec<State> {
    let peer = |css: usize| Peer { id: Who::Css(css).to_string(), address: Who::Css(css).to_string() };
    let options = |css: usize| Options {
        shared: crowd.css > 1,
        css: peer(css).id,
        css_address: peer(css).address,
        ..Options::default()
    };
    let mut trial = Trial::new(crowd, (0..crowd.css).map(|css| State::new(options(css))).collect(), 0);
    for css in 0..crowd.css {
        trial.take(css, Event::StoreLoaded(Vec::new()));
        trial.take(css, Event::PeersSeen(Ok((0..crowd.css).map(peer).collect())));
        for index in 0..crowd.nodes {
            let node = &trial.nodes[index];
            let (address, description) = (node.name.clone(), node.describe());
            let announcement = NodeAnnouncement { held: Vec::new(), address, description, leaving: false };
            trial.take(css, Event::Announced(RequestId(NODE + index as u64), Box::new(announcement)));
        }
    }
    while trial.answer() {}
    trial.states
}

/// Runs so many trials from this seed on.
pub fn run(crowd: Crowd, seed: u64, trials: u64) -> Joins {
    let begin = ready(crowd);
    let mut joins = Joins::default();
    for trial in 0..trials {
        let mut world = Trial::new(crowd, begin.clone(), seed.wrapping_add(trial));
        joins.trials += 1;
        if let Err(wrong) = world.run(crowd.people, &mut joins) {
            joins.wrong.push((seed.wrapping_add(trial), wrong));
        }
    }
    joins
}

/// Runs the trial of this seed, and tells what happened in it.
pub fn replay(crowd: Crowd, seed: u64) -> (Result<(), Wrong>, Vec<String>) {
    let mut world = Trial::new(crowd, ready(crowd), seed);
    world.trace = Some(Vec::new());
    let result = world.run(crowd.people, &mut Joins::default());
    (result, world.trace.unwrap_or_default())
}

impl Trial {
    fn new(crowd: Crowd, states: Vec<State>, seed: u64) -> Trial {
        Trial {
            states,
            store: Store::new(0, None),
            nodes: (0..crowd.nodes).map(|index| Node::new(index, None)).collect(),
            pending: Vec::new(),
            passed_on: BTreeMap::new(),
            replies: BTreeMap::new(),
            random: Random::new(seed),
            lost_permille: crowd.lost_permille,
            assigned: BTreeMap::new(),
            trace: None,
        }
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(words());
        }
    }

    /// One of the control processes.
    fn anyone(&mut self) -> usize {
        self.random.index(self.states.len())
    }

    fn run(&mut self, people: usize, joins: &mut Joins) -> Result<(), Wrong> {
        let mut order: Vec<usize> = (0..people).collect();
        for last in (1..people).rev() {
            order.swap(last, self.random.index(last + 1));
        }
        for person in order {
            let create = wire::CreateRequest { number: NUMBER.into(), ..Default::default() };
            let css = self.anyone();
            self.take(
                css,
                Event::Request(
                    RequestId(1 + person as u64),
                    Request::Create { id: format!("m{person}"), seed: 1, create },
                ),
            );
            if self.random.permille(300) {
                self.answer();
            }
        }
        self.settle(people);
        let late = |answer: &&Result<Response, Refusal>| {
            answer.as_ref().is_err_and(|refusal| refusal.code == Code::AlreadyExists)
        };
        joins.late += self.replies.values().filter(late).count() as u64;
        let made = self.replies.values().filter(|answer| answer.is_ok()).count();
        // Nobody made it when each node's answer was lost; then it must not exist.
        for person in 0..people {
            let medium = wire::ParticipantMedium { kind: MediaKind::Audio.into(), ..Default::default() };
            let add = wire::AddParticipantRequest {
                conference: NUMBER.into(),
                participant: format!("p{person}"),
                media: vec![medium],
                ..Default::default()
            };
            let id = RequestId(1 + (people + person) as u64);
            let css = self.anyone();
            self.take(css, Event::Request(id, Request::Add { id: "none".into(), add }));
        }
        self.lost_permille = 0;
        self.settle(2 * people);
        let epochs = self.store.records.values().map(|record| record.epoch);
        joins.moved += epochs.map(|epoch| epoch - 1).sum::<u64>();
        self.one_home(people, made)
    }

    /// Until nothing is left to be done and so many are answered: what waits for another process is looked at again.
    fn settle(&mut self, requests: usize) {
        for _ in 0..ROUNDS_MAX {
            while self.answer() {}
            if (1..=requests as u64).all(|id| self.replies.contains_key(&id)) {
                return;
            }
            for css in 0..self.states.len() {
                self.take(css, Event::Tick);
            }
        }
    }

    fn one_home(&self, people: usize, made: usize) -> Result<(), Wrong> {
        let living = |phase: Phase| phase != Phase::Ended;
        let stored: Vec<_> = self.store.records.values().filter(|record| living(record.phase)).collect();
        let homes: usize = self.nodes.iter().map(|node| node.conferences.len()).sum();
        let apart = self.assigned.values().filter(|nodes| nodes.len() > 1).count();
        let in_it = (people..2 * people)
            .filter(|id| self.replies.get(&(1 + *id as u64)).is_some_and(Result::is_ok))
            .count();
        let members = stored.first().map_or(0, |record| record.participants.len());
        let expected = usize::from(made > 0);
        let well = made == expected && stored.len() == expected && homes == expected && apart == 0;
        if well && in_it == people * expected && members == in_it {
            return Ok(());
        }
        let twice = made > 1 || stored.len() > 1 || homes > 1 || apart > 0;
        let found = format!(
            "made {made} times, {} in the store, on {homes} nodes, {apart} epochs on two nodes, {in_it} of {people} \
             told that they are in, {members} in the store",
            stored.len()
        );
        Err(Wrong { twice, found })
    }

    fn take(&mut self, css: usize, event: Event) {
        self.note(|| format!("{}  {}", Who::Css(css), event_words(&event)));
        for effect in step(&mut self.states[css], event, NOW) {
            self.note(|| format!("{}      wants {}", Who::Css(css), effect_words(&effect)));
            match effect {
                Effect::Reply(id, answer) => match self.passed_on.remove(&id.0) {
                    Some((asked_by, id)) => {
                        let result = Box::new(answer.map_err(PeerFailure::Refused));
                        self.take(asked_by, Event::ForwardDone { id, result });
                    }
                    None => _ = self.replies.insert(id.0, *answer),
                },
                Effect::Emit(_) => {}
                other => self.pending.push((css, other)),
            }
        }
    }

    /// Carries out one effect, any of them; writes of a process keep their order. False: nothing is left.
    fn answer(&mut self) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let store = |effect: &Effect| matches!(effect, Effect::StorePut { .. } | Effect::StoreRemove { .. });
        let mut chosen = self.random.index(self.pending.len());
        let css = self.pending[chosen].0;
        if store(&self.pending[chosen].1) {
            let first = |(by, effect): &(usize, Effect)| *by == css && store(effect);
            chosen = self.pending.iter().position(first).expect("one was chosen");
        }
        match self.pending.remove(chosen).1 {
            Effect::StorePut { token, record, base } => {
                let result = self.store.put(0, &record, base);
                self.take(css, Event::StorePutDone { token, conference: record.id.clone(), result });
            }
            Effect::StoreRemove { conference } => {
                self.store.remove(0, &conference);
                self.take(css, Event::StoreRemoved { conference, result: Ok(()) });
            }
            Effect::StoreGet { conference } => {
                let result = Ok(self.store.get(&conference));
                self.take(css, Event::StoreGot { conference, result });
            }
            Effect::StoreFollow { token } => {
                let news =
                    News { records: self.store.records.values().cloned().collect(), ..News::default() };
                self.take(css, Event::StoreChanged { token, result: Ok(news) });
            }
            Effect::Forward { id, address, request } => {
                let Some(other) = css_index(&address) else { return true };
                let passed = PASSED_ON + 1_000 * css as u64 + id.0;
                self.passed_on.insert(passed, (css, id));
                self.take(other, Event::Forwarded(RequestId(passed), *request));
            }
            Effect::NodePut { token, conference, to, put } => {
                let lost = self.random.permille(self.lost_permille);
                let cut = || NodeFailure::Unreachable("lost".to_owned());
                let Some(index) = node_index(&to.address) else { return true };
                // Either the command or its answer is lost.
                let heard = !lost || self.random.permille(500);
                let result = if heard { self.nodes[index].put(&put) } else { Err(cut()) };
                if result.is_ok() {
                    self.assigned.entry((conference.clone(), put.epoch)).or_default().insert(index);
                }
                let result = if lost { Err(cut()) } else { result };
                self.take(css, Event::NodePutDone { token, conference, result });
            }
            Effect::NodeDelete { to, delete } => {
                if let Some(index) = node_index(&to.address) {
                    self.nodes[index].delete(&delete);
                }
            }
            Effect::NodeList { token, node, list, .. } => {
                let Some(index) = node_index(&node) else { return true };
                let result = Ok(self.nodes[index].list(&list));
                self.take(css, Event::NodeListed { token, node, result });
            }
            _ => {}
        }
        true
    }
}
