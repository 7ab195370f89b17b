//! G.711: 8 bits a sample at 8 kHz, one channel, A-law or µ-law (ITU-T G.711; payload types 8 and 0 of
//! RFC 3551 section 4.5.14).
//!
//! Both laws are stateless, so that one codec serves any number of streams and a lost packet harms
//! nothing after it. Not here: concealment of losses (appendix I), silence (appendix II).

use super::{AudioDecoder, AudioEncoder, AudioError, AudioFormat, prefix};

/// Which of the two laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// A-law, "PCMA": 13 bits of range.
    A,
    /// µ-law, "PCMU": 14 bits of range.
    Mu,
}

/// An encoder and a decoder at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct G711 {
    law: Law,
}

impl G711 {
    /// A codec for one law.
    pub const fn new(law: Law) -> Self {
        G711 { law }
    }

    /// The law.
    pub const fn law(&self) -> Law {
        self.law
    }
}

const FORMAT: AudioFormat = AudioFormat { sample_rate_hz: 8000, channels: 1 };

impl AudioEncoder for G711 {
    fn format(&self) -> AudioFormat {
        FORMAT
    }

    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> Result<usize, AudioError> {
        let payload = prefix(payload, samples.len())?;
        match self.law {
            Law::A => payload.iter_mut().zip(samples).for_each(|(code, s)| *code = encode_a(*s)),
            Law::Mu => payload.iter_mut().zip(samples).for_each(|(code, s)| *code = encode_mu(*s)),
        }
        Ok(payload.len())
    }

    fn fork(&self) -> Box<dyn AudioEncoder> {
        Box::new(*self)
    }
}

impl AudioDecoder for G711 {
    fn format(&self) -> AudioFormat {
        FORMAT
    }

    fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> Result<usize, AudioError> {
        let samples = prefix(samples, payload.len())?;
        let table = match self.law {
            Law::A => &DECODED_A,
            Law::Mu => &DECODED_MU,
        };
        samples.iter_mut().zip(payload).for_each(|(sample, code)| *sample = table[usize::from(*code)]);
        Ok(samples.len())
    }

    fn samples_in(&self, payload: &[u8]) -> Result<usize, AudioError> {
        Ok(payload.len())
    }

    fn reset(&mut self) {}
}

/// The code of one sample (ITU-T G.711 table 1).
pub const fn encode_a(sample: i16) -> u8 {
    let positive = if sample >= 0 { 0x80 } else { 0 };
    let magnitude = magnitude(sample) >> 4;
    // Segments 0 and 1 are of the same step; from there each is twice as wide as the one below.
    let code = if magnitude < 16 {
        magnitude as u8
    } else {
        let segment = magnitude.ilog2() - 3;
        (segment << 4) as u8 | (magnitude >> (segment - 1) & 0x0f) as u8
    };
    // G.711 section 3.1: even bits are inverted.
    (positive | code) ^ 0x55
}

/// The sample of one code (ITU-T G.711 table 1): the middle of the code's interval.
pub const fn decode_a(code: u8) -> i16 {
    let code = code ^ 0x55;
    let step = ((code & 0x0f) as i16) << 4;
    let magnitude = match code >> 4 & 0x07 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// What G.711's µ-law adds to a magnitude of 14 bits to make every segment start at a power of two.
const BIAS: u16 = 33;

/// The code of one sample (ITU-T G.711 table 2). Samples beyond ±32635 are clipped.
pub const fn encode_mu(sample: i16) -> u8 {
    let negative = if sample < 0 { 0x80 } else { 0 };
    let magnitude = magnitude(sample) >> 2;
    let biased = if magnitude > 8158 { 8158 + BIAS } else { magnitude + BIAS };
    let segment = biased.ilog2() - 5;
    // G.711 section 3.2: all bits are inverted.
    !(negative | (segment << 4) as u8 | (biased >> (segment + 1) & 0x0f) as u8)
}

/// The sample of one code (ITU-T G.711 table 2): the middle of the code's interval.
pub const fn decode_mu(code: u8) -> i16 {
    let code = !code;
    let step = ((code & 0x0f) as i16) << 3;
    let bias = (BIAS as i16) << 2;
    let magnitude = ((step + bias) << (code >> 4 & 0x07)) - bias;
    if code & 0x80 != 0 { -magnitude } else { magnitude }
}

/// Negative samples count from -1, so that both signs have 32768 magnitudes, as in ITU-T G.191's code.
const fn magnitude(sample: i16) -> u16 {
    (if sample < 0 { !sample } else { sample }) as u16
}

static DECODED_A: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_a(code as u8);
        code += 1;
    }
    table
};

static DECODED_MU: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_mu(code as u8);
        code += 1;
    }
    table
};
