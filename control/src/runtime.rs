//! Runs the core: one task owns the state, takes events and has the effects carried out.

use crate::conference::{
    Census, Claim, DomainAnswer, DomainOrder, Effect, Event, NodeAnnouncement, Now, Options, Phase, Request,
    RequestId, Response, State, step,
};
use crate::metrics::Meter;
use crate::nodes::{NodeFailure, Nodes};
use crate::refusal::Refusal;
use crate::store::{Store, places};
use motet_proto::conference::ConferenceEvent;
use motet_proto::node::{NodeDescription, ProbeRequest};
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

/// For what lies between control and a node that is asked about another one.
const PROBE_MARGIN_MS: u64 = 200;

pub(crate) type Answer = Result<Response, Refusal>;

enum Message {
    Request(Request, oneshot::Sender<Answer>),
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
}

impl Control {
    /// Starts the core.
    pub fn start(options: Options, store: Box<dyn Store>, nodes: Box<dyn Nodes>) -> Control {
        let (messages, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
        let (events, _) = broadcast::channel(WATCHER_BACKLOG);
        let meter = Arc::new(Meter::default());
        let control =
            Control { messages: messages.clone(), events: events.clone(), meter: Arc::clone(&meter) };
        let runtime = Runtime {
            state: State::new(options),
            store: Writer::start(Arc::from(store), messages.clone()),
            nodes: Arc::from(nodes),
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

/// Writes to the store one after another, so that a later record never overtakes an earlier one.
#[derive(Clone)]
struct Writer {
    writes: mpsc::UnboundedSender<Effect>,
}

impl Writer {
    fn start(store: Arc<dyn Store>, messages: mpsc::Sender<Message>) -> Writer {
        let (writes, mut waiting) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(effect) = waiting.recv().await {
                if let Effect::PlacesRenew(held) = effect {
                    // There may be many, and nothing waits for it.
                    tokio::spawn(renew_places(Arc::clone(&store), held));
                    continue;
                }
                if let Some(event) = write(&*store, effect).await
                    && messages.send(Message::Event(event)).await.is_err()
                {
                    return;
                }
            }
        });
        Writer { writes }
    }
}

async fn renew_places(store: Arc<dyn Store>, held: Vec<(String, Vec<Claim>)>) {
    if let Err(error) = places::renew(&*store, &held).await {
        tracing::warn!(%error, "places in the limits of domains were not renewed; that is tried again");
    }
}

async fn write(store: &dyn Store, effect: Effect) -> Option<Event> {
    match effect {
        Effect::StoreLoad => Some(match store.load().await {
            Ok(records) => Event::StoreLoaded(records),
            Err(error) => Event::StoreLoadFailed(error.to_string()),
        }),
        Effect::StorePut { token, record, new } => {
            let mut result = if new { places::take(store, &record).await } else { Ok(()) };
            if result.is_ok() {
                result = store.put(&record, new).await;
                if (new && result.is_err()) || (record.phase == Phase::Ended && result.is_ok()) {
                    places::give_back(store, &record).await;
                }
            }
            Some(Event::StorePutDone { token, conference: record.id.clone(), result })
        }
        Effect::Domains(order) => Some(Event::Domains(match order {
            DomainOrder::Load => DomainAnswer::Loaded(store.domains().await),
            DomainOrder::Put(request, domain) => {
                let result = store.put_domain(&domain).await;
                DomainAnswer::Put(request, domain, result)
            }
            DomainOrder::Remove(request, moid) => {
                let result = store.remove_domain(&moid).await;
                DomainAnswer::Removed(request, moid, result)
            }
        })),
        Effect::StoreRemove { conference } => {
            if let Err(error) = store.remove(&conference).await {
                tracing::warn!(%conference, %error, "the store did not forget a conference; it will be seen at the next start");
            }
            None
        }
        _ => None,
    }
}

struct Runtime {
    state: State,
    store: Writer,
    nodes: Arc<dyn Nodes>,
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
                    Some(Message::Event(event)) => event,
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
            | Effect::StorePut { .. }
            | Effect::StoreRemove { .. }
            | Effect::PlacesRenew(_)
            | Effect::Domains(_) => {
                let _ = self.store.writes.send(effect);
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
                let _ = self.events.send(event);
            }
            order => self.order(order),
        }
    }

    /// Has a node asked something, beside all else.
    fn order(&self, order: Effect) {
        match order {
            Effect::NodePut { token, conference, address, put } => {
                self.ask_node(move |nodes| async move {
                    let result = nodes.put(&address, *put).await;
                    Some(Event::NodePutDone { token, conference, result })
                });
            }
            Effect::NodeDelete { address, delete } => self.ask_node(move |nodes| async move {
                if let Err(error) = nodes.delete(&address, delete).await {
                    tracing::warn!(%address, %error, "a node did not forget a conference; its next list will show it");
                }
                None
            }),
            Effect::NodeList { token, address, node } => self.ask_node(move |nodes| async move {
                let result = nodes.list(&address).await;
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
            Effect::NodePrompt { request, address, order } => self.ask_node(move |nodes| async move {
                let result = nodes.prompt(&address, *order).await;
                Some(Event::NodePrompted { request, result })
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
