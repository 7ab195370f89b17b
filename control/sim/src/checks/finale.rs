//! After everything was ended and time has passed, nothing is left.

use super::Watchman;
use crate::message::{Ask, Waiting, Who};
use crate::world::{Happening, World};
use motet_control::conference::{Phase, Record, Request};
use motet_proto::conference::EndRequest;

/// Ends, lists and the sweep of tombstones are done by then, besides the tombstones' time.
const MARGIN_MS: u64 = 20_000;

impl World {
    /// Everything that control lists is ended.
    pub(crate) fn begin_finale(&mut self) {
        self.finale = true;
        // Whoever ends everything asks only once.
        self.points.on = false;
        let living: Vec<String> = self.css[0]
            .state
            .conferences
            .values()
            .filter(|conference| conference.record.phase != Phase::Ended)
            .map(|conference| conference.record.id.clone())
            .collect();
        for (turn, id) in living.into_iter().enumerate() {
            let css = Who::Css(turn % self.css.len());
            let end = Request::End(EndRequest {
                conference: id,
                reason: "the world ends".into(),
                ..Default::default()
            });
            self.call(Who::Plan, css, Ask::Client(Box::new(end)), Waiting::Operation, 5_000);
        }
        let tombstones_ms = self.plan.control.tombstone_ms.unsigned_abs();
        self.after(tombstones_ms + MARGIN_MS, Happening::End);
    }

    /// Nothing is left of anything.
    pub(crate) fn check_end_of_all(&mut self) {
        let mut left = Vec::new();
        for record in self.store.records.values() {
            left.push(format!("{} in the store", record.id));
        }
        for node in &self.nodes {
            left.extend(node.conferences.keys().map(|id| format!("{id} on {}", node.name)));
        }
        for css in &self.css {
            let known = css.state.conferences.keys();
            left.extend(known.map(|id| format!("{id} in css{}", css.index + 1)));
        }
        for css in self.css.iter().filter(|css| !css.requests.is_empty()) {
            left.push(format!("{} requests of css{}", css.requests.len(), css.index + 1));
        }
        if !left.is_empty() {
            self.violated("N9", format!("left over: {}", left.join(", ")));
        }
    }
}

impl Watchman {
    /// The store forgot something; what it holds now is what it may go on from.
    pub(crate) fn forget_end(&mut self, id: &str, record: Option<&Record>) {
        if record.is_none_or(|record| record.phase != Phase::Ended) {
            self.ended.remove(id);
        }
    }
}
