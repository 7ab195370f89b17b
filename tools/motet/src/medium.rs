//! A medium as typed on the command line.

use motet_proto::conference::ParticipantMedium;
use motet_proto::media::{Codec, Direction, LatchPolicy, MediaKind, PictureLayer};

/// Explains the form; shown by `motet conf join --help`.
pub(crate) const HELP: &str = "\
A MEDIUM is a list of items separated by commas; quotes are not needed:
  opus, opus/111        a codec by name, with its payload type; the first is wanted most
                        known: opus pcmu pcma g722 h264 h265 vp8 vp9 av1 telephone-event
  l16:48000:2/97        any other codec: NAME:CLOCK[:CHANNELS]/PT
  @192.0.2.1:5004       where the participant listens; without it: where its packets come from
  rtcp=192.0.2.1:6000   where it wants RTCP, if not at its port + 1
  mux                   RTP and RTCP on one port
  sendonly, recvonly    one way only, as the participant sees it
  latch=symmetric|fixed|strict
                        whose packets are taken; default: fixed with an address, else symmetric
  from=bob              receive from this participant only
  bundle=NAME           share a port with other media of the same bundle
  ssrc=1234             the SSRC that the participant sends with, if known
  level=1               the header extension that tells how loud it is (RFC 6464), 1 to 14
  id=NAME               name of the medium, if there are two of a kind
  layer=video:640x360   it is a smaller copy of the medium of that id, sent at the same time (simulcast),
                        and sendonly: canvases take it for cells that it fills
  v6                    take an IPv6 port when no address is given
An empty list ('') or 'default' takes the usual codecs.

Examples:
  motet conf join 800000 alice --audio opus/111@127.0.0.1:5004 --video h264/96@127.0.0.1:5006
  motet conf join 800000 bob --audio pcmu --video h264,vp8,mux
  motet conf join 800000 wall --video h264,recvonly,from=alice,@127.0.0.1:7000
  motet conf join 800000 carol --video h264,bundle=v,ssrc=1 \
    --video h264,bundle=v,ssrc=2,id=small,layer=video:640x360";

/// Reads a medium.
pub(crate) fn parse(kind: MediaKind, text: &str) -> Result<ParticipantMedium, String> {
    let mut medium = ParticipantMedium { kind: kind.into(), ..ParticipantMedium::default() };
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "default") {
        let (item, address) = match item.split_once('@') {
            Some((item, address)) => (item, Some(address)),
            None => (item, None),
        };
        if let Some(address) = address {
            check_address(address)?;
            medium.remote = address.to_owned();
        }
        if !item.is_empty() {
            apply(&mut medium, item)?;
        }
    }
    Ok(medium)
}

fn apply(medium: &mut ParticipantMedium, item: &str) -> Result<(), String> {
    if let Some((key, value)) = item.split_once('=') {
        match key {
            "rtcp" => {
                check_address(value)?;
                medium.remote_rtcp = value.to_owned();
            }
            "latch" => medium.latch = latch(value)?.into(),
            "from" => medium.receive_from = value.to_owned(),
            "bundle" => medium.bundle = value.to_owned(),
            "id" => medium.id = value.to_owned(),
            "level" => {
                medium.audio_level_id = number(value).ok_or_else(|| format!("'{value}' is not a number"))?;
            }
            "layer" => {
                medium.layer = Some(layer(value)?);
                medium.direction = Direction::SendOnly.into();
            }
            "ssrc" => medium.ssrc = number(value).ok_or_else(|| format!("'{value}' is not an SSRC"))?,
            _ => return Err(format!("'{key}=' is not known; see --help")),
        }
        return Ok(());
    }
    match item {
        "mux" => medium.rtcp_mux = true,
        "sendonly" => medium.direction = Direction::SendOnly.into(),
        "recvonly" => medium.direction = Direction::ReceiveOnly.into(),
        "sendrecv" => medium.direction = Direction::SendReceive.into(),
        "v6" => medium.ip_version = 6,
        codec => medium.codecs.push(parse_codec(codec)?),
    }
    Ok(())
}

/// `MEDIUM:WIDTHxHEIGHT`.
fn layer(value: &str) -> Result<PictureLayer, String> {
    let read = || {
        let (of, size) = value.split_once(':')?;
        let (width, height) = size.split_once('x')?;
        Some(PictureLayer { of: of.to_owned(), width: number(width)?, height: number(height)? })
    };
    read().ok_or_else(|| format!("layer={value}: must be a medium and a size, such as video:640x360"))
}

fn latch(value: &str) -> Result<LatchPolicy, String> {
    match value {
        "symmetric" => Ok(LatchPolicy::Symmetric),
        "fixed" => Ok(LatchPolicy::Fixed),
        "strict" => Ok(LatchPolicy::Strict),
        _ => Err(format!("latch={value}: must be symmetric, fixed or strict")),
    }
}

fn check_address(text: &str) -> Result<(), String> {
    let parsed = text.parse::<std::net::SocketAddr>();
    parsed.map(|_| ()).map_err(|_| format!("'{text}' is not an address such as 127.0.0.1:5004 or [::1]:5004"))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `NAME[/PT]` of a known codec, or `NAME:CLOCK[:CHANNELS]/PT`.
fn parse_codec(text: &str) -> Result<Codec, String> {
    let (name, payload_type) = match text.split_once('/') {
        Some((name, number)) => {
            let number =
                number.parse().map_err(|_| format!("'{number}' in '{text}' is not a payload type"))?;
            (name, Some(number))
        }
        None => (text, None),
    };
    let mut parts = name.split(':');
    let name = parts.next().unwrap_or_default();
    let known = KNOWN.iter().find(|known| known.0.eq_ignore_ascii_case(name));
    let mut rest =
        parts.map(|part| part.parse().map_err(|_| format!("'{part}' in '{text}' is not a number")));
    let clock: Option<u32> = rest.next().transpose()?;
    let channels: Option<u32> = rest.next().transpose()?;
    let unknown = || {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.0).collect();
        format!("'{text}' is not known; known are {}; or write NAME:CLOCK/PT", names.join(" "))
    };
    Ok(Codec {
        payload_type: payload_type.or(known.map(|known| known.1)).ok_or_else(unknown)?,
        name: known.map_or(name, |known| known.2).to_owned(),
        clock_rate_hz: clock.or(known.map(|known| known.3)).ok_or_else(unknown)?,
        channels: channels.or(known.map(|known| known.4)).unwrap_or(1),
        fmtp: known.map_or("", |known| known.5).to_owned(),
    })
}

/// Typed name, payload type, encoding name, clock in Hz, channels, fmtp.
const KNOWN: &[(&str, u32, &str, u32, u32, &str)] = &[
    ("opus", 111, "opus", 48_000, 2, ""),
    ("pcmu", 0, "PCMU", 8_000, 1, ""),
    ("pcma", 8, "PCMA", 8_000, 1, ""),
    ("g722", 9, "G722", 8_000, 1, ""),
    ("h264", 96, "H264", 90_000, 1, "packetization-mode=1"),
    ("h265", 97, "H265", 90_000, 1, ""),
    ("vp8", 98, "VP8", 90_000, 1, ""),
    ("vp9", 99, "VP9", 90_000, 1, ""),
    ("av1", 100, "AV1", 90_000, 1, ""),
    ("telephone-event", 101, "telephone-event", 8_000, 1, "0-15"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_medium() {
        let text =
            "opus/120,l16:44100:2/97,recvonly,mux,latch=strict,from=bob,ssrc=0x10,@[::1]:5004,rtcp=[::1]:9";
        let medium = parse(MediaKind::Audio, text).expect("well formed");
        assert_eq!(medium.codecs.len(), 2);
        let l16 = &medium.codecs[1];
        assert_eq!(
            (l16.name.as_str(), l16.payload_type, l16.clock_rate_hz, l16.channels),
            ("l16", 97, 44_100, 2)
        );
        assert_eq!(medium.codecs[0].payload_type, 120);
        assert_eq!((medium.remote.as_str(), medium.remote_rtcp.as_str()), ("[::1]:5004", "[::1]:9"));
        assert_eq!((medium.rtcp_mux, medium.ssrc, medium.receive_from.as_str()), (true, 16, "bob"));
        assert_eq!(medium.direction(), Direction::ReceiveOnly);
    }

    #[test]
    fn a_layer_is_sent_only() {
        let medium = parse(MediaKind::Video, "h264,id=small,layer=video:640x360").expect("well formed");
        let layer = PictureLayer { of: "video".to_owned(), width: 640, height: 360 };
        assert_eq!((medium.layer.as_ref(), medium.direction()), (Some(&layer), Direction::SendOnly));
    }

    #[test]
    fn an_address_may_follow_a_codec() {
        let medium = parse(MediaKind::Video, "h264/96@127.0.0.1:5006").expect("well formed");
        assert_eq!((medium.codecs[0].payload_type, medium.remote.as_str()), (96, "127.0.0.1:5006"));
        assert!(parse(MediaKind::Video, "default").expect("well formed").codecs.is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("oops", "oops"),
            ("opus/x", "'x'"),
            ("opus@here", "'here'"),
            ("latch=maybe", "maybe"),
            ("size=9", "size"),
            ("layer=video:640", "video:640x360"),
            ("l16/97", "NAME:CLOCK/PT"),
            ("ssrc=minus", "minus"),
        ] {
            let error = parse(MediaKind::Audio, text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
