//! What the crate openh264 does not cover: silence from the beginning, and another rate while an encoder runs.

use openh264_sys2::{
    ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_TRACE_LEVEL, SBitrateInfo,
    SPATIAL_LAYER_0, WELS_LOG_QUIET,
};

pub(crate) use openh264::encoder::Encoder;

/// Another rate from the next picture on; false: it does not take it. At least one picture must have been encoded.
pub(crate) fn set_bitrate(encoder: &mut Encoder, bitrate_bps: u32) -> bool {
    let Ok(bitrate) = i32::try_from(bitrate_bps) else { return false };
    let mut info = SBitrateInfo { iLayer: SPATIAL_LAYER_0, iBitrate: bitrate };
    let mut set = |option| {
        // SAFETY: codec_api.h: both options take a pointer to SBitrateInfo, read during the call. The parameters that the
        // crate relies on are not touched: it sets rates only when it initializes.
        unsafe { encoder.raw_api().set_option(option, (&raw mut info).cast()) == 0 }
    };
    // The rate is never above the highest one: whichever way it goes, one of them comes first.
    let raised = set(ENCODER_OPTION_MAX_BITRATE);
    set(ENCODER_OPTION_BITRATE) && (raised || set(ENCODER_OPTION_MAX_BITRATE))
}

/// What is wrong is returned, so openh264 shall not print it as well.
pub(crate) fn silence(encoder: &mut Encoder) {
    let mut level = WELS_LOG_QUIET;
    // SAFETY: codec_api.h: ENCODER_OPTION_TRACE_LEVEL takes a pointer to an int, read during the call, and may be set
    // before the encoder is initialized.
    unsafe {
        encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast());
    }
}
