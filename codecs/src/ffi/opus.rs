//! libopus: the state of an encoder and of a decoder as memory of ours, and the calls on it.
//!
//! opus.h: "Encoder state is always continuous in memory and only a shallow copy is enough to copy it (e.g.
//! memcpy())", and the same of decoders; `opus_encoder_init` and `opus_decoder_init` are for memory that the
//! caller allocates. So a state is a boxed slice, and copying the slice copies the state.

use opusic_sys as sys;
use std::ffi::{CStr, c_int};
use std::ptr;

/// A failure that libopus reports, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpusError(pub(crate) c_int);

impl OpusError {
    /// libopus's own words.
    pub(crate) fn reason(self) -> &'static str {
        // SAFETY: opus_strerror takes any number and returns a string literal, which lives for ever.
        let text = unsafe { CStr::from_ptr(sys::opus_strerror(self.0)) };
        text.to_str().unwrap_or("unknown error")
    }
}

/// As aligned as memory from malloc, which is where libopus's own states lie.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Block([u8; 16]);

/// Memory of at least `bytes` bytes, all zero.
fn memory(bytes: c_int) -> Box<[Block]> {
    let bytes = usize::try_from(bytes).unwrap_or(0);
    assert!(bytes > 0, "libopus has states of one and two channels");
    vec![Block([0; 16]); bytes.div_ceil(size_of::<Block>())].into_boxed_slice()
}

/// What libopus returned: a number, or an error below zero.
fn check(returned: c_int) -> Result<usize, OpusError> {
    usize::try_from(returned).map_err(|_| OpusError(returned))
}

/// An encoder's state, initialised.
#[derive(Clone)]
pub(crate) struct Encoder {
    state: Box<[Block]>,
    channels: u8,
}

impl Encoder {
    /// `rate_hz`: 8000, 12000, 16000, 24000 or 48000; `channels`: 1 or 2.
    pub(crate) fn new(rate_hz: u32, channels: u8, application: c_int) -> Result<Self, OpusError> {
        let (rate_hz, channels) = check_format(rate_hz, channels)?;
        // SAFETY: the function takes any number.
        let bytes = unsafe { sys::opus_encoder_get_size(c_int::from(channels)) };
        let mut encoder = Encoder { state: memory(bytes), channels };
        // SAFETY: the state is as large as opus_encoder_get_size wants, aligned as from malloc, and ours.
        check(unsafe {
            sys::opus_encoder_init(encoder.pointer(), rate_hz, c_int::from(channels), application)
        })?;
        Ok(encoder)
    }

    fn pointer(&mut self) -> *mut sys::OpusEncoder {
        self.state.as_mut_ptr().cast()
    }

    /// Sets one of the options that take a number. libopus checks the number.
    pub(crate) fn set(&mut self, option: EncoderOption, value: c_int) -> Result<(), OpusError> {
        // SAFETY: the state is initialised, and every request of EncoderOption takes one opus_int32.
        check(unsafe { sys::opus_encoder_ctl(self.pointer(), option as c_int, value) }).map(|_| ())
    }

    /// Encodes one frame; `samples` are of all channels. Returns the bytes of the packet.
    pub(crate) fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> Result<usize, OpusError> {
        let channels = usize::from(self.channels);
        if !samples.len().is_multiple_of(channels) {
            return Err(OpusError(sys::OPUS_BAD_ARG));
        }
        let frame = c_int::try_from(samples.len() / channels).map_err(|_| OpusError(sys::OPUS_BAD_ARG))?;
        let room = i32::try_from(packet.len()).unwrap_or(i32::MAX);
        // SAFETY: the state is initialised; `samples` holds `frame` samples for each channel that it was
        // initialised with, and at most `room` bytes of `packet` are written.
        check(unsafe { sys::opus_encode(self.pointer(), samples.as_ptr(), frame, packet.as_mut_ptr(), room) })
    }
}

/// Options of an encoder that take one `opus_int32` (opus_defines.h).
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum EncoderOption {
    BitrateBps = sys::OPUS_SET_BITRATE_REQUEST,
    BandwidthMax = sys::OPUS_SET_MAX_BANDWIDTH_REQUEST,
    VariableRate = sys::OPUS_SET_VBR_REQUEST,
    Complexity = sys::OPUS_SET_COMPLEXITY_REQUEST,
    InbandFec = sys::OPUS_SET_INBAND_FEC_REQUEST,
    LossPercent = sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
    Dtx = sys::OPUS_SET_DTX_REQUEST,
    PredictionDisabled = sys::OPUS_SET_PREDICTION_DISABLED_REQUEST,
    Signal = sys::OPUS_SET_SIGNAL_REQUEST,
}

/// A decoder's state, initialised.
#[derive(Clone)]
pub(crate) struct Decoder {
    state: Box<[Block]>,
    rate_hz: i32,
    channels: u8,
}

impl Decoder {
    /// `rate_hz`: 8000, 12000, 16000, 24000 or 48000; `channels`: 1 or 2.
    pub(crate) fn new(rate_hz: u32, channels: u8) -> Result<Self, OpusError> {
        let (rate_hz, channels) = check_format(rate_hz, channels)?;
        // SAFETY: the function takes any number.
        let bytes = unsafe { sys::opus_decoder_get_size(c_int::from(channels)) };
        let mut decoder = Decoder { state: memory(bytes), rate_hz, channels };
        // SAFETY: the state is as large as opus_decoder_get_size wants, aligned as from malloc, and ours.
        check(unsafe { sys::opus_decoder_init(decoder.pointer(), rate_hz, c_int::from(channels)) })?;
        Ok(decoder)
    }

    fn pointer(&mut self) -> *mut sys::OpusDecoder {
        self.state.as_mut_ptr().cast()
    }

    /// Decodes a packet into `samples`, or `fec`: what it says of the sound before it, which then is as long
    /// as `samples`. No packet: the sound that is likely. Returns samples of all channels.
    pub(crate) fn decode(
        &mut self,
        packet: Option<&[u8]>,
        samples: &mut [i16],
        fec: bool,
    ) -> Result<usize, OpusError> {
        let (data, bytes) = packet.map_or((ptr::null(), 0), |packet| (packet.as_ptr(), packet.len()));
        let bytes = i32::try_from(bytes).map_err(|_| OpusError(sys::OPUS_INVALID_PACKET))?;
        let channels = usize::from(self.channels);
        let room = c_int::try_from(samples.len() / channels).unwrap_or(c_int::MAX);
        // SAFETY: the state is initialised; `data` is null or has `bytes` bytes; at most `room` samples for
        // each channel that the state was initialised with are written.
        let decoded = check(unsafe {
            sys::opus_decode(self.pointer(), data, bytes, samples.as_mut_ptr(), room, c_int::from(fec))
        })?;
        Ok(decoded * channels)
    }

    /// Samples of all channels that a packet holds, by its first bytes.
    pub(crate) fn samples_in(&self, packet: &[u8]) -> Result<usize, OpusError> {
        let bytes = i32::try_from(packet.len()).map_err(|_| OpusError(sys::OPUS_INVALID_PACKET))?;
        // SAFETY: `packet` has `bytes` bytes; the function reads no more than two of them, and says so when
        // there are fewer than it needs.
        let samples =
            check(unsafe { sys::opus_packet_get_nb_samples(packet.as_ptr(), bytes, self.rate_hz) })?;
        Ok(samples * usize::from(self.channels))
    }

    /// To the state after initialisation.
    pub(crate) fn reset(&mut self) {
        // SAFETY: the state is initialised, and the request takes no argument.
        let returned = unsafe { sys::opus_decoder_ctl(self.pointer(), sys::OPUS_RESET_STATE) };
        assert_eq!(returned, sys::OPUS_OK, "resetting a decoder needs nothing that could lack");
    }
}

/// libopus reads the count of channels before it checks the rate, so both are checked here.
fn check_format(rate_hz: u32, channels: u8) -> Result<(i32, u8), OpusError> {
    match (i32::try_from(rate_hz), channels) {
        (Ok(rate_hz @ (8000 | 12_000 | 16_000 | 24_000 | 48_000)), 1 | 2) => Ok((rate_hz, channels)),
        _ => Err(OpusError(sys::OPUS_BAD_ARG)),
    }
}
