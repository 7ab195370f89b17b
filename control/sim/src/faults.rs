//! Faults begin and end.

use crate::message::{Ask, Waiting, Who, css_index, record_words};
use crate::node::Life;
use crate::plan::Fault;
use crate::store::Service;
use crate::world::{Happening, World};
use motet_control::conference::{NodeAnnouncement, Request};
use motet_proto::registry::{DrainNodeRequest, UndrainNodeRequest};

impl World {
    pub(crate) fn fault(&mut self, index: usize) {
        let planned = self.plan.faults[index];
        let until_ms = self.now_ms + planned.for_ms;
        self.trace.say(self.now_ms, Who::Plan, || format!("{planned}"));
        self.count("faults");
        match planned.fault {
            Fault::Kill(Who::Css(css)) => {
                self.crash_css(css);
                self.after(planned.for_ms, Happening::Restart(Who::Css(css)));
            }
            Fault::Kill(Who::Node(node)) => {
                self.nodes[node].crash();
                self.after(planned.for_ms, Happening::Restart(Who::Node(node)));
            }
            Fault::Stop(Who::Css(css)) if self.css[css].life == Life::Up => {
                self.css[css].life = Life::Stopped
            }
            Fault::Stop(Who::Node(node)) if self.nodes[node].life == Life::Up => {
                self.nodes[node].life = Life::Stopped
            }
            Fault::Leave(node) if self.nodes[node].life == Life::Up => self.node_leaves(node, planned.for_ms),
            Fault::Drain(node) => self.ask_to_drain(node, true),
            Fault::CutOneWay(from, to) => self.network.cut(from, to, until_ms),
            Fault::Cut(a, b) => {
                self.network.cut(a, b, until_ms);
                self.network.cut(b, a, until_ms);
            }
            Fault::Noise(manner) => self.network.manner = manner,
            Fault::StoreDown => self.store.service = Service::Down,
            Fault::StoreSlow(ms) => self.store.service = Service::Slow(ms),
            Fault::StoreSwitchover => self.switch_over(),
            Fault::ClockJump(css, seconds) => self.css[css].unix_offset_ms += seconds * 1_000,
            Fault::Kill(_) | Fault::Stop(_) | Fault::Leave(_) => {}
        }
        self.after(planned.for_ms, Happening::FaultOver(index));
    }

    pub(crate) fn fault_over(&mut self, index: usize) {
        let planned = self.plan.faults[index];
        match planned.fault {
            Fault::Stop(who) => self.go_on(who),
            Fault::Drain(node) => self.ask_to_drain(node, false),
            Fault::Noise(_) if self.load => self.network.manner = self.plan.manner,
            Fault::StoreDown | Fault::StoreSlow(_) | Fault::StoreSwitchover => {
                self.store.service = Service::Up
            }
            _ => return,
        }
        self.trace.say(self.now_ms, Who::Plan, || format!("over: {}", planned.fault));
    }

    /// Everything is mended, and nothing new is asked for.
    pub(crate) fn calm(&mut self) {
        self.trace.say(self.now_ms, Who::Plan, || "all is mended".into());
        self.load = false;
        self.network.heal();
        self.store.service = Service::Up;
        for index in 0..self.css.len() {
            self.go_on(Who::Css(index));
            self.restart(Who::Css(index));
        }
        for index in 0..self.nodes.len() {
            self.go_on(Who::Node(index));
            self.restart(Who::Node(index));
            self.nodes[index].draining = false;
        }
    }

    pub(crate) fn restart(&mut self, who: Who) {
        match who {
            Who::Css(index) if self.css[index].life == Life::Down => self.start_css(index),
            Who::Node(index) if self.nodes[index].life == Life::Down => {
                self.nodes[index].life = Life::Up;
                self.start_node(index);
            }
            _ => {}
        }
    }

    /// SIGCONT: what waited is worked off.
    fn go_on(&mut self, who: Who) {
        match who {
            Who::Css(index) if self.css[index].life == Life::Stopped => {
                self.css[index].life = Life::Up;
                // The timer and what waits in sockets race.
                if self.random.permille(500) {
                    self.css_event(index, motet_control::conference::Event::Tick);
                }
                for (from, message) in std::mem::take(&mut self.css[index].inbox) {
                    let lives = (self.life_of(from), self.life_of(who));
                    self.arrived(from, who, lives, message);
                }
            }
            Who::Node(index) if self.nodes[index].life == Life::Stopped => {
                self.nodes[index].life = Life::Up;
                for (from, call, ask) in std::mem::take(&mut self.nodes[index].inbox) {
                    self.node_asked(index, from, call, ask);
                }
            }
            _ => {}
        }
    }

    fn node_leaves(&mut self, index: usize, for_ms: u64) {
        let description = self.nodes[index].describe();
        let address = self.nodes[index].name.clone();
        for css in 0..self.css.len() {
            let description = description.clone();
            let announcement =
                NodeAnnouncement { held: Vec::new(), address: address.clone(), description, leaving: true };
            let ask = Ask::Announce(Box::new(announcement));
            self.call(Who::Node(index), Who::Css(css), ask, Waiting::Delete, 1_000);
        }
        self.nodes[index].crash();
        self.after(for_ms, Happening::Restart(Who::Node(index)));
    }

    /// Asked by an operator, who looks at no answer: the node says with each announcement how it is.
    fn ask_to_drain(&mut self, node: usize, drain: bool) {
        let node_id = Who::Node(node).to_string();
        let request = match drain {
            true => Request::Drain(DrainNodeRequest { node_id, deadline_ms: 0 }),
            false => Request::Undrain(UndrainNodeRequest { node_id }),
        };
        self.call(Who::Plan, Who::Css(0), Ask::Client(Box::new(request)), Waiting::Operation, 5_000);
    }

    fn switch_over(&mut self) {
        self.store.service = Service::Down;
        for (id, lost) in self.store.switch_over(self.now_ms) {
            self.trace.say(self.now_ms, Who::Store, || format!("forgets {}", record_words(&lost)));
            self.watchman.forget_end(&id, self.store.records.get(&id));
            self.count("writes forgotten");
            if self.plan.store_wait {
                // Nobody had been told that it was written.
                continue;
            }
            let maintainer = css_index(&lost.maintainer);
            self.watchman.rolled_back.insert(id, lost);
            if let Some(css) = maintainer.filter(|css| self.css[*css].life == Life::Down) {
                self.nobody_knows(css);
            }
        }
    }
}
