//! `motet conf video`: what becomes of pictures.

use crate::client::Server;
use crate::conf::done;
use crate::show;
use anyhow::Result;
use clap::Args;
use motet_proto::conference::*;
use motet_proto::media::{CanvasPresentation, CanvasSettings, TranscodeSettings, VideoMode, VideoSettings};
use std::process::ExitCode;

/// Explains video modes; shown by `--help`.
pub(crate) const MODES: &str = "\
A MODE is one of
  relay                 each sees each of the others as it is
  relay,transcode       the same, and who has none of another one's codecs sees that one in a codec
                        that it has
  relay,transcode,size=1280x720,rate=30,kbps=1500,codec=vp8
                        no larger, no more often, with so many kilobits a second, and in this codec
                        for those who have it (h264, h265 or vp8)
  canvas                each gets one picture with all, in a codec of its own
  canvas,layout=1+5,size=1280x720,rate=30,kbps=1500,codec=h264,crop,hide-self,names
                        the same, with a layout, pixels, pictures and kilobits a second, the codec of
                        those who have it (h264, h265 or vp8), pictures cut to fill their cells,
                        without one's own picture, and with names written on pictures
  canvas,pin=WHO,for-all
                        with a participant in the first cell, whoever speaks; and nobody's own
                        choice counts (motet conf layout)
  canvas,direct         the same, and who sees one participant in full, with nothing written over it,
                        gets that one's stream as it is where codec, size, rate and kilobits fit,
                        else its pictures alone
  canvas,still=FILE,background=RRGGBB
                        with a PNG of the node's folder (--stills) instead of who sends no picture,
                        and a colour between pictures
  canvas,switch-after=MS,hold=MS,lecture=SECONDS/TURN
                        somebody talks most for so long before being shown as the speaker, and stays
                        so for at least so long; who talks for SECONDS gets the full picture, and sees
                        each of the others for TURN seconds";

/// Reads a video mode.
pub(crate) fn parse_mode(text: &str) -> Result<VideoSettings, String> {
    let (mode, rest) = text.split_once(',').unwrap_or((text, ""));
    match mode {
        "relay" => relayed(text, rest),
        "canvas" => {
            let mut canvas = CanvasSettings::default();
            for item in rest.split(',').filter(|item| !item.is_empty()) {
                set(&mut canvas, text, item)?;
            }
            Ok(composed(canvas))
        }
        _ => Err(format!("'{text}' must be relay or canvas")),
    }
}

/// Pictures are relayed, and transcoded if it is said.
fn relayed(text: &str, rest: &str) -> Result<VideoSettings, String> {
    let relay = VideoSettings { mode: VideoMode::Relay.into(), ..VideoSettings::default() };
    let (first, rest) = rest.split_once(',').unwrap_or((rest, ""));
    match first {
        "" => Ok(relay),
        "transcode" => {
            // Its words are some of a canvas.
            let mut canvas = CanvasSettings::default();
            for item in rest.split(',').filter(|item| !item.is_empty()) {
                let known = item.split_once('=').map(|(key, _)| key);
                if !matches!(known, Some("size" | "rate" | "kbps" | "codec")) {
                    return Err(format!("'{item}' in '{text}' is not known; see --help"));
                }
                set(&mut canvas, text, item)?;
            }
            let CanvasSettings { width, height, frames_per_second, bitrate_bps, codec, .. } = canvas;
            let transcode = TranscodeSettings { width, height, frames_per_second, bitrate_bps, codec };
            Ok(VideoSettings { transcode: Some(transcode), ..relay })
        }
        _ => Err(format!("'{text}' must be relay, or begin with relay,transcode")),
    }
}

/// One word of a mode.
fn set(canvas: &mut CanvasSettings, text: &str, item: &str) -> Result<(), String> {
    let number = |key: &str, value: &str| {
        value.parse::<u32>().map_err(|_| format!("'{value}' in '{text}' is not a number for {key}"))
    };
    match item.split_once('=') {
        Some(("layout", layout)) => canvas.layout = layout.to_owned(),
        Some(("codec", codec)) => canvas.codec = codec.to_owned(),
        Some(("still", file)) => canvas.still = file.to_owned(),
        Some(("background", rgb)) => canvas.background_rgb = Some(crate::caption::parse_rgb(rgb)?),
        Some((key @ "switch-after", value)) => canvas.switch_after_ms = number(key, value)?,
        Some((key @ "hold", value)) => canvas.hold_ms = number(key, value)?,
        Some((key @ "lecture", value)) => {
            let (after, turn) = value.split_once('/').unwrap_or((value, "0"));
            let (after_seconds, interval_seconds) = (number(key, after)?, number(key, turn)?);
            canvas.presentation = Some(CanvasPresentation { after_seconds, interval_seconds });
        }
        Some(("pin", who)) => canvas.pinned = who.to_owned(),
        Some((key @ "rate", value)) => canvas.frames_per_second = number(key, value)?,
        Some((key @ "kbps", value)) => canvas.bitrate_bps = number(key, value)?.saturating_mul(1000),
        Some((key @ "size", value)) => {
            let sides = value.split_once('x').ok_or_else(|| format!("'{value}' must be such as 1280x720"))?;
            (canvas.width, canvas.height) = (number(key, sides.0)?, number(key, sides.1)?);
        }
        None if item == "crop" => canvas.crop = true,
        None if item == "hide-self" => canvas.hide_self = true,
        None if item == "names" => canvas.names = true,
        None if item == "for-all" => canvas.for_all = true,
        None if item == "direct" => canvas.direct = true,
        _ => return Err(format!("'{item}' is not known; see --help")),
    }
    Ok(())
}

/// Pictures are composed.
pub(crate) fn composed(canvas: CanvasSettings) -> VideoSettings {
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(canvas), transcode: None }
}

#[derive(Args)]
#[command(after_help = MODES)]
pub(crate) struct Video {
    /// Id or number
    conference: String,
    /// See below
    #[arg(value_parser = parse_mode)]
    mode: VideoSettings,
    /// Ask as this participant, who must be a chair [default: as the application]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn video(options: Video) -> Result<ExitCode> {
    let Video { conference, mode, by, server } = options;
    change(server, (conference, by), |before| {
        let mut mode = mode;
        if let (Some(canvas), Some(before)) = (&mut mode.canvas, before.and_then(|video| video.canvas)) {
            // They have no words in a mode: motet conf banner and caption change them.
            (canvas.banner, canvas.caption) = (before.banner, before.caption);
        }
        mode
    })
    .await
}

/// Changes what becomes of pictures, as `by` asks.
pub(crate) async fn change(
    server: Server,
    (conference, by): (String, String),
    next: impl FnOnce(Option<VideoSettings>) -> VideoSettings,
) -> Result<ExitCode> {
    let (control, mut client) = server.conferences().await?;
    let before = control.answer(client.get(GetRequest { conference: conference.clone() })).await?;
    let video = Some(next(before.video));
    let set = SetVideoRequest { conference, video, by, ..Default::default() };
    let info = control.answer(client.set_video(set)).await?;
    done(server.json, show::conference(&info), || {
        format!("the pictures of conference {}: {}\n", info.number, mode_of(&info))
    })
}

/// How pictures are composed; as usual where they are not.
pub(crate) fn canvas_of(video: Option<&VideoSettings>) -> CanvasSettings {
    video.and_then(|video| video.canvas.clone()).unwrap_or_default()
}

/// As `motet conf video` takes it.
pub(crate) fn mode_of(info: &ConferenceInfo) -> String {
    let composed = info.video.as_ref().filter(|video| video.mode() == VideoMode::Canvas);
    let transcode = info.video.as_ref().and_then(|video| video.transcode.clone());
    let (mode, canvas) = match (composed, transcode) {
        (Some(video), _) => ("canvas", video.canvas.clone().unwrap_or_default()),
        (None, None) => return "relay".to_owned(),
        (None, Some(transcode)) => {
            let TranscodeSettings { width, height, frames_per_second, bitrate_bps, codec } = transcode;
            let size = CanvasSettings { width, height, frames_per_second, ..CanvasSettings::default() };
            ("relay,transcode", CanvasSettings { bitrate_bps, codec, ..size })
        }
    };
    let given = |name: &str, value: u32| (value > 0).then(|| format!("{name}={value}"));
    let named = |name: &str, value: &str| (!value.is_empty()).then(|| format!("{name}={value}"));
    let flag = |name: &str, set: bool| set.then(|| name.to_owned());
    let size = (canvas.width > 0).then(|| format!("size={}x{}", canvas.width, canvas.height));
    let words = [
        Some(mode.to_owned()),
        named("layout", &canvas.layout),
        size,
        given("rate", canvas.frames_per_second),
        given("kbps", canvas.bitrate_bps / 1000),
        named("codec", &canvas.codec),
        flag("crop", canvas.crop),
        flag("hide-self", canvas.hide_self),
        flag("names", canvas.names),
        named("pin", &canvas.pinned),
        flag("for-all", canvas.for_all),
        flag("direct", canvas.direct),
        given("switch-after", canvas.switch_after_ms),
        given("hold", canvas.hold_ms),
        canvas.presentation.map(|lecture| match lecture.interval_seconds {
            0 => format!("lecture={}", lecture.after_seconds),
            turn => format!("lecture={}/{turn}", lecture.after_seconds),
        }),
        named("still", &canvas.still),
        canvas.background_rgb.map(|rgb| format!("background={rgb:06x}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_written_alike() {
        assert_eq!(parse_mode("relay").expect("a mode").mode(), VideoMode::Relay);
        let text = "canvas,layout=1+5,size=640x360,rate=15,kbps=600,codec=vp8,crop,hide-self,names,pin=bob,for-all,direct,switch-after=500,hold=3000,lecture=30/5,still=a.png,background=00ff10";
        let video = parse_mode(text).expect("a mode");
        let canvas = video.canvas.clone().expect("a canvas");
        assert_eq!((canvas.width, canvas.height, canvas.bitrate_bps), (640, 360, 600_000));
        let transcode = "relay,transcode,size=640x360,rate=15,kbps=600,codec=vp8";
        for text in [text, "canvas", "relay", "relay,transcode", transcode] {
            let video = Some(parse_mode(text).expect("a mode"));
            assert_eq!(mode_of(&ConferenceInfo { video, ..ConferenceInfo::default() }), text);
        }
        for (text, part) in [
            ("mixed", "mixed"),
            ("relay,crop", "relay,crop"),
            ("relay,transcode,crop", "'crop'"),
            ("canvas,rate=a", "'a'"),
            ("canvas,size=640", "1280x720"),
            ("canvas,x", "'x'"),
        ] {
            let error = parse_mode(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
