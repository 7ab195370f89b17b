//! The sound of a mix, encoded for its file.
//!
//! While nobody is heard, nothing is handed over (the recorder writes silence), and when somebody is, that sound lies
//! where it came: how long the mix delays it is known then, and was not before.

use crate::mixing::{Tap, TapFrame};
use motet_codecs::audio::{AudioCodec, AudioEncoder, EncoderSettings};
use motet_recorder::Codec;
use motet_rtp::{Time, WireTimestamp};
use std::time::Duration;

/// How often the sound is asked for while there is none.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// So many silent frames are handed over after the last one that was heard: half a second.
const SILENT_FRAMES: u64 = 25;
/// By so much an encoder of Opus with these settings delays sound, at each rate (libopus, `OPUS_GET_LOOKAHEAD` in
/// OPUS_APPLICATION_RESTRICTED_LOWDELAY).
const OPUS_LOOKAHEAD: Duration = Duration::from_micros(2_500);
/// Bytes of a payload at most: 20 ms of samples as they are.
const PAYLOAD_BYTES: usize = 2 * 960;

/// How a mix at so many samples a second is recorded: Opus, unless it has no such rate.
pub(super) fn codec_at(rate_hz: u32) -> Codec {
    match rate_hz {
        8_000 | 12_000 | 16_000 | 24_000 | 48_000 => Codec::Opus { channels: 1 },
        rate_hz => Codec::L16 { rate_hz, channels: 1 },
    }
}

/// The sound of one conference's mix.
#[derive(Default)]
pub(super) struct MixInput {
    tap: Option<Tap>,
    ask_at: Time,
    line: Option<Line>,
    payload: Vec<u8>,
}

/// Frames that follow each other.
struct Line {
    rate_hz: u32,
    encoder: Box<dyn AudioEncoder>,
    clock_hz: u32,
    lookahead: Duration,
    /// Where it lies; none: nobody has been heard, or not for long.
    place: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    /// Timestamp of the frame with the number 0.
    origin: u32,
    /// Number of the last frame in which somebody was heard.
    heard: u64,
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
        (self.tap, self.line) = (Some(tap), None);
    }

    /// Takes no sound any longer.
    pub(super) fn end(&mut self) {
        *self = MixInput::default();
    }

    /// Hands over what came, encoded.
    pub(super) fn turn(&mut self, mut frame: impl FnMut(Time, WireTimestamp, &[u8])) {
        let Some(tap) = &mut self.tap else { return };
        let ended = loop {
            match tap.try_next() {
                Ok(sound) => {
                    if let Some((at, timestamp)) = encode(&mut self.line, &mut self.payload, &sound) {
                        frame(at, timestamp, &self.payload);
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

/// Encodes 20 ms: when they came, and their timestamp. None: they cannot be, or nobody is heard.
fn encode(line: &mut Option<Line>, payload: &mut Vec<u8>, sound: &TapFrame) -> Option<(Time, WireTimestamp)> {
    if line.as_ref().is_none_or(|line| line.rate_hz != sound.rate_hz) {
        *line = Line::new(sound.rate_hz);
    }
    let line = line.as_mut()?;
    let at = sound.at - line.lookahead;
    let timestamp = line.timestamp(at, sound)?;
    payload.resize(PAYLOAD_BYTES, 0);
    let length = line.encoder.encode(&sound.samples, payload).ok().filter(|length| *length > 0)?;
    payload.truncate(length);
    Some((at, timestamp))
}

impl Line {
    fn new(rate_hz: u32) -> Option<Line> {
        let (name, clock_hz, lookahead) = match codec_at(rate_hz) {
            Codec::L16 { .. } => ("L16", rate_hz, Duration::ZERO),
            _ => ("opus", 48_000, OPUS_LOOKAHEAD),
        };
        let codec = AudioCodec::parse(name, clock_hz, 1, "").ok()?;
        let encoder = codec.encoder_at(rate_hz, &EncoderSettings::default()).ok()?;
        Some(Line { rate_hz, encoder, clock_hz, lookahead, place: None })
    }

    /// The timestamp of a frame; none: nobody is heard.
    fn timestamp(&mut self, at: Time, sound: &TapFrame) -> Option<WireTimestamp> {
        let ticks = (sound.number as u32).wrapping_mul(self.clock_hz / 50);
        let place = self.place.filter(|place| sound.heard || sound.number - place.heard <= SILENT_FRAMES);
        if place.is_none() && sound.heard {
            // Whoever reads the file has decoded the recorder's silence before.
            self.encoder.resync();
        }
        self.place = match place {
            Some(place) if sound.heard => Some(Place { heard: sound.number, ..place }),
            None if sound.heard => {
                // Timestamps count the clock: time in which nobody was heard is not left out.
                let here = (u128::from(at.as_nanos()) * u128::from(self.clock_hz) / 1_000_000_000) as u32;
                Some(Place { origin: here.wrapping_sub(ticks), heard: sound.number })
            }
            place => place,
        };
        Some(WireTimestamp(self.place?.origin.wrapping_add(ticks)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Timestamps of frames with these numbers, each of which came so many milliseconds after the beginning.
    fn timestamps(rate_hz: u32, frames: &[(u64, u64, bool)]) -> Vec<Option<u32>> {
        let (mut line, mut payload) = (None, Vec::new());
        let samples = vec![100; rate_hz as usize / 50];
        let timestamp = |(number, at_ms, heard): &(u64, u64, bool)| {
            let (at, samples) = (Time::from_millis(*at_ms), samples.clone());
            let sound = TapFrame { number: *number, rate_hz, at, heard: *heard, samples };
            let (_, timestamp) = encode(&mut line, &mut payload, &sound)?;
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
            assert_eq!(timestamps(rate_hz, &frames), expected, "{rate_hz}");
        }
    }

    #[test]
    fn sound_lies_where_it_came_when_somebody_is_heard_and_not_where_that_was_guessed() {
        // Nobody is heard, then somebody 10 ms later than was thought, then nobody for long, then somebody who waited
        // longer by 60 ms.
        let mut frames = vec![(0, 1000, false), (1, 1020, false), (2, 1050, true), (3, 1070, true)];
        frames.extend((4..40).map(|number| (number, 1010 + 20 * number, false)));
        frames.push((40, 1750, true));
        let found = timestamps(48_000, &frames);
        let at = |ms: u32| Some(ms * 48 - 120);
        assert_eq!(found[..4], [None, None, at(1050), at(1070)]);
        assert_eq!(found[28], at(1570), "half a second of silence is handed over");
        assert_eq!(found[29], None);
        assert_eq!(found[40], at(1750));
    }
}
