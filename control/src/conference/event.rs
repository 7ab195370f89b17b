//! What can happen.

use super::domains::DomainAnswer;
use super::model::{MediaEvent, NodeAnnouncement, Record, RequestId, Token};
use super::notes::NoteAnswer;
use super::requests::{OrderAnswer, Request, Response};
use crate::nodes::NodeFailure;
use crate::peers::PeerFailure;
use crate::store::{News, Peer, StoreError};
use motet_proto::node as wire;

/// What can happen.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists at a time")]
pub enum Event {
    /// Answer to [`Effect::Domains`](super::Effect::Domains).
    Domains(DomainAnswer),
    /// Answer to [`Effect::Notes`](super::Effect::Notes).
    Notes(NoteAnswer),
    /// An application asks for something.
    Request(RequestId, Request),
    /// The same, passed on by another control process: it is done here or refused, and not passed on again.
    Forwarded(RequestId, Request),
    /// Answer to [`super::Effect::StoreGet`]; none: it is not there.
    StoreGot {
        /// As in the effect.
        conference: String,
        /// What the store said.
        result: Result<Option<Box<Record>>, StoreError>,
    },
    /// Answer to [`super::Effect::StoreFollow`]. What has not changed may be among it.
    StoreChanged {
        /// As in the effect.
        token: Token,
        /// What the store said.
        result: Result<News, StoreError>,
    },
    /// Answer to [`super::Effect::LeaseRenew`]: all that live, this one too.
    PeersSeen(Result<Vec<Peer>, StoreError>),
    /// Answer to [`super::Effect::Forward`].
    ForwardDone {
        /// As in the effect.
        id: RequestId,
        /// What the other control process said.
        result: Box<Result<Response, PeerFailure>>,
    },
    /// The store was read; everything that it holds. Writes that were asked for before were answered before,
    /// and those after are done after.
    StoreLoaded(Vec<Record>),
    /// The store could not be read.
    StoreLoadFailed(String),
    /// Answer to [`Effect::StorePut`](super::Effect::StorePut).
    StorePutDone {
        /// As in the effect.
        token: Token,
        /// As in the effect.
        conference: String,
        /// What the store said.
        result: Result<(), StoreError>,
    },
    /// Answer to [`Effect::StoreRemove`](super::Effect::StoreRemove).
    StoreRemoved {
        /// As in the effect.
        conference: String,
        /// What the store said.
        result: Result<(), StoreError>,
    },
    /// A node announced itself.
    Announced(RequestId, Box<NodeAnnouncement>),
    /// Answer to [`Effect::NodePut`](super::Effect::NodePut).
    NodePutDone {
        /// As in the effect.
        token: Token,
        /// As in the effect.
        conference: String,
        /// What the node said.
        result: Result<wire::ConferenceAllocation, NodeFailure>,
    },
    /// Answer to [`Effect::NodeList`](super::Effect::NodeList).
    NodeListed {
        /// As in the effect.
        token: Token,
        /// Node that answered.
        node: String,
        /// What it runs.
        result: Result<wire::ListConferencesResponse, NodeFailure>,
    },
    /// Answer to [`Effect::NodeDrain`](super::Effect::NodeDrain).
    NodeDrained {
        /// As in the effect.
        request: RequestId,
        /// As in the effect.
        node: String,
        /// As in the effect.
        drain: Option<wire::DrainRequest>,
        /// How many conferences are left there.
        result: Result<u32, NodeFailure>,
    },
    /// Answer to [`Effect::NodeOrder`](super::Effect::NodeOrder).
    NodeOrdered {
        /// As in the effect.
        request: RequestId,
        /// What the node said.
        result: Result<OrderAnswer, NodeFailure>,
    },
    /// An event of a node.
    Media(Box<MediaEvent>),
    /// The node's event stream broke and it does not answer.
    NodeUnreachable {
        /// Node.
        node: String,
        /// Start of the node that was watched.
        boot_id: String,
        /// Why, for people.
        why: String,
        /// Nothing listens at its address any more.
        certain: bool,
    },
    /// Answer to [`Effect::NodeDescribe`](super::Effect::NodeDescribe).
    NodeDescribed {
        /// As in the effect.
        token: Token,
        /// As in the effect.
        node: String,
        /// What the node said.
        result: Box<Result<wire::NodeDescription, NodeFailure>>,
    },
    /// Answer to [`Effect::NodeProbe`](super::Effect::NodeProbe).
    NodeProbed {
        /// As in the effect.
        token: Token,
        /// As in the effect.
        node: String,
        /// As in the effect.
        by: String,
        /// What the other node said, or why it said nothing.
        result: Result<wire::ProbeResponse, NodeFailure>,
    },
    /// Time has passed; comes several times a second.
    Tick,
}
