//! What applications and nodes ask for, and what they get.

use motet_proto::{conference as wire, domains, media, node, registry};

/// A request. Ids for what is made come along, since the core draws no random numbers.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "few exist at once, and each is moved a few times")]
pub enum Request {
    /// Create a conference under this id.
    Create {
        /// MOID of the new conference.
        id: String,
        /// At random: [`Record::seed`](super::Record::seed).
        seed: u64,
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
    /// Change the audio mode.
    SetAudio(wire::SetAudioRequest),
    /// Change the video mode, or the canvas.
    SetVideo(wire::SetVideoRequest),
    /// Ask something of the floor of content.
    ShareContent(wire::ShareContentRequest),
    /// Change what a participant sees.
    SetParticipantVideo(wire::SetParticipantVideoRequest),
    /// Mute a participant, and so on.
    SetParticipantAudio(wire::SetParticipantAudioRequest),
    /// Say how one participant hears another.
    SetPairGain(wire::SetPairGainRequest),
    /// Begin a recording, or change one.
    SetRecording(wire::SetRecordingRequest),
    /// End a recording.
    RemoveRecording(wire::RemoveRecordingRequest),
    /// Play a file; under this id when none is given.
    Play {
        /// Id to use when none is given.
        id: String,
        /// As asked for.
        play: wire::PlayPromptRequest,
    },
    /// Stop playing a file.
    StopPrompt(wire::StopPromptRequest),
    /// Give a picture.
    Snapshot(wire::SnapshotRequest),
    /// Play a file as a participant, or change that.
    Playback(wire::PlaybackRequest),
    /// Change the name.
    Rename(wire::RenameRequest),
    /// Change passwords.
    SetPassword(wire::SetPasswordRequest),
    /// Let nobody join, or everybody again.
    SetLock(wire::SetLockRequest),
    /// Change what a participant may do.
    SetRole(wire::SetRoleRequest),
    /// Move the end.
    Extend(wire::ExtendRequest),
    /// Set up a domain.
    SetDomain(domains::SetRequest),
    /// Forget a domain.
    RemoveDomain(domains::RemoveRequest),
    /// Read all domains.
    ListDomains,
    /// Read what a user domain may do.
    ResolveDomain(domains::ResolveRequest),
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
    /// Have nothing new go to a node.
    Cordon(registry::CordonNodeRequest),
    /// Let something go there again.
    Uncordon(registry::UncordonNodeRequest),
    /// Ask what would move where if a node were lost.
    WhatIf(registry::WhatIfLostRequest),
    /// Ask what happened to a conference.
    History(wire::HistoryRequest),
    /// Have the conferences of a node that does not answer move.
    GiveUp(registry::GiveUpNodeRequest),
    /// Ask for something in the name of a user domain: as if there were nothing but what is that domain's. What is for
    /// operators is refused with PERMISSION_DENIED.
    Scoped {
        /// MOID of the user domain; not empty.
        user_domain: String,
        /// What is asked for; not another one of this kind.
        request: Box<Request>,
    },
}

impl Request {
    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Create { .. } => "create",
            Request::Add { .. } => "add",
            Request::Remove(_) => "remove",
            Request::End(_) => "end",
            Request::SetAudio(_) => "set-audio",
            Request::SetVideo(_) => "set-video",
            Request::ShareContent(_) => "share-content",
            Request::SetParticipantVideo(_) => "set-participant-video",
            Request::SetParticipantAudio(_) => "set-participant-audio",
            Request::SetPairGain(_) => "set-pair-gain",
            Request::SetRecording(_) => "set-recording",
            Request::RemoveRecording(_) => "remove-recording",
            Request::Play { .. } => "play-prompt",
            Request::StopPrompt(_) => "stop-prompt",
            Request::Snapshot(_) => "snapshot",
            Request::Playback(_) => "playback",
            Request::Rename(_) => "rename",
            Request::SetPassword(_) => "set-password",
            Request::SetLock(_) => "set-lock",
            Request::SetRole(_) => "set-role",
            Request::Extend(_) => "extend",
            Request::SetDomain(_) => "set-domain",
            Request::RemoveDomain(_) => "remove-domain",
            Request::ListDomains => "list-domains",
            Request::ResolveDomain(_) => "resolve-domain",
            Request::Get(_) => "get",
            Request::List(_) => "list",
            Request::ListNodes => "list-nodes",
            Request::Drain(_) => "drain",
            Request::Undrain(_) => "undrain",
            Request::GiveUp(_) => "give-up",
            Request::Cordon(_) => "cordon",
            Request::Uncordon(_) => "uncordon",
            Request::WhatIf(_) => "what-if",
            Request::History(_) => "history",
            Request::Scoped { request, .. } => request.name(),
        }
    }
}

/// What a request got.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// Of create, get and end.
    Conference(Box<wire::ConferenceInfo>),
    /// Of setting up a domain.
    Domain(Box<domains::Domain>),
    /// Of forgetting one.
    DomainRemoved(domains::RemoveResponse),
    /// Of all domains.
    Domains(domains::ListResponse),
    /// Of what a user domain may do.
    DomainResolved(domains::ResolveResponse),
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
    /// Of cordon and uncordon.
    Cordoned(registry::CordonNodeResponse),
    /// Of what if.
    WhatIf(registry::WhatIfLostResponse),
    /// Of history.
    History(Box<wire::HistoryResponse>),
    /// Of giving up nodes.
    GivenUp(registry::GiveUpNodeResponse),
    /// Of prompts, snapshots and what participants play.
    Order(OrderAnswer),
}

/// What a node is to do at once.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeOrder {
    /// Play a prompt.
    Play(node::PlayPromptRequest),
    /// Stop it.
    Stop(node::StopPromptRequest),
    /// Give a picture.
    Snapshot(node::SnapshotRequest),
    /// Have a participant play a file.
    Playback(node::PlaybackRequest),
}

/// What it did.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderAnswer {
    /// It plays.
    Playing(wire::PlayPromptResponse),
    /// It no longer plays.
    Stopped(wire::StopPromptResponse),
    /// A picture.
    Snapshot(wire::SnapshotResponse),
    /// What a participant plays.
    Playback(media::PlaybackState),
}
