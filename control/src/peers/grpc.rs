//! Other control processes over gRPC: the same service that applications call, with a mark.

use super::{PeerFailure, Peers};
use crate::conference::{OrderAnswer, Request, Response};
use crate::refusal::Refusal;
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::conference::{ConferenceInfo, ParticipantInfo, PlayPromptRequest};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Metadata of a request that was passed on; its value says by whom.
pub(crate) const HOP: &str = "motet-forwarded-by";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than a node may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One channel for each, kept and made anew by itself after a break.
pub struct GrpcPeers {
    css: String,
    clients: Mutex<HashMap<String, ConferenceClient<Channel>>>,
}

impl GrpcPeers {
    /// For the control process of this id.
    pub fn new(css: &str) -> GrpcPeers {
        // The value of metadata is ASCII.
        let css = css.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
        GrpcPeers { css, clients: Mutex::default() }
    }

    fn client(&self, address: &str) -> Result<ConferenceClient<Channel>, PeerFailure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|error| PeerFailure::Unreachable(format!("'{address}' is not an address: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(1))
            .keep_alive_timeout(Duration::from_secs(2));
        let client =
            ConferenceClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    fn marked<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(ANSWER_TIMEOUT);
        let by = MetadataValue::try_from(&self.css).unwrap_or(MetadataValue::from_static("control"));
        request.metadata_mut().insert(HOP, by);
        request
    }
}

impl From<Status> for PeerFailure {
    fn from(status: Status) -> Self {
        let violations = status.get_details_bad_request().map(|details| details.field_violations);
        let field = violations.and_then(|mut all| all.pop()).map(|violation| violation.field);
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let retry_ms = retry.map_or(0, |delay| delay.as_millis() as u64);
        let refusal = |code| {
            PeerFailure::Refused(Refusal {
                code,
                field: field.clone().unwrap_or_default(),
                message: status.message().to_owned(),
                retry_ms,
            })
        };
        match status.code() {
            // What the other process said itself has no transport failure behind it.
            Code::Unavailable if std::error::Error::source(&status).is_none() => refusal(Code::Unavailable),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                PeerFailure::Unreachable(status.message().to_owned())
            }
            code => refusal(code),
        }
    }
}

#[tonic::async_trait]
impl Peers for GrpcPeers {
    async fn forward(&self, address: &str, request: Request) -> Result<Response, PeerFailure> {
        let mut client = self.client(address)?;
        Ok(match request {
            Request::Get(get) => conference(client.get(self.marked(get)).await?),
            Request::Add { id, mut add } => {
                if add.participant.is_empty() {
                    add.participant = id;
                }
                participant(client.add_participant(self.marked(add)).await?)
            }
            Request::Remove(remove) => {
                Response::Removed(client.remove_participant(self.marked(remove)).await?.into_inner())
            }
            Request::End(end) => conference(client.end(self.marked(end)).await?),
            Request::SetAudio(set) => conference(client.set_audio(self.marked(set)).await?),
            Request::SetVideo(set) => conference(client.set_video(self.marked(set)).await?),
            Request::SetParticipantAudio(set) => {
                participant(client.set_participant_audio(self.marked(set)).await?)
            }
            Request::ShareContent(ask) => conference(client.share_content(self.marked(ask)).await?),
            Request::SetParticipantVideo(set) => {
                participant(client.set_participant_video(self.marked(set)).await?)
            }
            Request::Rename(rename) => conference(client.rename(self.marked(rename)).await?),
            Request::SetPassword(set) => conference(client.set_password(self.marked(set)).await?),
            Request::SetLock(set) => conference(client.set_lock(self.marked(set)).await?),
            Request::SetRole(set) => participant(client.set_role(self.marked(set)).await?),
            Request::Extend(extend) => conference(client.extend(self.marked(extend)).await?),
            Request::SetPairGain(set) => conference(client.set_pair_gain(self.marked(set)).await?),
            Request::SetRecording(set) => conference(client.set_recording(self.marked(set)).await?),
            Request::RemoveRecording(end) => conference(client.remove_recording(self.marked(end)).await?),
            Request::Play { id, play } => {
                let prompt = if play.prompt.is_empty() { id } else { play.prompt.clone() };
                let play = PlayPromptRequest { prompt, ..play };
                let answer = client.play_prompt(self.marked(play)).await?.into_inner();
                Response::Order(OrderAnswer::Playing(answer))
            }
            Request::Playback(playback) => Response::Order(OrderAnswer::Playback(
                client.playback(self.marked(playback)).await?.into_inner(),
            )),
            Request::Snapshot(snapshot) => Response::Order(OrderAnswer::Snapshot(
                client.snapshot(self.marked(snapshot)).await?.into_inner(),
            )),
            Request::StopPrompt(stop) => Response::Order(OrderAnswer::Stopped(
                client.stop_prompt(self.marked(stop)).await?.into_inner(),
            )),
            // They are about no one conference, and any control process does them itself.
            other @ (Request::Create { .. }
            | Request::List(_)
            | Request::SetDomain(_)
            | Request::RemoveDomain(_)
            | Request::ListDomains
            | Request::ResolveDomain(_)
            | Request::ListNodes
            | Request::Drain(_)
            | Request::Cordon(_)
            | Request::Uncordon(_)
            | Request::WhatIf(_)
            | Request::History(_)
            | Request::GiveUp(_)
            | Request::Undrain(_)
            | Request::Scoped { .. }) => {
                let why = format!("{} is not passed on", other.name());
                return Err(PeerFailure::Refused(Refusal::plain(Code::Internal, why)));
            }
        })
    }
}

fn conference(answer: tonic::Response<ConferenceInfo>) -> Response {
    Response::Conference(Box::new(answer.into_inner()))
}

fn participant(answer: tonic::Response<ParticipantInfo>) -> Response {
    Response::Participant(Box::new(answer.into_inner()))
}
