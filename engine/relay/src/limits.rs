//! Every bound of the relay, and why.

use std::time::Duration;

/// Legs of one worker: more than one address has ports for, two for each.
pub const LEGS_MAX: usize = 65_536;
/// Streams of one worker: a few for each leg.
pub const STREAMS_MAX: usize = 4 * LEGS_MAX;
/// Routes of one worker: a hundred conferences of a hundred, audio and video, fit.
pub const ROUTES_MAX: usize = 1 << 21;
/// Ports of one worker: RTP and RTCP of each transport.
pub const PORTS_MAX: usize = 4 * LEGS_MAX;
/// Transports of a leg: audio, video, content and room for more; an index fits a byte with ease.
pub const TRANSPORTS_PER_LEG_MAX: usize = 64;
/// Payload types of a stream: all that RFC 5761 leaves.
pub const PAYLOAD_TYPES_MAX: usize = 96;
/// RTP clocks are below this many Hz: one tick is longer than a nanosecond, so that time can be told in ticks.
pub const CLOCK_HZ_END: u32 = 1_000_000_000;
/// Bytes of an RTCP datagram that the relay sends: below every usual path MTU.
pub const RTCP_BYTES_MAX: usize = 1200;
/// Report blocks, chunks or sources of one RTCP packet (RFC 3550: five bits).
pub const RTCP_COUNT_MAX: usize = 31;
/// Timers handled in one call, so that reports of thousands of legs cannot hold up packets.
pub const TIMERS_PER_CALL_MAX: usize = 64;
/// Sources on probation that a transport remembers, so that a flood from many cannot keep out the one.
pub const CANDIDATES_MAX: usize = 8;

/// A participant from which no RTCP came for so long has left (RFC 3550 section 6.3.5: five intervals of five
/// seconds).
pub const RTCP_SILENCE_MAX: Duration = Duration::from_secs(25);
/// A roaming source must go on within this many packets of the last one (RFC 3550 A.1, MAX_DROPOUT).
pub const ROAMING_DISTANCE_MAX: i16 = 3000;

/// A route that was switched waits for a key frame at most so long: longer than a request for one takes, and its answer.
pub const KEY_FRAME_WAIT_MAX: Duration = Duration::from_secs(2);

/// A publisher's clock that differs by more from what was estimated was set anew.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(1);

const _: () = assert!(TRANSPORTS_PER_LEG_MAX <= u8::MAX as usize);
