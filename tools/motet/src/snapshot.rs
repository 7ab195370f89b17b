//! `motet conf snapshot`: single pictures.

use crate::client::Server;
use crate::conf::done;
use anyhow::{Context, Result};
use clap::Args;
use motet_proto::conference::SnapshotRequest;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Bytes of an answer at most: a picture of 4096 by 2304 as it is.
const ANSWER_BYTES_MAX: usize = 32 << 20;

#[derive(Args)]
pub(crate) struct Snapshot {
    /// Id or number
    conference: String,
    /// PNG file, which is written anew
    file: PathBuf,
    /// Whose picture; needs a node with a folder for recordings [default: the composed one]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    participant: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn snapshot(options: Snapshot) -> Result<ExitCode> {
    let Snapshot { conference, file, participant, server } = options;
    let (control, client) = server.conferences().await?;
    let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
    let taken = control.answer(client.snapshot(SnapshotRequest { conference, participant })).await?;
    std::fs::write(&file, &taken.png).with_context(|| format!("cannot write {}", file.display()))?;
    let (width, height, bytes) = (taken.width, taken.height, taken.png.len());
    let value =
        json!({ "file": file.display().to_string(), "width": width, "height": height, "bytes": bytes });
    done(server.json, value, || format!("{}: {width} by {height}\n", file.display()))
}
