//! One conference's pictures.

use super::canvas::{Canvas, CanvasKey, Tools};
use super::caption::Captions;
use super::feed::{Feed, FeedKey, Receiver};
use super::label::{Labels, Name};
use super::layers::{Choice, Layers};
use super::pace::LOOK_INTERVAL;
use super::source::Source;
use super::still::Stills;
use super::turns::Turns;
use super::{
    CANVASES_MAX, Fit, Font, LAYERS_MAX, OUTPUTS_MAX, OutputConfig, OutputId, SOURCES_MAX, SourceConfig,
    SourceId, SourceShape, VideoCommand, VideoMixError, VideoOutbox, VideoStats,
};
use motet_codecs::video::{FramePool, Picture, PictureSize};
use motet_rtp::{RtpView, Time, WireSeq};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Frames whose memory is kept for others.
const FRAMES_KEPT: usize = 32;

/// See the module above.
pub struct VideoMixer {
    sources: BTreeMap<SourceId, Source>,
    outputs: BTreeMap<OutputId, OutputConfig>,
    canvases: Vec<Canvas>,
    feeds: Vec<Feed>,
    layers: Layers,
    /// The one who speaks, and the one before.
    speakers: [Option<SourceId>; 2],
    divisor: u32,
    look: u64,
    pool: FramePool,
    labels: Labels,
    captions: Captions,
    stills: Stills,
    turns: Turns,
    stats: VideoStats,
}

impl Default for VideoMixer {
    fn default() -> Self {
        VideoMixer::new()
    }
}

impl VideoMixer {
    /// Nobody is there, and no names are written.
    pub fn new() -> VideoMixer {
        VideoMixer::with_font(None)
    }

    /// Nobody is there; names are written in this font.
    pub fn with_font(font: Option<Arc<Font>>) -> VideoMixer {
        VideoMixer {
            labels: Labels::new(font.clone()),
            captions: Captions::new(font),
            stills: Stills::default(),
            turns: Turns::default(),
            sources: BTreeMap::new(),
            outputs: BTreeMap::new(),
            canvases: Vec::new(),
            feeds: Vec::new(),
            layers: Layers::default(),
            speakers: [None; 2],
            divisor: 1,
            look: 0,
            pool: FramePool::new(FRAMES_KEPT),
            stats: VideoStats::default(),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> &VideoStats {
        &self.stats
    }

    /// Makes a change. Canvases that begin are due at once.
    ///
    /// # Errors
    /// See [`VideoMixError`]; nothing is changed then.
    pub fn handle_command(&mut self, now: Time, command: VideoCommand) -> Result<(), VideoMixError> {
        match command {
            VideoCommand::AddSource(config) => self.add_source(config)?,
            VideoCommand::RemoveSource(id) => {
                self.sources.remove(&id).ok_or(VideoMixError::UnknownSource(id))?;
                self.layers.remove(id);
                self.speakers
                    .iter_mut()
                    .filter(|speaker| **speaker == Some(id))
                    .for_each(|gone| *gone = None);
            }
            VideoCommand::SetName { id, name } => {
                let source = self.sources.get_mut(&id).ok_or(VideoMixError::UnknownSource(id))?;
                source.name = Name::new(&name);
            }
            VideoCommand::SetLook { id, look } => {
                self.sources.get_mut(&id).ok_or(VideoMixError::UnknownSource(id))?.look = look;
            }
            VideoCommand::Measure { id, measured } => {
                let source = self.sources.get_mut(&id).ok_or(VideoMixError::UnknownSource(id))?;
                source.set_measured(now, measured);
            }
            VideoCommand::AddOutput(config) => {
                if self.outputs.contains_key(&config.id) {
                    return Err(VideoMixError::OutputExists(config.id));
                }
                if self.outputs.len() >= OUTPUTS_MAX {
                    return Err(VideoMixError::too_many_outputs());
                }
                check(&config)?;
                self.join(now, &config, Receiver::new(&config))?;
                self.outputs.insert(config.id, config);
            }
            VideoCommand::RemoveOutput(id) => {
                self.outputs.remove(&id).ok_or(VideoMixError::UnknownOutput(id))?;
                self.leave(id);
                self.forget();
            }
            VideoCommand::SetOutput(config) => self.set_output(now, config)?,
            VideoCommand::SetLayout { id, layout } => {
                let config = self.outputs.get(&id).ok_or(VideoMixError::UnknownOutput(id))?;
                self.set_output(now, OutputConfig { layout, ..config.clone() })?;
            }
            VideoCommand::SetSpeaker(speaker) => {
                if let Some(unknown) = speaker.filter(|id| !self.sources.contains_key(id)) {
                    return Err(VideoMixError::UnknownSource(unknown));
                }
                if speaker.is_some() && speaker != self.speakers[0] {
                    self.speakers = [speaker, self.speakers[0]];
                }
            }
            VideoCommand::RequestKeyFrame(id) => {
                let feed = self.feed_of(id).ok_or(VideoMixError::UnknownOutput(id))?;
                feed.request_key_frame();
            }
            VideoCommand::SetDivisor(divisor) => self.divisor = divisor.clamp(1, 60),
        }
        self.turns.keep(now, self.canvases.iter().flat_map(Canvas::sequences));
        self.arrange();
        Ok(())
    }

    /// Takes a packet in.
    pub fn handle_packet(&mut self, now: Time, datagram: &[u8]) {
        let packet = RtpView::new(datagram).ok();
        let source = packet.and_then(|packet| {
            let source = self.sources.values_mut().find(|source| source.ssrc == packet.ssrc());
            source.map(|source| (packet, source))
        });
        let taken =
            source.is_some_and(|(packet, source)| source.handle_packet(now, &packet, &mut self.stats));
        self.stats.packets_refused += u64::from(!taken);
    }

    /// Makes what is due: composes and encodes. What it made is in `out`, and nothing else is.
    pub fn handle_timeout(&mut self, now: Time, out: &mut VideoOutbox) {
        out.clear();
        for source in self.sources.values_mut() {
            // What was waited for in vain.
            source.decode(now, &mut self.stats);
            source.listen(now);
            if source.poll_key_frame(now) {
                out.key_frames_wanted.push(source.id);
            }
        }
        if !self.layers.is_empty() {
            // What came may be another copy than the one before.
            self.see();
        }
        let people = self.sources.values().filter(|source| !source.look.off && source.is_person());
        let people: Vec<SourceId> = people.map(|source| source.id).collect();
        if self.turns.step(now, &people) {
            self.arrange();
        }
        let mut made: Vec<usize> = Vec::new();
        for index in 0..self.canvases.len() {
            let canvas = &self.canvases[index];
            if canvas.due > now {
                continue;
            }
            match canvas.key.alone {
                Some(id) => self.make_alone(index, id, now, out),
                None => self.make(index, &mut made, now, out),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; none: there is no canvas.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.canvases.iter().map(|canvas| canvas.due).min()
    }

    /// What an output shows now; none: there is no such output.
    pub fn picture(&mut self, now: Time, id: OutputId) -> Option<Picture<'_>> {
        let VideoMixer { canvases, sources, layers, pool, labels, captions, stills, stats, .. } = self;
        let key = CanvasKey::of(self.outputs.get(&id)?);
        if let Some(source) = key.alone {
            let copy = layers.choose(sources, source, (key.size, key.fit)).shown;
            return sources.get_mut(&copy)?.within(key.size, self.look, pool, stats);
        }
        let canvas = canvases.iter_mut().find(|canvas| canvas.key == key)?;
        // One that shares the drawing of another may be behind.
        canvas.look((sources, layers), self.speakers[0]);
        self.look += 1;
        canvas.draw(sources, (now, self.look), Tools { pool, labels, captions, stills }, stats);
        Some(canvas.frame().picture())
    }

    /// What a source sends; none: it is not measured, or has sent too little.
    pub fn shape(&self, id: SourceId) -> Option<SourceShape> {
        self.sources.get(&id)?.shape()
    }

    /// The number that an output's next packet would have.
    pub fn next_sequence(&self, id: OutputId) -> Option<WireSeq> {
        let mut receivers = self.feeds.iter().flat_map(|feed| &feed.outputs);
        receivers.find(|receiver| receiver.id == id).map(|receiver| receiver.sequence)
    }

    /// Makes the picture of a canvas; `made` are those made in the same moment.
    fn make(&mut self, index: usize, made: &mut Vec<usize>, now: Time, out: &mut VideoOutbox) {
        let VideoMixer { canvases, sources, layers, feeds, stats, .. } = self;
        let canvas = &mut canvases[index];
        let interval = canvas.interval(self.divisor);
        canvas.due += interval;
        if canvas.due <= now {
            let behind = now.since(canvas.due).as_nanos() / interval.as_nanos() + 1;
            stats.missed += behind as u64;
            canvas.due = now + interval;
        }
        canvas.look((sources, layers), self.speakers[0]);
        let same = made.iter().copied().find(|other| canvases[*other].is_as(&canvases[index]));
        if same.is_some() {
            stats.composes_shared += 1;
        } else {
            self.look += 1;
            let tools = Tools {
                pool: &self.pool,
                labels: &mut self.labels,
                captions: &mut self.captions,
                stills: &mut self.stills,
            };
            canvases[index].draw(sources, (now, self.look), tools, stats);
            stats.composed += 1;
            made.push(index);
        }
        let picture = canvases[same.unwrap_or(index)].frame().picture();
        let key = &canvases[index].key;
        for feed in feeds.iter_mut().filter(|feed| feed.key.canvas == *key) {
            feed.encode(now, &picture, out, stats);
        }
        for source in sources.values_mut() {
            source.forget_tiles(self.look);
        }
    }

    /// Encodes the picture of one source for those who see nothing else, if there is another one than before.
    fn make_alone(&mut self, index: usize, id: SourceId, now: Time, out: &mut VideoOutbox) {
        let VideoMixer { canvases, sources, layers, feeds, stats, pool, .. } = self;
        let canvas = &mut canvases[index];
        canvas.due = now + LOOK_INTERVAL;
        if sources.get(&id).is_none_or(|source| source.look.off) {
            return;
        }
        let copy = layers.choose(sources, id, (canvas.key.size, canvas.key.fit)).shown;
        let Some(source) = sources.get_mut(&copy) else { return };
        let of_this = |feed: &Feed| feed.key.canvas == canvas.key;
        let wants_key = feeds.iter().any(|feed| of_this(feed) && feed.wants_key_frame(now));
        let interval = canvas.interval(self.divisor);
        if !canvas.pace.makes(now, source.shown(), wants_key, interval) {
            return;
        }
        self.look += 1;
        let Some(picture) = source.within(canvas.key.size, self.look, pool, stats) else { return };
        stats.transcoded += 1;
        for feed in feeds.iter_mut().filter(|feed| feed.key.canvas == canvas.key) {
            feed.encode(now, &picture, out, stats);
        }
        source.forget_tiles(self.look);
    }

    fn add_source(&mut self, config: SourceConfig) -> Result<(), VideoMixError> {
        if self.sources.contains_key(&config.id) {
            return Err(VideoMixError::SourceExists(config.id));
        }
        if self.sources.values().any(|source| source.ssrc == config.ssrc) {
            return Err(VideoMixError::SsrcTaken(config.ssrc));
        }
        // Copies are counted apart, so that as many people find room.
        let alike = self.sources.values().filter(|source| source.layer.is_some() == config.layer.is_some());
        if alike.count() >= if config.layer.is_some() { SOURCES_MAX * LAYERS_MAX } else { SOURCES_MAX } {
            return Err(VideoMixError::too_many_sources());
        }
        let (id, layer) = (config.id, config.layer);
        self.sources.insert(id, Source::new(config)?);
        if let Some(layer) = layer {
            self.layers.add(id, layer);
        }
        Ok(())
    }

    fn set_output(&mut self, now: Time, config: OutputConfig) -> Result<(), VideoMixError> {
        let id = config.id;
        let before = self.outputs.get(&id).ok_or(VideoMixError::UnknownOutput(id))?;
        if *before == config {
            return Ok(());
        }
        check(&config)?;
        let sequence = self.next_sequence(id).unwrap_or(WireSeq(config.sequence));
        // It goes on in its stream, with a key frame of the other canvas.
        let mut receiver = Receiver::new(&config);
        receiver.sequence = sequence;
        let before = self.feeds.iter().position(|feed| feed.outputs.iter().any(|receiver| receiver.id == id));
        self.join(now, &config, receiver)?;
        if let Some(before) = before {
            let outputs = &mut self.feeds[before].outputs;
            if let Some(index) = outputs.iter().position(|receiver| receiver.id == id) {
                outputs.remove(index);
            }
        }
        self.outputs.insert(id, config);
        self.forget();
        Ok(())
    }

    /// Adds a receiver to the feed that makes what it is to get.
    fn join(&mut self, now: Time, config: &OutputConfig, receiver: Receiver) -> Result<(), VideoMixError> {
        let key = FeedKey::of(config);
        let feed = match self.feeds.iter().position(|feed| feed.key == key) {
            Some(index) => index,
            None => {
                let canvas = CanvasKey::of(config);
                let is_new = !self.canvases.iter().any(|known| known.key == canvas);
                if is_new && self.canvases.len() >= CANVASES_MAX {
                    return Err(VideoMixError::too_many_canvases());
                }
                let feed = Feed::new(key)?;
                if is_new {
                    // In step with those of its rate, so that equal ones are composed once.
                    let rate = canvas.frames_per_s;
                    let in_step = |known: &&Canvas| {
                        known.key.frames_per_s == rate && known.key.alone.is_none() && config.alone.is_none()
                    };
                    let due = self.canvases.iter().find(in_step).map_or(now, |known| known.due);
                    self.canvases.push(Canvas::new(canvas, due, &self.pool));
                }
                self.feeds.push(feed);
                self.feeds.len() - 1
            }
        };
        self.feeds[feed].request_key_frame();
        self.feeds[feed].outputs.push(receiver);
        Ok(())
    }

    fn leave(&mut self, id: OutputId) {
        for feed in &mut self.feeds {
            feed.outputs.retain(|receiver| receiver.id != id);
        }
    }

    /// Ends what nobody gets any more.
    fn forget(&mut self) {
        self.feeds.retain(|feed| !feed.outputs.is_empty());
        self.canvases.retain(|canvas| self.feeds.iter().any(|feed| feed.key.canvas == canvas.key));
    }

    fn feed_of(&mut self, id: OutputId) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|feed| feed.outputs.iter().any(|receiver| receiver.id == id))
    }

    /// Decides who is seen where, and who is not seen at all.
    fn arrange(&mut self) {
        for canvas in &mut self.canvases {
            canvas.arrange(&self.sources, self.speakers, &self.turns);
        }
        self.see();
    }

    /// Decides what is decoded: of each who is seen, the copies that cells need.
    fn see(&mut self) {
        let VideoMixer { canvases, sources, layers, .. } = self;
        let mut seen: BTreeMap<SourceId, Vec<(PictureSize, Fit)>> = BTreeMap::new();
        for (id, (size, fit)) in canvases.iter().flat_map(Canvas::seen) {
            let Some(source) = sources.get(&id).filter(|source| !source.look.off) else { continue };
            let cell = (size, if source.content { Fit::Letterbox } else { fit });
            let Choice { wanted, shown } = layers.choose(sources, id, cell);
            seen.entry(wanted).or_default().push(cell);
            if shown != wanted {
                seen.entry(shown).or_default().push(cell);
            }
        }
        for (id, source) in sources {
            source.set_cells(seen.remove(id).unwrap_or_default());
        }
    }
}

fn check(config: &OutputConfig) -> Result<(), VideoMixError> {
    let side = |side: u32| (64..=4096).contains(&side) && side.is_multiple_of(2);
    if !side(config.size.width) || !side(config.size.height) {
        return Err(VideoMixError::CanvasSize(config.size));
    }
    if !(1..=60).contains(&config.frames_per_s) {
        return Err(VideoMixError::Range { field: "frames_per_s", takes: "1 to 60" });
    }
    if !(10_000..=100_000_000).contains(&config.bitrate_bps) {
        return Err(VideoMixError::Range { field: "bitrate_bps", takes: "10,000 to 100,000,000" });
    }
    if config.payload_type > 127 {
        return Err(VideoMixError::Range { field: "payload_type", takes: "0 to 127" });
    }
    Ok(())
}
