//! Streams of events from nodes to control, as `control/src/runtime.rs` follows them.

use crate::css::Watch;
use crate::message::{Ask, Message, Waiting, Who, node_index};
use crate::node::Life;
use crate::world::{Happening, REFUSED, World};
use motet_control::conference::Event;
use motet_proto::node as wire;

/// How often it is looked whether a stream still stands.
const LOOK_MS: u64 = 250;
/// A stream that nothing can pass is given up after so long (HTTP/2 keep-alive: 1 s and 2 s more).
const DEAD_MS: u64 = 3_000;
const DESCRIBE_TIMEOUT_MS: u64 = 2_000;
const WATCH_AGAIN_MS: u64 = 250;

impl World {
    /// Follows the events of a node, instead of an earlier start of it.
    pub(crate) fn watch(&mut self, css: usize, node: String, boot_id: String) {
        let process = &mut self.css[css];
        process.last_generation += 1;
        let generation = process.last_generation;
        let watch = Watch { boot_id, generation, dead_since_ms: None, asking: false };
        process.watches.insert(node.clone(), watch);
        self.follow(css, &node, generation);
        let start = self.css[css].start;
        self.after(LOOK_MS, Happening::WatchLook { css, start, node, generation });
    }

    /// Opens the stream, if the node can be reached.
    fn follow(&mut self, css: usize, node: &str, generation: u64) {
        let Some(index) = node_index(node) else { return };
        let joined = self.network.joined(Who::Css(css), Who::Node(index), self.now_ms);
        if joined && self.nodes[index].life == Life::Up {
            self.nodes[index].watchers.insert(css, generation);
        }
    }

    pub(crate) fn watch_look(&mut self, css: usize, start: u64, node: String, generation: u64) {
        let now_ms = self.now_ms;
        let process = &self.css[css];
        if process.start != start || process.life == Life::Down {
            return;
        }
        if process.watches.get(&node).is_none_or(|watch| watch.generation != generation) {
            return;
        }
        let index = node_index(&node).expect("a watched node has a name");
        let there = &self.nodes[index];
        let joined = self.network.joined(Who::Css(css), Who::Node(index), now_ms);
        let open = there.watchers.get(&css) == Some(&generation);
        let stopped = self.css[css].life == Life::Stopped;
        let watch = self.css[css].watches.get_mut(&node).expect("looked at a moment ago");
        let well = open && joined && there.life == Life::Up;
        let broke_at_once = there.life == Life::Down || (!open && there.life == Life::Up && joined);
        watch.dead_since_ms = if well { None } else { Some(watch.dead_since_ms.unwrap_or(now_ms)) };
        let dead = watch.dead_since_ms.is_some_and(|since| now_ms - since >= DEAD_MS);
        if !watch.asking && !stopped && (broke_at_once || dead) {
            watch.asking = true;
            self.nodes[index].watchers.remove(&css);
            let why = if broke_at_once { "reset" } else { "keep-alive timed out" }.to_owned();
            let waiting = Waiting::Describe { node: node.clone(), generation, why };
            self.call(Who::Css(css), Who::Node(index), Ask::Describe, waiting, DESCRIBE_TIMEOUT_MS);
        }
        self.after(LOOK_MS, Happening::WatchLook { css, start, node, generation });
    }

    /// A second way to the node decides: a stream may break for many reasons.
    pub(crate) fn watch_described(
        &mut self,
        css: usize,
        node: &str,
        broke: (u64, String),
        is: Result<String, String>,
    ) {
        let (generation, why) = broke;
        let Some(watch) = self.css[css].watches.get_mut(node) else { return };
        let boot_id = watch.boot_id.clone();
        if watch.generation != generation {
            return;
        }
        match is {
            Ok(boot) if boot == boot_id => {
                watch.asking = false;
                watch.dead_since_ms = None;
                let start = self.css[css].start;
                let node = node.to_owned();
                self.after(WATCH_AGAIN_MS, Happening::WatchAgain { css, start, node, generation });
            }
            Ok(_) => {
                self.css[css].watches.remove(node);
            }
            Err(failure) => {
                self.css[css].watches.remove(node);
                let why = format!("broke its event stream ({why}) and does not answer: {failure}");
                let node = node.to_owned();
                let certain = failure == REFUSED;
                self.css_event(css, Event::NodeUnreachable { node, boot_id, why, certain });
            }
        }
    }

    pub(crate) fn watch_again(&mut self, css: usize, start: u64, node: &str, generation: u64) {
        let process = &self.css[css];
        let same = process.watches.get(node).is_some_and(|watch| watch.generation == generation);
        if process.start == start && same {
            self.follow(css, node, generation);
        }
    }

    /// A node tells all who watch it. A stream keeps its order; one whose link is cut breaks.
    pub(crate) fn node_tells(&mut self, index: usize, conference: &str, kind: wire::event::Kind) {
        let now_ms = self.now_ms;
        let node = &mut self.nodes[index];
        let Some(running) = node.conferences.get(conference) else { return };
        node.sequence += 1;
        let event = wire::Event {
            sequence: node.sequence,
            node_id: node.name.clone(),
            boot_id: node.boot_id(),
            unix_ms: now_ms as i64,
            conference: conference.to_owned(),
            epoch: running.epoch,
            kind: Some(kind),
        };
        let watchers: Vec<(usize, u64)> = node.watchers.iter().map(|(css, of)| (*css, *of)).collect();
        for (css, generation) in watchers {
            if self.network.joined(Who::Css(css), Who::Node(index), now_ms) {
                let message = Message::Event(generation, Box::new(event.clone()));
                let arrives = now_ms + 2;
                self.arrive_at(arrives, Who::Node(index), Who::Css(css), message);
            } else {
                self.nodes[index].watchers.remove(&css);
            }
        }
    }
}
