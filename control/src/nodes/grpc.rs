//! Nodes over gRPC.

use super::{NodeEvents, NodeFailure, Nodes};
use crate::conference::{NodeAddress, NodeOrder, OrderAnswer};
use motet_proto::conference::{PlayPromptResponse, SnapshotResponse, StopPromptResponse};
use motet_proto::node as wire;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use wire::forward_request::Order as Forwarded;
use wire::forward_response::Answer as ForwardAnswer;
use wire::media_node_client::MediaNodeClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const PROMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// A full list of thousands of conferences is some megabytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One channel for each node, kept and made anew by itself after a break.
#[derive(Default)]
pub struct GrpcNodes {
    clients: Mutex<HashMap<String, MediaNodeClient<Channel>>>,
}

impl GrpcNodes {
    fn client(&self, address: &str) -> Result<MediaNodeClient<Channel>, NodeFailure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|error| NodeFailure::Unreachable(format!("'{address}' is not an address: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(1))
            .keep_alive_timeout(ANSWER_TIMEOUT);
        let client =
            MediaNodeClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    /// Has one node tell another.
    async fn forward(
        &self,
        via: &str,
        address: &str,
        order: Forwarded,
    ) -> Result<Option<ForwardAnswer>, NodeFailure> {
        let forward = wire::ForwardRequest { address: address.to_owned(), timeout_ms: 0, order: Some(order) };
        let answered = self.client(via)?.forward(timed(forward)).await;
        let answered = answered.map_err(|status| match NodeFailure::from(status) {
            // Of the node in between, which says nothing about the other one.
            NodeFailure::NotThere(why) => NodeFailure::Unreachable(why),
            failure => failure,
        })?;
        Ok(answered.into_inner().answer)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_TIMEOUT);
    request
}

#[tonic::async_trait]
impl Nodes for GrpcNodes {
    async fn put(
        &self,
        to: &NodeAddress,
        put: wire::PutConferenceRequest,
    ) -> Result<wire::ConferenceAllocation, NodeFailure> {
        let Some(via) = &to.via else {
            return Ok(self.client(&to.address)?.put_conference(timed(put)).await?.into_inner());
        };
        match self.forward(via, &to.address, Forwarded::Put(put)).await? {
            Some(ForwardAnswer::Put(allocation)) => Ok(allocation),
            _ => Err(NodeFailure::Unreachable(format!("{via} gave another answer"))),
        }
    }

    async fn delete(
        &self,
        to: &NodeAddress,
        delete: wire::DeleteConferenceRequest,
    ) -> Result<(), NodeFailure> {
        match &to.via {
            None => {
                self.client(&to.address)?.delete_conference(timed(delete)).await?;
            }
            Some(via) => {
                self.forward(via, &to.address, Forwarded::Delete(delete)).await?;
            }
        }
        Ok(())
    }

    async fn list(
        &self,
        address: &str,
        list: wire::ListConferencesRequest,
    ) -> Result<wire::ListConferencesResponse, NodeFailure> {
        Ok(self.client(address)?.list_conferences(timed(list)).await?.into_inner())
    }

    async fn describe(&self, address: &str) -> Result<wire::NodeDescription, NodeFailure> {
        Ok(self.client(address)?.describe(timed(wire::DescribeRequest {})).await?.into_inner())
    }

    async fn probe(
        &self,
        address: &str,
        probe: wire::ProbeRequest,
    ) -> Result<wire::ProbeResponse, NodeFailure> {
        Ok(self.client(address)?.probe(timed(probe)).await?.into_inner())
    }

    async fn drain(&self, address: &str, drain: Option<wire::DrainRequest>) -> Result<u32, NodeFailure> {
        let mut client = self.client(address)?;
        match drain {
            Some(drain) => Ok(client.drain(timed(drain)).await?.into_inner().conferences_left),
            None => {
                client.undrain(timed(wire::UndrainRequest {})).await?;
                Ok(0)
            }
        }
    }

    async fn order(&self, address: &str, order: NodeOrder) -> Result<OrderAnswer, NodeFailure> {
        let mut client = self.client(address)?;
        match order {
            NodeOrder::Play(play) => {
                let prompt = play.prompt.clone();
                let mut request = Request::new(play);
                // The node reads and converts a whole file.
                request.set_timeout(PROMPT_TIMEOUT);
                let duration_ms = client.play_prompt(request).await?.into_inner().duration_ms;
                Ok(OrderAnswer::Playing(PlayPromptResponse { prompt, duration_ms }))
            }
            NodeOrder::Stop(stop) => {
                let existed = client.stop_prompt(timed(stop)).await?.into_inner().existed;
                Ok(OrderAnswer::Stopped(StopPromptResponse { existed }))
            }
            NodeOrder::Playback(playback) => {
                let mut request = Request::new(playback);
                // The node opens a file.
                request.set_timeout(PROMPT_TIMEOUT);
                Ok(OrderAnswer::Playback(client.playback(request).await?.into_inner()))
            }
            NodeOrder::Snapshot(snapshot) => {
                let mut request = Request::new(snapshot);
                // The node waits for a picture, and makes a file of it.
                request.set_timeout(PROMPT_TIMEOUT);
                let wire::SnapshotResponse { png, width, height } =
                    client.snapshot(request).await?.into_inner();
                Ok(OrderAnswer::Snapshot(SnapshotResponse { png, width, height }))
            }
        }
    }

    async fn watch(&self, address: &str) -> Result<NodeEvents, NodeFailure> {
        let events = self.client(address)?.watch(wire::WatchRequest::default()).await?.into_inner();
        Ok(Box::pin(events.map(|event| event.map_err(NodeFailure::from))))
    }
}
