//! `motet conf record`: recordings of conferences.

use crate::client::Server;
use crate::conf::done;
use crate::nodes::connect_node;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use motet_proto::conference::*;
use motet_proto::media::{AudioMode, MediaKind, Recording, RecordingFormat};
use motet_proto::node::{ConferenceStatsRequest, RecordingStats};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
#[command(
    after_help = "Files are on the node, below the folder that it was started with (--recordings): a folder for \
each recording, and in it PARTICIPANT-00001.mp4 and so on, +mix-00001.mp4 for the mix, +canvas-00001.mp4 for the \
composed picture with the mix, and .part.mp4 for what is being written. They play at any time. With --live there are \
+canvas.m3u8 or +mix.m3u8 and what they name, to be served by any web server."
)]
pub(crate) struct Record {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Begin a recording
    Start(Box<Start>),
    /// Leave out what comes from now on
    Pause(Which),
    /// Go on after a pause: the time meanwhile is not in the files
    Resume(Which),
    /// End a recording
    Stop(Which),
    /// List recordings, and how they are doing
    List(List),
}

#[derive(Args)]
struct Which {
    /// Id or number
    conference: String,
    /// Id of the recording, 1 to 64 of A-Z a-z 0-9 . _ : -
    #[arg(long, value_name = "ID", default_value = "main")]
    recording: String,
    /// Ask as this participant, who must be a chair [default: as the application, which may do everything]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Start {
    #[command(flatten)]
    which: Which,
    /// Write what each participant sends, as it comes [default: this, and the mix if there is one]
    #[arg(long)]
    participants: bool,
    /// Write the mix, while the conference is mixed
    #[arg(long)]
    mix: bool,
    /// Write the composed picture with the mix, in one file, while the conference is composed
    #[arg(long)]
    canvas: bool,
    /// Only this participant; may be given several times
    #[arg(long, value_name = "PARTICIPANT")]
    only: Vec<String>,
    /// Only media of this kind; may be given several times
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// What files are: MP4, or Matroska with names that end with .mkv
    #[arg(long, value_enum, default_value = "mp4")]
    format: Format,
    /// Write live output (HLS) instead of files: a playlist that players open while it grows, of the composed picture
    /// with the mix, or with --mix alone of the mix; --segment is how long a piece lasts [default: 4s]
    #[arg(long, conflicts_with_all = ["participants", "only", "kind", "format", "segment_bytes"])]
    live: bool,
    /// Folder of its files, below that of the node [default: the ids of conference and recording]
    #[arg(long, value_name = "NAME", default_value = "")]
    folder: String,
    /// Begin other files after so long, such as 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    segment: Option<Duration>,
    /// Begin another file after so many bytes, 65536 or more
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    segment_bytes: u64,
}

#[derive(Args)]
struct List {
    /// Id or number
    conference: String,
    #[command(flatten)]
    server: Server,
}

/// What a medium carries.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Audio,
    Video,
    Content,
}

/// What files are.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Mp4,
    #[value(alias = "matroska")]
    Mkv,
}

impl Format {
    fn to_wire(self) -> i32 {
        match self {
            Format::Mp4 => RecordingFormat::Mp4.into(),
            Format::Mkv => RecordingFormat::Matroska.into(),
        }
    }
}

impl Kind {
    fn to_wire(self) -> i32 {
        let kind = match self {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
            Kind::Content => MediaKind::Content,
        };
        kind.into()
    }
}

pub(crate) async fn record(options: Record) -> Result<ExitCode> {
    match options.command {
        Command::Start(options) => start(*options).await,
        Command::Pause(which) => pause(which, true).await,
        Command::Resume(which) => pause(which, false).await,
        Command::Stop(which) => stop(which).await,
        Command::List(options) => list(options).await,
    }
}

async fn start(options: Start) -> Result<ExitCode> {
    let Start { which, participants, mix, canvas, only, kind, format, live, folder, segment, segment_bytes } =
        options;
    // The composed picture unless it is to be the mix alone.
    let canvas = canvas || (live && !mix);
    let chooses = participants || !only.is_empty() || !kind.is_empty();
    let (control, mut client) = which.server.conferences().await?;
    let (participants, mix) = if chooses || mix || canvas {
        (chooses, mix)
    } else {
        let get = GetRequest { conference: which.conference.clone() };
        let audio = control.answer(client.get(get)).await?.audio.unwrap_or_default();
        (true, audio.mode() == AudioMode::Mix)
    };
    let recording = Recording {
        id: which.recording.clone(),
        folder,
        participants,
        only,
        kinds: kind.into_iter().map(Kind::to_wire).collect(),
        mix,
        canvas,
        format: if live { RecordingFormat::Hls.into() } else { format.to_wire() },
        // What is less than a second would be none.
        segment_seconds: segment.map_or(0, |time| time.as_secs_f64().ceil() as u32),
        segment_bytes,
        paused: false,
    };
    set(&which, recording, "begins").await
}

async fn pause(which: Which, paused: bool) -> Result<ExitCode> {
    let (control, mut client) = which.server.conferences().await?;
    let get = GetRequest { conference: which.conference.clone() };
    let info = control.answer(client.get(get)).await?;
    let known = info.recordings.into_iter().find(|known| known.id == which.recording);
    let known = known.with_context(|| {
        format!("--recording: conference {} has no recording '{}'", info.number, which.recording)
    })?;
    set(&which, Recording { paused, ..known }, if paused { "is paused" } else { "goes on" }).await
}

async fn set(which: &Which, recording: Recording, what: &str) -> Result<ExitCode> {
    let (control, mut client) = which.server.conferences().await?;
    let set = SetRecordingRequest {
        conference: which.conference.clone(),
        recording: Some(recording),
        by: which.by.clone(),
        request_id: String::new(),
    };
    let info = control.answer(client.set_recording(set)).await?;
    told(which, &info, what)
}

async fn stop(which: Which) -> Result<ExitCode> {
    let (control, mut client) = which.server.conferences().await?;
    let remove = RemoveRecordingRequest {
        conference: which.conference.clone(),
        recording: which.recording.clone(),
        by: which.by.clone(),
        request_id: String::new(),
    };
    let info = control.answer(client.remove_recording(remove)).await?;
    told(&which, &info, "has ended")
}

fn told(which: &Which, info: &ConferenceInfo, what: &str) -> Result<ExitCode> {
    done(which.server.json, crate::show::conference(info), || {
        format!("recording {} of conference {} {what}\n", which.recording, info.number)
    })
}

async fn list(options: List) -> Result<ExitCode> {
    let List { conference, server } = options;
    let (control, mut client) = server.conferences().await?;
    let info = control.answer(client.get(GetRequest { conference })).await?;
    let mut stats = Vec::new();
    if !info.recordings.is_empty() && !info.node_id.is_empty() {
        let mut node = connect_node(&control, &server, &info.node_id).await?;
        let asked = node.conference_stats(ConferenceStatsRequest { id: info.id.clone() }).await;
        let asked = asked.map_err(|status| anyhow::anyhow!("node {}: {}", info.node_id, status.message()))?;
        stats = asked.into_inner().recordings;
    }
    let of = |id: &str| stats.iter().find(|stats| stats.recording == id).cloned().unwrap_or_default();
    let shown: Vec<Value> = info.recordings.iter().map(|known| value(known, &of(&known.id))).collect();
    done(server.json, shown.into(), || {
        let pages = info.recordings.iter().map(|known| page(known, &of(&known.id)));
        let pages: String = pages.collect();
        if pages.is_empty() { format!("nothing of conference {} is recorded\n", info.number) } else { pages }
    })
}

/// "recording", "paused" or "failed".
fn state(known: &Recording, stats: &RecordingStats) -> &'static str {
    match () {
        () if !stats.failed.is_empty() => "failed",
        () if known.paused => "paused",
        () => "recording",
    }
}

fn value(known: &Recording, stats: &RecordingStats) -> Value {
    let files = stats.files.iter().map(|file| {
        json!({
            "participant": file.leg,
            "canvas": file.canvas,
            "file": file.file,
            "segments": file.segments,
            "packets": file.packets,
            "samples": file.samples,
            "bytes": file.bytes,
            "lost": file.lost,
            "silence_ms": file.silence_ms,
            "drops": file.drops,
        })
    });
    let refused = stats.refused.iter().map(
        |refused| json!({ "participant": refused.leg, "medium": refused.medium, "reason": refused.reason }),
    );
    json!({
        "recording": known.id,
        "state": state(known, stats),
        "failed": stats.failed,
        "folder": stats.folder,
        "participants": known.participants,
        "mix": known.mix,
        "canvas": known.canvas,
        "format": known.format().as_str_name(),
        "segment_seconds": known.segment_seconds,
        "segment_bytes": known.segment_bytes,
        "files": files.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
    })
}

fn page(known: &Recording, stats: &RecordingStats) -> String {
    let mut page = format!("{}  {}", known.id, state(known, stats));
    let rest = if stats.failed.is_empty() { &stats.folder } else { &stats.failed };
    let _ = writeln!(page, "  {rest}");
    for file in &stats.files {
        let whose = match file.leg.as_str() {
            "" if file.canvas => "the composed picture",
            "" => "the mix",
            leg => leg,
        };
        let name = if file.file.is_empty() { "nothing yet" } else { &file.file };
        let (segments, bytes) = (file.segments, file.bytes as f64 / 1e6);
        let _ = writeln!(
            page,
            "  {whose}: {name}, {segments} before it, {bytes:.1} MB, {} packets lost",
            file.lost
        );
    }
    for refused in &stats.refused {
        let _ = writeln!(page, "  {}/{} is not written: {}", refused.leg, refused.medium, refused.reason);
    }
    page
}
