//! Starts a node's canvas threads.

use crate::canvas::{CanvasOptions, CanvasThread};
use crate::exchange::Exchange;
use crate::fence::{Fence, Word};
use crate::mixing::MixingEvent;
use crate::numa::Binding;
use crate::options::NodeOptions;
use crate::state::Canvases;
use crate::worker::Clock;
use anyhow::{Result, bail};
use motet_codecs::video::VideoCodecName;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Starts the threads; their places in the exchange come after the workers' and the mixing threads'.
pub(super) fn start_canvases(
    options: &NodeOptions,
    binding: &Binding,
    (exchange, clock, word): (&Arc<Exchange>, Clock, &Arc<Word>),
    events: &mpsc::Sender<MixingEvent>,
    died: &mpsc::Sender<usize>,
) -> Result<Canvases> {
    let (count, cores) = (usize::from(options.canvas_threads), &options.canvas_cores);
    if !cores.is_empty() && cores.len() < count {
        bail!("--canvas-cores: {} cores for {count} canvas threads", cores.len());
    }
    let first = binding.workers.len() + usize::from(options.mixing_threads);
    let mut threads = Vec::new();
    for index in 0..count {
        let settings = CanvasOptions {
            station: first + index,
            index,
            core: cores.get(index).copied(),
            exchange: Arc::clone(exchange),
            clock,
            fence: Fence::new(options.fence(), Arc::clone(word)),
            events: events.clone(),
            died: died.clone(),
        };
        let binding = binding.clone();
        let thread = CanvasThread::start(settings, move || binding.bind_memory());
        threads.push(thread.map_err(|error| anyhow::anyhow!("canvas thread {index}: {error}"))?);
    }
    Ok(Canvases::new(threads))
}

/// Encoding names that canvases decode and encode.
pub(super) fn codecs() -> impl Iterator<Item = String> {
    VideoCodecName::ALL.into_iter().map(|name| name.encoding_name().to_owned())
}
