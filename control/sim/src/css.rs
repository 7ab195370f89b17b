//! A control process: the core, and edges that do as `control/src/runtime.rs` does.

use crate::checks::Mutation;
use crate::edge::Edge;
use crate::message::{Ask, CallId, Message, Reply, Waiting, Who, node_index};
use crate::node::Life;
use crate::points::{effect_label, event_label};
use crate::world::{Happening, REFUSED, UNIX_MS, World};
use motet_control::conference::{
    DomainOrder, Effect, Event, NodeAddress, NodeAnnouncement, Now, Request, RequestId, Response, State, step,
};
use motet_control::nodes::NodeFailure;
use motet_control::refusal::Refusal;
use motet_proto::conference::{ConferenceEventKind as Kind, EndRequest};
use std::collections::BTreeMap;

/// How often deadlines are looked at.
pub(crate) const TICK_MS: u64 = 50;
const CALM_TICK_MS: u64 = 200;
/// For what lies between control and a node that is asked about another one.
const PROBE_MARGIN_MS: u64 = 200;
const NODE_TIMEOUT_MS: u64 = 2_000;

/// A control process.
#[derive(Debug)]
pub(crate) struct Css {
    pub(crate) index: usize,
    pub(crate) life: Life,
    /// Counts starts.
    pub(crate) start: u64,
    pub(crate) state: State,
    started_ms: u64,
    /// How far its wall clock is off.
    pub(crate) unix_offset_ms: i64,
    pub(crate) edge: Edge,
    /// Who waits for an answer.
    pub(crate) requests: BTreeMap<u64, (Who, CallId)>,
    last_request: u64,
    pub(crate) watches: BTreeMap<String, Watch>,
    pub(crate) last_generation: u64,
    /// What came while it was stopped.
    pub(crate) inbox: Vec<(Who, Message)>,
}

/// A stream of events of a node.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) boot_id: String,
    pub(crate) generation: u64,
    /// Since when nothing can come.
    pub(crate) dead_since_ms: Option<u64>,
    /// It broke, and the node is asked who it is.
    pub(crate) asking: bool,
}

impl Css {
    pub(crate) fn new(index: usize, state: State) -> Css {
        Css {
            index,
            life: Life::Down,
            start: 0,
            state,
            started_ms: 0,
            unix_offset_ms: 0,
            edge: Edge::default(),
            requests: BTreeMap::new(),
            last_request: 0,
            watches: BTreeMap::new(),
            last_generation: 0,
            inbox: Vec::new(),
        }
    }

    fn now(&self, now_ms: u64) -> Now {
        Now { steady_ms: now_ms - self.started_ms, unix_ms: UNIX_MS + now_ms as i64 + self.unix_offset_ms }
    }

    fn remember(&mut self, who: Who, call: CallId) -> RequestId {
        self.last_request += 1;
        self.requests.insert(self.last_request, (who, call));
        RequestId(self.last_request)
    }
}

impl World {
    pub(crate) fn start_css(&mut self, index: usize) {
        let state = State::new(self.plan.options_of(index));
        let now_ms = self.now_ms;
        let css = &mut self.css[index];
        let (start, unix_offset_ms) = (css.start + 1, css.unix_offset_ms);
        *css = Css { start, unix_offset_ms, started_ms: now_ms, life: Life::Up, ..Css::new(index, state) };
        self.trace.say(now_ms, Who::Css(index), || format!("starts ({start})"));
        self.carry_out(index, Effect::Domains(DomainOrder::Load));
        self.carry_out(index, Effect::StoreLoad);
        self.after(TICK_MS, Happening::Tick { css: index, start });
    }

    /// The process ends at once and remembers nothing.
    pub(crate) fn crash_css(&mut self, index: usize) {
        if self.css[index].life == Life::Down {
            return;
        }
        self.trace.say(self.now_ms, Who::Css(index), || "is killed".into());
        self.count("control killed");
        let css = &mut self.css[index];
        css.life = Life::Down;
        css.requests.clear();
        css.inbox.clear();
        css.watches.clear();
        for node in &mut self.nodes {
            node.watchers.remove(&index);
        }
        self.nobody_knows(index);
    }

    pub(crate) fn css_tick(&mut self, index: usize, start: u64) {
        if self.css[index].start != start || self.css[index].life == Life::Down {
            return;
        }
        // Less often when nothing goes wrong any more: it is most of a world's time.
        let pause_ms = if self.load { TICK_MS } else { CALM_TICK_MS };
        self.after(pause_ms, Happening::Tick { css: index, start });
        if self.css[index].life == Life::Up {
            self.css_event(index, Event::Tick);
        }
    }

    /// Has the core take an event, and does what it says.
    pub(crate) fn css_event(&mut self, index: usize, event: Event) {
        let label = self.points.on.then(|| event_label(&event));
        let css = &mut self.css[index];
        let now = css.now(self.now_ms);
        let effects = step(&mut css.state, event, now);
        let start = css.start;
        for effect in effects {
            let crash = label.map(|label| self.points.pass(label, effect_label(&effect)));
            if crash == Some(Some(true)) {
                return self.crash_here(index);
            }
            self.carry_out(index, effect);
            if crash == Some(Some(false)) {
                return self.crash_here(index);
            }
            // A fault may have been part of it.
            if self.css[index].start != start || self.css[index].life == Life::Down {
                return;
            }
        }
    }

    fn crash_here(&mut self, index: usize) {
        self.count("died at a step");
        self.crash_css(index);
        self.after(500, Happening::Restart(Who::Css(index)));
    }

    /// What is not known here is a violation, so that a new effect is not forgotten.
    #[allow(unreachable_patterns)]
    pub(crate) fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::StoreLoad
            | Effect::StoreGet { .. }
            | Effect::StorePut { .. }
            | Effect::StoreRemove { .. }
            | Effect::StoreFollow { .. }
            | Effect::LeaseRenew
            | Effect::Domains(_) => self.carry_to_store(index, effect),
            Effect::Forward { id, address, request } => self.pass_to_peer(index, id, &address, request),
            Effect::NodePut { token, conference, to, put } => {
                let put = self.mutated_put(put);
                let waiting = Waiting::Put { token, conference };
                self.tell_node(index, to, Ask::NodePut(put), waiting);
            }
            Effect::NodeDelete { to, delete } => {
                self.tell_node(index, to, Ask::NodeDelete(delete), Waiting::Delete);
            }
            Effect::NodeList { token, address, node, list } => {
                self.ask_node(index, &address, Ask::NodeList(list), Waiting::List { token, node });
            }
            Effect::NodeDescribe { token, node, address, timeout_ms } => {
                let waiting = Waiting::Described { token, node };
                self.ask_node_for(index, &address, Ask::Describe, waiting, timeout_ms);
            }
            Effect::NodeProbe { token, node, by, by_address, address, timeout_ms } => {
                let waiting = Waiting::Probed { token, node, by };
                let ask = Ask::Probe { address, timeout_ms };
                self.ask_node_for(index, &by_address, ask, waiting, timeout_ms + PROBE_MARGIN_MS);
            }
            Effect::NodeDrain { request, address, node, drain } => {
                let waiting = Waiting::Drain { request, node, drain };
                self.ask_node(index, &address, Ask::Drain(drain), waiting);
            }
            Effect::NodeWatch { address: _, node, boot_id } => self.watch(index, node, boot_id),
            Effect::NodeUnwatch { node } => {
                self.css[index].watches.remove(&node);
                if let Some(node) = node_index(&node) {
                    self.nodes[node].watchers.remove(&index);
                }
            }
            // No operator says anything about nodes here.
            Effect::Notes(_) => {}
            Effect::Reply(request, answer) => self.css_replies(index, request, *answer),
            Effect::Emit(event) => {
                let who = Who::Css(index);
                self.trace.say(self.now_ms, who, || format!("tells: {}", event.message));
                match event.kind() {
                    Kind::Adopted => self.count("adopted"),
                    Kind::NodeLost => self.count("nodes lost"),
                    Kind::PendingRestore => self.count("pending"),
                    Kind::NodeIsolated => self.count("nodes isolated"),
                    Kind::NodesMassLoss => self.count("mass losses"),
                    Kind::ParticipantMoved => self.count("moved"),
                    Kind::Restoring => self.count("restores"),
                    Kind::Ended => self.check_end(&event.conference),
                    _ => {}
                }
            }
            other => self.violated("core", format!("no way is known here to do {other:?}")),
        }
    }

    /// Nothing ends that nobody asked to end.
    fn check_end(&mut self, id: &str) {
        let lives = self.ledger.of(id).is_some_and(|entry| entry.lives());
        if lives && !self.finale {
            self.violated("N1", format!("{id} ended and nobody asked for it"));
        }
    }

    fn css_replies(&mut self, index: usize, request: RequestId, answer: Result<Response, Refusal>) {
        let Some((who, call)) = self.css[index].requests.remove(&request.0) else {
            return self.violated("core", format!("request {request:?} was answered twice"));
        };
        if self.plan.mutation == Some(Mutation::ForgetsToAnswer) && matches!(answer, Ok(Response::Removed(_)))
        {
            return;
        }
        let reply = Reply::Core(Box::new(answer));
        self.send(Who::Css(index), who, Message::Answer(call, reply));
    }

    /// Directly, or through another node.
    fn tell_node(&mut self, index: usize, to: NodeAddress, ask: Ask, waiting: Waiting) {
        let NodeAddress { address, via } = to;
        match via {
            None => self.ask_node(index, &address, ask, waiting),
            Some(via) => {
                let ask = Box::new(ask);
                self.ask_node(index, &via, Ask::Through { address, ask }, waiting);
            }
        }
    }

    fn ask_node(&mut self, index: usize, address: &str, ask: Ask, waiting: Waiting) {
        self.ask_node_for(index, address, ask, waiting, NODE_TIMEOUT_MS);
    }

    fn ask_node_for(&mut self, index: usize, address: &str, ask: Ask, waiting: Waiting, timeout_ms: u64) {
        let Some(node) = node_index(address) else {
            return self.violated("core", format!("'{address}' is not the address of a node"));
        };
        let told = matches!(ask, Ask::NodePut(_) | Ask::NodeDelete(_) | Ask::Through { .. });
        let again = told && self.network.twice();
        let copy = again.then(|| ask.clone());
        let call = self.call(Who::Css(index), Who::Node(node), ask, waiting, timeout_ms);
        if let Some(ask) = copy {
            self.send(Who::Css(index), Who::Node(node), Message::Ask(call, ask));
        }
    }

    /// A request of an application or a node.
    pub(crate) fn css_asked(&mut self, index: usize, from: Who, call: CallId, ask: Ask) {
        match ask {
            Ask::Client(request) => {
                // Who no longer waits has taken the request back.
                if !self.calls.contains_key(&call) {
                    return;
                }
                let Some(request) = self.mutated_request(index, from, call, *request) else { return };
                let id = self.css[index].remember(from, call);
                self.css_event(index, Event::Request(id, request));
            }
            Ask::Forward(request) => {
                if self.calls.contains_key(&call) {
                    let id = self.css[index].remember(from, call);
                    self.css_event(index, Event::Forwarded(id, *request));
                }
            }
            Ask::Announce(announcement) => self.css_announced(index, from, call, announcement),
            other => self.violated("core", format!("control was asked to {}", other.words())),
        }
    }

    fn css_announced(&mut self, index: usize, from: Who, call: CallId, announcement: Box<NodeAnnouncement>) {
        let id = self.css[index].remember(from, call);
        self.css_event(index, Event::Announced(id, announcement));
    }

    /// The answer to something that this process asked for; none came in time, or nobody listened.
    pub(crate) fn css_hears(&mut self, index: usize, waiting: Waiting, reply: Result<Reply, &str>) {
        let cut = |why: &str| match why {
            REFUSED => NodeFailure::NotThere(why.to_owned()),
            why => NodeFailure::Unreachable(why.to_owned()),
        };
        match (waiting, reply) {
            (Waiting::Store(effect), reply) => self.store_answered(index, *effect, reply),
            (Waiting::Changes, reply) => self.store_read(index, reply),
            (Waiting::Lease, reply) => self.lease_renewed(index, reply),
            (Waiting::Domains, reply) => self.domains_read(index, reply),
            (Waiting::Forward { id }, reply) => self.peer_answered(index, id, reply),
            (Waiting::Put { token, conference }, reply) => {
                let result = match reply {
                    Ok(Reply::NodePut(result)) => result,
                    other => Err(cut(other.err().unwrap_or("another answer"))),
                };
                self.css_event(index, Event::NodePutDone { token, conference, result });
            }
            (Waiting::List { token, node }, reply) => {
                let result = match reply {
                    Ok(Reply::Listed(list)) => Ok(list),
                    other => Err(cut(other.err().unwrap_or("another answer"))),
                };
                self.css_event(index, Event::NodeListed { token, node, result });
            }
            (Waiting::Drain { request, node, drain }, reply) => {
                let result = match reply {
                    Ok(Reply::Drained(result)) => result,
                    other => Err(cut(other.err().unwrap_or("another answer"))),
                };
                self.css_event(index, Event::NodeDrained { request, node, drain, result });
            }
            (Waiting::Described { token, node }, reply) => {
                let result = Box::new(match reply {
                    Ok(Reply::Described(description)) => Ok(*description),
                    other => Err(cut(other.err().unwrap_or("another answer"))),
                });
                self.css_event(index, Event::NodeDescribed { token, node, result });
            }
            (Waiting::Probed { token, node, by }, reply) => {
                let result = match reply {
                    Ok(Reply::Probed(said)) => Ok(said),
                    other => Err(cut(other.err().unwrap_or("another answer"))),
                };
                self.css_event(index, Event::NodeProbed { token, node, by, result });
            }
            (Waiting::Describe { node, generation, why }, reply) => {
                let is = match reply {
                    Ok(Reply::Described(description)) => Ok(description.boot_id),
                    other => Err(other.err().unwrap_or("another answer").to_owned()),
                };
                self.watch_described(index, &node, (generation, why), is);
            }
            (_, _) => {}
        }
    }

    /// A request as a wrong world passes it on. None: it was answered here.
    fn mutated_request(
        &mut self,
        index: usize,
        from: Who,
        call: CallId,
        mut request: Request,
    ) -> Option<Request> {
        let Some(mutation) = self.plan.mutation else { return Some(request) };
        let answer = match (mutation, &mut request) {
            (Mutation::AnswersNotFound, Request::Get(_)) if self.random.permille(50) => {
                Err(Refusal::at(tonic::Code::NotFound, "conference", "is not there"))
            }
            (Mutation::MuteIsForgotten, Request::SetParticipantAudio(_)) => {
                Ok(Response::Participant(Box::default()))
            }
            (Mutation::LeaveIsForgotten, Request::Remove(_)) => Ok(Response::Removed(Default::default())),
            (Mutation::NoRestoreIsForgotten, Request::Create { create, .. }) => {
                create.no_restore = None;
                return Some(request);
            }
            (Mutation::RequestIdIsForgotten, Request::Create { create, .. }) => {
                create.request_id.clear();
                create.number.clear();
                return Some(request);
            }
            (Mutation::EndsByItself, Request::Get(get)) if self.random.permille(100) => {
                let end = EndRequest { conference: get.conference.clone(), ..Default::default() };
                let id = self.css[index].remember(Who::Plan, 0);
                self.css_event(index, Event::Request(id, Request::End(end)));
                return Some(request);
            }
            _ => return Some(request),
        };
        let reply = Reply::Core(Box::new(answer));
        self.send(Who::Css(index), from, Message::Answer(call, reply));
        None
    }
}
