//! `motet conf` and `motet nodes`: the client of control.

use crate::client::{Server, Usage, refused};
use crate::{medium, sdp, show};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::conference::*;
use motet_proto::media::MediaKind;
use motet_proto::registry::ListNodesRequest;
use motet_proto::registry::node_registry_client::NodeRegistryClient;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tonic::transport::Channel;

/// Options of `motet conf`.
#[derive(Args)]
pub(crate) struct ConfOptions {
    #[command(subcommand)]
    command: Command,
}

/// Options of `motet nodes`.
#[derive(Args)]
pub(crate) struct NodesOptions {
    #[command(flatten)]
    server: Server,
}

#[derive(Subcommand)]
enum Command {
    /// Create a conference and place it on a node
    Create(Create),
    /// List conferences
    List(List),
    /// Show a conference, its participants, and what each receives
    Show(Show),
    /// Add a participant, and say where it shall send
    Join(Box<Join>),
    /// Remove a participant
    Leave(Leave),
    /// End a conference
    End(End),
    /// Print events as they happen, until Ctrl-C
    Watch(Watch),
}

#[derive(Args)]
struct Create {
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
        Command::Create(options) => create(options).await,
        Command::List(options) => list(options).await,
        Command::Show(options) => show_one(options).await,
        Command::Join(options) => join(*options).await,
        Command::Leave(options) => leave(options).await,
        Command::End(options) => end(options).await,
        Command::Watch(options) => watch(options).await,
    }
}

/// An answer may take a node's time-out; longer than that nobody waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(ANSWER_WITHIN);
    request
}

async fn client(server: &Server) -> Result<ConferenceClient<Channel>> {
    Ok(ConferenceClient::new(server.connect().await?))
}

async fn create(options: Create) -> Result<ExitCode> {
    let Create { name, number, user_domain, request_id, server } = options;
    let create = request(CreateRequest { name, number, user_domain, request_id });
    let info = client(&server).await?.create(create).await.map_err(refused)?.into_inner();
    if server.json {
        show::json(&show::conference(&info));
    } else {
        println!("conference {} ({}) {} on node {}", info.number, info.id, show::state(&info), info.node_id);
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: List) -> Result<ExitCode> {
    let list = request(ListRequest { include_ended: options.ended });
    let answer = client(&options.server).await?.list(list).await.map_err(refused)?.into_inner();
    if options.server.json {
        show::json(&serde_json::Value::Array(answer.conferences.iter().map(show::conference).collect()));
    } else {
        show::conference_table(&answer.conferences);
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_one(options: Show) -> Result<ExitCode> {
    let get = request(GetRequest { conference: options.conference });
    let info = client(&options.server).await?.get(get).await.map_err(refused)?.into_inner();
    if let (Some(participant), Some(file)) = (&options.participant, &options.sdp) {
        let found = info.participants.iter().find(|known| known.id == *participant);
        let found =
            found.with_context(|| format!("--participant: '{participant}' is not in the conference"))?;
        write_sdp(file, found)?;
    } else if options.server.json {
        show::json(&show::conference(&info));
    } else {
        show::conference_page(&info);
    }
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
    };
    let mut client = client(&options.server).await?;
    let info = client.add_participant(request(add)).await.map_err(refused)?.into_inner();
    if options.server.json {
        show::json(&show::participant(&info));
    } else {
        show::participant_page(&info);
    }
    if let Some(file) = &options.sdp {
        write_sdp(file, &info)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_sdp(file: &PathBuf, info: &ParticipantInfo) -> Result<()> {
    let text = sdp::of(info);
    if file.as_os_str() == "-" {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(file, text).with_context(|| format!("--sdp: cannot write {}", file.display()))
}

async fn leave(options: Leave) -> Result<ExitCode> {
    let Leave { conference, participant, server } = options;
    let remove = request(RemoveParticipantRequest { conference, participant: participant.clone() });
    let answer = client(&server).await?.remove_participant(remove).await.map_err(refused)?.into_inner();
    if server.json {
        show::json(&serde_json::json!({ "existed": answer.existed }));
    } else if answer.existed {
        println!("{participant} left");
    } else {
        println!("{participant} was not there");
    }
    Ok(ExitCode::SUCCESS)
}

async fn end(options: End) -> Result<ExitCode> {
    let End { conference, reason, server } = options;
    let end = request(EndRequest { conference, reason });
    let info = client(&server).await?.end(end).await.map_err(refused)?.into_inner();
    if server.json {
        show::json(&show::conference(&info));
    } else {
        println!("conference {} ({}) {}", info.number, info.id, show::state(&info));
    }
    Ok(ExitCode::SUCCESS)
}

async fn watch(options: Watch) -> Result<ExitCode> {
    let watch = tonic::Request::new(WatchEventsRequest { conference: options.conference });
    let mut events = client(&options.server).await?.watch_events(watch).await.map_err(refused)?.into_inner();
    loop {
        let event = tokio::select! {
            event = events.message() => event.map_err(refused)?,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        match event {
            Some(event) => show::event(&event, options.server.json),
            None => anyhow::bail!("control ended the stream of events"),
        }
    }
}

/// Runs `motet nodes`.
pub(crate) async fn nodes(options: NodesOptions) -> Result<ExitCode> {
    let mut client = NodeRegistryClient::new(options.server.connect().await?);
    let answer = client.list_nodes(request(ListNodesRequest {})).await.map_err(refused)?.into_inner();
    if options.server.json {
        show::json(&serde_json::Value::Array(answer.nodes.iter().map(show::node).collect()));
    } else {
        show::node_table(&answer.nodes);
    }
    Ok(ExitCode::SUCCESS)
}
