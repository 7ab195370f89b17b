//! The `MediaNode` service: turns calls into changes of the state.

use crate::canvas::Film;
use crate::error::NodeError;
use crate::events::Events;
use crate::playing::Order;
use crate::probe::Probes;
use crate::run::Shared;
use motet_proto::media::playback_order::Order as PlaybackOrder;
use motet_proto::{media, node as wire};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use wire::event::Kind;
use wire::media_node_server::MediaNode;

mod listen;

use listen::Sound;

/// The service of one node.
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: Events,
    pub(crate) probes: Probes,
}

#[tonic::async_trait]
impl MediaNode for Service {
    async fn describe(
        &self,
        _request: Request<wire::DescribeRequest>,
    ) -> Result<Response<wire::NodeDescription>, Status> {
        Ok(Response::new(self.shared.describe().await))
    }

    async fn put_conference(
        &self,
        request: Request<wire::PutConferenceRequest>,
    ) -> Result<Response<wire::ConferenceAllocation>, Status> {
        let shared = Arc::clone(&self.shared);
        let put = async move { shared.state.lock().await.put(request.into_inner()).await };
        Ok(Response::new(to_the_end(put).await??))
    }

    async fn patch_conference(
        &self,
        request: Request<wire::PatchConferenceRequest>,
    ) -> Result<Response<wire::ConferenceAllocation>, Status> {
        let shared = Arc::clone(&self.shared);
        let patch = async move { shared.state.lock().await.patch(request.into_inner()).await };
        Ok(Response::new(to_the_end(patch).await??))
    }

    async fn delete_conference(
        &self,
        request: Request<wire::DeleteConferenceRequest>,
    ) -> Result<Response<wire::DeleteConferenceResponse>, Status> {
        let shared = Arc::clone(&self.shared);
        let request = request.into_inner();
        let delete = async move {
            let wire::DeleteConferenceRequest { id, epoch, elsewhere } = request;
            shared.state.lock().await.delete(&id, epoch, elsewhere).await
        };
        let existed = to_the_end(delete).await??;
        Ok(Response::new(wire::DeleteConferenceResponse { existed }))
    }

    async fn list_conferences(
        &self,
        request: Request<wire::ListConferencesRequest>,
    ) -> Result<Response<wire::ListConferencesResponse>, Status> {
        // Of one moment: who is heard changes under the lock, and so does the number.
        let request = request.into_inner();
        let state = self.shared.state.lock().await;
        let (conferences, more) = state.list(&request);
        Ok(Response::new(wire::ListConferencesResponse {
            node_id: self.shared.node_id.clone(),
            boot_id: self.shared.boot_id.clone(),
            conferences,
            event_sequence: self.events.sequence(),
            cursor: state.cursor(),
            more,
        }))
    }

    async fn conference_stats(
        &self,
        request: Request<wire::ConferenceStatsRequest>,
    ) -> Result<Response<wire::ConferenceStatsResponse>, Status> {
        let stats = self.shared.state.lock().await.stats(&request.into_inner().id).await?;
        Ok(Response::new(stats))
    }

    async fn move_conference(
        &self,
        request: Request<wire::MoveConferenceRequest>,
    ) -> Result<Response<wire::MoveConferenceResponse>, Status> {
        let shared = Arc::clone(&self.shared);
        let going = async move { shared.state.lock().await.move_conference(request.into_inner()).await };
        Ok(Response::new(to_the_end(going).await??))
    }

    async fn play_prompt(
        &self,
        request: Request<wire::PlayPromptRequest>,
    ) -> Result<Response<wire::PlayPromptResponse>, Status> {
        let request = request.into_inner();
        let (prompts, rate_hz) = self.shared.state.lock().await.check_prompt(&request)?;
        let file = request.file.clone();
        // Long ones take a while: the node's other work goes on.
        let sound = tokio::task::spawn_blocking(move || prompts.load(&file, rate_hz)).await;
        let sound = sound.map_err(|error| Status::internal(format!("loading failed: {error}")))??;
        let shared = Arc::clone(&self.shared);
        let play = async move { shared.state.lock().await.play_prompt(request, sound).await };
        Ok(Response::new(to_the_end(play).await??))
    }

    async fn stop_prompt(
        &self,
        request: Request<wire::StopPromptRequest>,
    ) -> Result<Response<wire::StopPromptResponse>, Status> {
        let request = request.into_inner();
        let stopped = self.shared.state.lock().await.stop_prompt(request).await?;
        Ok(Response::new(stopped))
    }

    async fn snapshot(
        &self,
        request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<wire::SnapshotResponse>, Status> {
        let (shared, request) = (Arc::clone(&self.shared), request.into_inner());
        let taking = async move { crate::snapshot::take(&shared, request).await };
        Ok(Response::new(to_the_end(taking).await??))
    }

    async fn playback(
        &self,
        request: Request<wire::PlaybackRequest>,
    ) -> Result<Response<media::PlaybackState>, Status> {
        let request = request.into_inner();
        let order = request.order.as_ref().and_then(|order| order.order.clone());
        let order = order.ok_or_else(|| NodeError::invalid("order", "is missing"))?;
        let order = match order {
            PlaybackOrder::Play(play) => {
                let folder = self.shared.state.lock().await.check_playback(&request)?;
                let (name, apart) = (play.file.clone(), self.shared.decodes_apart);
                // A disk takes its time.
                let open = move || {
                    let in_play = |why: String| NodeError::invalid("order.play.file", why);
                    let path = folder.find(&name).map_err(|error| in_play(error.to_string()))?;
                    Film::open(path, apart).map_err(in_play)
                };
                let file = tokio::task::spawn_blocking(open).await;
                let file = file.map_err(|error| Status::internal(format!("opening failed: {error}")))??;
                let state = self.shared.state.lock().await.begin_playing(&request, &play, file)?;
                return Ok(Response::new(state));
            }
            PlaybackOrder::Stop(_) => {
                self.shared.state.lock().await.stop_player(&request)?;
                return Ok(Response::new(media::PlaybackState::default()));
            }
            PlaybackOrder::Pause(pause) => Some(Order::Pause(pause)),
            PlaybackOrder::SeekMs(to_ms) => Some(Order::Seek(Duration::from_millis(to_ms))),
            PlaybackOrder::Repeat(repeat) => Some(Order::Repeat(repeat)),
            PlaybackOrder::Look(_) => None,
        };
        Ok(Response::new(self.shared.state.lock().await.order_player(&request, order)?))
    }

    type ListenStream = Pin<Box<dyn Stream<Item = Result<wire::SoundFrame, Status>> + Send>>;

    async fn listen(
        &self,
        request: Request<wire::ListenRequest>,
    ) -> Result<Response<Self::ListenStream>, Status> {
        let wire::ListenRequest { conference, leg } = request.into_inner();
        let tap = self.shared.state.lock().await.tap(&conference, &leg).await?;
        Ok(Response::new(Box::pin(Sound(tap))))
    }

    async fn probe(
        &self,
        request: Request<wire::ProbeRequest>,
    ) -> Result<Response<wire::ProbeResponse>, Status> {
        Ok(Response::new(self.probes.probe(&request.into_inner()).await?))
    }

    async fn forward(
        &self,
        request: Request<wire::ForwardRequest>,
    ) -> Result<Response<wire::ForwardResponse>, Status> {
        Ok(Response::new(self.probes.forward(request.into_inner()).await?))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::Event, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let only = request.into_inner().conferences;
        // Subscribed before the status is read, so that nothing falls between the two.
        let received = BroadcastStream::new(self.events.subscribe());
        let first = self.events.aside(Kind::Status(self.shared.status().await));
        let events = self.events.clone();
        let rest =
            received.take_while(|event| !matches!(event, Ok(None))).filter_map(move |event| match event {
                Ok(Some(event))
                    if only.is_empty() || event.conference.is_empty() || only.contains(&event.conference) =>
                {
                    Some(Ok(event))
                }
                Ok(_) => None,
                Err(BroadcastStreamRecvError::Lagged(lost_events)) => {
                    Some(Ok(events.aside(Kind::Lagged(wire::Lagged { lost_events }))))
                }
            });
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(first)).chain(rest))))
    }

    async fn drain(
        &self,
        request: Request<wire::DrainRequest>,
    ) -> Result<Response<wire::DrainResponse>, Status> {
        let deadline = match request.into_inner().deadline_ms {
            0 => None,
            deadline_ms => Some(Duration::from_millis(deadline_ms)),
        };
        // No conference begins between the count and the drain.
        let state = self.shared.state.lock().await;
        state.check_ours()?;
        self.shared.ending.begin(deadline);
        let conferences_left = state.conferences.len() as u32;
        drop(state);
        self.events.send("", 0, Kind::Status(self.shared.status().await));
        Ok(Response::new(wire::DrainResponse { conferences_left }))
    }

    async fn undrain(
        &self,
        _request: Request<wire::UndrainRequest>,
    ) -> Result<Response<wire::UndrainResponse>, Status> {
        self.shared.state.lock().await.check_ours()?;
        self.shared.ending.cancel();
        self.events.send("", 0, Kind::Status(self.shared.status().await));
        Ok(Response::new(wire::UndrainResponse {}))
    }
}

/// Runs a change to its end even when the caller goes away in the middle: half a change would leave the
/// state and the worker apart.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(change).await.map_err(|error| Status::internal(format!("the change failed: {error}")))
}
