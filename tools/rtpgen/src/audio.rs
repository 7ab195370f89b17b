//! `motet load --audio`: everybody in a mixed conference sends real encoded sound, and what comes back is
//! decoded and measured by signal.
//!
//! Talkers differ by a tone that never stops while they talk, which says who is heard in which mix, how loud,
//! and with what gaps; and by a marker once a second, whose place in the mix says how long the sound took
//! from mouth to ear ([`sound`]). Everything is encoded once, before the run ([`track`]).
//!
//! *Mouth to ear* counts from the moment at which a sample is captured. A frame of 20 ms leaves when its last
//! sample is captured, so that packetisation is in it; and so is all that the codecs look ahead. It ends when
//! the sample leaves the receiver's decoder, which decodes a packet as it comes: the first sample of a packet
//! is heard at the packet's arrival. There is no jitter buffer of the receiver in it; what one would add
//! depends on the network.
//!
//! [`abuse`] adds participants who send what they should not, for whom nobody listens.
//!
//! The cores take `now` and never read a clock: [`stage`] says who talks when, [`sender`] writes packets,
//! [`impair`] loses and delays them, [`ear`] counts and keeps what comes, [`reports`] tells the node, [`decode`] makes one line of sound
//! of it, [`measure`] and [`judge`] listen to that, [`report`] sums it up. The edges: [`run`], [`conference`], [`wav`].

pub mod abuse;
pub mod conference;
pub mod decode;
pub mod ear;
pub mod impair;
pub mod judge;
pub mod measure;
pub mod options;
pub mod report;
pub mod reports;
pub mod run;
pub mod sender;
pub mod sound;
pub mod stage;
pub mod track;
pub mod wav;

use motet_codecs::{AudioCodec, AudioCodecName, CodecError};
use std::str::FromStr;

/// Milliseconds of sound in a packet.
pub const FRAME_MS: u32 = 20;
/// Number of the header extension that says how loud a packet is (RFC 6464).
pub const LEVEL_EXTENSION_ID: u8 = 1;

/// A codec that participants may have, with its payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LoadCodec {
    /// Opus at 48 kHz, mono.
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722.
    G722,
}

impl LoadCodec {
    /// Every one of them.
    pub const ALL: [LoadCodec; 4] = [LoadCodec::Opus, LoadCodec::Pcmu, LoadCodec::Pcma, LoadCodec::G722];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            LoadCodec::Opus => "opus",
            LoadCodec::Pcmu => "pcmu",
            LoadCodec::Pcma => "pcma",
            LoadCodec::G722 => "g722",
        }
    }

    /// The static one of RFC 3551, 111 for Opus.
    pub const fn payload_type(self) -> u8 {
        match self {
            LoadCodec::Opus => 111,
            LoadCodec::Pcmu => 0,
            LoadCodec::Pcma => 8,
            LoadCodec::G722 => 9,
        }
    }

    /// Its name in SDP.
    pub const fn encoding_name(self) -> &'static str {
        match self {
            LoadCodec::Opus => AudioCodecName::Opus.encoding_name(),
            LoadCodec::Pcmu => AudioCodecName::Pcmu.encoding_name(),
            LoadCodec::Pcma => AudioCodecName::Pcma.encoding_name(),
            LoadCodec::G722 => AudioCodecName::G722.encoding_name(),
        }
    }

    /// RTP clock in Hz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            LoadCodec::Opus => 48_000,
            // RFC 3551 section 4.5.2: 8000 for G.722, too.
            LoadCodec::Pcmu | LoadCodec::Pcma | LoadCodec::G722 => 8000,
        }
    }

    /// Channels as SDP has them.
    pub const fn sdp_channels(self) -> u8 {
        match self {
            LoadCodec::Opus => 2,
            LoadCodec::Pcmu | LoadCodec::Pcma | LoadCodec::G722 => 1,
        }
    }

    /// Format parameters, as participants announce them.
    pub const fn fmtp(self) -> &'static str {
        match self {
            LoadCodec::Opus => "useinbandfec=1",
            LoadCodec::Pcmu | LoadCodec::Pcma | LoadCodec::G722 => "",
        }
    }

    /// The codec itself.
    ///
    /// # Errors
    /// None of those above.
    pub fn codec(self) -> Result<AudioCodec, CodecError> {
        AudioCodec::parse(self.encoding_name(), self.clock_hz(), self.sdp_channels(), self.fmtp())
    }

    /// RTP ticks of a frame.
    pub const fn frame_ticks(self) -> u32 {
        self.clock_hz() / 1000 * FRAME_MS
    }
}

impl FromStr for LoadCodec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = LoadCodec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| format!("{text:?} is none of {}", LoadCodec::ALL.map(LoadCodec::name).join(", ")))
    }
}

#[cfg(test)]
mod tests;
