//! The sound of a mix, encoded for its file.
//!
//! While nobody is heard, nothing is handed over (the recorder writes silence), and when somebody is, that sound lies
//! where it came: how long the mix delays it is known then, and was not before.

use crate::mixing::{Tap, TapFrame};
use motet_codecs::audio::{AudioCodec, AudioEncoder, EncoderSettings};
use motet_recorder::{Codec, Container};
use motet_rtp::{Time, WireTimestamp};
use std::time::Duration;

/// How often the sound is asked for while there is none.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// So many silent frames are handed over after the last one that was heard: half a second.
const SILENT_FRAMES: u64 = 25;
/// Samples of a frame of AAC-LC.
const AAC_FRAME: u32 = 1024;
/// By so many ticks of 48 kHz an encoder of Opus with these settings delays sound, at each rate (libopus,
/// `OPUS_GET_LOOKAHEAD` in OPUS_APPLICATION_RESTRICTED_LOWDELAY): 2.5 ms.
const OPUS_LOOKAHEAD: u32 = 120;
/// Bytes of a payload at most: 20 ms of samples as they are.
const PAYLOAD_BYTES: usize = 2 * 960;

/// How a mix is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// For files: Opus, unless it has no such rate.
    File,
    /// For live output, which players take as AAC-LC.
    Live,
}

impl Coding {
    pub(super) const ALL: [Coding; 2] = [Coding::File, Coding::Live];

    pub(super) fn of(container: Container) -> Coding {
        if container == Container::Hls { Coding::Live } else { Coding::File }
    }

    /// How a mix at so many samples a second is recorded.
    pub(super) fn codec_at(self, rate_hz: u32) -> Codec {
        match (self, rate_hz) {
            (Coding::Live, rate_hz) => Codec::Aac { config: aac_config(rate_hz).to_vec() },
            (Coding::File, 8_000 | 12_000 | 16_000 | 24_000 | 48_000) => Codec::Opus { channels: 1 },
            (Coding::File, rate_hz) => Codec::L16 { rate_hz, channels: 1 },
        }
    }
}

/// An AudioSpecificConfig of AAC-LC with one channel (ISO/IEC 14496-3 section 1.6.2.1): 5 bits of object type, 4 of the
/// rate's number, 4 of channels.
fn aac_config(rate_hz: u32) -> [u8; 2] {
    let number: u16 = match rate_hz {
        8_000 => 11,
        16_000 => 8,
        32_000 => 5,
        _ => 3,
    };
    (2 << 11 | number << 7 | 1 << 3).to_be_bytes()
}

/// The sound of one conference's mix.
#[derive(Default)]
pub(super) struct MixInput {
    tap: Option<Tap>,
    ask_at: Time,
    lines: [Option<Line>; 2],
    payload: Vec<u8>,
}

/// Frames that follow each other.
struct Line {
    rate_hz: u32,
    encoder: Box<dyn AudioEncoder>,
    codec: AudioCodec,
    clock_hz: u32,
    delay: Delay,
    /// Where it lies; none: nobody has been heard, or not for long.
    place: Option<Place>,
}

/// By how much encoding delays sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    /// By so many ticks; what is passed is encoded.
    Ticks(u32),
    /// By two frames, which are collected: AAC.
    Frames,
}

#[derive(Clone, Copy)]
struct Place {
    /// Timestamp of the frame with the number 0.
    origin: u32,
    /// Number of the last frame in which somebody was heard.
    heard: u64,
    /// The number that is next.
    next: u64,
    /// Samples that went into the encoder.
    samples: u32,
}

impl MixInput {
    /// True: the sound is to be asked for.
    pub(super) fn asks(&mut self, now: Time) -> bool {
        let asks = self.tap.is_none() && now >= self.ask_at;
        if asks {
            self.ask_at = now + ASK_AFTER;
        }
        asks
    }

    /// Takes the sound from here.
    pub(super) fn take(&mut self, tap: Tap) {
        (self.tap, self.lines) = (Some(tap), [None, None]);
    }

    /// Takes no sound any longer.
    pub(super) fn end(&mut self) {
        *self = MixInput::default();
    }

    /// Hands over what came, encoded in the ways that are wanted, as in [`Coding::ALL`].
    pub(super) fn turn(
        &mut self,
        wanted: [bool; 2],
        mut frame: impl FnMut(Coding, Time, WireTimestamp, &[u8]),
    ) {
        let Some(tap) = &mut self.tap else { return };
        let ended = loop {
            match tap.try_next() {
                Ok(sound) => {
                    for ((coding, line), wanted) in Coding::ALL.into_iter().zip(&mut self.lines).zip(wanted) {
                        if !wanted {
                            *line = None;
                        } else if let Some((at, timestamp)) = encode(coding, line, &mut self.payload, &sound)
                        {
                            frame(coding, at, timestamp, &self.payload);
                        }
                    }
                    tap.give_back(sound);
                }
                Err(ended) => break ended,
            }
        };
        if ended {
            self.end();
        }
    }
}

/// Encodes 20 ms: when what comes of it came, and its timestamp. None: nothing does yet, or nobody is heard.
fn encode(
    coding: Coding,
    line: &mut Option<Line>,
    payload: &mut Vec<u8>,
    sound: &TapFrame,
) -> Option<(Time, WireTimestamp)> {
    if line.as_ref().is_none_or(|line| line.rate_hz != sound.rate_hz) {
        *line = Line::new(coding, sound.rate_hz);
    }
    let line = line.as_mut()?;
    let timestamp = line.timestamp(sound)?;
    payload.resize(PAYLOAD_BYTES, 0);
    let length = line.encoder.encode(&sound.samples, payload).ok().filter(|length| *length > 0)?;
    payload.truncate(length);
    let behind = line.behind();
    let behind_ns = u64::from(behind) * 1_000_000_000 / u64::from(line.clock_hz);
    let at = sound.at - Duration::from_nanos(behind_ns);
    Some((at, WireTimestamp(timestamp.wrapping_sub(behind))))
}

impl Line {
    fn new(coding: Coding, rate_hz: u32) -> Option<Line> {
        let (codec, clock_hz, delay) = match coding.codec_at(rate_hz) {
            Codec::L16 { .. } => (AudioCodec::parse("L16", rate_hz, 1, ""), rate_hz, Delay::Ticks(0)),
            Codec::Aac { .. } => {
                let config = u16::from_be_bytes(aac_config(rate_hz));
                let fmtp = format!(
                    "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config:04x}"
                );
                (AudioCodec::parse("MPEG4-GENERIC", rate_hz, 1, &fmtp), rate_hz, Delay::Frames)
            }
            _ => (AudioCodec::parse("opus", 48_000, 1, ""), 48_000, Delay::Ticks(OPUS_LOOKAHEAD)),
        };
        let codec = codec.ok()?;
        let encoder = codec.encoder_at(rate_hz, &EncoderSettings::default()).ok()?;
        Some(Line { rate_hz, codec, encoder, clock_hz, delay, place: None })
    }

    /// The timestamp of 20 ms; none: nobody is heard.
    fn timestamp(&mut self, sound: &TapFrame) -> Option<u32> {
        let ticks = (sound.number as u32).wrapping_mul(self.clock_hz / 50);
        let mut place = self.place.filter(|place| sound.heard || sound.number - place.heard <= SILENT_FRAMES);
        // Who collects samples takes what comes next only.
        if self.delay == Delay::Frames {
            place = place.filter(|place| place.next == sound.number);
        }
        if place.is_none() && sound.heard {
            self.begin();
            // Timestamps count the clock: time in which nobody was heard is not left out.
            let here = (u128::from(sound.at.as_nanos()) * u128::from(self.clock_hz) / 1_000_000_000) as u32;
            place = Some(Place { origin: here.wrapping_sub(ticks), heard: 0, next: 0, samples: 0 });
        }
        self.place = place.map(|place| Place {
            origin: place.origin,
            heard: if sound.heard { sound.number } else { place.heard },
            next: sound.number + 1,
            samples: place.samples.wrapping_add(sound.samples.len() as u32),
        });
        Some(self.place?.origin.wrapping_add(ticks))
    }

    /// Whoever reads the file has decoded the recorder's silence before.
    fn begin(&mut self) {
        match self.delay {
            Delay::Ticks(_) => self.encoder.resync(),
            Delay::Frames => {
                let encoder = self.codec.encoder_at(self.rate_hz, &EncoderSettings::default());
                self.encoder = encoder.expect("there is one already");
            }
        }
    }

    /// How many ticks before the 20 ms that were encoded last that lies of which a payload came.
    fn behind(&self) -> u32 {
        let samples = self.place.map_or(0, |place| place.samples);
        match self.delay {
            Delay::Ticks(ticks) => ticks,
            // The encoder gives the frame before the one that is whole now, and what it decodes to lies one earlier.
            Delay::Frames => {
                let whole = samples / AAC_FRAME;
                (samples + 3 * AAC_FRAME).wrapping_sub(self.rate_hz / 50).wrapping_sub(whole * AAC_FRAME)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timestamps of frames with these numbers, each of which came so many milliseconds after the beginning.
    fn timestamps(coding: Coding, rate_hz: u32, frames: &[(u64, u64, bool)]) -> Vec<Option<u32>> {
        let (mut line, mut payload) = (None, Vec::new());
        let samples = vec![100; rate_hz as usize / 50];
        let timestamp = |(number, at_ms, heard): &(u64, u64, bool)| {
            let (at, samples) = (Time::from_millis(*at_ms), samples.clone());
            let sound = TapFrame { number: *number, rate_hz, at, heard: *heard, samples };
            let (_, timestamp) = encode(coding, &mut line, &mut payload, &sound)?;
            assert!(!payload.is_empty());
            Some(timestamp.0)
        };
        frames.iter().map(timestamp).collect()
    }

    #[test]
    fn each_rate_of_a_mix_can_be_recorded_and_its_frames_follow_each_other() {
        let frames = [(7, 3000, true), (8, 3020, true), (11, 3080, false)];
        for (rate_hz, ticks, ahead) in
            [(8_000, 960, 120), (16_000, 960, 120), (32_000, 640, 0), (48_000, 960, 120)]
        {
            let first = ticks * 150 - ahead;
            let expected = [Some(first), Some(first + ticks), Some(first + 4 * ticks)];
            assert_eq!(timestamps(Coding::File, rate_hz, &frames), expected, "{rate_hz}");
        }
    }

    #[test]
    fn sound_lies_where_it_came_when_somebody_is_heard_and_not_where_that_was_guessed() {
        // Nobody is heard, then somebody 10 ms later than was thought, then nobody for long, then somebody who waited
        // longer by 60 ms.
        let mut frames = vec![(0, 1000, false), (1, 1020, false), (2, 1050, true), (3, 1070, true)];
        frames.extend((4..40).map(|number| (number, 1010 + 20 * number, false)));
        frames.push((40, 1750, true));
        let found = timestamps(Coding::File, 48_000, &frames);
        let at = |ms: u32| Some(ms * 48 - 120);
        assert_eq!(found[..4], [None, None, at(1050), at(1070)]);
        assert_eq!(found[28], at(1570), "half a second of silence is handed over");
        assert_eq!(found[29], None);
        assert_eq!(found[40], at(1750));
    }

    #[test]
    fn live_sound_is_of_whole_frames_that_follow_each_other() {
        let frames: Vec<_> = (0..200).map(|number| (number, 1000 + 20 * number, true)).collect();
        for rate_hz in [8_000, 16_000, 32_000, 48_000] {
            let found = timestamps(Coding::Live, rate_hz, &frames);
            let found: Vec<u32> = found.into_iter().flatten().collect();
            // What a payload decodes to begins with the encoder's own delay.
            assert_eq!(found[0], rate_hz - AAC_FRAME, "{rate_hz}");
            assert!(found.windows(2).all(|pair| pair[1] - pair[0] == AAC_FRAME), "{found:?}");
        }
        // A frame that is missing begins anew, where it came.
        let gap: Vec<_> = (0..100).filter(|number| *number != 50).map(|n| (n, 1000 + 20 * n, true)).collect();
        let found: Vec<u32> = timestamps(Coding::Live, 48_000, &gap).into_iter().flatten().collect();
        assert!(found.contains(&(48_000 + 51 * 960 - AAC_FRAME)), "{found:?}");
    }
}
