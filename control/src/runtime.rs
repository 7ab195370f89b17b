//! Runs the core: one task owns the state, takes events and has the effects carried out.

use crate::conference::{
    Census, DomainOrder, Effect, Event, NodeAnnouncement, Now, Options, Request, RequestId, Response, State,
    step,
};
use crate::metrics::Meter;
use crate::nodes::{NodeFailure, Nodes};
use crate::peers::Peers;
use crate::refusal::Refusal;
use crate::reserve::Reserver;
use crate::store::{Peer, Store, StoreCounts};
use crate::store_edge::StoreEdge;
use motet_proto::conference::ConferenceEvent;
use motet_proto::node::{NodeDescription, ProbeRequest};
use motet_registry::ZooKeeperOptions;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_stream::StreamExt;
use tonic::Code;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Requests that may wait for the core.
const REQUESTS_WAITING_MAX: usize = 4096;
/// Events that a slow watcher may be behind before it loses some.
const WATCHER_BACKLOG: usize = 4096;
/// A failure that comes sooner is one of a connection that was there.
const AT_ONCE: Duration = Duration::from_millis(200);
/// Pause before a broken event stream is tried again.
const WATCH_AGAIN: Duration = Duration::from_millis(250);
/// How long the end of the process may wait for the store.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// For what lies between control and a node that is asked about another one.
const PROBE_MARGIN_MS: u64 = 200;

pub(crate) type Answer = Result<Response, Refusal>;

enum Message {
    Request(Request, oneshot::Sender<Answer>),
    /// Passed on by another control process.
    Forwarded(Request, oneshot::Sender<Answer>),
    /// The process ends in good order.
    Leave(oneshot::Sender<()>),
    Announced(Box<NodeAnnouncement>, oneshot::Sender<Answer>),
    Event(Event),
    Census(oneshot::Sender<Census>),
}

/// A handle on the running core.
#[derive(Clone)]
pub struct Control {
    messages: mpsc::Sender<Message>,
    events: broadcast::Sender<ConferenceEvent>,
    meter: Arc<Meter>,
    store: Arc<dyn Store>,
}

impl Control {
    /// Starts the core. `options.shared` is as the store says.
    pub fn start(
        options: Options,
        store: Box<dyn Store>,
        nodes: Box<dyn Nodes>,
        peers: Box<dyn Peers>,
    ) -> Control {
        Control::start_reserving(options, store, nodes, peers, None)
    }

    /// The same, where what a new conference is given is promised in ZooKeeper's ReserveQueue first.
    pub fn start_reserving(
        options: Options,
        store: Box<dyn Store>,
        nodes: Box<dyn Nodes>,
        peers: Box<dyn Peers>,
        zookeeper: Option<ZooKeeperOptions>,
    ) -> Control {
        let (messages, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (events, _) = broadcast::channel(WATCHER_BACKLOG);
        let meter = Arc::new(Meter::default());
        let store: Arc<dyn Store> = Arc::from(store);
        let control = Control {
            messages: messages.clone(),
            events: events.clone(),
            meter: Arc::clone(&meter),
            store: Arc::clone(&store),
        };
        let me = Peer { id: options.css.clone(), address: options.css_address.clone() };
        let reserver =
            zookeeper.map(|zookeeper| Reserver::new(zookeeper, &options.css, options.fill_percent_max));
        let answers = answer_to(messages.clone());
        let edge = StoreEdge::start(Arc::clone(&store), me, options.css_lease_ms, reserver, answers);
        let options = Options { shared: store.shared(), ..options };
        let runtime = Runtime {
            state: State::new(options),
            store: edge,
            nodes: Arc::from(nodes),
            peers: Arc::from(peers),
            messages,
            events,
            meter,
            sequence: 0,
            origin: Instant::now(),
            requests: HashMap::new(),
            last_request: 0,
            watches: HashMap::new(),
        };
        tokio::spawn(runtime.run(waiting));
        control
    }

    /// Asks for something and waits for the answer.
    pub async fn request(&self, request: Request) -> Answer {
        let (answer, wait) = oneshot::channel();
        let (name, asked) = (request.name(), Instant::now());
        let answer = self.ask(Message::Request(request, answer), wait).await;
        self.meter.answered(name, &answer, asked.elapsed());
        answer
    }

    /// The same, where another control process passes it on: it is not passed on again.
    pub async fn forwarded(&self, request: Request) -> Answer {
        let (answer, wait) = oneshot::channel();
        let (name, asked) = (request.name(), Instant::now());
        let answer = self.ask(Message::Forwarded(request, answer), wait).await;
        self.meter.answered(name, &answer, asked.elapsed());
        answer
    }

    /// Ends the lease of this control process, so that others maintain at once what it did.
    pub async fn leave(&self) {
        let (done, wait) = oneshot::channel();
        if self.messages.send(Message::Leave(done)).await.is_ok() {
            let _ = tokio::time::timeout(LEAVE_TIMEOUT, wait).await;
        }
    }

    /// What the store did.
    pub(crate) fn store_counts(&self) -> StoreCounts {
        self.store.counts()
    }

    /// Passes on that a node announced itself.
    pub async fn announce(&self, announcement: NodeAnnouncement) -> Answer {
        let (answer, wait) = oneshot::channel();
        let asked = Instant::now();
        let answer = self.ask(Message::Announced(Box::new(announcement), answer), wait).await;
        self.meter.answered("announce", &answer, asked.elapsed());
        answer
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<ConferenceEvent> {
        self.events.subscribe()
    }

    /// How many of what there are. None: control is ending.
    pub(crate) async fn census(&self) -> Option<Census> {
        let (answer, wait) = oneshot::channel();
        self.messages.send(Message::Census(answer)).await.ok()?;
        wait.await.ok()
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    async fn ask(&self, message: Message, wait: oneshot::Receiver<Answer>) -> Answer {
        let ended = || Refusal::plain(Code::Unavailable, "control is ending");
        self.messages.send(message).await.map_err(|_| ended())?;
        wait.await.map_err(|_| ended())?
    }
}

/// How edges tell the core.
fn answer_to(messages: mpsc::Sender<Message>) -> mpsc::UnboundedSender<Event> {
    let (answer, mut answers) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = answers.recv().await {
            if messages.send(Message::Event(event)).await.is_err() {
                return;
            }
        }
    });
    answer
}

struct Runtime {
    state: State,
    store: StoreEdge,
    nodes: Arc<dyn Nodes>,
    peers: Arc<dyn Peers>,
    messages: mpsc::Sender<Message>,
    events: broadcast::Sender<ConferenceEvent>,
    meter: Arc<Meter>,
    sequence: u64,
    origin: Instant,
    requests: HashMap<RequestId, oneshot::Sender<Answer>>,
    last_request: u64,
    watches: HashMap<String, AbortHandle>,
}

impl Runtime {
    async fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // Who may have conferences, before any is asked for.
        self.carry_out(Effect::Domains(DomainOrder::Load));
        self.carry_out(Effect::StoreLoad);
        loop {
            let event = tokio::select! {
                message = waiting.recv() => match message {
                    Some(Message::Request(request, answer)) => Event::Request(self.remember(answer), request),
                    Some(Message::Announced(node, answer)) => Event::Announced(self.remember(answer), node),
                    Some(Message::Forwarded(request, answer)) => {
                        Event::Forwarded(self.remember(answer), request)
                    }
                    Some(Message::Event(event)) => event,
                    Some(Message::Leave(done)) => {
                        self.store.leave(done);
                        continue;
                    }
                    Some(Message::Census(answer)) => {
                        let _ = answer.send(self.state.census());
                        continue;
                    }
                    None => return,
                },
                _ = ticks.tick() => Event::Tick,
            };
            let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let steady_ms = self.origin.elapsed().as_millis() as u64;
            let now = Now { steady_ms, unix_ms: unix.as_millis() as i64 };
            let fault = self.state.store_fault.clone();
            for effect in step(&mut self.state, event, now) {
                self.carry_out(effect);
            }
            match (&fault, &self.state.store_fault) {
                (None, Some(why)) => {
                    tracing::warn!(store = %self.state.options.store, %why, "the store is away")
                }
                (Some(_), None) => tracing::info!(store = %self.state.options.store, "the store can be used"),
                _ => {}
            }
        }
    }

    fn remember(&mut self, answer: oneshot::Sender<Answer>) -> RequestId {
        self.last_request += 1;
        self.requests.insert(RequestId(self.last_request), answer);
        RequestId(self.last_request)
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::StoreLoad
            | Effect::StoreGet { .. }
            | Effect::StoreFollow { .. }
            | Effect::LeaseRenew
            | Effect::StorePut { .. }
            | Effect::StoreRemove { .. }
            | Effect::PlacesRenew(_)
            | Effect::Notes(_)
            | Effect::Domains(_) => self.store.carry_out(effect),
            Effect::Forward { id, address, request } => {
                let (peers, messages) = (Arc::clone(&self.peers), self.messages.clone());
                tokio::spawn(async move {
                    let result = Box::new(peers.forward(&address, *request).await);
                    let _ = messages.send(Message::Event(Event::ForwardDone { id, result })).await;
                });
            }
            Effect::NodeWatch { address, node, boot_id } => {
                let task =
                    watch(Arc::clone(&self.nodes), self.messages.clone(), address, node.clone(), boot_id);
                let watch = tokio::spawn(task).abort_handle();
                if let Some(before) = self.watches.insert(node, watch) {
                    before.abort();
                }
            }
            Effect::NodeUnwatch { node } => {
                if let Some(watch) = self.watches.remove(&node) {
                    watch.abort();
                }
            }
            Effect::Reply(id, answer) => {
                if let Some(waiting) = self.requests.remove(&id) {
                    let _ = waiting.send(*answer);
                }
            }
            Effect::Emit(mut event) => {
                self.sequence += 1;
                event.sequence = self.sequence;
                self.meter.told(&event);
                tracing::info!(conference = %event.conference, node = %event.node_id, "{}", event.message);
                let _ = self.events.send(*event);
            }
            order => self.order(order),
        }
    }

    /// Has a node asked something, beside all else.
    fn order(&self, order: Effect) {
        match order {
            Effect::NodePut { token, conference, to, put } => {
                self.ask_node(move |nodes| async move {
                    let result = nodes.put(&to, *put).await;
                    Some(Event::NodePutDone { token, conference, result })
                });
            }
            Effect::NodeDelete { to, delete } => self.ask_node(move |nodes| async move {
                if let Err(error) = nodes.delete(&to, delete).await {
                    tracing::warn!(address = %to.address, %error, "a node did not forget a conference; its next list will show it");
                }
                None
            }),
            Effect::NodeList { token, address, node, list } => self.ask_node(move |nodes| async move {
                let result = nodes.list(&address, list).await;
                Some(Event::NodeListed { token, node, result })
            }),
            Effect::NodeDescribe { token, node, address, timeout_ms } => {
                self.ask_node(move |nodes| async move {
                    let asked = tokio::time::timeout(Duration::from_millis(timeout_ms), nodes.describe(&address));
                    let result = asked.await.unwrap_or_else(|_| Err(no_answer(timeout_ms)));
                    Some(Event::NodeDescribed { token, node, result: Box::new(result) })
                });
            }
            Effect::NodeProbe { token, node, by, by_address, address, timeout_ms } => {
                self.ask_node(move |nodes| async move {
                    let probe = ProbeRequest { address, timeout_ms: timeout_ms as u32 };
                    // The other node needs a moment of its own, too.
                    let patience_ms = timeout_ms + PROBE_MARGIN_MS;
                    let asked = nodes.probe(&by_address, probe);
                    let asked = tokio::time::timeout(Duration::from_millis(patience_ms), asked);
                    let result = asked.await.unwrap_or_else(|_| Err(no_answer(patience_ms)));
                    Some(Event::NodeProbed { token, node, by, result })
                });
            }
            Effect::NodeDrain { request, address, node, drain } => self.ask_node(move |nodes| async move {
                let result = nodes.drain(&address, drain).await;
                Some(Event::NodeDrained { request, node, drain, result })
            }),
            Effect::NodeOrder { request, address, order } => self.ask_node(move |nodes| async move {
                let result = nodes.order(&address, *order).await;
                Some(Event::NodeOrdered { request, result })
            }),
            _ => unreachable!("whatever is not for nodes was taken before"),
        }
    }

    fn ask_node<F>(&self, ask: impl FnOnce(Arc<dyn Nodes>) -> F)
    where
        F: Future<Output = Option<Event>> + Send + 'static,
    {
        let (asked, messages) = (ask(Arc::clone(&self.nodes)), self.messages.clone());
        tokio::spawn(async move {
            if let Some(event) = asked.await {
                let _ = messages.send(Message::Event(event)).await;
            }
        });
    }
}

/// Follows a node's events until it does not even say who it is.
async fn watch(
    nodes: Arc<dyn Nodes>,
    messages: mpsc::Sender<Message>,
    address: String,
    node: String,
    boot_id: String,
) {
    loop {
        let mut why = "its event stream ended".to_owned();
        match nodes.watch(&address).await {
            Ok(mut events) => {
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            if messages.send(Message::Event(Event::Media(Box::new(event)))).await.is_err() {
                                return;
                            }
                        }
                        Err(failure) => {
                            why = failure.to_string();
                            break;
                        }
                    }
                }
            }
            Err(failure) => why = failure.to_string(),
        }
        // A second way to the node decides: a stream may break for many reasons.
        match describe(&*nodes, &address).await {
            Ok(description) if description.boot_id == boot_id => tokio::time::sleep(WATCH_AGAIN).await,
            Ok(_) => return,
            Err(failure) => {
                let certain = matches!(failure, NodeFailure::NotThere(_));
                let why = format!("broke its event stream ({why}) and {failure}");
                let unreachable = Event::NodeUnreachable { node, boot_id, why, certain };
                let _ = messages.send(Message::Event(unreachable)).await;
                return;
            }
        }
    }
}

/// Asks a node who it is. What fails at once is tried once more: the call may have gone down with the
/// connection of the stream that broke, as when another process takes the node over.
async fn describe(nodes: &dyn Nodes, address: &str) -> Result<NodeDescription, NodeFailure> {
    let asked = tokio::time::Instant::now();
    match nodes.describe(address).await {
        Err(_) if asked.elapsed() < AT_ONCE => nodes.describe(address).await,
        described => described,
    }
}

fn no_answer(ms: u64) -> NodeFailure {
    NodeFailure::Unreachable(format!("nothing within {ms} ms"))
}
