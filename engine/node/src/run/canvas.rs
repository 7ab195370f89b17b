//! Starts a node's canvas threads.

use crate::canvas::{CanvasOptions, CanvasThread, ProcessOptions, StillFolder};
use crate::exchange::Exchange;
use crate::fence::{Fence, Word};
use crate::mixing::MixingEvent;
use crate::numa::Binding;
use crate::options::NodeOptions;
use crate::state::Canvases;
use crate::worker::Clock;
use anyhow::{Context, Result, bail};
use motet_codecs::video::VideoCodecName;
use motet_mixer::video::Font;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What names are written with, and its file, if there is something.
pub(super) type Letters = Option<(PathBuf, Arc<Font>)>;

/// Starts the threads; their places in the exchange come after the workers' and the mixing threads'.
pub(super) fn start_canvases(
    options: &NodeOptions,
    binding: &Binding,
    (exchange, clock, word): (&Arc<Exchange>, Clock, &Arc<Word>),
    events: &mpsc::Sender<MixingEvent>,
    died: &mpsc::Sender<usize>,
    font: Letters,
) -> Result<Canvases> {
    let (count, cores) = (usize::from(options.canvas_threads), &options.canvas_cores);
    if !cores.is_empty() && cores.len() < count {
        bail!("--canvas-cores: {} cores for {count} canvas threads", cores.len());
    }
    if let Some(folder) = options.stills.as_ref().filter(|folder| !folder.is_dir()) {
        bail!("--stills {}: is no folder", folder.display());
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
            font: font.as_ref().map(|(_, font)| Arc::clone(font)),
            events: events.clone(),
            died: died.clone(),
            mark: None,
            process: (!options.canvas_in_node).then(|| {
                let stations = exchange.stations();
                ProcessOptions { stations, font: font.as_ref().map(|(path, _)| path.clone()) }
            }),
        };
        let binding = binding.clone();
        let thread = CanvasThread::start(settings, move || binding.bind_memory());
        threads.push(thread.map_err(|error| anyhow::anyhow!("canvas thread {index}: {error}"))?);
    }
    Ok(Canvases::new(threads, font.is_some(), StillFolder::new(options.stills.clone())))
}

/// Where Debian has fonts, the best first: what `scripts/setup.sh` installs has Chinese, Japanese and Korean.
const FONTS: [&str; 4] = [
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
];

/// The font that was asked for, or one that is there; none: no names are written.
///
/// To be read before another process is asked to hand over: it is some megabytes, and may be none.
pub(super) fn font(options: &NodeOptions) -> Result<Letters> {
    if options.canvas_threads == 0 {
        return Ok(None);
    }
    let asked = options.font.as_deref();
    let found = || FONTS.iter().map(Path::new).find(|path| path.is_file());
    let Some(path) = asked.or_else(found) else { return Ok(None) };
    let bytes = std::fs::read(path).with_context(|| format!("--font {}: cannot be read", path.display()))?;
    let font = Font::read(bytes).with_context(|| format!("--font {}", path.display()))?;
    if !font.has("会議") {
        tracing::warn!(font = %path.display(), "Chinese, Japanese and Korean names will be boxes: --font names one that has them");
    }
    Ok(Some((path.to_owned(), Arc::new(font))))
}

/// Encoding names that canvases decode and encode.
pub(super) fn codecs() -> impl Iterator<Item = String> {
    VideoCodecName::ALL.into_iter().map(|name| name.encoding_name().to_owned())
}
