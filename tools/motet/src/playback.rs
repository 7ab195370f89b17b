//! `motet conf playback`, and `motet conf play --as`: participants that play files.

use crate::client::Server;
use crate::conf::done;
use anyhow::Result;
use clap::Args;
use motet_proto::conference::{AddParticipantRequest, GetRequest, ParticipantMedium, PlaybackRequest};
use motet_proto::media::playback_order::Order;
use motet_proto::media::{Direction, MediaKind, PlayFile, PlaybackOrder, PlaybackState};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Playback {
    /// Id or number
    conference: String,
    /// Id of the participant, as `play --as` has it
    participant: String,
    #[command(flatten)]
    order: Change,
    #[command(flatten)]
    server: Server,
}

/// What it is to do; nothing: only tell how it is doing.
#[derive(Args)]
#[group(multiple = false)]
struct Change {
    /// Stand still, with the last picture
    #[arg(long)]
    pause: bool,
    /// Go on after a pause
    #[arg(long)]
    resume: bool,
    /// Go on at this place, such as 1m30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    seek: Option<Duration>,
    /// Begin again at the end
    #[arg(long)]
    repeat: bool,
    /// Do not begin again at the end
    #[arg(long)]
    once: bool,
    /// Play nothing any longer; the participant stays
    #[arg(long)]
    stop: bool,
}

impl Change {
    fn order(&self) -> Order {
        match self {
            Change { pause: true, .. } => Order::Pause(true),
            Change { resume: true, .. } => Order::Pause(false),
            Change { seek: Some(to), .. } => Order::SeekMs(to.as_millis() as u64),
            Change { repeat: true, .. } => Order::Repeat(true),
            Change { once: true, .. } => Order::Repeat(false),
            Change { stop: true, .. } => Order::Stop(true),
            _ => Order::Look(true),
        }
    }
}

pub(crate) async fn playback(options: Playback) -> Result<ExitCode> {
    let Playback { conference, participant, order, server } = options;
    send(&server, conference, participant, order.order()).await
}

/// Has a participant play a file, who joins if it is not there.
pub(crate) async fn play(
    server: Server,
    conference: String,
    participant: String,
    file: PlayFile,
) -> Result<ExitCode> {
    let (control, mut client) = server.conferences().await?;
    let info = control.answer(client.get(GetRequest { conference: conference.clone() })).await?;
    if !info.participants.iter().any(|known| known.id == participant) {
        let medium = |kind: MediaKind| ParticipantMedium {
            kind: kind.into(),
            direction: Direction::SendOnly.into(),
            rtcp_mux: true,
            ..ParticipantMedium::default()
        };
        // A participant without pictures has no cell on canvases.
        let sound = file.file.to_ascii_lowercase().ends_with(".wav");
        let kinds = if sound { vec![MediaKind::Audio] } else { vec![MediaKind::Audio, MediaKind::Video] };
        let add = AddParticipantRequest {
            conference: conference.clone(),
            participant: participant.clone(),
            name: file.file.clone(),
            media: kinds.into_iter().map(medium).collect(),
            ..AddParticipantRequest::default()
        };
        control.answer(client.add_participant(add)).await?;
    }
    send(&server, conference, participant, Order::Play(file)).await
}

async fn send(server: &Server, conference: String, participant: String, order: Order) -> Result<ExitCode> {
    let (control, mut client) = server.conferences().await?;
    let order = Some(PlaybackOrder { order: Some(order) });
    let request = PlaybackRequest { conference, participant: participant.clone(), order };
    let state = control.answer(client.playback(request)).await?;
    let value = json!({
        "participant": participant,
        "file": state.file,
        "state": word(&state),
        "repeat": state.repeat,
        "position_ms": state.position_ms,
        "duration_ms": state.duration_ms,
    });
    done(server.json, value, || line(&participant, &state))
}

/// "nothing", "ended", "paused" or "playing".
fn word(state: &PlaybackState) -> &'static str {
    match () {
        () if state.file.is_empty() => "nothing",
        () if state.ended => "ended",
        () if state.paused => "paused",
        () => "playing",
    }
}

fn line(participant: &str, state: &PlaybackState) -> String {
    if state.file.is_empty() {
        return format!("{participant} plays nothing\n");
    }
    let (at, of) = (state.position_ms as f64 / 1e3, state.duration_ms as f64 / 1e3);
    let (file, repeat) = (&state.file, if state.repeat { ", again and again" } else { "" });
    format!("{participant}: {file}, {} at {at:.1} of {of:.1} s{repeat}\n", word(state))
}
