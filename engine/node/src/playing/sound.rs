//! A file's sound, in 20 ms packets of the leg's codec.

use super::Target;
use super::socket::Way;
use motet_codecs::audio::{AudioCodec, AudioEncoder, EncoderSettings};
use motet_mixer::playout::Resampler;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a packet's sound lasts.
const FRAME: Duration = Duration::from_millis(20);
/// Sound that is missing in a file, from which on silence stands for it.
const GAP: Duration = Duration::from_millis(50);
/// Sound that may wait.
const WAITING_MAX: Duration = Duration::from_secs(10);
/// Bytes of a payload at most: L16 at 48 kHz.
const PAYLOAD_BYTES_MAX: usize = 2048;

pub(super) struct SoundLine {
    pub(super) way: Way,
    encoder: Box<dyn AudioEncoder>,
    rate_hz: u32,
    /// From the rate of the file, which it is for.
    resampler: Option<(u32, Resampler)>,
    waiting: VecDeque<i16>,
    /// The place of what waits first.
    place: Duration,
    scratch: (Vec<f32>, Vec<f32>),
    frame: Vec<i16>,
    payload: Vec<u8>,
}

/// The encoder of a codec, if it takes one channel in frames of 20 ms.
pub(super) fn encoder(codec: &crate::model::Codec) -> Option<Box<dyn AudioEncoder>> {
    let channels = u8::try_from(codec.channels).ok()?;
    let codec = AudioCodec::parse(&codec.name, codec.clock_hz, channels, &codec.fmtp).ok()?;
    let encoder = codec.encoder(&EncoderSettings::default()).ok()?;
    let format = encoder.format();
    let fits = format.channels == 1 && encoder.frame_samples().is_none() && format.sample_rate_hz <= 48_000;
    fits.then_some(encoder)
}

impl SoundLine {
    pub(super) fn new(target: &Target) -> Result<SoundLine, String> {
        let encoder =
            encoder(&target.codec).ok_or_else(|| format!("no encoder for {}", target.codec.name))?;
        Ok(SoundLine {
            way: Way::open(target)?,
            rate_hz: encoder.format().sample_rate_hz,
            encoder,
            resampler: None,
            waiting: VecDeque::new(),
            place: Duration::ZERO,
            scratch: (Vec::new(), Vec::new()),
            frame: Vec::new(),
            payload: vec![0; PAYLOAD_BYTES_MAX],
        })
    }

    /// Up to which place of the file there is sound.
    pub(super) fn end(&self) -> Duration {
        self.place + self.lasts(self.waiting.len())
    }

    pub(super) fn is_full(&self) -> bool {
        self.lasts(self.waiting.len()) >= WAITING_MAX
    }

    /// Less than a packet is left.
    pub(super) fn is_empty(&self) -> bool {
        self.lasts(self.waiting.len()) < FRAME
    }

    /// Goes on at another place.
    pub(super) fn restart(&mut self, place: Duration) {
        self.waiting.clear();
        self.place = place;
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.reset();
        }
    }

    /// Takes sound of a place. What lies before what is wanted is left out; silence stands for what is missing. False:
    /// its rate cannot be converted.
    pub(super) fn push(&mut self, at: Duration, rate_hz: u32, samples: &[i16]) -> bool {
        if self.resampler.as_ref().is_none_or(|(from_hz, _)| *from_hz != rate_hz) {
            let known = (8_000..=48_000).contains(&rate_hz);
            let resampler = Resampler::new(rate_hz, self.rate_hz).filter(|_| known);
            let Some(resampler) = resampler else { return false };
            self.resampler = Some((rate_hz, resampler));
        }
        let Some((_, resampler)) = &mut self.resampler else { return false };
        let (input, output) = &mut self.scratch;
        input.clear();
        output.clear();
        input.extend(samples.iter().map(|sample| f32::from(*sample) / 32_768.0));
        resampler.process(input, output);
        let late = at.saturating_sub(self.end());
        if late > GAP {
            let silence =
                (late.min(WAITING_MAX).as_nanos() * u128::from(self.rate_hz) / 1_000_000_000) as usize;
            self.waiting.extend(std::iter::repeat_n(0, silence));
        }
        // Of what comes again after a seek, only the end may be wanted.
        let early = self.end().saturating_sub(at);
        let early = if early > GAP { early } else { Duration::ZERO };
        let skip = (early.as_nanos() * u128::from(self.rate_hz) / 1_000_000_000) as usize;
        let scaled = self.scratch.1.iter().skip(skip).map(|sample| (sample * 32_768.0).round() as i16);
        self.waiting.extend(scaled);
        true
    }

    /// Sends what is due at a place of the file, by when on the clock it is (`at_ns` of a place).
    pub(super) fn send(&mut self, position: Duration, at_ns: impl Fn(Duration) -> u64) {
        let samples = (self.rate_hz / 50) as usize;
        while self.place <= position && self.waiting.len() >= samples {
            self.frame.clear();
            self.frame.extend(self.waiting.drain(..samples));
            let due_ns = at_ns(self.place);
            self.place += FRAME;
            // What cannot be encoded is silence; codecs say so by no bytes.
            if let Ok(bytes @ 1..) = self.encoder.encode(&self.frame, &mut self.payload) {
                self.way.send(due_ns, false, &self.payload[..bytes]);
            }
        }
    }

    fn lasts(&self, samples: usize) -> Duration {
        Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(self.rate_hz))
    }
}
