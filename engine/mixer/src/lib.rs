//! The media processor as a pure core: streams in, streams out, driven by ticks of 20 ms.
//!
//! [`playout`] turns the packets of one source into sound at the rate of the mix: jitter buffer, decoder,
//! concealment of losses, clock drift and resampling. [`audio`] mixes a conference's sources: who is heard by
//! whom and how loud, encoded once for all who hear the same. [`video`] decodes pictures, composes and encodes them.
//!
//! There is no clock, socket, lock or randomness in here, and no allocation per packet or tick after
//! warm-up.
#![forbid(unsafe_code)]

pub mod audio;
mod kernel;
pub mod playout;
mod rate;
pub mod testing;
pub mod video;
