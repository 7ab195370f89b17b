//! `motet conf`: conferences, as control's clients see them.

use crate::client::{Server, Usage};
use crate::{
    booking, caption, content, domains, guard, history, layout, medium, out, picture, playback, record,
    rooms, sdp, show, snapshot, sound,
};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use motet_proto::conference::*;
use motet_proto::media::{AudioSettings, MediaKind, VideoSettings};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `motet conf`.
#[derive(Args)]
pub(crate) struct ConfOptions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a conference and place it on a node
    Create(Box<Create>),
    /// List conferences
    List(List),
    /// Show a conference, its participants, and what each receives
    Show(Show),
    /// Add a participant, and say where it shall send
    Join(Box<Join>),
    /// Remove a participant
    Leave(Leave),
    /// Change how sound reaches participants: relayed, the loudest only, or mixed
    Audio(sound::Audio),
    /// Change how pictures reach participants: relayed, or composed to one
    Video(Box<picture::Video>),
    /// Change how a composed picture is divided
    Layout(Box<layout::Layout>),
    /// Write a line over a composed picture, or take it away
    Banner(Box<caption::Line>),
    /// Let a line move over a composed picture, or take it away
    Caption(Box<caption::Caption>),
    /// Say what is seen of a participant on a composed picture: its camera, or a still
    Camera(caption::Camera),
    /// Share content one at a time: ask for the floor, grant, deny, take or revoke it
    Content(content::Content),
    /// Let nobody, or one, hear a participant
    Mute(sound::Mute),
    /// Let a participant hear nobody
    Deaf(sound::Deaf),
    /// Make a participant louder or quieter, for all or for one
    Gain(sound::Gain),
    /// Bring a participant to a common loudness, whatever it does
    Level(sound::Level),
    /// Take what is no voice out of a participant's sound (mixes at 48 kHz)
    Denoise(rooms::Denoise),
    /// Bring a participant to a side room, whose members hear only each other, or back
    Room(rooms::Room),
    /// Let only some hear a participant: a coach
    Whisper(rooms::Whisper),
    /// Give a participant the floor, for mixes with `floor`
    Floor(rooms::Floor),
    /// Play a file: into a mix, or as a participant of its own
    Play(sound::Play),
    /// Pause, seek, repeat or stop what a participant plays, or tell how it is doing
    Playback(playback::Playback),
    /// Stop a file that plays into a mix
    Stop(sound::Stop),
    /// Record to files
    Record(record::Record),
    /// Write a participant's picture, or the composed one, as PNG
    Snapshot(snapshot::Snapshot),
    /// Let nobody join any more but chairs
    Lock(guard::Lock),
    /// Let everybody join again
    Unlock(guard::Lock),
    /// Change the name
    Rename(guard::Rename),
    /// Change passwords, or take them away
    Password(guard::Password),
    /// Make a participant a chair, a speaker, a listener
    Role(guard::SetRole),
    /// Let a conference end later
    Extend(guard::Extend),
    /// Let a conference end earlier
    Shorten(guard::Shorten),
    /// End a conference
    End(End),
    /// Show what happened to a conference, and its call record
    History(history::History),
    /// Print events as they happen, until Ctrl-C
    Watch(Watch),
}

/// What a conference is to be like, whenever it takes place.
#[derive(Args)]
pub(crate) struct Wishes {
    /// Name for people, up to 128 characters
    #[arg(long, default_value = "")]
    name: String,
    /// E.164 number, up to 15 digits [default: a free one]
    #[arg(long, default_value = "")]
    number: String,
    /// MOID of the user domain that owns it
    #[arg(long, value_name = "MOID", default_value = "")]
    user_domain: String,
    /// The same id gives the same conference: makes the call safe to repeat
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
    /// Machine room that is preferred [default: that of the user domain, or none]
    #[arg(long, default_value = "")]
    room: String,
    /// Label that its node must have; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    node_label: Vec<(String, String)>,
    /// Participants to keep room for, with sound and a camera each; more may join while there is room [default: 3]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    participants: u32,
    /// How sound reaches participants; see below [default: relay]
    #[arg(long, value_name = "MODE", value_parser = sound::parse_mode)]
    audio: Option<AudioSettings>,
    /// How pictures reach participants; see below [default: relay]
    #[arg(long, value_name = "MODE", value_parser = picture::parse_mode)]
    video: Option<VideoSettings>,
    /// Needed to join; better given by the environment, which others do not see
    #[arg(long, value_name = "TEXT", env = "MOTET_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Needed to join as chair [default: as --password]
    #[arg(long, value_name = "TEXT", env = "MOTET_CHAIR_PASSWORD", hide_env_values = true)]
    chair_password: Option<String>,
    /// Id or name of a template: what is not given here is as it says
    #[arg(long, value_name = "TEMPLATE", default_value = "")]
    template: String,
    /// Something that participants will use: h265, full-hd, mixing, recording; refused at once if the user
    /// domain may not. May be given several times
    #[arg(long, value_name = "FEATURE")]
    feature: Vec<String>,
    /// It ends when its node is lost, instead of going to another node [default: as the template, or it is
    /// restored]
    #[arg(long)]
    no_restore: bool,
}

impl Wishes {
    /// A request for it, of the type INSTANT and without times.
    pub(crate) fn request(self) -> Result<CreateRequest, Usage> {
        let features = domains::features(self.feature.iter().map(String::as_str))
            .map_err(|Usage(why)| Usage(why.replace("forbid:", "--feature:")))?;
        Ok(CreateRequest {
            name: self.name,
            number: self.number,
            user_domain: self.user_domain,
            request_id: self.request_id,
            room: self.room,
            node_labels: self.node_label.into_iter().collect(),
            expected_participants: self.participants,
            audio: self.audio,
            video: self.video,
            password: guard::secret(self.password),
            chair_password: guard::secret(self.chair_password),
            template: self.template,
            features,
            no_restore: self.no_restore.then_some(true),
            ..Default::default()
        })
    }
}

#[derive(Args)]
#[command(after_help = booking::help())]
struct Create {
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    times: booking::Times,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct List {
    /// Ended conferences, too
    #[arg(long)]
    ended: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Show {
    /// Id or number
    conference: String,
    /// Write an SDP of what this participant receives, for ffmpeg or ffplay, to --sdp
    #[arg(long, value_name = "PARTICIPANT", requires = "sdp")]
    participant: Option<String>,
    /// File for the SDP; - is standard output
    #[arg(long, value_name = "FILE", requires = "participant")]
    sdp: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
#[command(after_help = medium::HELP)]
struct Join {
    /// Id or number
    conference: String,
    /// Id of the participant: 1 to 64 of A-Z a-z 0-9 . _ : -
    participant: String,
    /// Name for people
    #[arg(long, default_value = "")]
    name: String,
    /// An audio medium; see below. May be given several times
    #[arg(long, value_name = "MEDIUM")]
    audio: Vec<String>,
    /// A video medium
    #[arg(long, value_name = "MEDIUM")]
    video: Vec<String>,
    /// A content medium: shared screen or document
    #[arg(long, value_name = "MEDIUM")]
    content: Vec<String>,
    /// What it may do
    #[arg(long, value_enum, default_value_t = guard::Role::Speaker)]
    role: guard::Role,
    /// Password of the conference; better given by the environment, which others do not see
    #[arg(long, value_name = "TEXT", env = "MOTET_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Write an SDP of what is received, for ffmpeg or ffplay; - is standard output
    #[arg(long, value_name = "FILE")]
    sdp: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Leave {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct End {
    /// Id or number
    conference: String,
    /// Why, for people
    #[arg(long, default_value = "")]
    reason: String,
    /// Ask as this participant, who must be a chair [default: as the application]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Watch {
    /// Id or number [default: all]
    #[arg(default_value = "")]
    conference: String,
    #[command(flatten)]
    server: Server,
}

/// Runs a `conf` command.
pub(crate) async fn run(options: ConfOptions) -> Result<ExitCode> {
    match options.command {
        Command::Create(options) => create(*options).await,
        Command::List(options) => list(options).await,
        Command::Show(options) => show_one(options).await,
        Command::Join(options) => join(*options).await,
        Command::Leave(options) => leave(options).await,
        Command::Audio(options) => sound::audio(options).await,
        Command::Video(options) => picture::video(*options).await,
        Command::Layout(options) => layout::layout(*options).await,
        Command::Banner(options) => caption::banner(*options).await,
        Command::Caption(options) => caption::caption(*options).await,
        Command::Camera(options) => caption::camera(options).await,
        Command::Content(options) => content::content(options).await,
        Command::Mute(options) => sound::mute(options).await,
        Command::Deaf(options) => sound::deaf(options).await,
        Command::Gain(options) => sound::gain(options).await,
        Command::Level(options) => sound::level(options).await,
        Command::Denoise(options) => rooms::denoise(options).await,
        Command::Room(options) => rooms::room(options).await,
        Command::Whisper(options) => rooms::whisper(options).await,
        Command::Floor(options) => rooms::floor(options).await,
        Command::Play(options) => sound::play(options).await,
        Command::Stop(options) => sound::stop(options).await,
        Command::Record(options) => record::record(options).await,
        Command::Playback(options) => playback::playback(options).await,
        Command::Snapshot(options) => snapshot::snapshot(options).await,
        Command::Lock(options) => guard::lock(options, true).await,
        Command::Unlock(options) => guard::lock(options, false).await,
        Command::Rename(options) => guard::rename(options).await,
        Command::Password(options) => guard::password(options).await,
        Command::Role(options) => guard::role(options).await,
        Command::Extend(options) => guard::extend(options).await,
        Command::Shorten(options) => guard::shorten(options).await,
        Command::End(options) => end(options).await,
        Command::History(options) => history::history(options).await,
        Command::Watch(options) => watch(options).await,
    }
}

async fn create(options: Create) -> Result<ExitCode> {
    let Create { wishes, times, server } = options;
    let mut create = wishes.request()?;
    times.fill(&mut create)?;
    let (control, mut client) = server.conferences().await?;
    let info = control.answer(client.create(create)).await?;
    done(server.json, show::conference(&info), || {
        let state = show::state(&info);
        match info.booked {
            Some(_) => show::booking_page(&info),
            None => format!("conference {} ({}) {state} on node {}\n", info.number, info.id, info.node_id),
        }
    })
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be a name and a value, such as zone=dmz")?;
    Ok((name.into(), value.into()))
}

/// Prints what a command brought, as JSON or for people.
pub(crate) fn done(json: bool, value: serde_json::Value, text: impl FnOnce() -> String) -> Result<ExitCode> {
    out::print(&if json { format!("{value:#}\n") } else { text() })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(options: List) -> Result<ExitCode> {
    let list = ListRequest { include_ended: options.ended, booked: false };
    let (control, mut client) = options.server.conferences().await?;
    let answer = control.answer(client.list(list)).await?;
    let value = answer.conferences.iter().map(show::conference).collect();
    done(options.server.json, value, || show::conference_table(&answer.conferences))
}

async fn show_one(options: Show) -> Result<ExitCode> {
    let get = GetRequest { conference: options.conference };
    let (control, mut client) = options.server.conferences().await?;
    let info = control.answer(client.get(get)).await?;
    let (Some(participant), Some(file)) = (&options.participant, &options.sdp) else {
        return done(options.server.json, show::conference(&info), || show::conference_page(&info));
    };
    let found = info.participants.iter().find(|known| known.id == *participant);
    let found = found.with_context(|| format!("--participant: '{participant}' is not in the conference"))?;
    write_sdp(file, found)?;
    Ok(ExitCode::SUCCESS)
}

async fn join(options: Join) -> Result<ExitCode> {
    let lists = [
        ("--audio", MediaKind::Audio, &options.audio),
        ("--video", MediaKind::Video, &options.video),
        ("--content", MediaKind::Content, &options.content),
    ];
    let mut media = Vec::new();
    for (flag, kind, texts) in lists {
        for text in texts {
            let medium = medium::parse(kind, text).map_err(|why| Usage(format!("{flag} '{text}': {why}")))?;
            media.push(medium);
        }
    }
    let add = AddParticipantRequest {
        conference: options.conference,
        participant: options.participant,
        name: options.name,
        media,
        role: options.role.to_wire(),
        password: guard::secret(options.password),
        ..Default::default()
    };
    let (control, mut client) = options.server.conferences().await?;
    let info = control.answer(client.add_participant(add)).await?;
    // First the file: that nobody reads standard output to its end is no reason not to have it.
    let file = options.sdp.as_ref().filter(|file| file.as_os_str() != "-");
    if let Some(file) = file {
        write_sdp(file, &info)?;
    }
    done(options.server.json, show::participant(&info), || show::participant_page(&info))?;
    if options.sdp.is_some() && file.is_none() {
        out::print(&sdp::of(&info))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_sdp(file: &PathBuf, info: &ParticipantInfo) -> Result<()> {
    let text = sdp::of(info);
    if file.as_os_str() == "-" {
        return Ok(out::print(&text)?);
    }
    std::fs::write(file, text).with_context(|| format!("--sdp: cannot write {}", file.display()))
}

async fn leave(options: Leave) -> Result<ExitCode> {
    let Leave { conference, participant, server } = options;
    let remove =
        RemoveParticipantRequest { conference, participant: participant.clone(), ..Default::default() };
    let (control, mut client) = server.conferences().await?;
    let existed = control.answer(client.remove_participant(remove)).await?.existed;
    done(server.json, serde_json::json!({ "existed": existed }), || {
        format!("{participant} {}\n", if existed { "left" } else { "was not there" })
    })
}

async fn end(options: End) -> Result<ExitCode> {
    let End { conference, reason, by, server } = options;
    let (control, mut client) = server.conferences().await?;
    let info =
        control.answer(client.end(EndRequest { conference, reason, by, ..Default::default() })).await?;
    done(server.json, show::conference(&info), || {
        format!("conference {} ({}) {}\n", info.number, info.id, show::state(&info))
    })
}

async fn watch(options: Watch) -> Result<ExitCode> {
    let (control, mut client) = options.server.conferences().await?;
    let watch = WatchEventsRequest { conference: options.conference };
    let mut events = control.answer(client.watch_events(watch)).await?;
    loop {
        let event = tokio::select! {
            event = events.message() => event.map_err(|status| control.failure(&status))?,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        let event = event.ok_or_else(|| control.ended())?;
        out::print(&show::event(&event, options.server.json))?;
    }
}
