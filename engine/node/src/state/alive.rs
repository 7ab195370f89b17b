//! Which legs packets come from, as the relays' events say, for those who did not hear the events.

use super::{Conference, State};
use crate::model::Id;
use crate::plan::Holdings;
use motet_proto::node::event::Kind;
use motet_relay::LegId;
use std::collections::BTreeSet;

impl Conference {
    /// Those that are heard and stay as they are. A leg that was made anew has yet to be heard.
    pub(super) fn still_alive(&self, next: &Holdings) -> BTreeSet<Id> {
        let relay_leg = |held: &Holdings, leg: &Id| held.legs.get(leg).map(|leg| (leg.worker, leg.id));
        let stays = |leg: &&Id| relay_leg(next, leg).is_some_and(|id| relay_leg(&self.held, leg) == Some(id));
        self.alive.iter().filter(stays).cloned().collect()
    }
}

impl State {
    /// Takes note of an event that says whether a leg is heard.
    pub(crate) fn heard(&mut self, conference: &str, kind: &Kind) {
        let Some(running) = self.conferences.get_mut(conference) else { return };
        match kind {
            Kind::LegAlive(alive) => {
                running.alive.insert(Id::from(&alive.leg));
            }
            Kind::LegSilent(silent) => {
                running.alive.remove(silent.leg.as_str());
            }
            _ => {}
        }
    }

    /// A worker's relay was taken over, in which these legs are heard.
    pub(crate) fn go_on_hearing(&mut self, worker: usize, legs: &[LegId]) {
        for (conference, leg) in legs.iter().filter_map(|leg| self.names[worker].legs.get(leg)) {
            if let Some(running) = self.conferences.get_mut(&**conference) {
                running.alive.insert(leg.clone());
            }
        }
    }
}
