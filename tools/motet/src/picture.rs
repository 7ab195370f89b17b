//! `motet conf video` and `layout`: what becomes of pictures.

use crate::client::Server;
use crate::conf::done;
use crate::show;
use anyhow::Result;
use clap::Args;
use motet_proto::conference::*;
use motet_proto::media::{CanvasSettings, CellShows, CellSubject, VideoMode, VideoSettings};
use std::process::ExitCode;

/// Explains video modes; shown by `--help`.
pub(crate) const MODES: &str = "\
A MODE is one of
  relay                 each sees each of the others as it is
  canvas                each gets one picture with all, in a codec of its own
  canvas,layout=1+5,size=1280x720,rate=30,kbps=1500,codec=h264,crop,hide-self,names
                        the same, with a layout, pixels, pictures and kilobits a second, the codec of
                        those who have it (h264, h265 or vp8), pictures cut to fill their cells,
                        without one's own picture, and with names written on pictures";

/// Explains layouts; shown by `--help`.
const LAYOUTS: &str = "\
A LAYOUT is one of
  auto                  equal cells, as many as people are seen
  equal:N               1 to 25 equal cells
  1+5, 1+7, 1+12        a large cell for the speaker, small ones around it
  2+8                   two large cells for the speaker and the one before, eight small ones
  pip                   the speaker, and the one before in a corner
  custom:LEFT,TOP,WIDTH,HEIGHT;...
                        cells of one's own in percent, the first for the speaker, such as
                        'custom:0,0,75,100;75,0,25,50;75,50,25,50'";

/// Reads a video mode.
pub(crate) fn parse_mode(text: &str) -> Result<VideoSettings, String> {
    let (mode, rest) = text.split_once(',').unwrap_or((text, ""));
    match mode {
        "relay" if rest.is_empty() => Ok(VideoSettings { mode: VideoMode::Relay.into(), canvas: None }),
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

/// One word of a mode.
fn set(canvas: &mut CanvasSettings, text: &str, item: &str) -> Result<(), String> {
    let number = |key: &str, value: &str| {
        value.parse::<u32>().map_err(|_| format!("'{value}' in '{text}' is not a number for {key}"))
    };
    match item.split_once('=') {
        Some(("layout", layout)) => canvas.layout = layout.to_owned(),
        Some(("codec", codec)) => canvas.codec = codec.to_owned(),
        Some((key @ "rate", value)) => canvas.frames_per_second = number(key, value)?,
        Some((key @ "kbps", value)) => canvas.bitrate_bps = number(key, value)?.saturating_mul(1000),
        Some((key @ "size", value)) => {
            let sides = value.split_once('x').ok_or_else(|| format!("'{value}' must be such as 1280x720"))?;
            (canvas.width, canvas.height) = (number(key, sides.0)?, number(key, sides.1)?);
        }
        None if item == "crop" => canvas.crop = true,
        None if item == "hide-self" => canvas.hide_self = true,
        None if item == "names" => canvas.names = true,
        _ => return Err(format!("'{item}' is not known; see --help")),
    }
    Ok(())
}

fn composed(canvas: CanvasSettings) -> VideoSettings {
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(canvas) }
}

#[derive(Args)]
#[command(after_help = MODES)]
pub(crate) struct Video {
    /// Id or number
    conference: String,
    /// See below
    #[arg(value_parser = parse_mode)]
    mode: VideoSettings,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
#[command(after_help = LAYOUTS)]
pub(crate) struct Layout {
    /// Id or number
    conference: String,
    /// See below
    layout: String,
    /// Who is to be seen in a cell, counted from 0 in the layout's order: a participant, @speaker, @previous or
    /// @nobody; all other cells show whom the layout says. May be given several times
    #[arg(long = "cell", value_name = "N=WHO", value_parser = parse_cell)]
    cells: Vec<CellSubject>,
    #[command(flatten)]
    server: Server,
}

/// Who is to be seen in a cell.
fn parse_cell(text: &str) -> Result<CellSubject, String> {
    let (cell, who) = text.split_once('=').ok_or_else(|| format!("'{text}' must be such as 0=@speaker"))?;
    let cell = cell.parse().map_err(|_| format!("'{cell}' in '{text}' is no number of a cell"))?;
    let shows = match who {
        "@speaker" => CellShows::Speaker,
        "@previous" => CellShows::PreviousSpeaker,
        "@nobody" => CellShows::Nobody,
        _ if who.starts_with('@') || who.is_empty() => {
            return Err(format!("'{who}' must be a participant, @speaker, @previous or @nobody"));
        }
        _ => CellShows::Participant,
    };
    let participant = if shows == CellShows::Participant { who.to_owned() } else { String::new() };
    Ok(CellSubject { cell, shows: shows.into(), participant })
}

pub(crate) async fn video(options: Video) -> Result<ExitCode> {
    let Video { conference, mode, server } = options;
    change(server, conference, |_| mode).await
}

/// Another layout, and all else as it is. Who is relayed gets a canvas.
pub(crate) async fn layout(options: Layout) -> Result<ExitCode> {
    let Layout { conference, layout, cells, server } = options;
    change(server, conference, |video| {
        composed(CanvasSettings { layout, cells, ..video.and_then(|video| video.canvas).unwrap_or_default() })
    })
    .await
}

async fn change(
    server: Server,
    conference: String,
    next: impl FnOnce(Option<VideoSettings>) -> VideoSettings,
) -> Result<ExitCode> {
    let (control, mut client) = server.conferences().await?;
    let before = control.answer(client.get(GetRequest { conference: conference.clone() })).await?;
    let video = Some(next(before.video));
    let set = SetVideoRequest { conference, video, ..Default::default() };
    let info = control.answer(client.set_video(set)).await?;
    done(server.json, show::conference(&info), || {
        format!("the pictures of conference {}: {}\n", info.number, mode_of(&info))
    })
}

/// As `motet conf video` takes it.
pub(crate) fn mode_of(info: &ConferenceInfo) -> String {
    let canvas = info.video.as_ref().filter(|video| video.mode() == VideoMode::Canvas);
    let Some(canvas) = canvas.map(|video| video.canvas.clone().unwrap_or_default()) else {
        return "relay".to_owned();
    };
    let given = |name: &str, value: u32| (value > 0).then(|| format!("{name}={value}"));
    let named = |name: &str, value: &str| (!value.is_empty()).then(|| format!("{name}={value}"));
    let flag = |name: &str, set: bool| set.then(|| name.to_owned());
    let size = (canvas.width > 0).then(|| format!("size={}x{}", canvas.width, canvas.height));
    let words = [
        Some("canvas".to_owned()),
        named("layout", &canvas.layout),
        size,
        given("rate", canvas.frames_per_second),
        given("kbps", canvas.bitrate_bps / 1000),
        named("codec", &canvas.codec),
        flag("crop", canvas.crop),
        flag("hide-self", canvas.hide_self),
        flag("names", canvas.names),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read() {
        let cell = parse_cell("3=alice").expect("a cell");
        assert_eq!(
            (cell.cell, cell.shows(), cell.participant.as_str()),
            (3, CellShows::Participant, "alice")
        );
        assert_eq!(parse_cell("0=@speaker").expect("a cell").shows(), CellShows::Speaker);
        for text in ["0", "a=b", "0=", "0=@nowhere"] {
            assert!(parse_cell(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_read_and_written_alike() {
        assert_eq!(parse_mode("relay").expect("a mode").mode(), VideoMode::Relay);
        let text = "canvas,layout=1+5,size=640x360,rate=15,kbps=600,codec=vp8,crop,hide-self,names";
        let video = parse_mode(text).expect("a mode");
        let canvas = video.canvas.clone().expect("a canvas");
        assert_eq!((canvas.width, canvas.height, canvas.bitrate_bps), (640, 360, 600_000));
        for text in [text, "canvas", "relay"] {
            let video = Some(parse_mode(text).expect("a mode"));
            assert_eq!(mode_of(&ConferenceInfo { video, ..ConferenceInfo::default() }), text);
        }
        for (text, part) in [
            ("mixed", "mixed"),
            ("relay,crop", "relay,crop"),
            ("canvas,rate=a", "'a'"),
            ("canvas,size=640", "1280x720"),
            ("canvas,x", "'x'"),
        ] {
            let error = parse_mode(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
