//! Who is there, and what they say to each other.

use motet_control::conference::Token;
use motet_control::conference::{Effect, Event, NodeAnnouncement, Record, Request, RequestId, Response};
use motet_control::nodes::NodeFailure;
use motet_control::refusal::Refusal;
use motet_control::store::{Base, Changes, Cursor, Peer, StoreError};
use motet_proto::node as wire;
use std::fmt;

/// A process of the world, counted from 0 within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// A control process.
    Css(usize),
    /// A media node.
    Node(usize),
    /// The store.
    Store,
    /// An application.
    Client(usize),
    /// The plan of faults, in traces.
    Plan,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Css(index) => write!(f, "css{}", index + 1),
            Who::Node(index) => write!(f, "n{}", index + 1),
            Who::Store => write!(f, "store"),
            Who::Client(index) => write!(f, "app{}", index + 1),
            Who::Plan => write!(f, "plan"),
        }
    }
}

/// The node with this id or address.
pub(crate) fn node_index(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The control process with this id or address.
pub(crate) fn css_index(name: &str) -> Option<usize> {
    name.strip_prefix("css")?.parse::<usize>().ok()?.checked_sub(1)
}

/// A call that waits for its answer.
pub(crate) type CallId = u64;

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Ask(CallId, Ask),
    Answer(CallId, Reply),
    /// Nobody listens there.
    Refused(CallId),
    /// On a stream of events, of this generation of the watch.
    Event(u64, Box<wire::Event>),
}

/// What is asked of a process.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Changes(Cursor),
    Renew(Peer, u64),
    Forward(Box<Request>),
    Read(String),
    Write {
        record: Box<Record>,
        base: Option<Base>,
    },
    Remove(String),
    NodePut(Box<wire::PutConferenceRequest>),
    NodeDelete(wire::DeleteConferenceRequest),
    NodeList(wire::ListConferencesRequest),
    Describe,
    Probe {
        address: String,
        timeout_ms: u64,
    },
    /// A node is to ask this of another one.
    Through {
        address: String,
        ask: Box<Ask>,
    },
    Domains,
    Drain(Option<wire::DrainRequest>),
    Announce(Box<NodeAnnouncement>),
    Client(Box<Request>),
}

/// What it says.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Changed(Box<Changes>),
    Peers(Vec<Peer>),
    Found(Option<Box<Record>>),
    Written(Result<(), StoreError>),
    NodePut(Result<wire::ConferenceAllocation, NodeFailure>),
    Deleted,
    Listed(wire::ListConferencesResponse),
    Described(Box<wire::NodeDescription>),
    Probed(wire::ProbeResponse),
    Drained(Result<u32, NodeFailure>),
    Core(Box<Result<Response, Refusal>>),
    /// The store does not serve.
    Away,
}

/// What the caller does with the answer.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Store(Box<Effect>),
    /// Of the store: what has changed, who lives, domains.
    Changes,
    Lease,
    Domains,
    /// Of another control process.
    Forward {
        id: RequestId,
    },
    Put {
        token: Token,
        conference: String,
    },
    Delete,
    List {
        token: Token,
        node: String,
    },
    Drain {
        request: RequestId,
        node: String,
        drain: Option<wire::DrainRequest>,
    },
    Described {
        token: Token,
        node: String,
    },
    Probed {
        token: Token,
        node: String,
        by: String,
    },
    /// A node tells another one something, on behalf of this call.
    Passing {
        call: CallId,
        from: Who,
    },
    /// A node looks for another one, on behalf of this call.
    Looking {
        call: CallId,
        from: Who,
    },
    /// The stream of a node broke; who is it now?
    Describe {
        node: String,
        generation: u64,
        why: String,
    },
    Announce {
        css: usize,
    },
    Operation,
}

/// A call on its way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) from: Who,
    /// Start of the caller; a later one does not know of the call.
    pub(crate) life: u64,
    pub(crate) waiting: Waiting,
}

impl Ask {
    /// For traces.
    pub(crate) fn words(&self) -> String {
        match self {
            Ask::Changes(since) if *since == Cursor::default() => "load".into(),
            Ask::Changes(_) => "follow".into(),
            Ask::Renew(..) => "renew".into(),
            Ask::Forward(request) => format!("pass on: {}", request_words(request)),
            Ask::Read(id) => format!("read {id}"),
            Ask::Write { record, base } => {
                let new = if base.is_none() { "new " } else { "" };
                format!("write {new}{}", record_words(record))
            }
            Ask::Remove(id) => format!("remove {id}"),
            Ask::NodePut(put) => {
                let spec = put.spec.as_ref();
                let legs: Vec<&str> =
                    spec.iter().flat_map(|spec| &spec.legs).map(|leg| leg.id.as_str()).collect();
                let id = spec.map(|spec| spec.id.as_str()).unwrap_or_default();
                format!("put {id} e{} r{} [{}]", put.epoch, put.revision, legs.join(" "))
            }
            Ask::NodeDelete(delete) => format!("delete {} e{}", delete.id, delete.epoch),
            Ask::NodeList(_) => "list".into(),
            Ask::Describe => "describe".into(),
            Ask::Probe { address, .. } => format!("probe {address}"),
            Ask::Through { address, ask } => format!("tell {address} to {}", ask.words()),
            Ask::Domains => "read domains".into(),
            Ask::Drain(Some(_)) => "drain".into(),
            Ask::Drain(None) => "undrain".into(),
            Ask::Announce(announcement) => {
                let leaving = if announcement.leaving { ", leaving" } else { "" };
                format!("announce {}{leaving}", announcement.description.boot_id)
            }
            Ask::Client(request) => request_words(request),
        }
    }
}

impl Reply {
    /// For traces.
    pub(crate) fn words(&self) -> String {
        match self {
            Reply::Changed(changes) => {
                let records: Vec<String> = changes.records.iter().map(record_words).collect();
                let complete = if changes.complete { "all: " } else { "" };
                format!("{complete}[{}], removed {:?}", records.join("; "), changes.removed)
            }
            Reply::Peers(peers) => format!("{} live", peers.len()),
            Reply::Found(Some(record)) => record_words(record),
            Reply::Found(None) => "nothing".into(),
            Reply::Written(Ok(())) => "written".into(),
            Reply::Written(Err(error)) => format!("not written: {error}"),
            Reply::NodePut(Ok(_)) => "put".into(),
            Reply::NodePut(Err(failure)) => format!("not put: {failure}"),
            Reply::Deleted => "deleted".into(),
            Reply::Listed(list) => {
                let copies = list.conferences.iter();
                let copies: Vec<String> =
                    copies.map(|copy| format!("{} e{} r{}", copy.id, copy.epoch, copy.revision)).collect();
                format!("runs [{}]", copies.join(", "))
            }
            Reply::Described(description) => format!("is {}", description.boot_id),
            Reply::Probed(said) => format!("reachable: {} {}", said.reachable, said.boot_id),
            Reply::Drained(result) => format!("drained {result:?}"),
            Reply::Core(answer) => match &**answer {
                Ok(response) => response_words(response),
                Err(refusal) => format!("{:?}: {refusal}", refusal.code),
            },
            Reply::Away => "does not serve".into(),
        }
    }
}

/// What a core is told, for traces.
pub(crate) fn event_words(event: &Event) -> String {
    match event {
        Event::Request(id, request) => format!("request {}: {}", id.0, request_words(request)),
        Event::Forwarded(id, request) => format!("passed on {}: {}", id.0, request_words(request)),
        Event::StorePutDone { conference, result, .. } => format!("wrote {conference}: {result:?}"),
        Event::NodePutDone { conference, result: Ok(_), .. } => format!("put {conference}"),
        Event::NodePutDone { conference, result, .. } => format!("put {conference}: {result:?}"),
        Event::StoreGot { conference, result: Ok(record) } => {
            format!("read {conference}: {}", record.as_deref().map_or("nothing".into(), record_words))
        }
        Event::StoreChanged { result: Ok(news), .. } => {
            format!("news: {}", news.records.iter().map(record_words).collect::<Vec<_>>().join("; "))
        }
        Event::ForwardDone { id, result } => match &**result {
            Ok(response) => format!("answer to {}: {}", id.0, response_words(response)),
            Err(failure) => format!("answer to {}: {failure:?}", id.0),
        },
        Event::NodeListed { node, result: Ok(list), .. } => {
            format!("{node} {}", Reply::Listed(list.clone()).words())
        }
        other => short(other),
    }
}

/// What a core wants, for traces.
pub(crate) fn effect_words(effect: &Effect) -> String {
    match effect {
        Effect::Reply(id, answer) => match &**answer {
            Ok(response) => format!("answer {}: {}", id.0, response_words(response)),
            Err(refusal) => format!("answer {}: {:?}: {refusal}", id.0, refusal.code),
        },
        Effect::StorePut { record, base, .. } => format!("write {} over {base:?}", record_words(record)),
        Effect::NodePut { conference, to, put, .. } => {
            format!("put {conference} e{} r{} on {}", put.epoch, put.revision, to.address)
        }
        Effect::NodeDelete { to, delete } => {
            format!("delete {} e{} on {}", delete.id, delete.epoch, to.address)
        }
        Effect::NodeList { address, .. } => format!("list of {address}"),
        Effect::Forward { id, address, request } => {
            format!("pass on {} to {address}: {}", id.0, request_words(request))
        }
        other => short(other),
    }
}

fn short(anything: &impl fmt::Debug) -> String {
    format!("{anything:?}").chars().take(120).collect()
}

pub(crate) fn record_words(record: &Record) -> String {
    let people: Vec<&str> = record.participants.keys().map(String::as_str).collect();
    format!(
        "{} {} {} on {} e{} r{} v{} of {} [{}]",
        record.id,
        record.number,
        record.phase.name(),
        record.node_id,
        record.epoch,
        record.revision,
        record.version,
        record.maintainer,
        people.join(" ")
    )
}

fn request_words(request: &Request) -> String {
    match request {
        Request::Create { id, create, .. } => {
            format!("create {id} number '{}' request {}", create.number, create.request_id)
        }
        Request::Add { add, .. } => format!("add {} to {}", add.participant, add.conference),
        Request::Remove(remove) => format!("remove {} of {}", remove.participant, remove.conference),
        Request::End(end) => format!("end {}", end.conference),
        Request::SetParticipantAudio(set) => {
            format!("mute {} of {}: {:?}", set.participant, set.conference, set.muted)
        }
        Request::Get(get) => format!("get {}", get.conference),
        other => other.name().to_owned(),
    }
}

fn response_words(response: &Response) -> String {
    match response {
        Response::Conference(info) => {
            let state = info.state().as_str_name().trim_start_matches("CONFERENCE_STATE_").to_lowercase();
            format!("ok: {} {} {state} on {} e{}", info.id, info.number, info.node_id, info.epoch)
        }
        Response::Participant(info) => format!("ok: {} is in", info.id),
        Response::Removed(removed) => format!("ok: it was {}", if removed.existed { "in" } else { "out" }),
        _ => "ok".into(),
    }
}
