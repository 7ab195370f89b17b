//! What the relay reports.

use crate::{LegId, StreamId};
use std::net::SocketAddr;
use std::time::Duration;

/// Something happened that control may want to know. Never one per packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A source was latched for the first time, or packets come again after a silence.
    LegAlive {
        /// The leg.
        leg: LegId,
        /// Index into its transports.
        transport: u8,
        /// Where packets come from.
        source: SocketAddr,
    },
    /// Neither RTP nor RTCP came for the silence time.
    LegSilent {
        /// The leg.
        leg: LegId,
        /// For how long.
        silent: Duration,
    },
    /// First valid packets of a stream, or of a new SSRC of it.
    StreamStarted {
        /// The stream.
        stream: StreamId,
        /// The publisher's SSRC.
        ssrc: u32,
    },
    /// No packets of the stream for the silence time.
    StreamSilent {
        /// The stream.
        stream: StreamId,
        /// For how long.
        silent: Duration,
    },
    /// Packets come again after a silence.
    StreamResumed {
        /// The stream.
        stream: StreamId,
    },
    /// The publisher said BYE.
    StreamEnded {
        /// The stream.
        stream: StreamId,
    },
    /// A key frame was asked of the publisher.
    KeyFrameWanted {
        /// The stream.
        stream: StreamId,
    },
}
