//! What operators have said about nodes, kept in the store: it survives a restart of control, and every control
//! process on the store goes by it.
//!
//! A cordon holds until it is taken back. That a node was given up is news: whoever hears of it while it doubts
//! that start of the node, or holds its conferences, gives it up too, once.

use super::effect::Effect;
use super::model::RequestId;
use super::requests::Response;
use super::step::{About, Step};
use crate::refusal::Refusal;
use crate::store::StoreError;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::registry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tonic::Code;

/// How often it is looked what other control processes were told.
const LOAD_MS: u64 = 1_000;

/// What is kept of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeNote {
    /// Node id.
    pub node: String,
    /// Nothing new goes there, and why, for people.
    pub cordon: Option<String>,
    /// The start of it (boot id) that was given up last; empty: none was.
    pub given_up: String,
    /// When it was given up, in milliseconds since 1970.
    pub given_up_unix_ms: i64,
}

impl NodeNote {
    /// Whether it says nothing, and need not be kept.
    pub fn is_empty(&self) -> bool {
        self.cordon.is_none() && self.given_up.is_empty()
    }
}

/// What is to be done about notes in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteOrder {
    /// Read all of them.
    Load,
    /// Write one, and answer who asked; an empty one is removed.
    Put(RequestId, NodeNote),
}

/// What the store said.
#[derive(Clone, Debug)]
pub enum NoteAnswer {
    /// All of them.
    Loaded(Result<Vec<NodeNote>, StoreError>),
    /// As in the order.
    Put(RequestId, NodeNote, Result<(), StoreError>),
}

/// What is known of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Notes {
    known: BTreeMap<String, NodeNote>,
    loaded: bool,
    /// When to read them again; an order that is on its way is waited for.
    load_ms: u64,
    reading: bool,
    writing: usize,
}

impl Notes {
    /// Why nothing new goes to a node. None: it may.
    pub(super) fn cordon(&self, node: &str) -> Option<&str> {
        self.known.get(node)?.cordon.as_deref()
    }

    /// Nodes that nothing new goes to, and why.
    pub(super) fn cordons(&self) -> impl Iterator<Item = (&str, &str)> {
        self.known.values().filter_map(|note| Some((note.node.as_str(), note.cordon.as_deref()?)))
    }

    fn of(&self, node: &str) -> NodeNote {
        let unknown = || NodeNote { node: node.to_owned(), ..NodeNote::default() };
        self.known.get(node).cloned().unwrap_or_else(unknown)
    }
}

impl Step<'_> {
    /// Reads what others were told.
    pub(super) fn tick_notes(&mut self) {
        let notes = &mut self.state.notes;
        let wanted = self.state.options.shared || !notes.loaded;
        let free = !notes.reading && notes.writing == 0;
        if wanted && free && self.state.store_fault.is_none() && self.now.steady_ms >= notes.load_ms {
            (notes.reading, notes.load_ms) = (true, self.now.steady_ms + LOAD_MS);
            self.effects.push(Effect::Notes(NoteOrder::Load));
        }
    }

    /// Nothing new goes to a node, whatever it says itself, or (`None`) something may again. The node need not
    /// be known yet: a machine may be cordoned before it is started again.
    pub(super) fn cordon(&mut self, request: RequestId, node: String, why: Option<String>) {
        if node.is_empty() || node.len() > 128 || why.as_ref().is_some_and(|why| why.len() > 256) {
            let why = "must be 1 to 128 bytes, and the reason at most 256";
            return self.reply(request, Err(Refusal::invalid("node_id", why)));
        }
        if let Err(refusal) = self.store_ready() {
            return self.reply(request, Err(refusal));
        }
        self.write_note(request, NodeNote { cordon: why, ..self.state.notes.of(&node) });
    }

    /// Tells other control processes that this start of a node was given up.
    pub(super) fn note_given_up(&mut self, node: &str, boot_id: &str) {
        let given_up_unix_ms = self.now.unix_ms;
        let given_up = boot_id.to_owned();
        self.write_note(
            RequestId::NOBODY,
            NodeNote { given_up, given_up_unix_ms, ..self.state.notes.of(node) },
        );
    }

    fn write_note(&mut self, request: RequestId, note: NodeNote) {
        self.state.notes.writing += 1;
        self.effects.push(Effect::Notes(NoteOrder::Put(request, note)));
    }

    /// The store answered.
    pub(super) fn notes_done(&mut self, answer: NoteAnswer) {
        match answer {
            NoteAnswer::Loaded(loaded) => {
                self.state.notes.reading = false;
                // What was written meanwhile is read again.
                let Ok(loaded) = loaded else { return };
                if self.state.notes.writing == 0 {
                    self.notes_loaded(loaded);
                }
            }
            NoteAnswer::Put(request, note, result) => {
                self.state.notes.writing = self.state.notes.writing.saturating_sub(1);
                let cordoned = note.cordon.is_some();
                let answer = match result {
                    Ok(()) => {
                        self.take_note(note);
                        Ok(Response::Cordoned(registry::CordonNodeResponse { cordoned }))
                    }
                    Err(error) => {
                        let store = &self.state.options.store;
                        let why = format!("the store {store} cannot be used: {error}; nothing was changed");
                        Err(Refusal::plain(Code::Unavailable, why))
                    }
                };
                self.reply(request, answer);
            }
        }
    }

    fn notes_loaded(&mut self, loaded: Vec<NodeNote>) {
        let first = !std::mem::replace(&mut self.state.notes.loaded, true);
        let gone: Vec<String> = self.state.notes.known.keys().cloned().collect();
        let gone = gone.into_iter().filter(|node| loaded.iter().all(|note| note.node != *node));
        for node in gone.collect::<Vec<_>>() {
            self.take_note(NodeNote { node, ..NodeNote::default() });
        }
        for note in loaded {
            let before = self.state.notes.of(&note.node);
            let news = before.given_up_unix_ms != note.given_up_unix_ms && !first;
            let (node, given_up) = (note.node.clone(), note.given_up.clone());
            self.take_note(note);
            let known = self.state.nodes.get(&node);
            let same = known.is_some_and(|known| known.description.boot_id == given_up);
            if news && same && self.may_be_given_up(&node) {
                self.give_up_node(&node, "was given up by an operator");
                self.look_for_restores();
            }
        }
    }

    /// Goes by a note.
    fn take_note(&mut self, note: NodeNote) {
        let before = self.state.notes.of(&note.node).cordon;
        let (node, after) = (note.node.clone(), note.cordon.clone());
        if note.is_empty() {
            self.state.notes.known.remove(&node);
        } else {
            self.state.notes.known.insert(node.clone(), note);
        }
        let about = About { node: &node, ..About::default() };
        match after {
            Some(why) if before.as_ref() != Some(&why) => {
                let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
                let message = format!("node {node} is cordoned{because}: nothing new goes there");
                self.emit(Kind::NodeCordoned, about, message);
            }
            None if before.is_some() => {
                self.emit(Kind::NodeReady, about, format!("node {node} is cordoned no longer"));
                self.look_for_restores();
            }
            _ => {}
        }
    }

    /// Nodes that take nothing: those that were tried, and those that are cordoned.
    pub(super) fn left_out(&self, mut tried: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (node, why) in self.state.notes.cordons() {
            let why = if why.is_empty() { "is cordoned".to_owned() } else { format!("is cordoned: {why}") };
            tried.entry(node.to_owned()).or_insert(why);
        }
        tried
    }
}
