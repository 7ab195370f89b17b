//! What nodes and the store do when they are asked, and of themselves.

use crate::message::{Ask, CallId, Message, Reply, Waiting, Who, node_index};
use crate::node::Life;
use crate::store::Service;
use crate::world::{Happening, World};
use motet_control::conference::NodeAnnouncement;
use motet_proto::node as wire;

const ANNOUNCE_TIMEOUT_MS: u64 = 2_000;
/// As in `engine/node/src/probe.rs`.
const PASSING_TIMEOUT_MS: u64 = 1_500;

impl World {
    pub(crate) fn start_node(&mut self, index: usize) {
        let boot = self.nodes[index].boot;
        self.trace.say(self.now_ms, Who::Node(index), || format!("starts ({boot})"));
        for css in 0..self.css.len() {
            let rest = self.random.between(10, 300);
            self.after(rest, Happening::Announce { node: index, boot, css });
        }
    }

    pub(crate) fn announce(&mut self, index: usize, boot: u64, css: usize) {
        let node = &self.nodes[index];
        if node.boot != boot || node.life == Life::Down {
            return;
        }
        if node.life == Life::Stopped {
            return self.after(50, Happening::Announce { node: index, boot, css });
        }
        let announcement = NodeAnnouncement {
            held: Vec::new(),
            address: node.name.clone(),
            description: node.describe(),
            leaving: false,
        };
        let ask = Ask::Announce(Box::new(announcement));
        self.call(Who::Node(index), Who::Css(css), ask, Waiting::Announce { css }, ANNOUNCE_TIMEOUT_MS);
    }

    /// A node is told something.
    pub(crate) fn node_asked(&mut self, index: usize, from: Who, call: CallId, ask: Ask) {
        let node = &mut self.nodes[index];
        let reply = match ask {
            Ask::NodePut(put) => {
                let id = put.spec.as_ref().map(|spec| spec.id.clone()).unwrap_or_default();
                let before = node.conferences.get(&id).cloned();
                let result = node.put(&put);
                let drains = node.draining && before.is_none();
                if drains {
                    self.count("new conferences offered to a draining node");
                }
                if result.is_ok() {
                    self.check_put(index, &put, before.as_ref().map(|was| (was.epoch, was.revision)));
                    self.legs_come(index, &id, before.map(|was| was.spec));
                }
                Reply::NodePut(result)
            }
            Ask::NodeDelete(delete) => {
                node.delete(&delete);
                Reply::Deleted
            }
            Ask::NodeList(list) => Reply::Listed(node.list(&list)),
            Ask::Describe => Reply::Described(Box::new(node.describe())),
            Ask::Probe { address, timeout_ms } => {
                let Some(other) = node_index(&address) else { return };
                let waiting = Waiting::Looking { call, from };
                self.call(Who::Node(index), Who::Node(other), Ask::Describe, waiting, timeout_ms);
                return;
            }
            Ask::Through { address, ask } => {
                let Some(other) = node_index(&address) else { return };
                self.count("told through another node");
                let waiting = Waiting::Passing { call, from };
                self.call(Who::Node(index), Who::Node(other), *ask, waiting, PASSING_TIMEOUT_MS);
                return;
            }
            Ask::Drain(drain) => Reply::Drained(Ok(node.drain(drain))),
            other => {
                let what = format!("n{} was asked to {}", index + 1, other.words());
                return self.violated("core", what);
            }
        };
        self.send(Who::Node(index), from, Message::Answer(call, reply));
    }

    /// Participants begin to send a little after their leg is there.
    fn legs_come(&mut self, index: usize, id: &str, before: Option<wire::ConferenceSpec>) {
        let Some(running) = self.nodes[index].conferences.get(id) else { return };
        let known = |leg: &wire::Leg| {
            before.as_ref().is_some_and(|spec| spec.legs.iter().any(|known| known.id == leg.id))
        };
        let new: Vec<String> =
            running.spec.legs.iter().filter(|leg| !known(leg)).map(|leg| leg.id.clone()).collect();
        let boot = self.nodes[index].boot;
        for leg in new {
            let (rest, conference) = (self.random.between(20, 200), id.to_owned());
            self.after(rest, Happening::LegSends { node: index, boot, conference, leg });
        }
    }

    pub(crate) fn leg_sends(&mut self, index: usize, boot: u64, conference: &str, leg: String) {
        let node = &self.nodes[index];
        if node.boot == boot && node.life == Life::Up {
            let alive = wire::LegAlive { leg, transport: "audio".into(), source: "192.0.2.1:4000".into() };
            self.node_tells(index, conference, wire::event::Kind::LegAlive(alive));
        }
    }

    pub(crate) fn store_asked(&mut self, from: Who, call: CallId, ask: Ask) {
        match self.store.service {
            Service::Up => self.store_serves(from, call, ask),
            Service::Slow(ms) => {
                self.after(ms, Happening::StoreServes { from, call, ask: Box::new(ask) });
            }
            // The process is gone and the host says so, or the host is gone too.
            Service::Down if self.random.permille(500) => {
                self.send(Who::Store, from, Message::Answer(call, Reply::Away));
            }
            Service::Down => {}
        }
    }

    /// The replica has what was written, if it is still the replica.
    pub(crate) fn store_confirms(&mut self, from: Who, call: CallId, generation: u64) {
        if self.store.generation == generation && self.store.service != Service::Down {
            self.send(Who::Store, from, Message::Answer(call, Reply::Written(Ok(()))));
        }
    }

    pub(crate) fn store_serves(&mut self, from: Who, call: CallId, ask: Ask) {
        if self.store.service == Service::Down {
            return;
        }
        let reply = match ask {
            Ask::Changes(since) => Reply::Changed(Box::new(self.store.changes(since))),
            Ask::Renew(me, lease_ms) => Reply::Peers(self.store.renew(self.now_ms, me, lease_ms)),
            Ask::Write { record, base } => {
                let before = self.store.records.get(&record.id).cloned();
                let result = self.store.put(self.now_ms, &record, base);
                match result {
                    // The same once more, since its answer was lost, is no write.
                    Ok(()) if before.as_ref() == Some(&*record) => {}
                    Ok(()) => self.check_write(before.as_ref(), &record),
                    Err(_) => self.watchman.refused_writes += 1,
                }
                if result.is_ok() && self.plan.store_wait {
                    // The replica is to have it, too.
                    let generation = self.store.generation;
                    let confirms = Happening::StoreConfirms { from, call, generation };
                    return self.after(self.plan.store_lag_ms, confirms);
                }
                Reply::Written(result)
            }
            Ask::Read(id) => Reply::Found(self.store.get(&id)),
            Ask::Domains => Reply::Written(Ok(())),
            Ask::Remove(id) => {
                self.store.remove(self.now_ms, &id);
                Reply::Written(Ok(()))
            }
            other => return self.violated("core", format!("the store was asked to {}", other.words())),
        };
        self.send(Who::Store, from, Message::Answer(call, reply));
    }
}
