//! `motet conf denoise`, `floor`, `room` and `whisper`: whose voice goes where.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::show;
use crate::sound::set;
use anyhow::Result;
use clap::Args;
use motet_proto::conference::{SetPairGainRequest, SetParticipantAudioRequest};
use motet_proto::media::PairGain;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Denoise {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// Leave it as it is again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Floor {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// Take the floor from it
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Room {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// Name of the side room, 1 to 64 of A-Z a-z 0-9 . _ : - [default: back to the main room]
    #[arg(value_name = "ROOM", default_value = "")]
    room: String,
    /// How loud it hears the main room from there, in decibels, -60 to 0 [default: not at all]
    #[arg(long, value_name = "DB", allow_negative_numbers = true, requires = "room")]
    main_room: Option<f64>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Whisper {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// Those who hear it
    #[arg(long, value_name = "PARTICIPANT", required = true)]
    to: Vec<String>,
    /// All are to hear it again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    server: Server,
}

/// Takes noise out, or not.
pub(crate) async fn denoise(options: Denoise) -> Result<ExitCode> {
    let Denoise { conference, participant, off, server } = options;
    let noise_suppression = Some(!off);
    let change =
        SetParticipantAudioRequest { conference, participant, noise_suppression, ..Default::default() };
    set(server, change).await
}

/// Gives the floor, or takes it.
pub(crate) async fn floor(options: Floor) -> Result<ExitCode> {
    let Floor { conference, participant, off, server } = options;
    let floor = Some(!off);
    set(server, SetParticipantAudioRequest { conference, participant, floor, ..Default::default() }).await
}

/// Brings a participant to a side room, or back.
pub(crate) async fn room(options: Room) -> Result<ExitCode> {
    let Room { conference, participant, room, main_room, server } = options;
    if main_room.is_some_and(|gain_db| !gain_db.is_finite()) {
        return Err(Usage("--main-room: must be a number".to_owned()).into());
    }
    let (room, main_room_db) = (Some(room), main_room);
    let change =
        SetParticipantAudioRequest { conference, participant, room, main_room_db, ..Default::default() };
    set(server, change).await
}

/// Lets only some hear a participant, or all again.
pub(crate) async fn whisper(options: Whisper) -> Result<ExitCode> {
    let Whisper { conference, participant, to, off, server } = options;
    let (control, mut client) = server.conferences().await?;
    for to in &to {
        let pair = PairGain { from: participant.clone(), to: to.clone(), heard: !off, ..PairGain::default() };
        let pair_gain = Some(pair);
        let change =
            SetPairGainRequest { conference: conference.clone(), pair_gain, ..SetPairGainRequest::default() };
        control.answer(client.set_pair_gain(change)).await?;
    }
    let private = Some(!off);
    let change = SetParticipantAudioRequest {
        conference,
        participant,
        private,
        ..SetParticipantAudioRequest::default()
    };
    let info = control.answer(client.set_participant_audio(change)).await?;
    done(server.json, show::participant(&info), || format!("{}: {}\n", info.id, show::sound(&info)))
}
