//! Why the node refuses a call. A refused call has changed nothing.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Errors of the `MediaNode` service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A field makes no sense.
    #[error("{field}: {why}")]
    Invalid {
        /// Path of the field, such as `spec.legs[1].media[0].codecs[2].payload_type`.
        field: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// No such conference runs here.
    #[error("id: conference '{0}' does not run on this node")]
    NotFound(String),
    /// The epoch is lower than the running or the last one.
    #[error("epoch: {given} is older than {known}, under which conference '{id}' {what}")]
    StaleEpoch {
        /// Conference id.
        id: String,
        /// As given.
        given: u64,
        /// As known here.
        known: u64,
        /// "runs" or "ended".
        what: &'static str,
    },
    /// The revision is not newer than what runs.
    #[error("revision: {given} {why}; conference '{id}' is at revision {known}")]
    StaleRevision {
        /// Conference id.
        id: String,
        /// As given.
        given: u64,
        /// As known here.
        known: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A patch was made for another revision.
    #[error(
        "base_revision: {given} is not the running revision {known} of conference '{id}'; read it again and retry"
    )]
    Conflict {
        /// Conference id.
        id: String,
        /// As given.
        given: u64,
        /// As known here.
        known: u64,
    },
    /// Nothing left of something bounded.
    #[error("{field}: {why}")]
    Exhausted {
        /// Field that asked for it.
        field: String,
        /// What is used up and how to have more.
        why: String,
    },
    /// The node takes no new conferences.
    #[error("id: this node drains and takes no new conferences; conference '{0}' is not running here")]
    Draining(String),
    /// The conference has to stay on its worker.
    #[error("id: conference '{id}' cannot be moved: {why}")]
    Immovable {
        /// Conference id.
        id: String,
        /// What holds it.
        why: &'static str,
    },
    /// A move did not come to its end, and the conference goes on where it was.
    #[error("the move failed, and the conference goes on where it was: {0}")]
    MoveFailed(String),
    /// Another process took the node over.
    #[error("this process of the node was taken over by another one; ask again")]
    TakenOver,
    /// A worker thread has ended: our own fault.
    #[error("worker {0} has ended; the node must be started again")]
    WorkerGone(usize),
    /// A mixing thread has ended: our own fault.
    #[error("mixing thread {0} has ended; the node must be started again")]
    MixerGone(usize),
    /// A canvas thread has ended: our own fault.
    #[error("canvas thread {0} has ended; the node must be started again")]
    CanvasGone(usize),
    /// The mixer refused what the node had checked: our own fault.
    #[error("the mixer refused a checked command: {0}")]
    Mixer(String),
    /// The relay refused what the node had checked: our own fault.
    #[error("the relay refused a checked command: {0}")]
    Relay(String),
}

impl NodeError {
    /// An [`NodeError::Invalid`].
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        NodeError::Invalid { field: field.into(), why: why.into() }
    }

    fn code(&self) -> Code {
        match self {
            NodeError::Invalid { .. } => Code::InvalidArgument,
            NodeError::NotFound(_) => Code::NotFound,
            NodeError::StaleEpoch { .. } | NodeError::StaleRevision { .. } | NodeError::Immovable { .. } => {
                Code::FailedPrecondition
            }
            NodeError::Conflict { .. } => Code::Aborted,
            NodeError::Exhausted { .. } => Code::ResourceExhausted,
            NodeError::Draining(_) | NodeError::TakenOver => Code::Unavailable,
            NodeError::WorkerGone(_) | NodeError::Relay(_) | NodeError::MoveFailed(_) => Code::Internal,
            NodeError::MixerGone(_) | NodeError::CanvasGone(_) | NodeError::Mixer(_) => Code::Internal,
        }
    }

    /// The field that the caller must change, if it is a caller's mistake.
    pub fn field(&self) -> Option<&str> {
        match self {
            NodeError::Invalid { field, .. } | NodeError::Exhausted { field, .. } => Some(field),
            NodeError::NotFound(_) | NodeError::Draining(_) | NodeError::Immovable { .. } => Some("id"),
            NodeError::StaleEpoch { .. } => Some("epoch"),
            NodeError::StaleRevision { .. } => Some("revision"),
            NodeError::Conflict { .. } => Some("base_revision"),
            NodeError::WorkerGone(_)
            | NodeError::Relay(_)
            | NodeError::MoveFailed(_)
            | NodeError::TakenOver => None,
            NodeError::MixerGone(_) | NodeError::CanvasGone(_) | NodeError::Mixer(_) => None,
        }
    }
}

impl From<NodeError> for Status {
    fn from(error: NodeError) -> Status {
        let message = error.to_string();
        match error.field() {
            Some(field) => {
                let details = ErrorDetails::with_bad_request_violation(field, message.clone());
                Status::with_error_details(error.code(), message, details)
            }
            None => Status::new(error.code(), message),
        }
    }
}
