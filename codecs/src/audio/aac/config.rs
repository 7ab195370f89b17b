//! The AudioSpecificConfig that tells a decoder what to expect (ISO/IEC 14496-3 section 1.6.2.1), as SDP has it
//! in hexadecimal digits.

use crate::audio::AudioFormat;
use crate::audio::bits::Bits;

/// Which AAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AacKind {
    /// Low complexity: frames of 1024 or 960 samples.
    Lc,
    /// Low delay: frames of 512 or 480 samples.
    Ld,
    /// Enhanced low delay: frames of 512 or 480 samples.
    Eld,
}

/// What an AudioSpecificConfig says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// Which AAC.
    pub kind: AacKind,
    /// Of the samples.
    pub format: AudioFormat,
    /// Samples of a frame, for each channel.
    pub frame_samples: u16,
    /// As it came.
    pub bytes: Vec<u8>,
}

/// Rates by their index (table 1.18).
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

impl AacConfig {
    /// Reads hexadecimal digits.
    ///
    /// # Errors
    /// What is wrong with them, or not supported: other kinds of AAC, more than two channels, and spectral band
    /// replication.
    pub fn from_hex(digits: &str) -> Result<Self, &'static str> {
        let bytes = bytes_from_hex(digits).ok_or("it is an even number of hexadecimal digits")?;
        Self::from_bytes(&bytes)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// As of [`from_hex`](Self::from_hex).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut bits = Bits::new(bytes);
        let parsed = parse(&mut bits).ok_or("it ends too early")?;
        let (kind, format, frame_samples) = parsed?;
        Ok(AacConfig { kind, format, frame_samples, bytes: bytes.to_vec() })
    }

    /// Samples of a frame, all channels together.
    pub fn samples(&self) -> usize {
        usize::from(self.frame_samples) * usize::from(self.format.channels)
    }
}

/// Bytes written as hexadecimal digits. None if they are not, or none.
fn bytes_from_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}

type Parsed = Result<(AacKind, AudioFormat, u16), &'static str>;

/// None: it ends too early.
fn parse(bits: &mut Bits<'_>) -> Option<Parsed> {
    let object_type = match bits.read(5)? {
        31 => 32 + bits.read(6)?,
        object_type => object_type,
    };
    let kind = match object_type {
        2 => AacKind::Lc,
        23 => AacKind::Ld,
        39 => AacKind::Eld,
        5 | 29 => return Some(Err("HE-AAC (audio object types 5 and 29) is not supported")),
        _ => return Some(Err("its audio object type is not one of 2 (LC), 23 (LD) and 39 (ELD)")),
    };
    let sample_rate_hz = match bits.read(4)? {
        15 => bits.read(24)?,
        index => match RATES_HZ.get(index as usize) {
            Some(rate_hz) => *rate_hz,
            None => return Some(Err("its sampling frequency is reserved")),
        },
    };
    if !(7350..=96_000).contains(&sample_rate_hz) {
        return Some(Err("its sampling frequency is not from 7350 to 96000 Hz"));
    }
    let channels @ (1 | 2) = bits.read(4)? else { return Some(Err("it has other than one or two channels")) };
    let short = bits.read(1)? == 1;
    let supported = match kind {
        AacKind::Lc => parse_general(bits, false)?,
        AacKind::Ld => parse_general(bits, true)?,
        AacKind::Eld => parse_enhanced(bits)?,
    };
    let frame_samples = match (kind, short) {
        (AacKind::Lc, false) => 1024,
        (AacKind::Lc, true) => 960,
        (_, false) => 512,
        (_, true) => 480,
    };
    let format = AudioFormat { sample_rate_hz, channels: channels as u8 };
    Some(supported.map(|()| (kind, format, frame_samples)))
}

/// The rest of GASpecificConfig (section 4.4.1).
fn parse_general(bits: &mut Bits<'_>, resilient: bool) -> Option<Result<(), &'static str>> {
    if bits.read(1)? == 1 {
        return Some(Err("it depends on a core coder"));
    }
    if bits.read(1)? == 1 && resilient {
        // Three flags of error resilience, and one for a future version.
        bits.read(4)?;
    }
    if resilient { parse_protection(bits) } else { Some(Ok(())) }
}

/// The rest of ELDSpecificConfig (section 4.6.20).
fn parse_enhanced(bits: &mut Bits<'_>) -> Option<Result<(), &'static str>> {
    // Three flags of error resilience.
    bits.read(3)?;
    if bits.read(1)? == 1 {
        return Some(Err("low-delay spectral band replication is not supported"));
    }
    while bits.read(4)? != 0 {
        let mut bytes = bits.read(4)?;
        if bytes == 15 {
            bytes += bits.read(8)?;
        }
        if bytes == 15 + 255 {
            bytes += bits.read(16)?;
        }
        for _ in 0..bytes {
            bits.read(8)?;
        }
    }
    parse_protection(bits)
}

/// epConfig of the error-resilient kinds.
fn parse_protection(bits: &mut Bits<'_>) -> Option<Result<(), &'static str>> {
    let supported = bits.read(2)? < 2;
    Some(if supported { Ok(()) } else { Err("error protection is not supported") })
}
