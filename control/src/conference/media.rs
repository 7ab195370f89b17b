//! A participant's media: checked once, kept in records, and turned into what a node understands.

use super::model::Participant;
use crate::refusal::Refusal;
use motet_proto::media::{Codec as WireCodec, Direction, LatchPolicy, MediaKind};
use motet_proto::{conference as wire, node};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;

mod layers;

pub use layers::Layer;
use layers::check_layers;

/// One payload type and what it means; see `media.proto`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codec {
    /// RTP payload type.
    pub payload_type: u32,
    /// Encoding name.
    pub name: String,
    /// RTP clock in Hz.
    pub clock_rate_hz: u32,
    /// Channels; 0 is read as 1.
    pub channels: u32,
    /// As in a=fmtp.
    pub fmtp: String,
}

/// One medium of a participant; see `conference.proto`. Enumerations are the numbers of the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// Unique in the participant.
    pub id: String,
    /// `MediaKind`.
    pub kind: i32,
    /// `Direction`.
    pub direction: i32,
    /// At least one.
    pub codecs: Vec<Codec>,
    /// "ip:port" or empty.
    pub remote: String,
    /// "ip:port" or empty.
    pub remote_rtcp: String,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// `LatchPolicy`.
    pub latch: i32,
    /// 0: learnt.
    pub ssrc: u32,
    /// Media with the same non-empty name share a port.
    pub bundle: String,
    /// Empty: all.
    pub receive_from: String,
    /// 0, 4 or 6.
    pub ip_version: u32,
    /// Number of the header extension that tells how loud it is (RFC 6464); 0: none.
    #[serde(default)]
    pub audio_level_id: u32,
    /// It is a smaller copy of another one.
    #[serde(default)]
    pub layer: Option<Layer>,
}

impl Medium {
    /// As applications see it.
    pub fn to_wire(&self) -> wire::ParticipantMedium {
        wire::ParticipantMedium {
            id: self.id.clone(),
            kind: self.kind,
            direction: self.direction,
            codecs: self.codecs.iter().map(Codec::to_wire).collect(),
            remote: self.remote.clone(),
            remote_rtcp: self.remote_rtcp.clone(),
            rtcp_mux: self.rtcp_mux,
            latch: self.latch,
            ssrc: self.ssrc,
            bundle: self.bundle.clone(),
            receive_from: self.receive_from.clone(),
            ip_version: self.ip_version,
            audio_level_id: self.audio_level_id,
            layer: self.layer.as_ref().map(Layer::to_wire),
        }
    }

    /// Name of the transport that carries it on the node.
    pub fn transport(&self) -> String {
        if self.bundle.is_empty() { self.id.clone() } else { format!("{BUNDLE_PREFIX}{}", self.bundle) }
    }

    fn sends(&self) -> bool {
        self.direction != Direction::ReceiveOnly as i32
    }
}

impl Codec {
    /// As on the wire.
    pub fn to_wire(&self) -> WireCodec {
        WireCodec {
            payload_type: self.payload_type,
            name: self.name.clone(),
            clock_rate_hz: self.clock_rate_hz,
            channels: self.channels,
            fmtp: self.fmtp.clone(),
        }
    }

    fn from_wire(codec: &WireCodec) -> Codec {
        Codec {
            payload_type: codec.payload_type,
            name: codec.name.clone(),
            clock_rate_hz: codec.clock_rate_hz,
            channels: codec.channels,
            fmtp: codec.fmtp.clone(),
        }
    }

    fn new(payload_type: u32, name: &str, clock_rate_hz: u32, channels: u32, fmtp: &str) -> Codec {
        Codec { payload_type, name: name.into(), clock_rate_hz, channels, fmtp: fmtp.into() }
    }
}

/// The leg that carries a participant with these media.
pub(super) fn leg(id: &str, participant: &Participant) -> node::Leg {
    let Participant { name, media, audio, video, .. } = participant;
    let mut transports: Vec<node::Transport> = Vec::new();
    for medium in media {
        let id = medium.transport();
        if transports.iter().all(|transport| transport.id != id) {
            transports.push(node::Transport {
                id,
                remote: medium.remote.clone(),
                remote_rtcp: medium.remote_rtcp.clone(),
                rtcp_mux: medium.rtcp_mux,
                latch: medium.latch,
                ip_version: medium.ip_version,
                latch_generation: 0,
                port_wanted: 0,
            });
        }
    }
    let media = media.iter().map(|medium| node::Medium {
        id: medium.id.clone(),
        kind: medium.kind,
        direction: medium.direction,
        transport: medium.transport(),
        codecs: medium.codecs.iter().map(Codec::to_wire).collect(),
        ssrc: medium.ssrc,
        receive_from: medium.receive_from.clone(),
        audio_level_id: medium.audio_level_id,
        layer: medium.layer.as_ref().map(Layer::to_wire),
    });
    node::Leg {
        id: id.into(),
        display_name: name.clone(),
        cname: String::new(),
        transports,
        media: media.collect(),
        muted: false,
        audio: audio.to_wire(),
        video: video.to_wire(),
    }
}

/// The media that [`leg`] was made from: how a conference is adopted from what a node runs.
pub(super) fn media_of_leg(leg: &node::Leg) -> Vec<Medium> {
    let transport_of = |id: &str| leg.transports.iter().find(|transport| transport.id == id || id.is_empty());
    let media = leg.media.iter().map(|medium| {
        let transport = transport_of(&medium.transport).cloned().unwrap_or_default();
        Medium {
            id: medium.id.clone(),
            kind: medium.kind,
            direction: medium.direction,
            codecs: medium.codecs.iter().map(Codec::from_wire).collect(),
            remote: transport.remote,
            remote_rtcp: transport.remote_rtcp,
            rtcp_mux: transport.rtcp_mux,
            latch: transport.latch,
            ssrc: medium.ssrc,
            bundle: transport.id.strip_prefix(BUNDLE_PREFIX).unwrap_or_default().into(),
            receive_from: medium.receive_from.clone(),
            ip_version: transport.ip_version,
            audio_level_id: medium.audio_level_id,
            layer: medium.layer.as_ref().map(Layer::from_wire),
        }
    });
    media.collect()
}

/// Checks the media of a participant and fills in what was left open. Errors name the field, beginning
/// with `media`.
pub fn check_media(participant: &str, given: &[wire::ParticipantMedium]) -> Result<Vec<Medium>, Refusal> {
    if given.is_empty() {
        return Err(Refusal::invalid("media", "at least one is needed, such as {kind: AUDIO}"));
    }
    if given.len() > MEDIA_MAX {
        return Err(Refusal::invalid("media", format!("{}; at most {MEDIA_MAX}", given.len())));
    }
    let mut media: Vec<Medium> = Vec::new();
    for (index, medium) in given.iter().enumerate() {
        let at = format!("media[{index}]");
        let medium = check_medium(&at, participant, medium)?;
        for other in &media {
            check_pair(&at, other, &medium)?;
        }
        media.push(medium);
    }
    check_layers(&media)?;
    share_bundles(&mut media)?;
    for (index, medium) in media.iter().enumerate() {
        check_latch(&format!("media[{index}]"), medium)?;
    }
    Ok(media)
}

fn check_medium(at: &str, participant: &str, given: &wire::ParticipantMedium) -> Result<Medium, Refusal> {
    let (kind, default_id) = match MediaKind::try_from(given.kind) {
        Ok(MediaKind::Audio) => (MediaKind::Audio, "audio"),
        Ok(MediaKind::Video) => (MediaKind::Video, "video"),
        Ok(MediaKind::Content) => (MediaKind::Content, "content"),
        _ => return Err(Refusal::invalid(format!("{at}.kind"), "must be AUDIO, VIDEO or CONTENT")),
    };
    let direction = match Direction::try_from(given.direction) {
        Ok(Direction::Unspecified) => Direction::SendReceive,
        Ok(direction) => direction,
        Err(_) => return Err(Refusal::invalid(format!("{at}.direction"), "is not known")),
    };
    let id = if given.id.is_empty() { default_id.to_owned() } else { given.id.clone() };
    check_identifier(&format!("{at}.id"), &id)?;
    if id.starts_with(BUNDLE_PREFIX) {
        return Err(Refusal::invalid(format!("{at}.id"), format!("must not begin with '{BUNDLE_PREFIX}'")));
    }
    if !given.bundle.is_empty() {
        check_identifier(&format!("{at}.bundle"), &given.bundle)?;
        if given.bundle.len() + BUNDLE_PREFIX.len() > 64 {
            return Err(Refusal::invalid(format!("{at}.bundle"), "is too long; at most 57 characters"));
        }
    }
    if !given.receive_from.is_empty() {
        check_identifier(&format!("{at}.receive_from"), &given.receive_from)?;
        if given.receive_from == participant {
            return Err(Refusal::invalid(
                format!("{at}.receive_from"),
                "a participant does not receive itself",
            ));
        }
    }
    check_addresses(at, given)?;
    if given.audio_level_id != 0 && (kind != MediaKind::Audio || given.audio_level_id > 14) {
        let why = format!("{}; must be 1 to 14, and of audio", given.audio_level_id);
        return Err(Refusal::invalid(format!("{at}.audio_level_id"), why));
    }
    Ok(Medium {
        id,
        kind: kind as i32,
        direction: direction as i32,
        codecs: check_codecs(at, kind, &given.codecs)?,
        remote: given.remote.clone(),
        remote_rtcp: given.remote_rtcp.clone(),
        rtcp_mux: given.rtcp_mux,
        latch: given.latch,
        ssrc: given.ssrc,
        bundle: given.bundle.clone(),
        receive_from: given.receive_from.clone(),
        ip_version: given.ip_version,
        audio_level_id: given.audio_level_id,
        layer: given.layer.as_ref().map(Layer::from_wire),
    })
}

fn check_addresses(at: &str, given: &wire::ParticipantMedium) -> Result<(), Refusal> {
    let remote = check_address(&format!("{at}.remote"), &given.remote)?;
    let rtcp = check_address(&format!("{at}.remote_rtcp"), &given.remote_rtcp)?;
    if let (Some(remote), Some(rtcp)) = (remote, rtcp)
        && remote.is_ipv6() != rtcp.is_ipv6()
    {
        return Err(Refusal::invalid(format!("{at}.remote_rtcp"), "is not of the address family of remote"));
    }
    match (given.ip_version, remote.or(rtcp)) {
        (4, Some(SocketAddr::V6(_))) | (6, Some(SocketAddr::V4(_))) => {
            Err(Refusal::invalid(format!("{at}.ip_version"), "is not the family of remote"))
        }
        (0 | 4 | 6, _) => Ok(()),
        (other, _) => Err(Refusal::invalid(format!("{at}.ip_version"), format!("{other}; may be 0, 4 or 6"))),
    }
}

fn check_address(at: &str, value: &str) -> Result<Option<SocketAddr>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    let why = "is not an address that packets can be sent to, such as 192.0.2.1:5004 or [2001:db8::1]:5004";
    match value.parse::<SocketAddr>() {
        Ok(address)
            if address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast() =>
        {
            Ok(Some(address))
        }
        _ => Err(Refusal::invalid(at, format!("'{value}' {why}"))),
    }
}

fn check_latch(at: &str, medium: &Medium) -> Result<(), Refusal> {
    match LatchPolicy::try_from(medium.latch) {
        Ok(LatchPolicy::Fixed | LatchPolicy::Strict) if medium.remote.is_empty() => {
            Err(Refusal::invalid(format!("{at}.remote"), "is needed for this latch policy"))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::invalid(format!("{at}.latch"), format!("{} is not known", medium.latch))),
    }
}

fn check_codecs(at: &str, kind: MediaKind, given: &[WireCodec]) -> Result<Vec<Codec>, Refusal> {
    if given.is_empty() {
        return Ok(default_codecs(kind));
    }
    let mut seen = BTreeSet::new();
    let mut codecs = Vec::new();
    for (index, codec) in given.iter().enumerate() {
        let at = format!("{at}.codecs[{index}]");
        let payload_type = codec.payload_type;
        let bad = |field: &str, why: String| Err(Refusal::invalid(format!("{at}.{field}"), why));
        match payload_type {
            0..=63 | 96..=127 => {}
            64..=95 => {
                let why = format!("{payload_type} is kept for RTCP (RFC 5761 section 4); use 96 to 127");
                return bad("payload_type", why);
            }
            _ => return bad("payload_type", format!("{payload_type}; at most 127")),
        }
        if !seen.insert(payload_type) {
            return bad("payload_type", format!("{payload_type} is used twice in the same medium"));
        }
        if codec.name.is_empty() || codec.name.len() > 32 || !codec.name.is_ascii() {
            return bad("name", "must be 1 to 32 ASCII characters, such as opus or H264".into());
        }
        if !(1_000..=10_000_000).contains(&codec.clock_rate_hz) {
            return bad("clock_rate_hz", format!("{} Hz; must be 1000 to 10000000", codec.clock_rate_hz));
        }
        if codec.channels > 8 {
            return bad("channels", format!("{}; at most 8", codec.channels));
        }
        if codec.fmtp.len() > 1024 {
            return bad("fmtp", format!("{} bytes; at most 1024", codec.fmtp.len()));
        }
        codecs.push(Codec::from_wire(codec));
    }
    Ok(codecs)
}

fn default_codecs(kind: MediaKind) -> Vec<Codec> {
    match kind {
        MediaKind::Audio => vec![
            Codec::new(111, "opus", 48_000, 2, ""),
            Codec::new(0, "PCMU", 8_000, 1, ""),
            Codec::new(8, "PCMA", 8_000, 1, ""),
        ],
        _ => vec![Codec::new(96, "H264", 90_000, 1, "packetization-mode=1")],
    }
}

/// Two media must have different ids, and in one bundle be told apart by payload type or SSRC.
fn check_pair(at: &str, other: &Medium, medium: &Medium) -> Result<(), Refusal> {
    if other.id == medium.id {
        let why = format!("'{}' names two media of the participant; give each its own id", medium.id);
        return Err(Refusal::invalid(format!("{at}.id"), why));
    }
    if medium.bundle.is_empty() || other.bundle != medium.bundle || !other.sends() || !medium.sends() {
        return Ok(());
    }
    if other.ssrc != 0 && medium.ssrc != 0 {
        if other.ssrc == medium.ssrc {
            let why = format!("{} is the SSRC of '{}' in the same bundle", medium.ssrc, other.id);
            return Err(Refusal::invalid(format!("{at}.ssrc"), why));
        }
        return Ok(());
    }
    for (index, codec) in medium.codecs.iter().enumerate() {
        if other.codecs.iter().any(|known| known.payload_type == codec.payload_type) {
            let field = format!("{at}.codecs[{index}].payload_type");
            let why = format!("{} is used twice in the same bundle", codec.payload_type);
            return Err(Refusal::invalid(field, why));
        }
    }
    Ok(())
}

/// Media of one bundle have one port and so one remote address: what one of them says holds for all.
fn share_bundles(media: &mut [Medium]) -> Result<(), Refusal> {
    for index in 0..media.len() {
        let Some(first) = (0..index)
            .find(|first| !media[index].bundle.is_empty() && media[*first].bundle == media[index].bundle)
        else {
            continue;
        };
        let (head, tail) = media.split_at_mut(index);
        let (leader, medium) = (&mut head[first], &mut tail[0]);
        agree(index, "remote", &mut leader.remote, &mut medium.remote)?;
        agree(index, "remote_rtcp", &mut leader.remote_rtcp, &mut medium.remote_rtcp)?;
        agree(index, "rtcp_mux", &mut leader.rtcp_mux, &mut medium.rtcp_mux)?;
        agree(index, "latch", &mut leader.latch, &mut medium.latch)?;
        agree(index, "ip_version", &mut leader.ip_version, &mut medium.ip_version)?;
    }
    // The first of a bundle may have learnt something from a later one.
    for index in 0..media.len() {
        let leader = media.iter().position(|medium| medium.bundle == media[index].bundle);
        if let Some(leader) = leader.filter(|leader| *leader < index && !media[index].bundle.is_empty()) {
            let leader = media[leader].clone();
            let medium = &mut media[index];
            medium.remote = leader.remote;
            medium.remote_rtcp = leader.remote_rtcp;
            medium.rtcp_mux = leader.rtcp_mux;
            medium.latch = leader.latch;
            medium.ip_version = leader.ip_version;
        }
    }
    Ok(())
}

fn agree<T: Default + PartialEq + Clone>(
    index: usize,
    field: &str,
    leader: &mut T,
    other: &mut T,
) -> Result<(), Refusal> {
    let open = T::default();
    if *other == open {
        *other = leader.clone();
    } else if *leader == open {
        *leader = other.clone();
    } else if leader != other {
        let why = "differs from another medium of the same bundle, which has the same port";
        return Err(Refusal::invalid(format!("media[{index}].{field}"), why));
    }
    Ok(())
}

/// 1 to 64 of A-Z a-z 0-9 . _ : -
pub(super) fn check_identifier(at: &str, value: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if value.is_empty() || value.len() > 64 || !value.chars().all(allowed) {
        return Err(Refusal::invalid(at, format!("'{value}' must be 1 to 64 of A-Z a-z 0-9 . _ : -")));
    }
    Ok(())
}

const BUNDLE_PREFIX: &str = "bundle:";
/// The relay's limit on transports of a leg, with room for bundled media.
const MEDIA_MAX: usize = 8;
