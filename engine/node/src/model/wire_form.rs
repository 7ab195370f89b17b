//! From the wire's specification to the checked one. Each error names the field it is about.

use super::check::{Path, address, identifier};
use super::layer::check_layers;
use super::{
    AudioMode, Codec, ContentHolder, Id, Layer, Leg, LegAudio, LegVideo, METADATA_BYTES_MAX, MediaKind,
    Medium, Policy, Recording, RouteKey, Spec, Transport, VideoMode, gain,
};
use crate::error::NodeError;
use crate::routing::Composed;
use motet_proto::{media as wire_media, node as wire};
use motet_relay::Latch;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

/// The only rate at which noise can be taken out.
const SUPPRESSION_HZ: u32 = 48_000;
/// Characters of a name that is shown.
const NAME_CHARS_MAX: usize = 128;
/// Different pictures of one conference, so that all can be changed one after another within the mixer's limit.
const PICTURES_MAX: usize = 32;

impl Spec {
    /// Checks a specification. Errors name the field, beginning with `spec.`. Transports that leave their
    /// address family open take IPv6 when `ipv6_default` says so.
    pub fn from_wire(spec: &wire::ConferenceSpec, ipv6_default: bool) -> Result<Spec, NodeError> {
        let path = Path::root("spec");
        identifier(&path.field("id"), &spec.id)?;
        let mut legs = BTreeMap::new();
        for (index, leg) in spec.legs.iter().enumerate() {
            let at = path.index("legs", index);
            let leg = Leg::from_wire(&at, &spec.id, leg, ipv6_default)?;
            let id = Id::clone(&leg.id);
            if legs.insert(id.clone(), leg).is_some() {
                return Err(at.field("id").error(format!("'{id}' names two legs")));
            }
        }
        let policy = policy(&path.field("route_policy"), spec.route_policy)?;
        let routes = named_routes(&path, &spec.routes, &legs)?;
        for (index, leg) in spec.legs.iter().enumerate() {
            check_receive_from(&path.index("legs", index), leg)?;
        }
        if spec.metadata.len() > METADATA_BYTES_MAX {
            let why = format!("{} bytes; at most {METADATA_BYTES_MAX}", spec.metadata.len());
            return Err(path.field("metadata").error(why));
        }
        let audio = AudioMode::from_wire(&path.field("audio"), spec.audio.as_ref())?;
        if audio != AudioMode::Relay && policy != Policy::All {
            let why = "needs the route policy ALL; named routes are relayed as they are";
            return Err(path.field("audio").field("mode").error(why));
        }
        if audio.listening().is_some() {
            for (index, leg) in spec.legs.iter().enumerate() {
                check_mixed(&path.index("legs", index), &legs[leg.id.as_str()], &audio)?;
            }
        }
        let video = VideoMode::from_wire(&path.field("video"), spec.video.as_ref())?;
        if video.canvas().is_some() {
            if policy != Policy::All {
                let why = "needs the route policy ALL; named routes are relayed as they are";
                return Err(path.field("video").field("mode").error(why));
            }
            for (index, leg) in spec.legs.iter().enumerate() {
                check_composed(&path.index("legs", index), &legs[leg.id.as_str()])?;
            }
            check_canvas(&path.field("video").field("canvas"), &legs)?;
        }
        let pair_gains = pair_gains(&path, spec, &legs)?;
        let spec = Spec {
            id: spec.id.clone(),
            legs,
            policy,
            routes,
            metadata: spec.metadata.clone(),
            audio,
            video,
            pair_gains,
            seed: NonZeroU64::new(spec.seed),
            loudest: BTreeSet::new(),
            recordings: Recording::all(&path, &spec.id, &spec.recordings)?,
            content: content(&path.field("content"), spec.content.as_ref())?,
            lecturer: None,
            fits: BTreeSet::new(),
            still_files: BTreeMap::new(),
            failed_recordings: BTreeMap::new(),
            stills: BTreeMap::new(),
        };
        check_pictures(&path.field("video").field("canvas"), &spec)?;
        Ok(spec)
    }
}

fn policy(path: &Path, number: i32) -> Result<Policy, NodeError> {
    match wire::RoutePolicy::try_from(number) {
        Ok(wire::RoutePolicy::Unspecified | wire::RoutePolicy::All) => Ok(Policy::All),
        Ok(wire::RoutePolicy::None) => Ok(Policy::None),
        Err(_) => Err(path.error(format!("{number} is not known"))),
    }
}

/// Who is named may not be here yet, or no longer.
fn content(at: &Path, given: Option<&wire::ContentHolder>) -> Result<Option<ContentHolder>, NodeError> {
    let Some(given) = given else { return Ok(None) };
    if given.leg.is_empty() {
        return Ok(Some(ContentHolder(None)));
    }
    identifier(&at.field("leg"), &given.leg)?;
    Ok(Some(ContentHolder(Some(Id::from(&given.leg)))))
}

/// Whom a leg hears in a mix is told by leg, so that it must be clear which of its media that is.
fn check_mixed(at: &Path, leg: &Leg, mode: &AudioMode) -> Result<(), NodeError> {
    let audio = || leg.media.iter().filter(|medium| medium.kind == MediaKind::Audio);
    let hears = audio().filter(|medium| medium.receives && medium.receive_from.is_none()).count();
    if audio().filter(|medium| medium.sends).count() > 1 || hears > 1 {
        let why = "in a mixed conference a leg sends one audio medium and receives one; use a leg for each";
        return Err(at.field("media").error(why));
    }
    let rate_hz = mode.mix().map_or(SUPPRESSION_HZ, |mix| mix.rate_hz);
    if leg.audio.noise_suppression && rate_hz != SUPPRESSION_HZ {
        let why = format!("needs a mix at {SUPPRESSION_HZ} Hz, and audio.mix.rate_hz is {rate_hz}");
        return Err(at.field("audio").field("noise_suppression").error(why));
    }
    Ok(())
}

/// A cell shows a leg, and a leg sees one canvas.
fn check_composed(at: &Path, leg: &Leg) -> Result<(), NodeError> {
    let video = || leg.media.iter().filter(|medium| medium.kind == MediaKind::Video);
    let sees = video().filter(|medium| medium.receives && medium.receive_from.is_none()).count();
    if video().filter(|medium| medium.sends && medium.layer.is_none()).count() > 1 || sees > 1 {
        let why = "with a canvas a leg sends one video medium and receives one; use a leg for each";
        return Err(at.field("media").error(why));
    }
    Ok(())
}

/// A thread has its limits.
fn check_canvas(at: &Path, legs: &BTreeMap<Id, Leg>) -> Result<(), NodeError> {
    let shows = |leg: &&Leg| leg.media.iter().any(|medium| medium.kind == MediaKind::Video && medium.sends);
    let seen = legs.values().filter(shows).count();
    if seen > motet_mixer::video::SOURCES_MAX {
        let max = motet_mixer::video::SOURCES_MAX;
        return Err(at.error(format!("{seen} participants send pictures; at most {max} fit a canvas")));
    }
    Ok(())
}

/// Each is composed and encoded.
fn check_pictures(at: &Path, spec: &Spec) -> Result<(), NodeError> {
    let composed = Composed::of(spec);
    let pictures: BTreeSet<_> = composed.iter().flat_map(Composed::pictures).collect();
    if pictures.len() <= PICTURES_MAX {
        return Ok(());
    }
    let hides = spec.video.canvas().is_some_and(|canvas| canvas.hide_self);
    let at = if hides { at.field("hide_self") } else { at.clone() };
    let count = pictures.len();
    Err(at.error(format!("participants see {count} different pictures; at most {PICTURES_MAX}")))
}

fn pair_gains(
    path: &Path,
    spec: &wire::ConferenceSpec,
    legs: &BTreeMap<Id, Leg>,
) -> Result<BTreeMap<(Id, Id), Option<f32>>, NodeError> {
    let mut gains = BTreeMap::new();
    for (index, pair) in spec.pair_gains.iter().enumerate() {
        let at = path.index("pair_gains", index);
        for (field, leg) in [("from", &pair.from), ("to", &pair.to)] {
            if !legs.contains_key(leg.as_str()) {
                return Err(at.field(field).error(format!("no leg has the id '{leg}'")));
            }
        }
        if pair.from == pair.to {
            return Err(at.field("to").error("nobody hears itself in a mix"));
        }
        let gain_db = gain(&at.field("gain_db"), pair.gain_db)?;
        let value = (!pair.silent).then_some(gain_db);
        if gains.insert((Id::from(&pair.from), Id::from(&pair.to)), value).is_some() {
            return Err(at.error("this pair is named twice"));
        }
    }
    Ok(gains)
}

fn named_routes(
    path: &Path,
    routes: &[wire::Route],
    legs: &BTreeMap<Id, Leg>,
) -> Result<BTreeMap<RouteKey, Option<u32>>, NodeError> {
    let mut named = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let at = path.index("routes", index);
        let from = medium(legs, &at, "from_leg", &route.from_leg, "from_medium", &route.from_medium)?;
        let to = medium(legs, &at, "to_leg", &route.to_leg, "to_medium", &route.to_medium)?;
        if from.kind != to.kind {
            let why = format!("is {:?}, but {}/{} is {:?}", to.kind, route.from_leg, from.id, from.kind);
            return Err(at.field("to_medium").error(why));
        }
        if !from.sends {
            return Err(at.field("from_medium").error(format!("'{}' is receive-only", from.id)));
        }
        if !to.receives {
            return Err(at.field("to_medium").error(format!("'{}' is send-only", to.id)));
        }
        let ssrc = (route.ssrc != 0).then_some(route.ssrc);
        if named.insert(RouteKey::from(route), ssrc).is_some() {
            return Err(at.error("this route is named twice"));
        }
    }
    Ok(named)
}

fn medium<'a>(
    legs: &'a BTreeMap<Id, Leg>,
    at: &Path,
    leg_field: &'static str,
    leg_id: &str,
    medium_field: &'static str,
    medium_id: &str,
) -> Result<&'a Medium, NodeError> {
    let Some(leg) = legs.get(leg_id) else {
        return Err(at.field(leg_field).error(format!("no leg has the id '{leg_id}'")));
    };
    leg.media
        .iter()
        .find(|medium| medium.id == *medium_id)
        .ok_or_else(|| at.field(medium_field).error(format!("leg '{leg_id}' has no medium '{medium_id}'")))
}

fn check_receive_from(at: &Path, leg: &wire::Leg) -> Result<(), NodeError> {
    for (index, medium) in leg.media.iter().enumerate() {
        if !medium.receive_from.is_empty() && medium.receive_from == leg.id {
            let field = at.index("media", index).field("receive_from");
            return Err(field.error("a leg does not receive itself by policy; name the route instead"));
        }
    }
    Ok(())
}

impl Leg {
    fn from_wire(at: &Path, conference: &str, leg: &wire::Leg, ipv6_default: bool) -> Result<Leg, NodeError> {
        identifier(&at.field("id"), &leg.id)?;
        let cname = match leg.cname.as_str() {
            "" => format!("{}@{conference}", leg.id),
            given if given.len() <= 255 => given.to_owned(),
            given => {
                return Err(at.field("cname").error(format!("{} bytes; at most 255", given.len())));
            }
        };
        if leg.transports.is_empty() {
            return Err(at.field("transports").error("a leg needs at least one"));
        }
        if leg.transports.len() > motet_relay::limits::TRANSPORTS_PER_LEG_MAX {
            let max = motet_relay::limits::TRANSPORTS_PER_LEG_MAX;
            return Err(at.field("transports").error(format!("{}; at most {max}", leg.transports.len())));
        }
        let mut transports = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, transport) in leg.transports.iter().enumerate() {
            let at = at.index("transports", index);
            if !ids.insert(transport.id.as_str()) {
                return Err(at.field("id").error(format!("'{}' names two transports", transport.id)));
            }
            transports.push(Transport::from_wire(&at, transport, ipv6_default)?);
        }
        let media = media_from_wire(at, leg, &transports)?;
        let audio = LegAudio::from_wire(&at.field("audio"), leg.audio.as_ref())?;
        let video = LegVideo::from_wire(&at.field("video"), leg.video.as_ref())?;
        let name = match leg.display_name.as_str() {
            "" => leg.id.clone(),
            given if given.chars().count() <= NAME_CHARS_MAX => given.to_owned(),
            given => {
                let why = format!("{} characters; at most {NAME_CHARS_MAX}", given.chars().count());
                return Err(at.field("display_name").error(why));
            }
        };
        Ok(Leg { id: Id::from(&leg.id), cname, name, transports, media, muted: leg.muted, audio, video })
    }
}

fn media_from_wire(at: &Path, leg: &wire::Leg, transports: &[Transport]) -> Result<Vec<Medium>, NodeError> {
    let mut media: Vec<Medium> = Vec::new();
    for (index, medium) in leg.media.iter().enumerate() {
        let at = at.index("media", index);
        let medium = Medium::from_wire(&at, medium, transports)?;
        for other in &media {
            if other.id == medium.id {
                return Err(at.field("id").error(format!("'{}' names two media of the leg", medium.id)));
            }
            check_distinct(&at, other, &medium)?;
        }
        media.push(medium);
    }
    check_layers(at, &media)?;
    Ok(media)
}

/// Two published media of one transport must be told apart by payload type or by SSRC.
fn check_distinct(at: &Path, other: &Medium, medium: &Medium) -> Result<(), NodeError> {
    if other.transport != medium.transport || !other.sends || !medium.sends {
        return Ok(());
    }
    if let (Some(first), Some(second)) = (other.ssrc, medium.ssrc) {
        if first == second {
            let why = format!("{first} is the SSRC of medium '{}' too", other.id);
            return Err(at.field("ssrc").error(why));
        }
        return Ok(());
    }
    for (index, codec) in medium.codecs.iter().enumerate() {
        if other.codecs.iter().any(|known| known.payload_type == codec.payload_type) {
            let why = format!(
                "{} is used by medium '{}' of the same transport too; use another, another transport, or give both an ssrc",
                codec.payload_type, other.id
            );
            return Err(at.index("codecs", index).field("payload_type").error(why));
        }
    }
    Ok(())
}

impl Transport {
    fn from_wire(at: &Path, transport: &wire::Transport, ipv6_default: bool) -> Result<Transport, NodeError> {
        if !transport.id.is_empty() {
            identifier(&at.field("id"), &transport.id)?;
        }
        let remote = address(&at.field("remote"), &transport.remote)?;
        let remote_rtcp = address(&at.field("remote_rtcp"), &transport.remote_rtcp)?;
        if let (Some(rtp), Some(rtcp)) = (remote, remote_rtcp)
            && rtp.is_ipv6() != rtcp.is_ipv6()
        {
            return Err(at.field("remote_rtcp").error("is not of the address family of remote"));
        }
        let latch = latch(at, transport, remote)?;
        let ipv6 = match (transport.ip_version, remote.or(remote_rtcp)) {
            (4, Some(SocketAddr::V6(_))) | (6, Some(SocketAddr::V4(_))) => {
                return Err(at.field("ip_version").error("is not the family of remote"));
            }
            (0 | 4 | 6, Some(remote)) => remote.is_ipv6(),
            (0, None) => ipv6_default,
            (4, None) => false,
            (6, None) => true,
            (other, _) => return Err(at.field("ip_version").error(format!("{other}; may be 0, 4 or 6"))),
        };
        Ok(Transport {
            id: transport.id.clone(),
            remote,
            remote_rtcp,
            rtcp_mux: transport.rtcp_mux,
            latch,
            ipv6,
            latch_generation: transport.latch_generation,
            port_wanted: port_wanted(at, transport.port_wanted)?,
        })
    }
}

fn port_wanted(at: &Path, port: u32) -> Result<Option<u16>, NodeError> {
    match u16::try_from(port) {
        Ok(0) => Ok(None),
        Ok(port @ 1024..) if port.is_multiple_of(2) => Ok(Some(port)),
        _ => Err(at.field("port_wanted").error(format!("{port}; must be even, 1024 to 65534, or 0"))),
    }
}

fn latch(at: &Path, transport: &wire::Transport, remote: Option<SocketAddr>) -> Result<Latch, NodeError> {
    use wire_media::LatchPolicy;
    let needs_remote = |latch: Latch| match remote {
        Some(_) => Ok(latch),
        None => Err(at.field("remote").error("is needed for this latch policy")),
    };
    match LatchPolicy::try_from(transport.latch) {
        Ok(LatchPolicy::Unspecified) => Ok(if remote.is_some() { Latch::Fixed } else { Latch::Symmetric }),
        Ok(LatchPolicy::Symmetric) => Ok(Latch::Symmetric),
        Ok(LatchPolicy::Fixed) => needs_remote(Latch::Fixed),
        Ok(LatchPolicy::Strict) => needs_remote(Latch::Strict),
        Err(_) => Err(at.field("latch").error(format!("{} is not known", transport.latch))),
    }
}

impl Medium {
    fn from_wire(at: &Path, medium: &wire::Medium, transports: &[Transport]) -> Result<Medium, NodeError> {
        identifier(&at.field("id"), &medium.id)?;
        let kind = match wire_media::MediaKind::try_from(medium.kind) {
            Ok(wire_media::MediaKind::Audio) => MediaKind::Audio,
            Ok(wire_media::MediaKind::Video) => MediaKind::Video,
            Ok(wire_media::MediaKind::Content) => MediaKind::Content,
            _ => return Err(at.field("kind").error("must be AUDIO, VIDEO or CONTENT")),
        };
        let (sends, receives) = match wire_media::Direction::try_from(medium.direction) {
            Ok(wire_media::Direction::Unspecified | wire_media::Direction::SendReceive) => (true, true),
            Ok(wire_media::Direction::SendOnly) => (true, false),
            Ok(wire_media::Direction::ReceiveOnly) => (false, true),
            Err(_) => return Err(at.field("direction").error(format!("{} is not known", medium.direction))),
        };
        let transport = if medium.transport.is_empty() {
            0
        } else {
            let found = transports.iter().position(|transport| transport.id == medium.transport);
            found.ok_or_else(|| {
                at.field("transport").error(format!("the leg has no transport '{}'", medium.transport))
            })?
        };
        if medium.codecs.is_empty() {
            return Err(at.field("codecs").error("a medium needs at least one"));
        }
        let mut codecs: Vec<Arc<Codec>> = Vec::new();
        for (index, codec) in medium.codecs.iter().enumerate() {
            let at = at.index("codecs", index);
            let codec = Codec::from_wire(&at, codec)?;
            if codecs.iter().any(|known| known.payload_type == codec.payload_type) {
                return Err(at.field("payload_type").error(format!("{} is used twice", codec.payload_type)));
            }
            codecs.push(Arc::new(codec));
        }
        Ok(Medium {
            id: Id::from(&medium.id),
            kind,
            sends,
            receives,
            transport,
            codecs,
            ssrc: (medium.ssrc != 0).then_some(medium.ssrc),
            receive_from: (!medium.receive_from.is_empty()).then(|| Id::from(&medium.receive_from)),
            audio_level_id: audio_level_id(at, medium.audio_level_id, kind)?,
            layer: Layer::from_wire(&at.field("layer"), medium.layer.as_ref())?,
        })
    }
}

/// RFC 8285 section 4.2: one-byte headers have the numbers 1 to 14.
fn audio_level_id(at: &Path, number: u32, kind: MediaKind) -> Result<Option<u8>, NodeError> {
    let at = at.field("audio_level_id");
    match number {
        0 => Ok(None),
        _ if kind != MediaKind::Audio => Err(at.error("is for audio only")),
        1..=14 => Ok(Some(number as u8)),
        _ => Err(at.error(format!("{number}; must be 1 to 14"))),
    }
}

impl Codec {
    /// Checks a codec by itself.
    pub(crate) fn read(codec: &wire_media::Codec) -> Result<Codec, NodeError> {
        Codec::from_wire(&Path::root("codec"), codec)
    }

    fn from_wire(at: &Path, codec: &wire_media::Codec) -> Result<Codec, NodeError> {
        let payload_type = match codec.payload_type {
            number @ (0..=63 | 96..=127) => number as u8,
            64..=95 => {
                let why = format!("{} is kept for RTCP (RFC 5761); use 96 to 127", codec.payload_type);
                return Err(at.field("payload_type").error(why));
            }
            other => return Err(at.field("payload_type").error(format!("{other}; at most 127"))),
        };
        if codec.name.is_empty() || codec.name.len() > 32 || !codec.name.is_ascii() {
            return Err(at.field("name").error("must be 1 to 32 ASCII characters, such as opus or H264"));
        }
        if !(1_000..=10_000_000).contains(&codec.clock_rate_hz) {
            let why = format!("{} Hz; must be 1000 to 10000000", codec.clock_rate_hz);
            return Err(at.field("clock_rate_hz").error(why));
        }
        if codec.channels > 8 {
            return Err(at.field("channels").error(format!("{}; at most 8", codec.channels)));
        }
        if codec.fmtp.len() > 1024 {
            return Err(at.field("fmtp").error(format!("{} bytes; at most 1024", codec.fmtp.len())));
        }
        Ok(Codec {
            payload_type,
            name: codec.name.to_ascii_lowercase(),
            clock_hz: codec.clock_rate_hz,
            channels: codec.channels.max(1),
            fmtp: codec.fmtp.clone(),
            wire: codec.clone(),
        })
    }
}
