//! What applications and nodes ask for, and what they get.

use motet_proto::{conference as wire, registry};

/// A request. Ids for what is made come along, since the core draws no random numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Create a conference under this id.
    Create {
        /// MOID of the new conference.
        id: String,
        /// As asked for.
        create: wire::CreateRequest,
    },
    /// Add a participant; under this id when none is given.
    Add {
        /// Id to use when none is given.
        id: String,
        /// As asked for.
        add: wire::AddParticipantRequest,
    },
    /// Remove a participant.
    Remove(wire::RemoveParticipantRequest),
    /// End a conference.
    End(wire::EndRequest),
    /// Read one conference.
    Get(wire::GetRequest),
    /// Read all.
    List(wire::ListRequest),
    /// Read all nodes.
    ListNodes,
    /// Have a node take no new conferences.
    Drain(registry::DrainNodeRequest),
    /// Have a node take new conferences again.
    Undrain(registry::UndrainNodeRequest),
}

impl Request {
    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Create { .. } => "create",
            Request::Add { .. } => "add",
            Request::Remove(_) => "remove",
            Request::End(_) => "end",
            Request::Get(_) => "get",
            Request::List(_) => "list",
            Request::ListNodes => "list-nodes",
            Request::Drain(_) => "drain",
            Request::Undrain(_) => "undrain",
        }
    }
}

/// What a request got.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Of create, get and end.
    Conference(Box<wire::ConferenceInfo>),
    /// Of list.
    Conferences(wire::ListResponse),
    /// Of add.
    Participant(Box<wire::ParticipantInfo>),
    /// Of remove.
    Removed(wire::RemoveParticipantResponse),
    /// Of an announcement.
    Announced(registry::AnnounceResponse),
    /// Of the list of nodes.
    Nodes(registry::ListNodesResponse),
    /// Of drain.
    Draining(registry::DrainNodeResponse),
    /// Of undrain.
    Undrained(registry::UndrainNodeResponse),
}
