//! Starts a node's recorder, and tells what happens to recordings.

use super::Shared;
use crate::events::Events;
use crate::exchange::Exchange;
use crate::options::NodeOptions;
use crate::recording::{RecorderThread, RecordingEvent, RecordingEventKind, RecordingOptions};
use crate::worker::Clock;
use anyhow::{Context, Result, bail};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Starts the recorder, if there is a folder for recordings.
pub(super) fn start_recording(
    options: &NodeOptions,
    station: usize,
    (exchange, clock): (&Arc<Exchange>, Clock),
    events: mpsc::Sender<RecordingEvent>,
) -> Result<Option<RecorderThread>> {
    let Some(folder) = &options.recordings else { return Ok(None) };
    if !folder.is_dir() {
        bail!("--recordings {}: is no folder", folder.display());
    }
    let folder = folder.canonicalize().with_context(|| format!("--recordings {}", folder.display()))?;
    let exchange = Arc::clone(exchange);
    let settings = RecordingOptions { station, folder, exchange, clock, events };
    Ok(Some(RecorderThread::start(settings).context("cannot start the recorder's thread")?))
}

/// Hands on what happens to recordings.
pub(super) async fn forward_recording(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<RecordingEvent>,
    events: Events,
) {
    while let Some(RecordingEvent { conference, kind }) = waiting.recv().await {
        let mut state = shared.state.lock().await;
        match &kind {
            RecordingEventKind::TapWanted => state.tap_for_recorder(&conference).await,
            RecordingEventKind::Failed { recording, message, .. } => {
                tracing::warn!(%conference, %recording, %message, "a recording has ended by itself");
                if let Err(error) = state.recording_failed(&conference, recording, message.clone()).await {
                    tracing::warn!(%conference, %error, "packets still go to the recording that has ended");
                }
            }
            _ => {}
        }
        state.publish_recording(&events, &conference, &kind);
    }
}
