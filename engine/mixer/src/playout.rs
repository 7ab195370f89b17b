//! Playout: the packets of one source become sound at the rate of the mix, 20 ms each tick.
//!
//! What stands between: a jitter buffer, the decoder, concealment of what is lost, correction of the
//! sender's clock and resampling. Not here: who is mixed, levels, gains.

mod interface;

pub use interface::{
    Carries, Inserted, PayloadSetting, PlayoutConfig, PlayoutConfigError, PlayoutStats, Pulled, SourcePacket,
};
