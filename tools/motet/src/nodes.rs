//! `motet nodes`: which nodes control knows, and which are to take no new conferences.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::show;
use anyhow::Result;
use clap::{Args, Subcommand};
use motet_proto::registry::node_registry_client::NodeRegistryClient;
use motet_proto::registry::{DrainNodeRequest, ListNodesRequest, UndrainNodeRequest};
use std::process::ExitCode;
use std::time::Duration;

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

/// Runs `motet nodes`.
pub(crate) async fn run(options: NodesOptions) -> Result<ExitCode> {
    match options.command {
        None => list(options.server).await,
        Some(Command::List(list_options)) => list(list_options.server).await,
        Some(Command::Drain(options)) => drain(options).await,
        Some(Command::Undrain(options)) => undrain(options).await,
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
