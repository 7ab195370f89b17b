//! What an application asks of one control process, and a checker of one node.

use motet_proto::conference as wire;
use motet_proto::node as node_wire;
use motet_proto::registry as registry_wire;
use node_wire::media_node_client::MediaNodeClient;
use registry_wire::node_registry_client::NodeRegistryClient;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use wire::conference_client::ConferenceClient;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// A list of ten thousand conferences is some megabytes.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// One control process, as an application has it.
#[derive(Clone, Debug)]
pub struct Css {
    /// Its name in this run.
    pub name: String,
    channel: Channel,
}

fn channel(address: SocketAddr) -> Channel {
    let url = format!("http://{address}");
    let endpoint = Endpoint::from_shared(url).expect("an address makes a URL");
    let endpoint = endpoint.connect_timeout(Duration::from_secs(1)).tcp_nodelay(true);
    // A process that is stopped keeps its connections; this finds out.
    endpoint
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(2))
        .connect_lazy()
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

/// Whether the call may have been done although it failed, and should be repeated.
pub fn is_away(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
    )
}

impl Css {
    /// Connects at the first call.
    pub fn new(name: &str, address: SocketAddr) -> Css {
        Css { name: name.to_owned(), channel: channel(address) }
    }

    fn conferences(&self) -> ConferenceClient<Channel> {
        ConferenceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Creates a conference.
    pub async fn create(&self, request: wire::CreateRequest) -> Result<wire::ConferenceInfo, Status> {
        Ok(self.conferences().create(timed(request)).await?.into_inner())
    }

    /// Adds a participant.
    pub async fn join(&self, request: wire::AddParticipantRequest) -> Result<wire::ParticipantInfo, Status> {
        Ok(self.conferences().add_participant(timed(request)).await?.into_inner())
    }

    /// Removes a participant; false: it was not there.
    pub async fn remove(&self, request: wire::RemoveParticipantRequest) -> Result<bool, Status> {
        Ok(self.conferences().remove_participant(timed(request)).await?.into_inner().existed)
    }

    /// The conference as it is now.
    pub async fn show(&self, conference: &str) -> Result<wire::ConferenceInfo, Status> {
        let request = wire::GetRequest { conference: conference.to_owned() };
        Ok(self.conferences().get(timed(request)).await?.into_inner())
    }

    /// All conferences that have not ended.
    pub async fn list(&self) -> Result<Vec<wire::ConferenceInfo>, Status> {
        let request = wire::ListRequest::default();
        Ok(self.conferences().list(timed(request)).await?.into_inner().conferences)
    }

    /// Ends a conference.
    pub async fn end(&self, request: wire::EndRequest) -> Result<(), Status> {
        self.conferences().end(timed(request)).await.map(|_| ())
    }

    /// Renames a conference.
    pub async fn rename(&self, request: wire::RenameRequest) -> Result<(), Status> {
        self.conferences().rename(timed(request)).await.map(|_| ())
    }

    /// Locks a conference, or unlocks it.
    pub async fn lock(&self, request: wire::SetLockRequest) -> Result<(), Status> {
        self.conferences().set_lock(timed(request)).await.map(|_| ())
    }

    /// Events of all conferences from now on.
    pub async fn watch(&self) -> Result<Streaming<wire::ConferenceEvent>, Status> {
        let request = wire::WatchEventsRequest::default();
        Ok(self.conferences().watch_events(request).await?.into_inner())
    }

    /// The nodes that it knows.
    pub async fn nodes(&self) -> Result<Vec<registry_wire::RegisteredNode>, Status> {
        let mut registry = NodeRegistryClient::new(self.channel.clone());
        Ok(registry.list_nodes(timed(registry_wire::ListNodesRequest {})).await?.into_inner().nodes)
    }
}

/// One node, asked directly.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub name: String,
    client: MediaNodeClient<Channel>,
}

impl Node {
    /// Connects at the first call.
    pub fn new(name: &str, address: SocketAddr) -> Node {
        let client = MediaNodeClient::new(channel(address)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Node { name: name.to_owned(), client }
    }

    /// What runs there.
    pub async fn list(&self) -> Result<Vec<node_wire::RunningConference>, Status> {
        let request = node_wire::ListConferencesRequest::default();
        Ok(self.client.clone().list_conferences(timed(request)).await?.into_inner().conferences)
    }

    /// Who it is and how busy.
    pub async fn describe(&self) -> Result<node_wire::NodeDescription, Status> {
        Ok(self.client.clone().describe(timed(node_wire::DescribeRequest {})).await?.into_inner())
    }
}
