//! Other control processes, as this one reaches them: an edge behind one trait.

mod grpc;

pub use grpc::GrpcPeers;
pub(crate) use grpc::HOP;

use crate::conference::{Request, Response};
use crate::refusal::Refusal;

/// Why another control process did not carry out a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFailure {
    /// No answer; it may or may not have been done.
    #[error("does not answer: {0}")]
    Unreachable(String),
    /// It refused, and changed nothing.
    #[error("{0}")]
    Refused(Refusal),
}

/// What control processes ask of each other; `address` is that of the `Conference` service.
#[tonic::async_trait]
pub trait Peers: Send + Sync {
    /// Has a request carried out there, and not passed on again. Requests that come with chosen ids
    /// ([`Request::Add`]) are the same request when they are repeated.
    async fn forward(&self, address: &str, request: Request) -> Result<Response, PeerFailure>;
}
