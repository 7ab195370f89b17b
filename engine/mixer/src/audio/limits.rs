//! Every bound of the audio mixer, and why.

/// Milliseconds of a tick: what nearly every sender packs into a packet, and what Opus does best.
pub const TICK_MS: u32 = 20;
/// Ticks of a second.
pub const TICKS_PER_SECOND: u32 = 1000 / TICK_MS;
/// Sources of one conference: more than a room holds, so that an index stays small.
pub const SOURCES_MAX: usize = 16_384;
/// Outputs of one conference.
pub const OUTPUTS_MAX: usize = 65_536;
/// The main conference and its side rooms.
pub const GROUPS_MAX: usize = 256;
/// Prompts that play at a time.
pub const PROMPTS_MAX: usize = 1_024;
/// Speakers mixed at a time that a configuration may ask for.
pub const SPEAKERS_MAX: usize = 1_024;
/// Sources whose gain to one output differs from everybody's.
pub const PAIRS_PER_OUTPUT_MAX: usize = 1_024;
/// Sampling rates that outputs have, the mix's own included: a bit of a mask for each.
pub const RATES_MAX: usize = 16;
/// Bytes of a payload: 20 ms of L16, 48 kHz, stereo, is the most.
pub const PAYLOAD_BYTES_MAX: usize = 4_096;
/// Events kept between two ticks; a peer that sends nothing but telephone events cannot fill memory.
pub const EVENTS_MAX: usize = 4_096;
/// What receivers lose, as encoders know it, in percent: few steps, so that many receivers share an encoder.
pub const LOSS_STEPS_PERCENT: [u8; 4] = [0, 5, 10, 20];
/// Ticks between two calls of `resync` of one encoder, which cost the quality of a frame.
pub const RESYNC_TICKS_MIN: u64 = 10;
/// A source whose packets say that it is louder than its sound, by so many decibels...
pub const LIE_DB: f32 = 20.0;
/// ...for so many ticks in a row, is judged by its sound from then on.
pub const LIE_TICKS: u32 = 100;
/// Ticks without a packet after which the level in the last one says nothing any more.
pub const LEVEL_TICKS_MAX: u64 = 6;
