//! Sound that was encoded once, to be sent as often as it is wanted.

use crate::audio::sound::{Voice, level, room_noise, to_i16};
use crate::audio::{FRAME_MS, LoadCodec};
use anyhow::{Context, ensure};
use motet_codecs::EncoderSettings;
use std::collections::BTreeMap;

/// Level of the noise of those who do not talk, in dB of full scale.
pub const NOISE_DBOV: f64 = -60.0;
/// Rate of speech that is given to talkers.
pub const SPEECH_RATE_HZ: u32 = 48_000;
/// Bytes of the longest payload of a frame.
const PAYLOAD_BYTES_MAX: usize = 1500;

/// What those send who do not talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Quiet {
    /// Noise at -60 dB of full scale.
    #[default]
    Noise,
    /// Digital silence, encoded.
    Silence,
}

/// Frames of one sound in one codec, which repeat without a seam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    frames: Vec<(Vec<u8>, u8)>,
}

impl Track {
    /// Payload and level (RFC 6464: dB below full scale) of a frame.
    pub fn frame(&self, number: u64) -> (&[u8], u8) {
        let (payload, level) = &self.frames[(number % self.frames.len() as u64) as usize];
        (payload, *level)
    }

    /// Encodes samples at the codec's own rate; as many whole frames as there are.
    pub fn encode(codec: LoadCodec, samples: &[i16]) -> anyhow::Result<Track> {
        let settings = EncoderSettings { fec: true, loss_percent: 5, ..EncoderSettings::default() };
        let mut encoder = codec.codec()?.encoder(&settings)?;
        let frame_samples = encoder.format().samples_in_ms(FRAME_MS);
        ensure!(samples.len() >= frame_samples, "there is less than a frame of sound");
        let mut payload = vec![0; PAYLOAD_BYTES_MAX];
        let mut frames = Vec::new();
        // Twice, and the second time is kept: its first frame goes on where its last one ends.
        for round in 0..2 {
            for frame in samples.chunks_exact(frame_samples) {
                let bytes = encoder.encode(frame, &mut payload).with_context(|| codec.name())?;
                if round == 1 {
                    frames.push((payload[..bytes].to_vec(), level(frame)));
                }
            }
        }
        Ok(Track { frames })
    }
}

/// All that participants of some codecs may send.
#[derive(Clone, Debug)]
pub struct Tracks {
    voices: BTreeMap<(LoadCodec, u32), Track>,
    quiet: BTreeMap<LoadCodec, Track>,
}

impl Tracks {
    /// Encodes the voices of `speakers` talkers in each codec, or `speech` (mono, at [`SPEECH_RATE_HZ`]) for
    /// all of them, and what those send who do not talk.
    ///
    /// # Errors
    /// A codec fails; speech is for another codec than Opus.
    pub fn new(
        codecs: &[LoadCodec],
        speakers: u32,
        quiet: Quiet,
        speech: Option<&[i16]>,
    ) -> anyhow::Result<Tracks> {
        let mut tracks = Tracks { voices: BTreeMap::new(), quiet: BTreeMap::new() };
        for codec in codecs {
            let rate_hz = codec.codec()?.format().sample_rate_hz;
            let silence = match quiet {
                Quiet::Noise => to_i16(&room_noise(rate_hz, NOISE_DBOV)),
                Quiet::Silence => vec![0; rate_hz as usize],
            };
            tracks.quiet.insert(*codec, Track::encode(*codec, &silence)?);
            for talker in 0..speakers {
                let voice = Voice::of(talker);
                if tracks.voices.contains_key(&(*codec, voice.number())) {
                    break;
                }
                let samples = match speech {
                    Some(speech) => {
                        ensure!(rate_hz == SPEECH_RATE_HZ, "--speech: needs --codec opus");
                        speech.to_vec()
                    }
                    None => to_i16(&voice.samples(rate_hz)),
                };
                tracks.voices.insert((*codec, voice.number()), Track::encode(*codec, &samples)?);
            }
        }
        Ok(tracks)
    }

    /// What a talker says.
    pub fn voice(&self, codec: LoadCodec, talker: u32) -> Option<&Track> {
        self.voices.get(&(codec, Voice::of(talker).number()))
    }

    /// What those send who do not talk.
    pub fn quiet(&self, codec: LoadCodec) -> Option<&Track> {
        self.quiet.get(&codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_fifty_frames_that_begin_anew() {
        for codec in LoadCodec::ALL {
            let tracks = Tracks::new(&[codec], 2, Quiet::Noise, None).expect("the codec is there");
            let track = tracks.voice(codec, 1).expect("encoded");
            assert_eq!(track.frames.len(), 50, "{codec:?}");
            assert_eq!(track.frame(3), track.frame(53));
            assert!(track.frame(0).1 <= 25 && tracks.quiet(codec).expect("encoded").frame(0).1 >= 58);
            assert!(tracks.voice(codec, 2).is_none());
        }
    }
}
