//! `motet nodes`: which nodes control knows, and which are to take no new conferences.

use crate::client::{Server, Usage, node_channel};
use crate::conf::done;
use crate::{counted, show};
use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use motet_proto::conference::GetRequest;
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::{
    ConferenceStatsRequest, ListConferencesRequest, ListenRequest, MoveConferenceRequest, RunningConference,
};
use motet_proto::registry::node_registry_client::NodeRegistryClient;
use motet_proto::registry::{
    CordonNodeRequest, DrainNodeRequest, GiveUpNodeRequest, ListNodesRequest, UncordonNodeRequest,
    UndrainNodeRequest, WhatIfLostRequest,
};
use motet_rtpgen::reach::Connection;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tonic::transport::Channel;

/// Options of `motet nodes`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodesOptions {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    server: Server,
}

#[derive(Subcommand)]
enum Command {
    /// List the nodes that control knows; what `motet nodes` alone does, too
    List(List),
    /// Have a node take no new conferences; what runs goes on
    Drain(Drain),
    /// Have a node take new conferences again, and not end
    Undrain(Undrain),
    /// Have control place nothing new on a node, whatever the node says itself; what runs goes on
    Cordon(Cordon),
    /// Let something be placed there again
    Uncordon(Undrain),
    /// Show what would move where if a node were lost, and what would not fit
    WhatIf(Undrain),
    /// Have the conferences of a node that does not answer move to other nodes
    GiveUp(GiveUp),
    /// List what runs on a node, and on which of its workers
    Conferences(Conferences),
    /// Show what a node counts of a conference: packets, losses, and how its sound is mixed
    Stats(Stats),
    /// Keep the sound of a mixed conference, or of one participant, as a WAV file
    Listen(Listen),
    /// Move a conference to another worker of its node; participants notice nothing
    Move(Move),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Drain {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,

    /// Have the node end as soon as nothing runs on it, and after this time, such as 90s or 30m, whatever
    /// runs on it; without, it does not end
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Undrain {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Cordon {
    /// Name of the node, which need not be known yet
    #[arg(value_name = "NODE")]
    node: String,

    /// Why, for people
    #[arg(long, default_value = "")]
    reason: String,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct GiveUp {
    /// Name of the node, which must be suspect, isolated or lost; without: all that are lost and held back
    #[arg(value_name = "NODE", default_value = "")]
    node: String,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Conferences {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Stats {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,

    /// Id or number of the conference
    #[arg(value_name = "CONFERENCE")]
    conference: String,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Listen {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,

    /// Id or number of the conference
    #[arg(value_name = "CONFERENCE")]
    conference: String,

    /// Of this participant alone, as it comes [default: the mix of the main room]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    participant: String,

    /// For how long, such as 10s
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    duration: Duration,

    /// Where to leave it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
struct Move {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,

    /// Id or number of the conference
    #[arg(value_name = "CONFERENCE")]
    conference: String,

    /// Where it is to be, counted from 0
    #[arg(long, value_name = "N")]
    worker: u32,

    #[command(flatten)]
    server: Server,
}

/// Runs `motet nodes`.
pub(crate) async fn run(options: NodesOptions) -> Result<ExitCode> {
    match options.command {
        None => list(options.server).await,
        Some(Command::List(list_options)) => list(list_options.server).await,
        Some(Command::Drain(options)) => drain(options).await,
        Some(Command::Undrain(options)) => undrain(options).await,
        Some(Command::Cordon(options)) => cordon(options).await,
        Some(Command::Uncordon(options)) => uncordon(options).await,
        Some(Command::WhatIf(options)) => what_if(options).await,
        Some(Command::GiveUp(options)) => give_up(options).await,
        Some(Command::Conferences(options)) => conferences(options).await,
        Some(Command::Stats(options)) => stats(options).await,
        Some(Command::Listen(options)) => listen(options).await,
        Some(Command::Move(options)) => move_conference(options).await,
    }
}

async fn list(server: Server) -> Result<ExitCode> {
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    let nodes = control.answer(client.list_nodes(ListNodesRequest {})).await?.nodes;
    done(server.json, nodes.iter().map(show::node).collect(), || show::node_table(&nodes))
}

async fn drain(options: Drain) -> Result<ExitCode> {
    let Drain { node, deadline, server } = options;
    let deadline_ms = deadline.map_or(0, |deadline| deadline.as_millis());
    let deadline_ms = u64::try_from(deadline_ms).unwrap_or(u64::MAX);
    if deadline.is_some() && deadline_ms == 0 {
        return Err(Usage("--deadline: must be at least 1ms".to_owned()).into());
    }
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    let request = DrainNodeRequest { node_id: node.clone(), deadline_ms };
    let left = control.answer(client.drain_node(request)).await?.conferences_left;
    done(server.json, serde_json::json!({ "conferences_left": left }), || {
        let end = deadline.map_or(String::new(), |deadline| {
            format!("; it ends when they are over, in {} at the latest", humantime::format_duration(deadline))
        });
        format!("{node} drains, conferences left: {left}{end}\n")
    })
}

async fn undrain(options: Undrain) -> Result<ExitCode> {
    let Undrain { node, server } = options;
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    control.answer(client.undrain_node(UndrainNodeRequest { node_id: node.clone() })).await?;
    done(server.json, serde_json::json!({ "node_id": node }), || format!("{node} takes new conferences\n"))
}

async fn cordon(options: Cordon) -> Result<ExitCode> {
    let Cordon { node, reason, server } = options;
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    control.answer(client.cordon_node(CordonNodeRequest { node_id: node.clone(), reason })).await?;
    let shown = serde_json::json!({ "node_id": node, "cordoned": true });
    done(server.json, shown, || format!("nothing new goes to {node}\n"))
}

async fn uncordon(options: Undrain) -> Result<ExitCode> {
    let Undrain { node, server } = options;
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    control.answer(client.uncordon_node(UncordonNodeRequest { node_id: node.clone() })).await?;
    let shown = serde_json::json!({ "node_id": node, "cordoned": false });
    done(server.json, shown, || format!("{node} is cordoned no longer\n"))
}

async fn what_if(options: Undrain) -> Result<ExitCode> {
    let Undrain { node, server } = options;
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    let moves = control.answer(client.what_if_lost(WhatIfLostRequest { node_id: node })).await?.moves;
    done(server.json, moves.iter().map(show::planned).collect(), || show::planned_table(&moves))
}

async fn give_up(options: GiveUp) -> Result<ExitCode> {
    let GiveUp { node, server } = options;
    let control = server.connect().await?;
    let mut client = NodeRegistryClient::new(control.channel());
    let given_up = control.answer(client.give_up_node(GiveUpNodeRequest { node_id: node })).await?;
    let count = given_up.conferences;
    done(server.json, serde_json::json!({ "conferences": count }), || {
        format!("conferences that move: {count}\n")
    })
}

async fn conferences(options: Conferences) -> Result<ExitCode> {
    let Conferences { node, server } = options;
    let control = server.connect().await?;
    let mut client = connect_node(&control, &server, &node).await?;
    let list = client.list_conferences(ListConferencesRequest::default()).await;
    let list = list.map_err(|status| said(&node, &status))?.into_inner().conferences;
    let shown = list.iter().map(show::running).collect();
    done(server.json, shown, || show::running_table(&list))
}

async fn listen(options: Listen) -> Result<ExitCode> {
    let Listen { node, conference, participant, duration, out, server } = options;
    let control = server.connect().await?;
    let mut conferences = ConferenceClient::new(control.channel());
    let id = control.answer(conferences.get(GetRequest { conference })).await?.id;
    let mut client = connect_node(&control, &server, &node).await?;
    let request = ListenRequest { conference: id, leg: participant };
    let mut frames = client.listen(request).await.map_err(|status| said(&node, &status))?.into_inner();
    let (mut samples, mut missed, mut rate_hz, mut expected) = (Vec::new(), 0, 0, 0);
    while let Some(frame) = frames.message().await.map_err(|status| said(&node, &status))? {
        anyhow::ensure!(rate_hz == 0 || rate_hz == frame.rate_hz, "the mix was given another rate");
        let holes = frame.number.saturating_sub(expected);
        // What was missed is silence.
        samples.resize(samples.len() + holes as usize * (frame.samples.len() / 2), 0);
        samples.extend(frame.samples.as_chunks().0.iter().map(|sample| i16::from_le_bytes(*sample)));
        (missed, rate_hz, expected) = (missed + holes, frame.rate_hz, frame.number + 1);
        if samples.len() as f64 >= duration.as_secs_f64() * f64::from(rate_hz) {
            break;
        }
    }
    anyhow::ensure!(rate_hz > 0, "node {node}: the sound ended before it began");
    motet_rtpgen::audio::wav::write(&out, &samples, rate_hz)?;
    let seconds = samples.len() as f64 / f64::from(rate_hz);
    let shown = serde_json::json!({ "seconds": seconds, "rate_hz": rate_hz, "missed_frames": missed });
    done(server.json, shown, || format!("{seconds:.1} s at {rate_hz} Hz in {}\n", out.display()))
}

async fn stats(options: Stats) -> Result<ExitCode> {
    let Stats { node, conference, server } = options;
    let control = server.connect().await?;
    let mut conferences = ConferenceClient::new(control.channel());
    let id = control.answer(conferences.get(GetRequest { conference })).await?.id;
    let mut client = connect_node(&control, &server, &node).await?;
    let stats = client.conference_stats(ConferenceStatsRequest { id }).await;
    let stats = stats.map_err(|status| said(&node, &status))?.into_inner();
    done(server.json, counted::value(&stats), || counted::tables(&stats))
}

/// The node is asked itself: on which of its workers a conference runs is no business of control.
async fn move_conference(options: Move) -> Result<ExitCode> {
    let Move { node, conference, worker, server } = options;
    let control = server.connect().await?;
    let mut conferences = ConferenceClient::new(control.channel());
    let info = control.answer(conferences.get(GetRequest { conference })).await?;
    let mut client = connect_node(&control, &server, &node).await?;
    let list = client.list_conferences(ListConferencesRequest::default()).await;
    let running: Vec<RunningConference> =
        list.map_err(|status| said(&node, &status))?.into_inner().conferences;
    let epoch = running.iter().find(|running| running.id == info.id).map(|running| running.epoch);
    let epoch = epoch.with_context(|| {
        let number = &info.number;
        match info.node_id.as_str() {
            there if !there.is_empty() && there != node => {
                format!("conference {number} does not run on node {node}, but on {there}")
            }
            // Its node is remembered after its end.
            _ => format!("conference {number} does not run on node {node}: it is {}", show::state(&info)),
        }
    })?;
    let request = MoveConferenceRequest { id: info.id.clone(), epoch, worker };
    let moved = client.move_conference(request).await.map_err(|status| said(&node, &status))?.into_inner();
    let shown = serde_json::json!({
        "id": info.id,
        "from_worker": moved.from_worker,
        "worker": worker,
        "pause_us": moved.pause_us,
    });
    done(server.json, shown, || {
        let (number, from, pause) = (&info.number, moved.from_worker, moved.pause_us as f64 / 1e3);
        format!(
            "{number} moved from worker {from} to worker {worker} of {node}; packets waited {pause:.1} ms\n"
        )
    })
}

/// A connection to a node that control knows by this name.
pub(crate) async fn connect_node(
    control: &Connection,
    server: &Server,
    node: &str,
) -> Result<MediaNodeClient<Channel>> {
    let mut registry = NodeRegistryClient::new(control.channel());
    let nodes = control.answer(registry.list_nodes(ListNodesRequest {})).await?.nodes;
    let named = |known: &&motet_proto::registry::RegisteredNode| {
        known.node.as_ref().is_some_and(|known| known.node_id == node)
    };
    let known = nodes.iter().find(named).with_context(|| format!("control knows no node '{node}'"))?;
    Ok(MediaNodeClient::new(node_channel(&known.address, server.timeout).await?))
}

/// What a node said instead of an answer.
fn said(node: &str, status: &tonic::Status) -> anyhow::Error {
    anyhow!("node {node}: {}", status.message())
}
