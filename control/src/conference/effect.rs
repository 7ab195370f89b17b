//! What control can do about what happened.

use super::domains::DomainOrder;
use super::limits::Claim;
use super::model::{Record, RequestId, Token};
use super::notes::NoteOrder;
use super::requests::{NodeOrder, Request, Response};
use crate::refusal::Refusal;
use crate::store::Base;
use motet_proto::conference::ConferenceEvent;
use motet_proto::node as wire;

/// How a node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Address of its `MediaNode` service.
    pub address: String,
    /// Address of another node that passes it on (`MediaNode.Forward`), where control itself does not reach it.
    pub via: Option<String>,
}

/// What control wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Renew the places that conferences hold in the limits of domains, by conference.
    PlacesRenew(Vec<(String, Vec<Claim>)>),
    /// Read or write domains.
    Domains(DomainOrder),
    /// Read or write what operators have said about nodes.
    Notes(NoteOrder),
    /// Read the whole store.
    StoreLoad,
    /// Read one record, from where it is decided.
    StoreGet {
        /// Its id.
        conference: String,
    },
    /// Read what has changed in the store since it was read last.
    StoreFollow {
        /// For the answer.
        token: Token,
    },
    /// Say in the store that this control process lives, and ask which others do.
    LeaseRenew,
    /// Have another control process carry out a request, which does not pass it on.
    Forward {
        /// Who waits for the answer.
        id: RequestId,
        /// Address of its services.
        address: String,
        /// What to ask for.
        request: Box<Request>,
    },
    /// Write a record in the place of the one that it was made from; see [`crate::store::Store::put`].
    StorePut {
        /// For the answer.
        token: Token,
        /// What to write.
        record: Box<Record>,
        /// What the store must hold; none: nothing of it yet.
        base: Option<Base>,
    },
    /// Forget a conference, and answer with [`super::Event::StoreRemoved`].
    StoreRemove {
        /// Its id.
        conference: String,
    },
    /// Make a node run a conference.
    NodePut {
        /// For the answer.
        token: Token,
        /// Which conference.
        conference: String,
        /// The node.
        to: NodeAddress,
        /// What to send.
        put: Box<wire::PutConferenceRequest>,
    },
    /// Make a node forget a conference. If it does not hear, its next list shows the copy again.
    NodeDelete {
        /// The node.
        to: NodeAddress,
        /// What to send.
        delete: wire::DeleteConferenceRequest,
    },
    /// Ask a node what it runs.
    NodeList {
        /// For the answer.
        token: Token,
        /// Address of the node.
        address: String,
        /// Node id.
        node: String,
        /// What to send.
        list: wire::ListConferencesRequest,
    },
    /// Ask a node who it is; no answer within the time is an answer, too.
    NodeDescribe {
        /// For the answer.
        token: Token,
        /// Node id.
        node: String,
        /// Address of the node.
        address: String,
        /// How long it has to answer.
        timeout_ms: u64,
    },
    /// Ask a node whether it reaches another one.
    NodeProbe {
        /// For the answer.
        token: Token,
        /// The node that is asked about.
        node: String,
        /// The node that is asked.
        by: String,
        /// Address of the node that is asked.
        by_address: String,
        /// Address of the node that is asked about.
        address: String,
        /// How long that one has to answer.
        timeout_ms: u64,
    },
    /// Make a node drain, or take conferences again.
    NodeDrain {
        /// Who waits for the answer.
        request: RequestId,
        /// Address of the node.
        address: String,
        /// Node id.
        node: String,
        /// What to send; none: it shall no longer drain.
        drain: Option<wire::DrainRequest>,
    },
    /// Make a node do something at once: play a file into a conference, stop that, give a picture.
    NodeOrder {
        /// Who waits for the answer.
        request: RequestId,
        /// Address of the node.
        address: String,
        /// What to send.
        order: Box<NodeOrder>,
    },
    /// Follow the events of a node, instead of an earlier start of it.
    NodeWatch {
        /// Address of the node.
        address: String,
        /// Node id.
        node: String,
        /// Start of the node.
        boot_id: String,
    },
    /// Follow its events no longer.
    NodeUnwatch {
        /// Node id.
        node: String,
    },
    /// Answer a request.
    Reply(RequestId, Box<Result<Response, Refusal>>),
    /// Tell the watchers; the sequence number is filled in by the edge.
    Emit(Box<ConferenceEvent>),
}
