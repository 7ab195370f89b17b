//! Starts a node's mixing threads, and tells what happens on them.

use super::Shared;
use crate::events::Events;
use crate::exchange::Exchange;
use crate::fence::{Fence, Word};
use crate::mixing::prompts::PromptFolder;
use crate::mixing::{MixingEvent, MixingEventKind, MixingOptions, MixingThread};
use crate::numa::Binding;
use crate::options::NodeOptions;
use crate::state::{Mixing, publish};
use crate::worker::{Clock, monotonic};
use anyhow::{Result, bail};
use motet_codecs::audio::AudioCodecName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two looks at what receivers of mixes report: about as often as they do (RFC 3550 section 6.2).
const LOSS_INTERVAL: Duration = Duration::from_secs(2);

/// Starts the threads; their places in the exchange come after the workers'.
pub(super) fn start_mixing(
    options: &NodeOptions,
    binding: &Binding,
    (exchange, clock, word): (&Arc<Exchange>, Clock, &Arc<Word>),
    events: &mpsc::Sender<MixingEvent>,
    died: &mpsc::Sender<usize>,
) -> Result<Mixing> {
    let (count, cores) = (usize::from(options.mixing_threads), &options.mixing_cores);
    if !cores.is_empty() && cores.len() < count {
        bail!("--mixing-cores: {} cores for {count} mixing threads", cores.len());
    }
    if let Some(folder) = options.prompts.as_ref().filter(|folder| !folder.is_dir()) {
        bail!("--prompts {}: is no folder", folder.display());
    }
    let mut threads = Vec::new();
    for index in 0..count {
        let settings = MixingOptions {
            station: binding.workers.len() + index,
            index,
            core: cores.get(index).copied(),
            exchange: Arc::clone(exchange),
            clock,
            fence: Fence::new(options.fence(), Arc::clone(word)),
            events: events.clone(),
            died: died.clone(),
        };
        let binding = binding.clone();
        let thread = MixingThread::start(settings, move || binding.bind_memory());
        threads.push(thread.map_err(|error| anyhow::anyhow!("mixing thread {index}: {error}"))?);
    }
    Ok(Mixing::new(threads, PromptFolder::new(options.prompts.clone())))
}

/// Hands on what happens in mixes.
pub(super) async fn forward_mixing(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<MixingEvent>,
    events: Events,
) {
    while let Some(MixingEvent { conference, kind }) = waiting.recv().await {
        let mut state = shared.state.lock().await;
        if let MixingEventKind::Loudest { legs } = kind {
            if let Err(error) = state.set_loudest(&conference, legs).await {
                tracing::warn!(%conference, %error, "who is loudest was found and cannot be forwarded");
            }
            continue;
        }
        if let MixingEventKind::Fits { leg, fits } = kind {
            if let Err(error) = state.set_fits(&conference, leg, fits).await {
                tracing::warn!(%conference, %error, "a picture's size was found and cannot be acted upon");
            }
            continue;
        }
        match &kind {
            MixingEventKind::Active { leg } => state.show_speaker(&conference, leg.clone()),
            MixingEventKind::Speaker { leg, speaking } => {
                state.show_talks(&conference, leg.clone(), *speaking);
            }
            MixingEventKind::Lecture { leg } => {
                if let Err(error) = state.set_lecturer(&conference, leg.clone()).await {
                    tracing::warn!(%conference, %error, "a lecture was found and cannot be shown");
                }
            }
            _ => {}
        }
        publish(&state.conferences, &events, MixingEvent { conference, kind });
    }
}

/// Tells mixing threads what receivers lose.
pub(super) async fn watch_losses(shared: Arc<Shared>) {
    let mut looks = tokio::time::interval(LOSS_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        looks.tick().await;
        shared.state.lock().await.watch_losses(monotonic()).await;
    }
}

/// Encoding names that the mixer decodes and encodes.
pub(super) fn mixed_codecs() -> Vec<String> {
    use AudioCodecName::{AacLc, G722, L16, Opus, Pcma, Pcmu};
    [Opus, G722, Pcma, Pcmu, L16, AacLc].map(|name| name.encoding_name().to_owned()).into()
}
