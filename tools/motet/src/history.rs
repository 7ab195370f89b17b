//! `motet conf history`: what happened to a conference, and its call record.

use crate::client::Server;
use crate::conf::done;
use crate::show::{table, time};
use anyhow::Result;
use clap::Args;
use motet_proto::conference::conference_client::ConferenceClient;
use motet_proto::conference::{CallSegment, HistoryEntry, HistoryRequest, HistoryResponse};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct History {
    /// Id or number
    conference: String,
    #[command(flatten)]
    server: Server,
}

/// Runs `motet conf history`.
pub(crate) async fn history(options: History) -> Result<ExitCode> {
    let History { conference, server } = options;
    let control = server.connect().await?;
    let mut client = ConferenceClient::new(control.channel());
    let history = control.answer(client.history(HistoryRequest { conference })).await?;
    let shown = json!({
        "conference": history.conference,
        "number": history.number,
        "entries": history.entries.iter().map(entry).collect::<Vec<_>>(),
        "left_out": history.left_out,
        "segments": history.segments.iter().map(segment).collect::<Vec<_>>(),
    });
    done(server.json, shown, || page(&history))
}

fn entry(entry: &HistoryEntry) -> Value {
    json!({
        "unix_ms": entry.unix_ms,
        "kind": entry.kind,
        "participant": entry.participant,
        "node_id": entry.node_id,
        "message": entry.message,
    })
}

fn segment(segment: &CallSegment) -> Value {
    json!({
        "epoch": segment.epoch,
        "node_id": segment.node_id,
        "room": segment.room,
        "platform": segment.platform,
        "from_unix_ms": segment.from_unix_ms,
        "until_unix_ms": segment.until_unix_ms,
        "down_ms": segment.down_ms,
        "participants_max": segment.participants_max,
        "participant_ms": segment.participant_ms,
    })
}

fn page(history: &HistoryResponse) -> String {
    let mut page = String::new();
    for (index, entry) in history.entries.iter().enumerate() {
        if index == FIRST && history.left_out > 0 {
            page.push_str(&format!("... {} entries left out\n", history.left_out));
        }
        page.push_str(&format!("{} {:20} {}\n", time(entry.unix_ms), entry.kind, entry.message));
    }
    let rows = history.segments.iter().map(|segment| {
        let until = match segment.until_unix_ms {
            0 => "now".to_owned(),
            until => time(until),
        };
        let span = |ms| humantime::format_duration(Duration::from_millis(ms)).to_string();
        vec![
            segment.epoch.to_string(),
            segment.node_id.clone(),
            segment.room.clone(),
            time(segment.from_unix_ms),
            until,
            span(segment.down_ms),
            segment.participants_max.to_string(),
            span(segment.participant_ms),
        ]
    });
    let head = ["EPOCH", "NODE", "ROOM", "FROM", "UNTIL", "DOWN", "MOST", "PARTICIPANTS' TIME"];
    page.push('\n');
    page.push_str(&table(&head, rows.collect()));
    page
}

/// Control keeps so many of the first entries.
const FIRST: usize = 5;
