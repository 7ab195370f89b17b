//! FFmpeg's libavcodec for sound: a decoder and an encoder of planes of floating-point samples.
//!
//! Through the crate ffmpeg-next, which is safe but for what it does not cover: a decoder's configuration
//! (`extradata`) and the sharing of a frame's memory.

use ffmpeg_next::codec::decoder::Opened;
use ffmpeg_next::codec::{Context, encoder};
use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type::Planar;
use ffmpeg_next::{ChannelLayout, Error, Packet, ffi, frame};
use std::sync::Once;

/// Why libavcodec did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AvError {
    /// Its own error.
    Library(Error),
    /// What it gives is not what was agreed on.
    Unexpected(&'static str),
    /// The packet does not fit.
    TooLarge,
}

impl AvError {
    /// FFmpeg's number, or 0 where there is none.
    pub(crate) fn code(self) -> i32 {
        match self {
            AvError::Library(error) => error.into(),
            AvError::Unexpected(_) | AvError::TooLarge => 0,
        }
    }

    /// In words.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            AvError::Library(Error::InvalidData) => "invalid data",
            AvError::Library(Error::PatchWelcome) => "a feature that FFmpeg does not have",
            AvError::Library(Error::DecoderNotFound | Error::EncoderNotFound) => {
                "this FFmpeg lacks the codec"
            }
            AvError::Library(_) => "FFmpeg refuses it",
            AvError::Unexpected(reason) => reason,
            AvError::TooLarge => "the packet does not fit the buffer",
        }
    }
}

impl From<Error> for AvError {
    fn from(error: Error) -> Self {
        AvError::Library(error)
    }
}

/// What is wrong is returned, so libavcodec shall not print it as well.
pub(super) fn silence() {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet));
}

/// A decoder that is open.
pub(crate) struct Decoder {
    decoder: Opened,
    frame: frame::Audio,
}

impl Decoder {
    /// `config`: what the codec calls its extradata, at most 64 KB.
    pub(crate) fn new(codec: &str, config: &[u8]) -> Result<Self, AvError> {
        silence();
        let codec = ffmpeg_next::decoder::find_by_name(codec).ok_or(Error::DecoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        let bytes = u16::try_from(config.len()).map_err(|_| Error::InvalidData)?;
        // SAFETY: the context was allocated and is not open. libavcodec frees `extradata` with the context
        // (avcodec.h: "must be allocated with the av_malloc() family of functions"; freed by
        // avcodec_free_context) and wants zeros after it, which av_mallocz gives.
        unsafe {
            let context = context.as_mut_ptr();
            let memory = ffi::av_mallocz(config.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize);
            if context.is_null() || memory.is_null() {
                return Err(AvError::Unexpected("no memory is left"));
            }
            memory.cast::<u8>().copy_from_nonoverlapping(config.as_ptr(), config.len());
            (*context).extradata = memory.cast();
            (*context).extradata_size = i32::from(bytes);
        }
        let decoder = context.decoder().open_as(codec)?;
        Ok(Decoder { decoder, frame: frame::Audio::empty() })
    }

    /// Decodes one unit to exactly `samples`, interleaved.
    pub(crate) fn decode(
        &mut self,
        unit: &[u8],
        samples: &mut [i16],
        channels: usize,
    ) -> Result<(), AvError> {
        // A unit of no bytes would be the end of the stream.
        if unit.is_empty() {
            return Err(Error::InvalidData.into());
        }
        let sent = self.decoder.send_packet(&Packet::copy(unit));
        let received = sent.and_then(|()| self.decoder.receive_frame(&mut self.frame));
        received?;
        let frame = &self.frame;
        if frame.format() != Sample::F32(Planar) {
            return Err(AvError::Unexpected("its samples are of another format"));
        }
        if frame.planes() != channels || frame.samples() * channels != samples.len() {
            return Err(AvError::Unexpected(
                "it has other channels or another frame size than its config says",
            ));
        }
        for channel in 0..channels {
            let interleaved = samples[channel..].iter_mut().step_by(channels);
            for (sample, value) in interleaved.zip(frame.plane::<f32>(channel)) {
                *sample = (value * 32_768.0).round() as i16;
            }
        }
        Ok(())
    }

    /// Forgets what came before.
    pub(crate) fn reset(&mut self) {
        self.decoder.flush();
    }
}

/// What an encoder is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncoderSettings {
    pub(crate) codec: &'static str,
    pub(crate) sample_rate_hz: u32,
    pub(crate) channels: u8,
    pub(crate) bitrate_bps: u32,
}

/// An encoder that is open, of frames of 1024 samples for each channel.
pub(crate) struct Encoder {
    encoder: encoder::audio::Encoder,
    frame: frame::Audio,
    packet: Packet,
    channels: usize,
}

/// Samples of a frame, for each channel.
const FRAME: usize = 1024;

impl Encoder {
    pub(crate) fn new(settings: &EncoderSettings) -> Result<Self, AvError> {
        silence();
        let codec = ffmpeg_next::encoder::find_by_name(settings.codec).ok_or(Error::EncoderNotFound)?;
        let layout = if settings.channels == 1 { ChannelLayout::MONO } else { ChannelLayout::STEREO };
        let format = Sample::F32(Planar);
        let mut audio = Context::new_with_codec(codec).encoder().audio()?;
        audio.set_rate(i32::try_from(settings.sample_rate_hz).map_err(|_| Error::InvalidData)?);
        audio.set_format(format);
        audio.set_channel_layout(layout);
        audio.set_bit_rate(settings.bitrate_bps as usize);
        audio.set_time_base((1, settings.sample_rate_hz as i32));
        let encoder = audio.open_as(codec)?;
        if encoder.frame_size() as usize != FRAME {
            return Err(AvError::Unexpected("its frames are not of 1024 samples"));
        }
        let mut frame = frame::Audio::new(format, FRAME, layout);
        frame.set_rate(settings.sample_rate_hz);
        Ok(Encoder { encoder, frame, packet: Packet::empty(), channels: settings.channels.into() })
    }

    /// Encodes one frame, interleaved, and returns the bytes of a packet: of an earlier frame, or 0 when there
    /// is none yet.
    pub(crate) fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> Result<usize, AvError> {
        assert_eq!(samples.len(), FRAME * self.channels, "a frame");
        // SAFETY: the frame owns its buffers. Where libavcodec still holds a reference to them, this makes a
        // copy that is ours alone (frame.h, av_frame_make_writable).
        let writable = unsafe { ffi::av_frame_make_writable(self.frame.as_mut_ptr()) };
        if writable < 0 {
            return Err(Error::from(writable).into());
        }
        for channel in 0..self.channels {
            let interleaved = samples[channel..].iter().step_by(self.channels);
            for (value, sample) in self.frame.plane_mut::<f32>(channel).iter_mut().zip(interleaved) {
                *value = f32::from(*sample) / 32_768.0;
            }
        }
        self.encoder.send_frame(&self.frame)?;
        match self.encoder.receive_packet(&mut self.packet) {
            Ok(()) => {}
            Err(Error::Other { errno }) if errno == ffmpeg_next::error::EAGAIN => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let data = self.packet.data().unwrap_or_default();
        packet.get_mut(..data.len()).ok_or(AvError::TooLarge)?.copy_from_slice(data);
        Ok(data.len())
    }
}
