//! A feed is one encoded stream of sound, shared by all outputs that hear the same in the same codec.
//!
//! When an output is to hear something else, its feed is forked: the new one goes on in the same state, so that
//! the receiver's decoder cannot tell, and crosses over from the old sound to the new within the tick. A feed that
//! has for some time carried the same as another one gives its outputs to that one, whose encoder is told that
//! there are decoders which followed another (`resync`).

use super::Gain;
use super::limiter::Limiter;
use super::limits::{LOSS_STEPS_PERCENT, PAYLOAD_BYTES_MAX, RESYNC_TICKS_MIN};
use super::outbox::Span;
use motet_codecs::audio::{AudioCodec, AudioEncoder, EncoderSettings};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is heard: a room, with what differs from what all hear. Equal recipes give equal payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    pub group: u32,
    /// Another room, and how loud.
    pub background: Option<(u32, Gain)>,
    /// Prompts only.
    pub deaf: bool,
    /// Of the whole.
    pub gain: Gain,
    /// Sources that are mixed, and heard at another gain than by all; by place.
    pub changes: Vec<(u32, Gain)>,
    /// Prompts for some, in order.
    pub prompts: Vec<u32>,
    /// What those who hear it lose, for the encoder; the sound is the same.
    pub loss_percent: u8,
}

impl Recipe {
    /// Tells an encoder what its receivers lose, if it was something else before.
    fn tell_loss(&self, before_percent: u8, encoder: &mut dyn AudioEncoder) {
        if self.loss_percent != before_percent {
            encoder.set_loss_percent(self.loss_percent);
        }
    }
}

/// A codec with its settings, as outputs share it.
pub(crate) struct Format {
    pub codec: AudioCodec,
    /// Without loss, which is its feeds' own.
    pub settings: EncoderSettings,
    /// As it was made.
    pub template: Box<dyn AudioEncoder>,
    /// Index of its rate.
    pub rate: usize,
    pub channels: usize,
    /// Samples of one channel in a payload: a tick's, or more where the encoder collects them.
    pub frame: usize,
    /// RTP ticks of a payload, and of a mixing tick.
    pub clock_per_frame: u32,
    pub clock_per_tick: u32,
    /// Samples of one channel that the encoders have collected at the end of the last tick.
    pub pending: usize,
    /// Whether a frame is whole in this tick, and its timestamp.
    pub due: bool,
    pub timestamp: u32,
    pub outputs: u32,
}

impl Format {
    /// The step that stands for a loss; 0 when it makes no difference to the codec.
    pub(crate) fn loss_step(&self, percent: u8) -> u8 {
        let [.., most] = LOSS_STEPS_PERCENT;
        let step = LOSS_STEPS_PERCENT.into_iter().find(|step| *step >= percent).unwrap_or(most);
        if self.template.corrects_loss() { step } else { 0 }
    }

    /// The timestamp of the next frame.
    pub(crate) fn next_timestamp(&self) -> u32 {
        if self.due { self.timestamp.wrapping_add(self.clock_per_frame) } else { self.timestamp }
    }

    /// Begins a tick of `samples`.
    pub(crate) fn advance(&mut self, samples: usize) {
        self.timestamp = self.next_timestamp();
        self.pending += samples;
        self.due = self.pending >= self.frame;
        if self.due {
            self.pending -= self.frame;
        }
    }

    /// An encoder that has heard nothing, and whose frames begin with everybody's.
    fn encoder(&self, recipe: &Recipe) -> Box<dyn AudioEncoder> {
        let mut encoder = self.template.fork();
        recipe.tell_loss(0, &mut *encoder);
        if self.pending > 0 {
            let silence = vec![0; self.pending * self.channels];
            // Less than a frame gives no payload.
            let _ = encoder.encode(&silence, &mut [0; PAYLOAD_BYTES_MAX]);
        }
        encoder
    }
}

pub(crate) struct Feed {
    pub recipe: Recipe,
    /// What was heard until now, in the tick in which that changes.
    pub before: Option<Recipe>,
    pub format: u32,
    pub limiter: Limiter,
    pub encoder: Box<dyn AudioEncoder>,
    pub outputs: u32,
    /// This tick's payload; of no bytes when nothing is to be sent.
    pub payload: Span,
    /// Ticks for which it has carried nothing, while silence is not sent.
    pub silent_ticks: u32,
    /// Since when it carries its recipe.
    since_tick: u64,
    resync_tick: u64,
    key: u64,
}

/// All feeds.
pub(crate) struct Feeds {
    items: Vec<Option<Feed>>,
    free: Vec<u32>,
    /// The feed that others join, for each recipe and format.
    primaries: HashMap<u64, u32>,
    /// Of this tick: which feed was forked to which recipe.
    forked: HashMap<(u32, u64), u32>,
    /// Of this tick: which feed gave its outputs to which.
    pub joined: Vec<(u32, u32)>,
    pub forks: u64,
    pub joins: u64,
}

fn key(recipe: &Recipe, format: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (recipe, format).hash(&mut hasher);
    hasher.finish()
}

impl Feeds {
    pub(crate) fn new() -> Self {
        Feeds {
            items: Vec::new(),
            free: Vec::new(),
            primaries: HashMap::new(),
            forked: HashMap::new(),
            joined: Vec::new(),
            forks: 0,
            joins: 0,
        }
    }

    pub(crate) fn at(&self, place: u32) -> &Feed {
        self.items[place as usize].as_ref().expect("an output's feed is there")
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Feed> {
        self.items.iter_mut().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// An output begins to listen: to the feed that is there, or a new one.
    pub(crate) fn begin(&mut self, recipe: Recipe, format: u32, of: &Format, tick: u64) -> u32 {
        let key = key(&recipe, format);
        if let Some(primary) = self.primary(key, &recipe, format) {
            self.feed(primary).outputs += 1;
            return primary;
        }
        let encoder = of.encoder(&recipe);
        let place = self.insert(Feed {
            recipe,
            before: None,
            format,
            limiter: Limiter::new(),
            encoder,
            outputs: 1,
            payload: Span::default(),
            silent_ticks: 0,
            since_tick: tick,
            resync_tick: 0,
            key,
        });
        self.primaries.entry(key).or_insert(place);
        place
    }

    /// An output of the feed `old` is to hear `recipe` from now on: which feed it listens to.
    pub(crate) fn change(&mut self, old: u32, recipe: Recipe, tick: u64) -> u32 {
        let feed = self.at(old);
        if feed.recipe == recipe {
            return old;
        }
        let key = key(&recipe, feed.format);
        if feed.outputs == 1 {
            self.leave_primary(old);
            let feed = self.feed(old);
            recipe.tell_loss(feed.recipe.loss_percent, &mut *feed.encoder);
            let before = std::mem::replace(&mut feed.recipe, recipe);
            // Changed twice in a tick, it still crosses from what was heard last.
            feed.before.get_or_insert(before);
            (feed.key, feed.since_tick) = (key, tick);
            self.primaries.entry(key).or_insert(old);
            return old;
        }
        self.feed(old).outputs -= 1;
        if let Some(new) = self.forked.get(&(old, key)).copied() {
            self.feed(new).outputs += 1;
            return new;
        }
        let parent = self.at(old);
        let mut encoder = parent.encoder.fork();
        recipe.tell_loss(parent.recipe.loss_percent, &mut *encoder);
        let fork = Feed {
            before: Some(parent.before.as_ref().unwrap_or(&parent.recipe).clone()),
            recipe,
            format: parent.format,
            limiter: parent.limiter,
            encoder,
            outputs: 1,
            payload: Span::default(),
            silent_ticks: 0,
            since_tick: tick,
            resync_tick: 0,
            key,
        };
        let new = self.insert(fork);
        self.primaries.entry(key).or_insert(new);
        self.forked.insert((old, key), new);
        self.forks += 1;
        new
    }

    /// An output listens no more.
    pub(crate) fn end(&mut self, place: u32) {
        let feed = self.feed(place);
        feed.outputs -= 1;
        if feed.outputs == 0 {
            self.remove(place);
        }
    }

    /// Gives outputs of feeds that have carried the same for `after_ticks` to one of them. `joined` says what
    /// changed.
    pub(crate) fn join(&mut self, tick: u64, after_ticks: u64) {
        self.forked.clear();
        self.joined.clear();
        for place in 0..self.items.len() as u32 {
            let Some(feed) = &self.items[place as usize] else { continue };
            if tick.saturating_sub(feed.since_tick) < after_ticks {
                continue;
            }
            let Some(primary) = self.primary(feed.key, &feed.recipe, feed.format) else {
                let key = feed.key;
                self.primaries.entry(key).or_insert(place);
                continue;
            };
            let other = self.at(primary);
            let settled = tick.saturating_sub(other.since_tick) >= after_ticks;
            // One resync serves all that join in the same tick.
            let at_hand = other.resync_tick == tick || tick - other.resync_tick >= RESYNC_TICKS_MIN;
            if primary == place || !settled || !at_hand {
                continue;
            }
            let outputs = feed.outputs;
            let other = self.feed(primary);
            other.outputs += outputs;
            other.resync_tick = tick;
            other.encoder.resync();
            self.remove(place);
            self.joined.push((place, primary));
            self.joins += 1;
        }
    }

    fn primary(&self, key: u64, recipe: &Recipe, format: u32) -> Option<u32> {
        let place = *self.primaries.get(&key)?;
        let feed = self.items[place as usize].as_ref()?;
        (feed.recipe == *recipe && feed.format == format).then_some(place)
    }

    fn leave_primary(&mut self, place: u32) {
        let key = self.at(place).key;
        if self.primaries.get(&key) == Some(&place) {
            self.primaries.remove(&key);
        }
    }

    fn feed(&mut self, place: u32) -> &mut Feed {
        self.items[place as usize].as_mut().expect("an output's feed is there")
    }

    fn insert(&mut self, feed: Feed) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.items[place as usize] = Some(feed);
                place
            }
            None => {
                self.items.push(Some(feed));
                self.items.len() as u32 - 1
            }
        }
    }

    fn remove(&mut self, place: u32) {
        self.leave_primary(place);
        self.items[place as usize] = None;
        self.free.push(place);
    }
}
