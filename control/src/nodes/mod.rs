//! Media nodes, as control reaches them: an edge behind one trait.

mod grpc;

pub use grpc::GrpcNodes;

use crate::conference::{NodeAddress, NodeOrder, OrderAnswer};
use crate::refusal::Refusal;
use motet_proto::node as wire;
use std::pin::Pin;
use tokio_stream::Stream;
use tonic::{Code, Status};

/// Why a node did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFailure {
    /// Nothing listens at its address: its process has ended.
    #[error("is not there: {0}")]
    NotThere(String),
    /// No answer; it may or may not have been done.
    #[error("does not answer: {0}")]
    Unreachable(String),
    /// It refused, and changed nothing.
    #[error("{message}")]
    Refused {
        /// gRPC code.
        code: Code,
        /// The node's words.
        message: String,
    },
}

impl From<Status> for NodeFailure {
    fn from(status: Status) -> Self {
        match status.code() {
            // The node itself has said what is wrong: it drains.
            code @ Code::Unavailable if !status.details().is_empty() => {
                NodeFailure::Refused { code, message: status.message().to_owned() }
            }
            Code::Unavailable if refused(&status) => NodeFailure::NotThere(status.message().to_owned()),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                NodeFailure::Unreachable(status.message().to_owned())
            }
            code => NodeFailure::Refused { code, message: status.message().to_owned() },
        }
    }
}

impl From<NodeFailure> for Refusal {
    fn from(failure: NodeFailure) -> Self {
        match failure {
            NodeFailure::Unreachable(why) | NodeFailure::NotThere(why) => Refusal::plain(
                Code::Unavailable,
                format!("the conference's node does not answer: {why}; nothing was changed"),
            ),
            NodeFailure::Refused { code, message } => {
                Refusal::plain(code, format!("the node refused: {message}"))
            }
        }
    }
}

/// Whether the operating system of the node said that nothing listens there.
fn refused(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = error.source();
    }
    false
}

/// Events of a node.
pub type NodeEvents = Pin<Box<dyn Stream<Item = Result<wire::Event, NodeFailure>> + Send>>;

/// What control asks of nodes; `address` is that of the `MediaNode` service.
#[tonic::async_trait]
pub trait Nodes: Send + Sync {
    /// Makes a node run a conference.
    async fn put(
        &self,
        to: &NodeAddress,
        put: wire::PutConferenceRequest,
    ) -> Result<wire::ConferenceAllocation, NodeFailure>;
    /// Makes a node forget a conference.
    async fn delete(
        &self,
        to: &NodeAddress,
        delete: wire::DeleteConferenceRequest,
    ) -> Result<(), NodeFailure>;
    /// Asks what a node runs.
    async fn list(
        &self,
        address: &str,
        list: wire::ListConferencesRequest,
    ) -> Result<wire::ListConferencesResponse, NodeFailure>;
    /// Asks who a node is.
    async fn describe(&self, address: &str) -> Result<wire::NodeDescription, NodeFailure>;
    /// Asks a node whether it reaches another one.
    async fn probe(
        &self,
        address: &str,
        probe: wire::ProbeRequest,
    ) -> Result<wire::ProbeResponse, NodeFailure>;
    /// Makes a node drain, or (`None`) take conferences again; gives how many it still runs.
    async fn drain(&self, address: &str, drain: Option<wire::DrainRequest>) -> Result<u32, NodeFailure>;
    /// Makes a node play a file into a conference, stop that, or give a picture.
    async fn order(&self, address: &str, order: NodeOrder) -> Result<OrderAnswer, NodeFailure>;
    /// Follows a node's events.
    async fn watch(&self, address: &str) -> Result<NodeEvents, NodeFailure>;
}
