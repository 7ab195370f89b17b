//! The scheduler: one queue of what happens when, and the processes that it happens to.

use crate::checks::{Mutation, Watchman};
use crate::client::Client;
use crate::css::Css;
use crate::ledger::Ledger;
use crate::message::{Ask, Call, CallId, Message, Reply, Waiting, Who};
use crate::network::Network;
use crate::node::{Life, Node};
use crate::plan::Plan;
use crate::points::Points;
use crate::random::Random;
use crate::store::Store;
use crate::trace::Trace;
use motet_control::conference::{Response, State};
use motet_control::nodes::NodeFailure;
use motet_control::store::Cursor;
use motet_proto::node as wire;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Milliseconds since 1970 when a world begins.
pub(crate) const UNIX_MS: i64 = 1_700_000_000_000;
const ANNOUNCE_AGAIN_MS: u64 = 1_000;
/// What a caller hears when nobody listens at an address.
pub(crate) const REFUSED: &str = "connection refused";
const MONITOR_MS: u64 = 250;

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A message of this start of a process reaches that start of another.
    Arrive {
        from: Who,
        to: Who,
        lives: (u64, u64),
        message: Message,
    },
    Timeout(CallId),
    Tick {
        css: usize,
        start: u64,
    },
    WatchLook {
        css: usize,
        start: u64,
        node: String,
        generation: u64,
    },
    WatchAgain {
        css: usize,
        start: u64,
        node: String,
        generation: u64,
    },
    Announce {
        node: usize,
        boot: u64,
        css: usize,
    },
    /// Packets of a new leg have come.
    LegSends {
        node: usize,
        boot: u64,
        conference: String,
        leg: String,
    },
    StoreServes {
        from: Who,
        call: CallId,
        ask: Box<Ask>,
    },
    StoreConfirms {
        from: Who,
        call: CallId,
        generation: u64,
    },
    Client(usize),
    Script(usize),
    Fault(usize),
    FaultOver(usize),
    Restart(Who),
    Monitor,
    Calm,
    Quiet,
    End,
}

#[derive(Debug)]
struct Entry {
    at_ms: u64,
    order: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}

/// All processes, what they are about to do, and what was seen.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now_ms: u64,
    order: u64,
    agenda: BinaryHeap<Reverse<Entry>>,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) css: Vec<Css>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) store: Store,
    pub(crate) clients: Vec<Client>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    last_call: CallId,
    pub(crate) moids: u64,
    pub(crate) ledger: Ledger,
    pub(crate) watchman: Watchman,
    pub(crate) points: Points,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) trace: Trace,
    /// Applications ask for new things.
    pub(crate) load: bool,
    /// Everything is being ended.
    pub(crate) finale: bool,
    ended: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, trace: Trace, points: Points) -> World {
        let mut random = Random::new(plan.seed ^ 0xA5A5);
        let network = Network::new(plan.manner, random.fork());
        World {
            now_ms: 0,
            order: 0,
            agenda: BinaryHeap::new(),
            network,
            css: (0..plan.css).map(|index| Css::new(index, State::new(plan.options_of(index)))).collect(),
            nodes: (0..plan.nodes).map(|index| Node::new(index, plan.mutation)).collect(),
            store: Store::new(plan.store_lag_ms, plan.mutation),
            clients: (0..plan.clients + plan.script.len()).map(|_| Client::new(random.fork())).collect(),
            calls: BTreeMap::new(),
            last_call: 0,
            moids: 0,
            ledger: Ledger::default(),
            watchman: Watchman::default(),
            points,
            counts: BTreeMap::new(),
            trace,
            load: true,
            finale: false,
            ended: false,
            random,
            plan,
        }
    }

    /// Starts all processes and plans what is known beforehand.
    pub(crate) fn begin(&mut self) {
        for index in 0..self.css.len() {
            self.start_css(index);
        }
        for index in 0..self.nodes.len() {
            self.start_node(index);
        }
        for index in 0..self.plan.script.len() {
            self.after(self.plan.script[index].at_ms, Happening::Script(index));
        }
        for index in 0..self.plan.clients {
            let rest = self.clients[index].random.between(0, 300);
            self.after(self.plan.load_from_ms + rest, Happening::Client(index));
        }
        for index in 0..self.plan.faults.len() {
            self.after(self.plan.faults[index].at_ms, Happening::Fault(index));
        }
        self.after(MONITOR_MS, Happening::Monitor);
        self.after(self.plan.calm_from_ms, Happening::Calm);
        self.after(self.plan.calm_from_ms + self.plan.quiet_ms, Happening::Quiet);
    }

    /// Lets happen what is next. False: the world has ended.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(Reverse(entry)) = self.agenda.pop() else { return false };
        assert!(entry.at_ms >= self.now_ms, "time goes on");
        self.now_ms = entry.at_ms;
        self.happen(entry.what);
        !self.ended
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrive { from, to, lives, message } => self.arrived(from, to, lives, message),
            Happening::Timeout(call) => self.answered(call, Err("no answer in time")),
            Happening::Tick { css, start } => self.css_tick(css, start),
            Happening::WatchLook { css, start, node, generation } => {
                self.watch_look(css, start, node, generation)
            }
            Happening::WatchAgain { css, start, node, generation } => {
                self.watch_again(css, start, &node, generation)
            }
            Happening::Announce { node, boot, css } => self.announce(node, boot, css),
            Happening::LegSends { node, boot, conference, leg } => {
                self.leg_sends(node, boot, &conference, leg)
            }
            Happening::StoreServes { from, call, ask } => self.store_serves(from, call, *ask),
            Happening::StoreConfirms { from, call, generation } => {
                self.store_confirms(from, call, generation);
            }
            Happening::Client(index) => self.client_wakes(index),
            Happening::Script(index) => self.client_is_told(index),
            Happening::Fault(index) => self.fault(index),
            Happening::FaultOver(index) => self.fault_over(index),
            Happening::Restart(who) => self.restart(who),
            Happening::Monitor => {
                // It takes longer than all else that is looked at here.
                if self.now_ms % 2_000 < MONITOR_MS {
                    self.css.iter().for_each(|css| css.state.conferences.check());
                }
                self.monitor();
                self.after(MONITOR_MS, Happening::Monitor);
            }
            Happening::Calm => self.calm(),
            Happening::Quiet => self.quiet(),
            Happening::End => {
                self.check_end_of_all();
                self.ended = true;
            }
        }
    }

    pub(crate) fn after(&mut self, ms: u64, what: Happening) {
        self.order += 1;
        self.agenda.push(Reverse(Entry { at_ms: self.now_ms + ms, order: self.order, what }));
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Asks a process for something; the answer, or that none came, is heard later.
    pub(crate) fn call(&mut self, from: Who, to: Who, ask: Ask, waiting: Waiting, timeout_ms: u64) -> CallId {
        self.last_call += 1;
        let call = self.last_call;
        self.calls.insert(call, Call { from, life: self.life_of(from), waiting });
        self.send(from, to, Message::Ask(call, ask));
        self.after(timeout_ms, Happening::Timeout(call));
        call
    }

    pub(crate) fn send(&mut self, from: Who, to: Who, message: Message) {
        let arrival = self.network.arrival(from, to, self.now_ms);
        if self.trace.is_on() {
            let lost = if arrival.is_none() { " (lost)" } else { "" };
            let words = match &message {
                Message::Ask(call, ask) => Some(format!("-> {to}: #{call} {}{lost}", ask.words())),
                Message::Answer(call, reply) => Some(format!("-> {to}: #{call} {}{lost}", reply.words())),
                _ => None,
            };
            let quiet = match &message {
                Message::Ask(_, Ask::Announce(_) | Ask::Domains | Ask::NodeList(_) | Ask::Renew(..)) => true,
                Message::Ask(_, Ask::Changes(since)) => *since != Cursor::default(),
                Message::Answer(_, Reply::Peers(_)) => true,
                Message::Answer(_, Reply::Changed(changes)) => {
                    !changes.complete && changes.records.is_empty() && changes.removed.is_empty()
                }
                Message::Answer(_, Reply::Core(answer)) => matches!(&**answer, Ok(Response::Announced(_))),
                _ => false,
            };
            if let Some(words) = words.filter(|_| !quiet) {
                self.trace.say(self.now_ms, from, || words);
            }
        }
        if let Some(at_ms) = arrival {
            self.arrive_at(at_ms, from, to, message);
        }
    }

    pub(crate) fn arrive_at(&mut self, at_ms: u64, from: Who, to: Who, message: Message) {
        let lives = (self.life_of(from), self.life_of(to));
        self.after(at_ms - self.now_ms, Happening::Arrive { from, to, lives, message });
    }

    /// Which start of a process this is.
    pub(crate) fn life_of(&self, who: Who) -> u64 {
        match who {
            Who::Css(index) => self.css[index].start,
            Who::Node(index) => self.nodes[index].boot,
            _ => 0,
        }
    }

    /// A message has come.
    pub(crate) fn arrived(&mut self, from: Who, to: Who, lives: (u64, u64), message: Message) {
        // What is written to a file ends with its process. What is on its way to a store of several arrives, even
        // after the next start has read it.
        if to == Who::Store && lives.0 != self.life_of(from) && !self.plan.shared {
            return;
        }
        let state = match to {
            Who::Css(index) => self.css[index].life,
            Who::Node(index) => self.nodes[index].life,
            _ => Life::Up,
        };
        if state == Life::Down || lives.1 != self.life_of(to) {
            // The connection belonged to a process that is gone.
            if let Message::Ask(call, _) = message {
                self.send(to, from, Message::Refused(call));
            }
            return;
        }
        match (to, message) {
            (Who::Css(index), message) if state == Life::Stopped => {
                self.css[index].inbox.push((from, message))
            }
            (Who::Node(index), Message::Ask(call, ask)) if state == Life::Stopped => {
                self.nodes[index].inbox.push((from, call, ask));
            }
            (Who::Css(index), Message::Ask(call, ask)) => self.css_asked(index, from, call, ask),
            (Who::Node(index), Message::Ask(call, ask)) => self.node_asked(index, from, call, ask),
            (Who::Store, Message::Ask(call, ask)) => self.store_asked(from, call, ask),
            (Who::Css(index), Message::Event(generation, event)) => {
                let name = event.node_id.clone();
                let watch = self.css[index].watches.get(&name);
                if watch.is_some_and(|watch| watch.generation == generation) {
                    self.css_event(index, motet_control::conference::Event::Media(event));
                }
            }
            (_, Message::Answer(call, reply)) => self.answered(call, Ok(reply)),
            (_, Message::Refused(call)) => self.answered(call, Err(REFUSED)),
            (who, message) => self.violated("core", format!("{who} got {message:?}")),
        }
    }

    /// A call has its answer, or will never have one.
    fn answered(&mut self, call: CallId, reply: Result<Reply, &str>) {
        // A process that is stopped finds the answer, or the time that has passed, when it goes on.
        let known = self.calls.get(&call);
        if let Some(Call { from: Who::Css(index), life, .. }) = known
            && self.css[*index].life == Life::Stopped
            && self.css[*index].start == *life
        {
            return self.after(100, Happening::Timeout(call));
        }
        let Some(Call { from, life, waiting, .. }) = self.calls.remove(&call) else { return };
        if life != self.life_of(from) {
            return;
        }
        match from {
            Who::Css(index) if self.css[index].life == Life::Up => self.css_hears(index, waiting, reply),
            Who::Node(index) => {
                if let Waiting::Looking { call, from } = &waiting {
                    let said = match &reply {
                        Ok(Reply::Described(description)) => wire::ProbeResponse {
                            reachable: true,
                            boot_id: description.boot_id.clone(),
                            ..Default::default()
                        },
                        _ => wire::ProbeResponse::default(),
                    };
                    self.send(Who::Node(index), *from, Message::Answer(*call, Reply::Probed(said)));
                }
                if let Waiting::Passing { call, from } = &waiting {
                    let silent = |why: &str| NodeFailure::Unreachable(why.to_owned());
                    let said = reply.clone().unwrap_or_else(|why| Reply::NodePut(Err(silent(why))));
                    self.send(Who::Node(index), *from, Message::Answer(*call, said));
                }
                if let Waiting::Announce { css } = waiting {
                    let next = match &reply {
                        Ok(Reply::Core(answer)) => match &**answer {
                            Ok(Response::Announced(told)) => u64::from(told.interval_ms),
                            _ => ANNOUNCE_AGAIN_MS,
                        },
                        _ => ANNOUNCE_AGAIN_MS,
                    };
                    self.after(next, Happening::Announce { node: index, boot: life, css });
                }
            }
            Who::Client(index) => {
                let answer = match reply {
                    Ok(Reply::Core(answer)) => Some(*answer),
                    _ => None,
                };
                let asked = self.clients[index].operation.as_ref().and_then(|operation| operation.call);
                if asked == Some(call) {
                    self.client_hears(index, answer);
                }
            }
            _ => {}
        }
    }

    /// A command as a wrong world sends it.
    pub(crate) fn mutated_put(
        &mut self,
        mut put: Box<wire::PutConferenceRequest>,
    ) -> Box<wire::PutConferenceRequest> {
        match self.plan.mutation {
            Some(Mutation::EpochIsNotRaised) => put.epoch = 1,
            Some(Mutation::NodeComesFirst) => put.epoch += 1,
            _ => {}
        }
        put
    }
}
