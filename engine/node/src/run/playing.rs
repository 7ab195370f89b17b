//! Tells what happens to files that play.

use super::Shared;
use crate::events::Events;
use crate::playing::PlayingEvent;
use crate::state::publish_playing;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Hands on what happens to files that play.
pub(super) async fn forward_playing(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<PlayingEvent>,
    events: Events,
) {
    while let Some(event) = waiting.recv().await {
        if let Some(why) = &event.why {
            let PlayingEvent { conference, leg, file, .. } = &event;
            tracing::warn!(%conference, %leg, file, why, "a file cannot be played further");
        }
        publish_playing(&*shared.state.lock().await, &events, event);
    }
}
