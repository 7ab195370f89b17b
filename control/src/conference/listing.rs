//! Asking nodes what they run, page by page.
//!
//! A *pass* asks for all that a node runs, in order of ids, so many at a time. What has not changed since the pass
//! before is told in brief; where that does not fit what is known here, those conferences are asked for by name. So
//! neither a node nor control is busy for longer with thousands of conferences than with a page of them, and what they
//! are asked for meanwhile comes between two pages. Only a node of which nothing is known yet tells them without a
//! pause: nothing is placed on it before.

use super::conferences::ids_after;
use super::effect::Effect;
use super::lists::Heard;
use super::model::{Node, RunningCopy, Token};
use super::step::{About, RETRY_MS, Step};
use crate::nodes::NodeFailure;
use motet_proto::conference::ConferenceEventKind as Kind;
use motet_proto::node::{ListConferencesRequest, ListConferencesResponse};
use motet_proto::registry::NodeState;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

/// Conferences that one step compares, or looks for: of a node that tells all at once, or of one that has lost many.
const COPIES_MAX: usize = 512;
/// Pages that nodes are asked for with each tick: what is told by all of them takes a part of the time only.
const PAGES_PER_TICK: usize = 4;

/// What a node is asked, and says, of what it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lists {
    /// When to begin a pass; while there is one, when it is given up.
    at_ms: u64,
    /// Cursor of the last pass; empty: all is to be told in full.
    known: String,
    /// Another pass is to begin at once.
    again: bool,
    /// When the pass is over, what waits to be restored from the node is looked at.
    restores: bool,
    /// The page that was asked for, and the step at which it was.
    asked: Option<Token>,
    page: Page,
    /// The next page is to be asked for with the next tick.
    turns: bool,
    /// What it said, as far as that was not looked at yet.
    told: Option<Told>,
}

/// Where a pass is.
#[derive(Clone, Debug, Default, PartialEq)]
struct Page {
    /// The last id of the page before.
    after: String,
    /// Cursor of the first page: what changed while the others were told is told again by the next pass.
    cursor: String,
    /// These were told too briefly.
    in_full: Vec<String>,
}

/// A page that a node told.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    /// Step at which it was asked for.
    token: Token,
    /// The last event of the node that this includes; 0: it does not tell.
    sequence: u64,
    /// What was not compared yet.
    copies: VecDeque<RunningCopy>,
    /// Ids of all.
    listed: BTreeSet<String>,
    /// Its last id; none: it is the last page.
    through: Option<String>,
    /// The last conference of which it was looked whether it is among them.
    looked: String,
    /// Of these more is to be known.
    too_brief: Vec<String>,
}

impl Lists {
    /// Asks for everything in full, soon.
    pub(super) fn in_full(&mut self) {
        // Of what was compared before, nothing counts.
        self.known.clear();
        self.page.cursor.clear();
        self.soon();
    }

    /// Asks again as soon as what was asked for has come.
    pub(super) fn soon(&mut self) {
        match self.asked.is_some() || self.told.is_some() || self.turns {
            true => self.again = true,
            false => self.at_ms = 0,
        }
    }

    /// When it has said what it runs, what waits to be restored from it is looked at.
    pub(super) fn look_for_restores(&mut self) {
        self.restores = true;
    }

    /// What was asked does not count any more.
    pub(super) fn stop(&mut self) {
        (self.asked, self.told, self.turns) = (None, None, false);
    }

    /// Whether to begin a pass.
    pub(super) fn are_due(&self, now_ms: u64) -> bool {
        // One that waits for its turn among many nodes goes on.
        now_ms >= self.at_ms && !self.turns
    }
}

impl Step<'_> {
    /// Asks a node what it runs.
    pub(super) fn ask_list(&mut self, id: &str) {
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        (node.lists.page, node.lists.again, node.lists.told) = (Page::default(), false, None);
        self.ask_page(id);
    }

    fn ask_page(&mut self, id: &str) {
        let token = self.token();
        let (now, options) = (self.now.steady_ms, &self.state.options);
        let (limit, list_ms) = (options.list_page, options.list_ms);
        let Some(Node { lists, address, state, .. }) = self.state.nodes.get_mut(id) else { return };
        (lists.asked, lists.turns) = (Some(token), false);
        // An answer that never comes is asked for again sooner.
        lists.at_ms = now + if *state == NodeState::Joining { 2 * RETRY_MS } else { list_ms };
        let list = ListConferencesRequest {
            full: true,
            since: lists.known.clone(),
            after: lists.page.after.clone(),
            limit,
            in_full: lists.page.in_full.clone(),
        };
        let (address, node) = (address.clone(), id.to_owned());
        self.effects.push(Effect::NodeList { token, address, node, list });
    }

    /// A node said what it runs, or did not.
    pub(super) fn node_listed(
        &mut self,
        token: Token,
        id: &str,
        result: Result<ListConferencesResponse, NodeFailure>,
    ) {
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let lists = &mut node.lists;
        if lists.asked != Some(token) {
            return;
        }
        lists.asked = None;
        let list = match result {
            Ok(list) if list.boot_id == node.description.boot_id => list,
            // Another start of the node answered; its announcement comes.
            Ok(_) => return,
            Err(_) => {
                lists.at_ms = self.now.steady_ms + RETRY_MS;
                return;
            }
        };
        let listed: BTreeSet<String> = list.conferences.iter().map(|copy| copy.id.clone()).collect();
        if lists.page == Page::default() {
            lists.page.cursor = list.cursor;
        }
        // Whoever says that there is more, and gives nothing, is not asked for ever.
        let through = listed.last().filter(|last| list.more && **last > lists.page.after).cloned();
        lists.told = Some(Told {
            token,
            sequence: list.event_sequence,
            copies: list.conferences.into(),
            listed,
            through,
            looked: lists.page.after.clone(),
            too_brief: Vec::new(),
        });
        self.compare_list(id);
    }

    fn told_by(&mut self, id: &str) -> Option<&mut Told> {
        self.state.nodes.get_mut(id)?.lists.told.as_mut()
    }

    /// Compares some of what a node said that it runs; the rest follows with the next steps.
    fn compare_list(&mut self, id: &str) {
        for _ in 0..COPIES_MAX {
            let Some(told) = self.told_by(id) else { return };
            let (token, sequence) = (told.token, told.sequence);
            let Some(mut copy) = told.copies.pop_front() else { return self.page_compared(id) };
            let legs = std::mem::take(&mut copy.alive_legs);
            let (conference, said) = (copy.id.clone(), Heard { epoch: copy.epoch, legs, sequence });
            if !copy.brief {
                self.copy_told(id, token, copy);
            } else if self.is_too_brief(id, token, &copy)
                && let Some(told) = self.told_by(id)
            {
                told.too_brief.push(copy.id);
            }
            self.heard_on(id, &conference, said);
        }
    }

    /// A page of what the node runs was compared: what it did not mention does not run there.
    fn page_compared(&mut self, id: &str) {
        if !self.missed(id) {
            return;
        }
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let Some(told) = node.lists.told.take() else { return };
        if !told.too_brief.is_empty() {
            if node.lists.page.in_full.is_empty() {
                node.lists.page.in_full = told.too_brief;
                return self.ask_page(id);
            }
            // It was asked by name, or something changed meanwhile.
            node.lists.in_full();
            node.lists.at_ms = self.now.steady_ms + RETRY_MS;
            return;
        }
        let after = node.lists.page.after.clone();
        for moid in self.state.conferences.unheard_on(id, ids_after(&after, told.through.as_deref())) {
            if let Some(conference) = self.conference(&moid) {
                conference.heard = conference.confirmed <= told.token;
            }
        }
        match told.through {
            Some(through) => {
                let Some(node) = self.state.nodes.get_mut(id) else { return };
                (node.lists.page.after, node.lists.page.in_full) = (through, Vec::new());
                node.lists.turns = node.state != NodeState::Joining;
                if !node.lists.turns {
                    self.ask_page(id);
                }
            }
            None => self.list_compared(id),
        }
    }

    /// The last page was compared.
    fn list_compared(&mut self, id: &str) {
        let Some(node) = self.state.nodes.get_mut(id) else { return };
        let lists = &mut node.lists;
        lists.known = std::mem::take(&mut lists.page.cursor);
        if std::mem::take(&mut lists.again) {
            lists.at_ms = 0;
        }
        let restores = std::mem::take(&mut lists.restores);
        if node.state == NodeState::Joining {
            node.state = if node.description.draining { NodeState::Draining } else { NodeState::Ready };
            let address = node.address.clone();
            let about = About { node: id, ..About::default() };
            self.emit(Kind::NodeReady, about, format!("node {id} at {address} is ready"));
            self.look_for_restores();
            self.kick(id);
        } else if restores {
            // What waits to be restored from it stayed there as long as nobody knew what it runs.
            self.look_for_restores();
        }
    }

    /// The next pages, and what was too long for one step.
    pub(super) fn tick_lists(&mut self) {
        let last = Bound::Excluded(self.state.listed.as_str());
        let nodes = self.state.nodes.range::<str, _>((last, Bound::Unbounded));
        let turns = nodes.chain(&self.state.nodes).filter(|(_, node)| node.lists.turns);
        for id in turns.map(|(id, _)| id.clone()).take(PAGES_PER_TICK).collect::<Vec<_>>() {
            // The chain has some twice.
            if self.state.nodes[&id].lists.turns {
                self.ask_page(&id);
                self.state.listed = id;
            }
        }
        let long = self.state.nodes.iter().filter(|(_, node)| node.lists.told.is_some());
        for id in long.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.compare_list(&id);
        }
    }

    /// Conferences that the node should run and did not mention: they wait to be restored, nothing is
    /// deleted. True: all were looked at.
    fn missed(&mut self, node: &str) -> bool {
        let Some(told) = self.state.nodes.get(node).and_then(|node| node.lists.told.as_ref()) else {
            return false;
        };
        let ids = ids_after(&told.looked, told.through.as_deref());
        let placed = self.state.conferences.placed_on(node, ids, COPIES_MAX);
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
        if let Some(told) = self.told_by(node) {
            told.looked = looked;
        }
        false
    }
}
