//! The `Conference` and `NodeRegistry` services: calls in, answers of the core out.

use crate::conference::{NodeAnnouncement, OrderAnswer, Request, Response};
use crate::refusal::Refusal;
use crate::runtime::Control;
use crate::scope;
use domains::domains_server::Domains;
use motet_proto::conference as wire;
use motet_proto::{domains, registry};
use registry::node_registry_server::NodeRegistry;
use std::pin::Pin;
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
    async fn ask<T>(&self, call: Call<T>, request: impl FnOnce(T) -> Request) -> Result<Response, Status> {
        scope::ask(&self.0, call, request).await
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
        match self.ask(call, Request::History).await? {
            Response::History(answer) => Ok(Answer::new(*answer)),
            _ => Err(unexpected()),
        }
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<wire::ConferenceEvent, Status>> + Send>>;

    async fn watch_events(
        &self,
        call: Call<wire::WatchEventsRequest>,
    ) -> Result<Answer<Self::WatchEventsStream>, Status> {
        let user_domain = scope::of(call.metadata())?;
        let events = scope::events(&self.0, user_domain);
        let (metadata, extensions, watch) = call.into_parts();
        let mut of = None;
        if !watch.conference.is_empty() {
            let get = wire::GetRequest { conference: watch.conference };
            match self.ask(Call::from_parts(metadata, extensions, get), Request::Get).await? {
                Response::Conference(info) => of = Some((info.id, info.node_id)),
                _ => return Err(unexpected()),
            }
        }
        let stream = events.filter(move |event| {
            let lagged = event.kind() == wire::ConferenceEventKind::Lagged;
            of.as_ref().is_none_or(|(id, node)| {
                // What happens to its node concerns a conference, too.
                let of_node = event.conference.is_empty() && event.node_id == *node;
                lagged || of_node || event.conference == *id
            })
        });
        let stream = stream.map(Ok);
        Ok(Answer::new(Box::pin(stream)))
    }
}

#[tonic::async_trait]
impl Domains for DomainService {
    async fn set(&self, call: Call<domains::SetRequest>) -> Result<Answer<domains::Domain>, Status> {
        match scope::ask(&self.0, call, Request::SetDomain).await? {
            Response::Domain(domain) => Ok(Answer::new(*domain)),
            _ => Err(unexpected()),
        }
    }

    async fn remove(
        &self,
        call: Call<domains::RemoveRequest>,
    ) -> Result<Answer<domains::RemoveResponse>, Status> {
        match scope::ask(&self.0, call, Request::RemoveDomain).await? {
            Response::DomainRemoved(removed) => Ok(Answer::new(removed)),
            _ => Err(unexpected()),
        }
    }

    async fn list(&self, call: Call<domains::ListRequest>) -> Result<Answer<domains::ListResponse>, Status> {
        match scope::ask(&self.0, call, |_| Request::ListDomains).await? {
            Response::Domains(list) => Ok(Answer::new(list)),
            _ => Err(unexpected()),
        }
    }

    async fn resolve(
        &self,
        call: Call<domains::ResolveRequest>,
    ) -> Result<Answer<domains::ResolveResponse>, Status> {
        match scope::ask(&self.0, call, Request::ResolveDomain).await? {
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
        if scope::of(call.metadata())?.is_some() {
            let why = "announce is for nodes, not for who asks in the name of a user domain";
            return Err(Status::permission_denied(why));
        }
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
        match scope::ask(&self.0, call, Request::Drain).await? {
            Response::Draining(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn undrain_node(
        &self,
        call: Call<registry::UndrainNodeRequest>,
    ) -> Result<Answer<registry::UndrainNodeResponse>, Status> {
        match scope::ask(&self.0, call, Request::Undrain).await? {
            Response::Undrained(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn cordon_node(
        &self,
        call: Call<registry::CordonNodeRequest>,
    ) -> Result<Answer<registry::CordonNodeResponse>, Status> {
        match scope::ask(&self.0, call, Request::Cordon).await? {
            Response::Cordoned(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn uncordon_node(
        &self,
        call: Call<registry::UncordonNodeRequest>,
    ) -> Result<Answer<registry::CordonNodeResponse>, Status> {
        match scope::ask(&self.0, call, Request::Uncordon).await? {
            Response::Cordoned(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn what_if_lost(
        &self,
        call: Call<registry::WhatIfLostRequest>,
    ) -> Result<Answer<registry::WhatIfLostResponse>, Status> {
        match scope::ask(&self.0, call, Request::WhatIf).await? {
            Response::WhatIf(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn give_up_node(
        &self,
        call: Call<registry::GiveUpNodeRequest>,
    ) -> Result<Answer<registry::GiveUpNodeResponse>, Status> {
        match scope::ask(&self.0, call, Request::GiveUp).await? {
            Response::GivenUp(answer) => Ok(Answer::new(answer)),
            _ => Err(unexpected()),
        }
    }

    async fn list_nodes(
        &self,
        call: Call<registry::ListNodesRequest>,
    ) -> Result<Answer<registry::ListNodesResponse>, Status> {
        match scope::ask(&self.0, call, |_| Request::ListNodes).await? {
            Response::Nodes(nodes) => Ok(Answer::new(nodes)),
            _ => Err(unexpected()),
        }
    }
}
