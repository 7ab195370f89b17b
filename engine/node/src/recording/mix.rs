//! The sound of a mix, encoded for its file.

use crate::mixing::{Tap, TapFrame};
use motet_codecs::audio::{AudioCodec, AudioEncoder, EncoderSettings};
use motet_recorder::Codec;
use motet_rtp::{Time, WireTimestamp};
use std::time::Duration;

/// How often the sound is asked for while there is none.
const ASK_AFTER: Duration = Duration::from_secs(1);
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
    ticks_a_frame: u32,
    /// Timestamp of the frame with the number 0.
    origin: u32,
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
                    if let Some(timestamp) = encode(&mut self.line, &mut self.payload, &sound) {
                        frame(sound.at, timestamp, &self.payload);
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

/// Encodes 20 ms; none: they cannot be.
fn encode(line: &mut Option<Line>, payload: &mut Vec<u8>, sound: &TapFrame) -> Option<WireTimestamp> {
    if line.as_ref().is_none_or(|line| line.rate_hz != sound.rate_hz) {
        *line = Line::new(sound);
    }
    let line = line.as_mut()?;
    payload.resize(PAYLOAD_BYTES, 0);
    let length = line.encoder.encode(&sound.samples, payload).ok().filter(|length| *length > 0)?;
    payload.truncate(length);
    Some(WireTimestamp(line.origin.wrapping_add((sound.number as u32).wrapping_mul(line.ticks_a_frame))))
}

impl Line {
    fn new(sound: &TapFrame) -> Option<Line> {
        let rate_hz = sound.rate_hz;
        let (name, clock_hz) = match codec_at(rate_hz) {
            Codec::L16 { .. } => ("L16", rate_hz),
            _ => ("opus", 48_000),
        };
        let codec = AudioCodec::parse(name, clock_hz, 1, "").ok()?;
        let encoder = codec.encoder_at(rate_hz, &EncoderSettings::default()).ok()?;
        let ticks_a_frame = clock_hz / 50;
        // Another line goes on where the clock is: time in which nothing was mixed is not left out.
        let here = (u128::from(sound.at.as_nanos()) * u128::from(clock_hz) / 1_000_000_000) as u32;
        let origin = here.wrapping_sub((sound.number as u32).wrapping_mul(ticks_a_frame));
        Some(Line { rate_hz, encoder, ticks_a_frame, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rate_of_a_mix_can_be_recorded_and_its_frames_follow_each_other() {
        for (rate_hz, ticks) in [(8_000, 960), (16_000, 960), (32_000, 640), (48_000, 960)] {
            let (mut line, mut payload) = (None, Vec::new());
            let samples = vec![100; rate_hz as usize / 50];
            let mut at = |number| {
                let at = Time::from_nanos(3_000_000_000);
                let sound = TapFrame { number, rate_hz, at, samples: samples.clone() };
                let at = encode(&mut line, &mut payload, &sound).expect("it is encoded");
                assert!(!payload.is_empty());
                at.0
            };
            let (first, second, later) = (at(7), at(8), at(11));
            assert_eq!((first, second - first, later - second), (ticks * 150, ticks, 3 * ticks), "{rate_hz}");
        }
    }
}
