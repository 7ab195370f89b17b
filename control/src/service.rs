//! The `Conference` and `NodeRegistry` services: calls in, answers of the core out.

use crate::conference::{NodeAnnouncement, OrderAnswer, Request, Response};
use crate::peers::HOP;
use crate::refusal::Refusal;
use crate::runtime::Control;
use domains::domains_server::Domains;
use motet_proto::conference as wire;
use motet_proto::{domains, registry};
use registry::node_registry_server::NodeRegistry;
use std::pin::Pin;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request as Call, Response as Answer, Status};
use wire::conference_server::Conference;

/// What applications call.
pub(crate) struct ConferenceService(pub(crate) Control);

/// What those call who set up domains.
pub(crate) struct DomainService(pub(crate) Control);

/// What nodes call.
pub(crate) struct RegistryService(pub(crate) Control);

/// The core answers each request in kind.
fn unexpected() -> Status {
    Status::internal("the answer is of another kind than the request")
}

impl ConferenceService {
    /// Asks the core, and says whether another control process has passed it on.
    async fn ask<T>(&self, call: Call<T>, request: impl FnOnce(T) -> Request) -> Result<Response, Status> {
        let passed_on = call.metadata().contains_key(HOP);
        let request = request(call.into_inner());
        Ok(if passed_on { self.0.forwarded(request).await? } else { self.0.request(request).await? })
    }

    async fn info<T>(
        &self,
        call: Call<T>,
        request: impl FnOnce(T) -> Request,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        match self.ask(call, request).await? {
            Response::Conference(info) => Ok(Answer::new(*info)),
            _ => Err(unexpected()),
        }
    }
}

#[tonic::async_trait]
impl Conference for ConferenceService {
    async fn create(&self, call: Call<wire::CreateRequest>) -> Result<Answer<wire::ConferenceInfo>, Status> {
        let id = uuid::Uuid::new_v4().to_string();
        // Both halves have bits that are the same in all; their sum has none.
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        let seed = high.rotate_left(32).wrapping_add(low).max(1);
        self.info(call, |create| Request::Create { id, seed, create }).await
    }

    async fn get(&self, call: Call<wire::GetRequest>) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::Get).await
    }

    async fn list(&self, call: Call<wire::ListRequest>) -> Result<Answer<wire::ListResponse>, Status> {
        match self.ask(call, Request::List).await? {
            Response::Conferences(list) => Ok(Answer::new(list)),
            _ => Err(unexpected()),
        }
    }

    async fn add_participant(
        &self,
        call: Call<wire::AddParticipantRequest>,
    ) -> Result<Answer<wire::ParticipantInfo>, Status> {
        let id = uuid::Uuid::new_v4().to_string();
        match self.ask(call, |add| Request::Add { id, add }).await? {
            Response::Participant(info) => Ok(Answer::new(*info)),
            _ => Err(unexpected()),
        }
    }

    async fn remove_participant(
        &self,
        call: Call<wire::RemoveParticipantRequest>,
    ) -> Result<Answer<wire::RemoveParticipantResponse>, Status> {
        match self.ask(call, Request::Remove).await? {
            Response::Removed(removed) => Ok(Answer::new(removed)),
            _ => Err(unexpected()),
        }
    }

    async fn set_audio(
        &self,
        call: Call<wire::SetAudioRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::SetAudio).await
    }

    async fn set_video(
        &self,
        call: Call<wire::SetVideoRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::SetVideo).await
    }

    async fn set_participant_audio(
        &self,
        call: Call<wire::SetParticipantAudioRequest>,
    ) -> Result<Answer<wire::ParticipantInfo>, Status> {
        match self.ask(call, Request::SetParticipantAudio).await? {
            Response::Participant(info) => Ok(Answer::new(*info)),
            _ => Err(unexpected()),
        }
    }

    async fn share_content(
        &self,
        call: Call<wire::ShareContentRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::ShareContent).await
    }

    async fn set_participant_video(
        &self,
        call: Call<wire::SetParticipantVideoRequest>,
    ) -> Result<Answer<wire::ParticipantInfo>, Status> {
        match self.ask(call, Request::SetParticipantVideo).await? {
            Response::Participant(info) => Ok(Answer::new(*info)),
            _ => Err(unexpected()),
        }
    }

    async fn set_pair_gain(
        &self,
        call: Call<wire::SetPairGainRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::SetPairGain).await
    }

    async fn play_prompt(
        &self,
        call: Call<wire::PlayPromptRequest>,
    ) -> Result<Answer<wire::PlayPromptResponse>, Status> {
        let id = uuid::Uuid::new_v4().to_string();
        match self.ask(call, |play| Request::Play { id, play }).await? {
            Response::Order(OrderAnswer::Playing(playing)) => Ok(Answer::new(playing)),
            _ => Err(unexpected()),
        }
    }

    async fn playback(
        &self,
        call: Call<wire::PlaybackRequest>,
    ) -> Result<Answer<motet_proto::media::PlaybackState>, Status> {
        match self.ask(call, Request::Playback).await? {
            Response::Order(OrderAnswer::Playback(state)) => Ok(Answer::new(state)),
            _ => Err(unexpected()),
        }
    }

    async fn snapshot(
        &self,
        call: Call<wire::SnapshotRequest>,
    ) -> Result<Answer<wire::SnapshotResponse>, Status> {
        match self.ask(call, Request::Snapshot).await? {
            Response::Order(OrderAnswer::Snapshot(snapshot)) => Ok(Answer::new(snapshot)),
            _ => Err(unexpected()),
        }
    }

    async fn stop_prompt(
        &self,
        call: Call<wire::StopPromptRequest>,
    ) -> Result<Answer<wire::StopPromptResponse>, Status> {
        match self.ask(call, Request::StopPrompt).await? {
            Response::Order(OrderAnswer::Stopped(stopped)) => Ok(Answer::new(stopped)),
            _ => Err(unexpected()),
        }
    }

    async fn set_recording(
        &self,
        call: Call<wire::SetRecordingRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::SetRecording).await
    }

    async fn remove_recording(
        &self,
        call: Call<wire::RemoveRecordingRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::RemoveRecording).await
    }

    async fn rename(&self, call: Call<wire::RenameRequest>) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::Rename).await
    }

    async fn set_password(
        &self,
        call: Call<wire::SetPasswordRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::SetPassword).await
    }

    async fn set_lock(
        &self,
        call: Call<wire::SetLockRequest>,
    ) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::SetLock).await
    }

    async fn set_role(
        &self,
        call: Call<wire::SetRoleRequest>,
    ) -> Result<Answer<wire::ParticipantInfo>, Status> {
        match self.ask(call, Request::SetRole).await? {
            Response::Participant(info) => Ok(Answer::new(*info)),
            _ => Err(unexpected()),
        }
    }

    async fn extend(&self, call: Call<wire::ExtendRequest>) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::Extend).await
    }

    async fn end(&self, call: Call<wire::EndRequest>) -> Result<Answer<wire::ConferenceInfo>, Status> {
        self.info(call, Request::End).await
    }

    async fn history(
        &self,
        call: Call<wire::HistoryRequest>,
    ) -> Result<Answer<wire::HistoryResponse>, Status> {
        match self.0.request(Request::History(call.into_inner())).await? {
            Response::History(answer) => Ok(Answer::new(*answer)),
            _ => Err(unexpected()),
        }
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<wire::ConferenceEvent, Status>> + Send>>;

    async fn watch_events(
        &self,
        call: Call<wire::WatchEventsRequest>,
    ) -> Result<Answer<Self::WatchEventsStream>, Status> {
        let wanted = call.into_inner().conference;
        let events = BroadcastStream::new(self.0.subscribe());
        let mut of = None;
        if !wanted.is_empty() {
            match self.0.request(Request::Get(wire::GetRequest { conference: wanted })).await? {
                Response::Conference(info) => of = Some((info.id, info.node_id)),
                _ => return Err(unexpected()),
            }
        }
        let stream = events.filter_map(move |event| match (event, &of) {
            (Ok(event), None) => Some(Ok(event)),
            (Ok(event), Some((id, node))) => {
                // What happens to its node concerns a conference, too.
                let concerns =
                    event.conference == *id || (event.conference.is_empty() && event.node_id == *node);
                concerns.then_some(Ok(event))
            }
            (Err(BroadcastStreamRecvError::Lagged(lost)), _) => Some(Ok(wire::ConferenceEvent {
                kind: wire::ConferenceEventKind::Lagged.into(),
                message: format!("this watcher was too slow and lost {lost} events; read the list again"),
                ..wire::ConferenceEvent::default()
            })),
        });
        Ok(Answer::new(Box::pin(stream)))
    }
}

#[tonic::async_trait]
impl Domains for DomainService {
    async fn set(&self, call: Call<domains::SetRequest>) -> Result<Answer<domains::Domain>, Status> {
        match self.0.request(Request::SetDomain(call.into_inner())).await? {
            Response::Domain(domain) => Ok(Answer::new(*domain)),
            _ => Err(unexpected()),
        }
    }

    async fn remove(
        &self,
        call: Call<domains::RemoveRequest>,
    ) -> Result<Answer<domains::RemoveResponse>, Status> {
        match self.0.request(Request::RemoveDomain(call.into_inner())).await? {
            Response::DomainRemoved(removed) => Ok(Answer::new(removed)),
            _ => Err(unexpected()),
        }
    }

    async fn list(&self, _call: Call<domains::ListRequest>) -> Result<Answer<domains::ListResponse>, Status> {
        match self.0.request(Request::ListDomains).await? {
            Response::Domains(list) => Ok(Answer::new(list)),
            _ => Err(unexpected()),
        }
    }

    async fn resolve(
        &self,
        call: Call<domains::ResolveRequest>,
    ) -> Result<Answer<domains::ResolveResponse>, Status> {
        match self.0.request(Request::ResolveDomain(call.into_inner())).await? {
            Response::DomainResolved(resolved) => Ok(Answer::new(resolved)),
            _ => Err(unexpected()),
        }
    }
}

#[tonic::async_trait]
impl NodeRegistry for RegistryService {
    async fn announce(
        &self,
        call: Call<registry::AnnounceRequest>,
    ) -> Result<Answer<registry::AnnounceResponse>, Status> {
        let registry::AnnounceRequest { address, node, leaving, held, .. } = call.into_inner();
        let held = held.into_iter().map(|held| (held.id, held.epoch)).collect();
        let description = node.ok_or_else(|| Refusal::at(Code::InvalidArgument, "node", "is missing"))?;
        match self.0.announce(NodeAnnouncement { held, address, description, leaving }).await? {
            Response::Announced(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn drain_node(
        &self,
        call: Call<registry::DrainNodeRequest>,
    ) -> Result<Answer<registry::DrainNodeResponse>, Status> {
        match self.0.request(Request::Drain(call.into_inner())).await? {
            Response::Draining(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn undrain_node(
        &self,
        call: Call<registry::UndrainNodeRequest>,
    ) -> Result<Answer<registry::UndrainNodeResponse>, Status> {
        match self.0.request(Request::Undrain(call.into_inner())).await? {
            Response::Undrained(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn cordon_node(
        &self,
        call: Call<registry::CordonNodeRequest>,
    ) -> Result<Answer<registry::CordonNodeResponse>, Status> {
        match self.0.request(Request::Cordon(call.into_inner())).await? {
            Response::Cordoned(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn uncordon_node(
        &self,
        call: Call<registry::UncordonNodeRequest>,
    ) -> Result<Answer<registry::CordonNodeResponse>, Status> {
        match self.0.request(Request::Uncordon(call.into_inner())).await? {
            Response::Cordoned(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn what_if_lost(
        &self,
        call: Call<registry::WhatIfLostRequest>,
    ) -> Result<Answer<registry::WhatIfLostResponse>, Status> {
        match self.0.request(Request::WhatIf(call.into_inner())).await? {
            Response::WhatIf(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn give_up_node(
        &self,
        call: Call<registry::GiveUpNodeRequest>,
    ) -> Result<Answer<registry::GiveUpNodeResponse>, Status> {
        match self.0.request(Request::GiveUp(call.into_inner())).await? {
            Response::GivenUp(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn list_nodes(
        &self,
        _call: Call<registry::ListNodesRequest>,
    ) -> Result<Answer<registry::ListNodesResponse>, Status> {
        match self.0.request(Request::ListNodes).await? {
            Response::Nodes(nodes) => Ok(Answer::new(nodes)),
            _ => Err(unexpected()),
        }
    }
}
