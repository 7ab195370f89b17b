//! What may be asked of the relay, and why it refuses.

use motet_rtp::payload::PayloadFormat;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A UDP port of this worker. Numbers are chosen by the caller, small and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortId(pub u32);

/// A leg of this worker. Chosen by the caller, small and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LegId(pub u32);

/// A stream of this worker. Chosen by the caller, small and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId(pub u32);

/// A route of this worker. Chosen by the caller, small and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteId(pub u32);

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Sound.
    Audio,
    /// A picture, camera or content: key frames are asked for.
    Video,
}

/// Whose packets a transport takes and where it sends; see `docs/packet.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Latch {
    /// Send to where valid packets come from; the remote address, if known, is used until then.
    Symmetric,
    /// Send to the remote address; take packets from any port of the same host.
    Fixed,
    /// Send to, and take packets from, the remote address only.
    Strict,
    /// The other end is a relay of another worker, which runs on the same clock: a *trunk*. The remote
    /// address is a mere name for it. Key frames are asked for over it at once, since the other end throttles.
    Trunk,
}

/// One RTP port of a leg and its RTCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportSpec {
    /// Port for RTP (and RTCP, when `rtcp` is none). It belongs to one transport, unless it is shared
    /// ([`Command::SharePort`]).
    pub rtp: PortId,
    /// Port for RTCP; none: multiplexed on `rtp` (RFC 5761), as it must be at a shared port.
    pub rtcp: Option<PortId>,
    /// Where to send; none until packets come. Required for all but [`Latch::Symmetric`]. At a shared port, no
    /// other leg has this one; without it, streams need SSRCs.
    pub remote: Option<SocketAddr>,
    /// Where to send RTCP; none: the remote port + 1, or the RTP address when multiplexed, as it must be at
    /// a shared port.
    pub remote_rtcp: Option<SocketAddr>,
    /// Policy for sources.
    pub latch: Latch,
}

/// One participant's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegSpec {
    /// CNAME under which this leg's streams are announced to the others, 1 to 255 bytes.
    pub cname: String,
    /// SSRC of the reports that the relay itself sends to this leg.
    pub report_ssrc: u32,
    /// 1 to 8 transports.
    pub transports: Vec<TransportSpec>,
}

/// A payload type that a stream may carry, and its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadType {
    /// 0 to 127, without 64 to 95.
    pub number: u8,
    /// RTP clock in Hz, 1 to 999,999,999.
    pub clock_hz: u32,
}

/// What a leg publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The publishing leg.
    pub leg: LegId,
    /// Index into the leg's transports.
    pub transport: u8,
    /// What it carries.
    pub kind: Kind,
    /// Fixed SSRC; none: learnt from packets. Unique at a shared port, where packets from unknown addresses
    /// are told apart by it.
    pub ssrc: Option<u32>,
    /// At least one. Unique among the streams of the transport (and of the leg's other transports at the same
    /// shared port), unless both streams have an SSRC.
    pub payload_types: Vec<PayloadType>,
}

/// Where sequence numbers and RTP timestamps towards a receiver begin. From then on they go on, whatever
/// becomes of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// The first packet has these.
    Begin {
        /// Its sequence number.
        sequence: u16,
        /// Its timestamp.
        timestamp: u32,
    },
    /// As the first source has them, plus these (modulo 2^16 and 2^32). A relay elsewhere that carries the same
    /// source with the same shift sends the very next numbers.
    Shift {
        /// Added to sequence numbers.
        sequence: u16,
        /// Added to timestamps.
        timestamp: u32,
    },
}

/// One stream to one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// The stream to forward.
    pub stream: StreamId,
    /// The receiving leg.
    pub leg: LegId,
    /// Index into the receiving leg's transports.
    pub transport: u8,
    /// SSRC towards the receiver; unique in the receiving leg among its routes, its `report_ssrc` and the
    /// SSRCs that its own streams are fixed to.
    pub ssrc: u32,
    /// Payload types from publisher to receiver (there 0 to 63 or 96 to 127). Those not listed are dropped
    /// and counted.
    pub payload_map: Vec<(u8, u8)>,
    /// Sequence numbers and timestamps towards the receiver.
    pub numbering: Numbering,
    /// False: made, but nothing is forwarded until it is resumed.
    pub active: bool,
    /// The route may share its numbers and times with the stream's other routes of the same SSRC and payload
    /// types, which costs less: it then joins them where they are, and `numbering` counts for the first of
    /// them only. It leaves them, without a jump, when it is switched or stopped.
    pub shared: bool,
}

/// A change, applied between batches. A refused command has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes a free port one that legs share, for as long as the relay lives (`docs/shared-port.md`).
    SharePort(PortId),
    /// Adds a leg.
    AddLeg(LegId, LegSpec),
    /// Removes a leg, its streams, and every route from or to it. Receivers are told BYE.
    RemoveLeg(LegId),
    /// Changes the remote addresses and the policy of a transport; `relatch` forgets the learnt source.
    SetRemote {
        /// The leg.
        leg: LegId,
        /// Index into its transports.
        transport: u8,
        /// As in [`TransportSpec::remote`].
        remote: Option<SocketAddr>,
        /// As in [`TransportSpec::remote_rtcp`].
        remote_rtcp: Option<SocketAddr>,
        /// As in [`TransportSpec::latch`].
        latch: Latch,
        /// Forget the latched source and learn again.
        relatch: bool,
    },
    /// Adds a stream.
    AddStream(StreamId, StreamSpec),
    /// Removes a stream. Its routes stay, silent, so that they can be switched to another stream.
    RemoveStream(StreamId),
    /// Adds a route. A video route asks for a key frame.
    AddRoute(RouteId, RouteSpec),
    /// Removes a route; the receiver is told BYE.
    RemoveRoute(RouteId),
    /// Lets a route carry another stream. SSRC, sequence and timestamps towards the receiver go on.
    SwitchRoute {
        /// The route.
        route: RouteId,
        /// Its new source.
        stream: StreamId,
        /// Replaces [`RouteSpec::payload_map`].
        payload_map: Vec<(u8, u8)>,
    },
    /// Of what a route carries since it was switched last, the first packet that it sends begins a key frame, or parameter
    /// sets for one; what comes before is left out, for two seconds at most. Payload types that are not named need no key
    /// frame. Not for a route that has sent something since, or follows others.
    AwaitKeyFrame {
        /// The route.
        route: RouteId,
        /// How pictures are in the packets of a payload type of the stream.
        formats: Vec<(u8, PayloadFormat)>,
    },
    /// Takes a route from its stream: it stays, silent, so that it can be switched to another one, and does not end with
    /// that stream's leg.
    DetachRoute(RouteId),
    /// Stops (false) or resumes (true) a route without telling the receiver.
    SetRouteActive(RouteId, bool),
    /// Asks the publisher for a key frame, throttled like a receiver's request.
    RequestKeyFrame(StreamId),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The leg does not exist.
    #[error("leg {0:?} does not exist")]
    UnknownLeg(LegId),
    /// The stream does not exist.
    #[error("stream {0:?} does not exist")]
    UnknownStream(StreamId),
    /// The route does not exist.
    #[error("route {0:?} does not exist")]
    UnknownRoute(RouteId),
    /// The leg has no transport with this index.
    #[error("leg {0:?} has no transport {1}")]
    UnknownTransport(LegId, u8),
    /// The id is taken.
    #[error("id is in use: {0}")]
    DuplicateId(&'static str),
    /// The port belongs to another transport.
    #[error("port {0:?} belongs to another transport")]
    PortInUse(PortId),
    /// Two streams of a transport cannot be told apart.
    #[error("payload type {0} is used by two streams of one transport without SSRCs")]
    AmbiguousPayloadType(u8),
    /// The remote address is another leg's at the same shared port.
    #[error("address {0} belongs to another leg at the shared port")]
    AddressInUse(SocketAddr),
    /// The SSRC was declared by another stream at the same shared port.
    #[error("ssrc {0:#010x} belongs to another stream at the shared port")]
    SsrcInUse(u32),
    /// The SSRC is used by another route or stream of the leg.
    #[error("ssrc {0:#010x} is in use in the leg")]
    DuplicateSsrc(u32),
    /// A value is outside its range.
    #[error("{field}: {why}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A bound of `limits.rs` is reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
}
