//! What a tick makes: packets, events, sound for the recorder; and what was counted.

use super::{GroupId, OutputId, PromptId, SourceId};
use motet_rtp::rtp::FIXED_HEADER_BYTES;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MixEvent {
    /// A source began to speak (a voice for 60 ms).
    SpeakerStarted {
        /// Which.
        source: SourceId,
    },
    /// A source has not spoken for the hold time, or is gone.
    SpeakerStopped {
        /// Which.
        source: SourceId,
    },
    /// A room has another active speaker: the one for a large picture. It stays through silence.
    ActiveSpeaker {
        /// The room.
        group: GroupId,
        /// Who; `None` when the last one left the room.
        source: Option<SourceId>,
    },
    /// A telephone event is over (RFC 4733).
    Dtmf {
        /// Who pressed.
        source: SourceId,
        /// What, by RFC 4733 section 3.2: 0 to 9 are the digits, 10 is `*`, 11 is `#`, 12 to 15 are A to D.
        event: u8,
        /// How long.
        duration_ms: u32,
    },
    /// A prompt is over.
    PromptFinished {
        /// Which.
        prompt: PromptId,
        /// Whether it was stopped before its end, by a command or since none of its outputs is left.
        stopped: bool,
    },
}

/// A packet for one receiver. The payload may be that of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixPacket<'a> {
    /// Whose.
    pub output: OutputId,
    /// RTP's fixed header.
    pub header: &'a [u8; FIXED_HEADER_BYTES],
    /// What follows it.
    pub payload: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    output: OutputId,
    header: [u8; FIXED_HEADER_BYTES],
    payload: Span,
}

/// Bytes in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub len: u32,
}

/// Holds what one tick made; reused from tick to tick, so that it stops allocating.
#[derive(Debug, Default)]
pub struct MixOutbox {
    payloads: Vec<u8>,
    packets: Vec<Packet>,
    events: Vec<MixEvent>,
    tap_samples: Vec<i16>,
    taps: Vec<(GroupId, Span)>,
    source_taps: SourceTaps,
}

/// Sound of single sources.
#[derive(Debug, Default)]
pub(crate) struct SourceTaps {
    samples: Vec<i16>,
    spans: Vec<(SourceId, Span)>,
}

impl SourceTaps {
    /// Room for the samples of a source.
    pub(crate) fn add(&mut self, source: SourceId, samples: usize) -> &mut [i16] {
        let start = self.samples.len();
        self.samples.resize(start + samples, 0);
        self.spans.push((source, Span { start: start as u32, len: samples as u32 }));
        &mut self.samples[start..]
    }

    fn clear(&mut self) {
        self.samples.clear();
        self.spans.clear();
    }
}

impl MixOutbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets to send. Those of one output are in their order.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = MixPacket<'_>> {
        self.packets.iter().map(|packet| MixPacket {
            output: packet.output,
            header: &packet.header,
            payload: &self.payloads[packet.payload.start as usize..][..packet.payload.len as usize],
        })
    }

    /// Events in the order they happened.
    pub fn events(&self) -> &[MixEvent] {
        &self.events
    }

    /// For each room whose tap is on: 20 ms of its whole mix, one channel at the rate of the mix.
    pub fn taps(&self) -> impl ExactSizeIterator<Item = (GroupId, &[i16])> {
        self.taps
            .iter()
            .map(|(group, span)| (*group, &self.tap_samples[span.start as usize..][..span.len as usize]))
    }

    /// For each source whose tap is on: 20 ms of its sound, one channel at the rate of the mix.
    pub fn source_taps(&self) -> impl ExactSizeIterator<Item = (SourceId, &[i16])> {
        let SourceTaps { samples, spans } = &self.source_taps;
        spans.iter().map(|(source, span)| (*source, &samples[span.start as usize..][..span.len as usize]))
    }

    /// Forgets everything, keeps the memory. [`tick`](super::AudioMixer::tick) does so itself.
    pub fn clear(&mut self) {
        self.payloads.clear();
        self.packets.clear();
        self.events.clear();
        self.tap_samples.clear();
        self.taps.clear();
        self.source_taps.clear();
    }

    /// Room for a payload of up to `bytes_max`, which `write` fills and says the length of.
    pub(crate) fn payload<E>(
        &mut self,
        bytes_max: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Span, E> {
        let start = self.payloads.len();
        self.payloads.resize(start + bytes_max, 0);
        let written = write(&mut self.payloads[start..]);
        let len = written.as_ref().map_or(0, |bytes| *bytes);
        self.payloads.truncate(start + len);
        written.map(|_| Span { start: start as u32, len: len as u32 })
    }

    #[inline]
    pub(crate) fn packet(&mut self, output: OutputId, header: [u8; FIXED_HEADER_BYTES], payload: Span) {
        self.packets.push(Packet { output, header, payload });
    }

    pub(crate) fn take_events(&mut self, events: &mut Vec<MixEvent>) {
        self.events.append(events);
    }

    /// Takes what was tapped, and leaves what was there before to be used again.
    pub(crate) fn take_source_taps(&mut self, taps: &mut SourceTaps) {
        std::mem::swap(&mut self.source_taps, taps);
        taps.clear();
    }

    /// Room for a tap's samples.
    pub(crate) fn tap(&mut self, group: GroupId, samples: usize) -> &mut [i16] {
        let start = self.tap_samples.len();
        self.tap_samples.resize(start + samples, 0);
        self.taps.push((group, Span { start: start as u32, len: samples as u32 }));
        &mut self.tap_samples[start..]
    }
}

/// What the mixer has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MixStats {
    /// Ticks made.
    pub ticks: u64,
    /// Ticks that the caller said were missed.
    pub ticks_missed: u64,
    /// Payloads encoded, those of no bytes (DTX) included.
    pub encodes: u64,
    /// Packets made.
    pub packets: u64,
    /// Packets whose payload another packet of the tick has, too.
    pub shared: u64,
    /// Ticks of sources that were decoded.
    pub decodes: u64,
    /// Ticks of sources that were not.
    pub decodes_skipped: u64,
    /// Encoders copied: somebody began to hear something else than others.
    pub forks: u64,
    /// Encoders given up: somebody hears the same as others again.
    pub joins: u64,
    /// Mixes that the limiter had to bring down, each tick counted.
    pub limited: u64,
    /// Payloads that an encoder failed to make.
    pub encode_failures: u64,
    /// Sources whose header extensions said to be louder than they are, and are not believed any more.
    pub levels_distrusted: u64,
    /// Times that a voice took the place of another.
    pub displacements: u64,
    /// Events lost since nobody took them by a tick.
    pub events_lost: u64,
}

/// What one source is and was, for those who look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceStatus {
    /// It is mixed in this moment.
    pub mixed: bool,
    /// It speaks, as told by events.
    pub speaking: bool,
    /// Its level of the moment, in dBov.
    pub level_db: f32,
    /// What its playout counted.
    pub playout: crate::playout::PlayoutStats,
    /// Its packets that were dropped, by reason.
    pub drops: super::MixDrops,
}
