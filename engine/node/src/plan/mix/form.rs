//! What is held of a mix, and what a mixing thread is told of it.

use super::LossWatch;
use crate::model::{AudioMode, Codec, Id, MixSettings, Spec};
use crate::plan::{Holdings, TrunkEnd};
use crate::routing::Participation;
use motet_codecs::audio::fmtp;
use motet_relay::{LegId, PortId, RouteId, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A mix as it is held.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldMix {
    /// The mixing thread, by its place in the exchange: workers come first.
    pub station: usize,
    /// By worker.
    pub trunks: BTreeMap<usize, MixTrunk>,
    /// Who is heard, by leg.
    pub sources: BTreeMap<Id, HeldSource>,
    /// Who hears, by leg.
    pub outputs: BTreeMap<Id, HeldOutput>,
    /// As in [`Mixed::unheard`](crate::routing::Mixed::unheard).
    pub unheard: BTreeMap<Id, (Id, String)>,
    /// As in [`Mixed::unserved`](crate::routing::Mixed::unserved).
    pub unserved: BTreeMap<Id, (Id, String)>,
    /// What the mixing thread was told.
    pub form: Arc<MixForm>,
}

impl HeldMix {
    /// SSRCs that are used on the trunks.
    pub(crate) fn crossing(&self) -> impl Iterator<Item = u32> {
        let outputs = self.outputs.values().map(|output| output.crossing);
        self.sources.values().map(|source| source.ssrc).chain(outputs)
    }
}

/// What joins a worker and a mixing thread, or a canvas thread, for one conference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixTrunk {
    /// The worker's leg.
    pub leg: LegId,
    /// The worker's port.
    pub near: PortId,
    /// The other thread's port.
    pub far: PortId,
}

/// Somebody who is heard.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldSource {
    /// With which medium.
    pub part: Participation,
    /// The publisher's stream.
    pub stream: StreamId,
    /// Its route to the trunk.
    pub route: RouteId,
    /// SSRC on the trunk.
    pub ssrc: u32,
    /// False while nothing of the leg is forwarded.
    pub active: bool,
}

/// Somebody who hears.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutput {
    /// With which medium.
    pub part: Participation,
    /// The stream that the trunk publishes.
    pub stream: StreamId,
    /// SSRC on the trunk.
    pub crossing: u32,
    /// Its route to the leg.
    pub route: RouteId,
    /// SSRC towards the participant.
    pub ssrc: u32,
    /// What is known of the route's loss.
    pub loss: LossWatch,
}

impl HeldOutput {
    /// Whether the receiver makes use of in-band error correction (RFC 7587 section 6.1).
    pub(crate) fn asks_for_fec(&self) -> bool {
        let wanted = self.part.codecs.first().filter(|codec| codec.name == "opus");
        wanted.is_some_and(|codec| fmtp::value(&codec.fmtp, "useinbandfec") == Some("1"))
    }
}

/// The only rate at which noise can be taken out.
const SUPPRESSION_HZ: u32 = 48_000;

/// All that a mix is to a mixing thread.
#[derive(Clone, Debug, PartialEq)]
pub struct MixForm {
    /// How it is mixed.
    pub settings: MixSettings,
    /// The mixing thread's ends of the trunks.
    pub ends: Vec<TrunkEnd>,
    /// Who is heard, by leg.
    pub sources: BTreeMap<Id, SourceForm>,
    /// Who hears, by leg.
    pub outputs: BTreeMap<Id, OutputForm>,
    /// How the first leg is heard by the second, in decibels; none: not at all.
    pub pair_gains: BTreeMap<(Id, Id), Option<f32>>,
    /// Only these are heard in the main room; none: all.
    pub floor: Option<BTreeSet<Id>>,
    /// Who is loudest is to be told: nobody hears the mix.
    pub finds_loudest: bool,
}

impl SourceForm {
    /// Whether it is heard as before, or only in another way.
    pub(crate) fn same_stream(&self, other: &SourceForm) -> bool {
        let SourceForm { port, ssrc, ref codecs, audio_level_id, .. } = *self;
        (port, ssrc, codecs, audio_level_id) == (other.port, other.ssrc, &other.codecs, other.audio_level_id)
    }
}

impl OutputForm {
    /// Whether the stream to it goes on, though it may hear something else.
    pub(crate) fn same_stream(&self, other: &OutputForm) -> bool {
        (self.port, self.ssrc, &self.codecs) == (other.port, other.ssrc, &other.codecs)
    }
}

/// Somebody who is heard, as a mixing thread knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceForm {
    /// The mixing thread's port that packets come to.
    pub port: PortId,
    /// SSRC that they come under.
    pub ssrc: u32,
    /// What they may hold.
    pub codecs: Vec<Arc<Codec>>,
    /// Number of the header extension that tells how loud it is (RFC 6464).
    pub audio_level_id: Option<u8>,
    /// Nobody hears it.
    pub muted: bool,
    /// For all others, in decibels.
    pub gain_db: f32,
    /// Brought to a common loudness.
    pub automatic_gain: bool,
    /// What is no voice is taken out of it.
    pub noise_suppression: bool,
    /// Heard only by those for whom a pair gain says so.
    pub private: bool,
    /// The side conference that it is in; none: the main room.
    pub room: Option<Id>,
}

/// Somebody who hears, as a mixing thread knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputForm {
    /// The mixing thread's port that packets leave from.
    pub port: PortId,
    /// SSRC that they leave under.
    pub ssrc: u32,
    /// The codec that is wanted, and what goes with it.
    pub codecs: Vec<Arc<Codec>>,
    /// It hears nobody.
    pub deaf: bool,
    /// The side conference that it is in; none: the main room.
    pub room: Option<Id>,
    /// How loud it hears the main room from there, in decibels; none: not at all.
    pub main_room_db: Option<f32>,
    /// What it is taken to lose, for error correction.
    pub loss_percent: u8,
}

/// What a mixing thread is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct MixStep {
    /// The mixing thread, by its place in the exchange.
    pub station: usize,
    /// To be told before the workers change: who hears no more gets nothing more. None: as it is.
    pub first: Option<Arc<MixForm>>,
    /// To be told when the workers have changed. None: the mix ends.
    pub last: Option<Arc<MixForm>>,
}

impl MixForm {
    pub(crate) fn empty(settings: MixSettings) -> MixForm {
        let (sources, outputs) = (BTreeMap::new(), BTreeMap::new());
        let (ends, pair_gains) = (Vec::new(), BTreeMap::new());
        MixForm { settings, ends, sources, outputs, pair_gains, floor: None, finds_loudest: false }
    }

    /// What a mixing thread has to know of a mix that is held. `spec` is mixed.
    pub fn new(spec: &Spec, held: &Holdings, mix: &HeldMix) -> MixForm {
        let mut form = MixForm::empty(spec.listening().expect("it is mixed"));
        form.finds_loudest = matches!(spec.audio, AudioMode::Loudest(_));
        let far = |leg: &Id| mix.trunks[&held.legs[leg].worker].far;
        for (worker, trunk) in &mix.trunks {
            form.ends.push(TrunkEnd { port: trunk.far, worker: *worker, peer: trunk.near });
        }
        for (id, source) in &mix.sources {
            let leg = &spec.legs[id];
            let medium = leg.media.iter().find(|medium| medium.id == source.part.medium);
            let source = SourceForm {
                port: far(id),
                ssrc: source.ssrc,
                codecs: source.part.codecs.clone(),
                audio_level_id: medium.and_then(|medium| medium.audio_level_id),
                muted: leg.audio.muted || leg.muted,
                gain_db: leg.audio.gain_db,
                automatic_gain: leg.audio.automatic_gain,
                noise_suppression: leg.audio.noise_suppression && form.settings.rate_hz == SUPPRESSION_HZ,
                private: leg.audio.private,
                room: leg.audio.room.clone(),
            };
            form.sources.insert(id.clone(), source);
        }
        for (id, output) in &mix.outputs {
            let (port, ssrc, codecs) = (far(id), output.crossing, output.part.codecs.clone());
            let (audio, loss_percent) = (&spec.legs[id].audio, output.loss.percent());
            let (deaf, room, main_room_db) = (audio.deaf, audio.room.clone(), audio.main_room_db);
            let output = OutputForm { port, ssrc, codecs, deaf, room, main_room_db, loss_percent };
            form.outputs.insert(id.clone(), output);
        }
        let holders = form.sources.keys().filter(|leg| spec.legs[*leg].audio.floor).cloned();
        form.floor = form.settings.floor.then(|| holders.collect());
        let known = |(from, to): &(Id, Id)| form.sources.contains_key(from) && form.outputs.contains_key(to);
        form.pair_gains = spec
            .pair_gains
            .iter()
            .filter(|(pair, _)| known(pair))
            .map(|(pair, gain)| (pair.clone(), *gain))
            .collect();
        form
    }

    /// The form without some of its outputs; none: all stay.
    pub(super) fn without(&self, goes: impl Fn(&str, &OutputForm) -> bool) -> Option<MixForm> {
        if !self.outputs.iter().any(|(leg, output)| goes(leg, output)) {
            return None;
        }
        let mut form = self.clone();
        form.outputs.retain(|leg, output| !goes(leg, output));
        form.pair_gains.retain(|(_, to), _| form.outputs.contains_key(to));
        Some(form)
    }
}
