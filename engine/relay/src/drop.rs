//! Why packets are not forwarded. Counted, never logged.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a packet, or a copy of it, was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];

            /// A stable name for metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Fewer bytes than a header.
    TooShort = "too_short",
    /// RTP of another version.
    BadVersion = "bad_version",
    /// CSRC list, extension or padding lie beyond the end.
    Malformed = "malformed",
    /// STUN, which is not spoken here.
    Stun = "stun",
    /// DTLS, which is not spoken here.
    Dtls = "dtls",
    /// Neither RTP nor RTCP.
    NotRtp = "not_rtp",
    /// The port belongs to no leg (any more).
    UnknownPort = "unknown_port",
    /// At a shared port, from an address and under an SSRC that are no leg's.
    UnknownSource = "unknown_source",
    /// At a shared port, under the SSRC of one leg from the address of another.
    AddressTaken = "address_taken",
    /// RTP at a port for RTCP alone.
    RtpAtRtcpPort = "rtp_at_rtcp_port",
    /// From a source that is not the leg's.
    OffPath = "off_path",
    /// From a source, or with an SSRC, that has yet to prove itself.
    Probation = "probation",
    /// The sequence number jumped; the next packet decides.
    SequenceJump = "sequence_jump",
    /// The leg does not publish this payload type.
    UnknownPayloadType = "unknown_payload_type",
    /// The leg publishes the payload type under another SSRC.
    UnknownSsrc = "unknown_ssrc",
    /// It has an SSRC that the relay itself sends to this leg: an echo.
    Looped = "looped",
    /// A receiver does not know the payload type.
    PayloadTypeNotRouted = "payload_type_not_routed",
    /// The node had been stopped, and did not know yet whether another one carries this by now.
    Fenced = "fenced",
    /// Older than the point where a route took up the stream.
    BeforeSwitch = "before_switch",
    /// A receiver has no address yet.
    NoDestination = "no_destination",
    /// RTCP whose lengths do not add up, or too short for what it claims to be.
    MalformedRtcp = "malformed_rtcp",
    /// RTCP from a source that is not the leg's.
    RtcpOffPath = "rtcp_off_path",
    /// RTCP about a source that the leg does not know.
    RtcpUnknownSsrc = "rtcp_unknown_ssrc",
    /// RTCP of a kind that is not handled.
    RtcpIgnored = "rtcp_ignored",
}

const COUNT: usize = DropReason::ALL.len();

/// A count for each reason.
#[derive(Clone, Debug, Default)]
pub struct DropCounters {
    counts: [u64; COUNT],
}

impl DropCounters {
    #[inline]
    pub(crate) fn add(&mut self, reason: DropReason, packets: u64) {
        self.counts[reason as usize] += packets;
    }

    /// How many packets were dropped for a reason.
    pub fn count(&self, reason: DropReason) -> u64 {
        self.counts[reason as usize]
    }

    /// Name and count of every reason.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DropReason::ALL.iter().map(|reason| (reason.name(), self.count(*reason)))
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
