//! `motet conf banner`, `caption` and `camera`: text over a composed picture, and stills on it.

use crate::client::{Server, Usage};
use crate::conf::done;
use crate::picture::{canvas_of, change, composed};
use crate::show;
use anyhow::Result;
use clap::{Args, ValueEnum};
use motet_proto::conference::*;
use motet_proto::media::{CanvasSettings, CanvasText, CanvasTextPlace};
use std::process::ExitCode;

/// Where a line is.
#[derive(Clone, Copy, ValueEnum)]
enum Place {
    Top,
    Bottom,
}

#[derive(Args)]
pub(crate) struct Line {
    /// Id or number
    conference: String,
    /// What is to be read, at most 512 characters [default: nothing any more]
    #[arg(default_value = "")]
    text: String,
    /// Where [default: a banner above, a caption below]
    #[arg(long, value_enum)]
    place: Option<Place>,
    /// Height in percent of the picture, 3 to 20 [default: 8]
    #[arg(long, value_name = "PERCENT", default_value_t = 0, hide_default_value = true)]
    height: u32,
    /// Colour of the letters [default: ffffff]
    #[arg(long, value_name = "RRGGBB", value_parser = parse_rgb)]
    colour: Option<u32>,
    /// Colour behind the letters [default: the picture, dimmed]
    #[arg(long, value_name = "RRGGBB", value_parser = parse_rgb)]
    ground: Option<u32>,
    /// Ask as this participant, who must be a chair [default: as the application]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub(crate) struct Caption {
    #[command(flatten)]
    line: Line,
    /// How fast it moves, in percent of the picture's width a second, 1 to 100 [default: 10]
    #[arg(long, value_name = "PERCENT", default_value_t = 0, hide_default_value = true)]
    speed: u32,
}

#[derive(Args)]
pub(crate) struct Camera {
    /// Id or number
    conference: String,
    /// Id of the participant
    participant: String,
    /// Its picture is not seen, whatever it sends
    #[arg(long, conflicts_with = "on")]
    off: bool,
    /// Its picture is seen
    #[arg(long)]
    on: bool,
    /// What is seen while it sends no picture: name of a PNG file in the folder that nodes are started with (--stills);
    /// '' is that of the conference
    #[arg(long, value_name = "FILE")]
    still: Option<String>,
    /// Ask as this participant, who must be a chair or the one itself [default: as the application]
    #[arg(long, value_name = "PARTICIPANT", default_value = "")]
    by: String,
    #[command(flatten)]
    server: Server,
}

/// Reads a colour.
pub(crate) fn parse_rgb(text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches('#');
    let number = (digits.len() == 6 && !digits.starts_with('+'))
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten();
    number
        .ok_or_else(|| format!("'{text}' must be such as ff8000, two digits for each of red, green and blue"))
}

impl Line {
    /// None: there is no text.
    fn text(&self, speed_percent: u32) -> Option<CanvasText> {
        let place = match self.place {
            None => CanvasTextPlace::Unspecified,
            Some(Place::Top) => CanvasTextPlace::Top,
            Some(Place::Bottom) => CanvasTextPlace::Bottom,
        };
        (!self.text.is_empty()).then(|| CanvasText {
            text: self.text.clone(),
            place: place.into(),
            height_percent: self.height,
            speed_percent,
            text_rgb: self.colour,
            ground_rgb: self.ground,
        })
    }
}

/// A line that stands still. Who is relayed gets a canvas.
pub(crate) async fn banner(line: Line) -> Result<ExitCode> {
    let banner = line.text(0);
    change(line.server, (line.conference, line.by), |video| {
        let mut canvas = canvas_of(video.as_ref());
        canvas.banner = banner;
        composed(canvas)
    })
    .await
}

/// A line that moves.
pub(crate) async fn caption(options: Caption) -> Result<ExitCode> {
    let Caption { line, speed } = options;
    let caption = line.text(speed);
    change(line.server, (line.conference, line.by), |video| {
        let mut canvas = canvas_of(video.as_ref());
        canvas.caption = caption;
        composed(canvas)
    })
    .await
}

pub(crate) async fn camera(options: Camera) -> Result<ExitCode> {
    let Camera { conference, participant, off, on, still, by, server } = options;
    if !off && !on && still.is_none() {
        return Err(Usage("--off, --on or --still is needed".to_owned()).into());
    }
    let off = (off || on).then_some(off);
    let set = SetParticipantVideoRequest { conference, participant, off, still, by, ..Default::default() };
    let (control, mut client) = server.conferences().await?;
    let info = control.answer(client.set_participant_video(set)).await?;
    done(server.json, show::participant(&info), || format!("{}: {}\n", info.id, look_of(&info)))
}

/// A line over the pictures of a conference; empty: there is none.
pub(crate) fn text_of(
    info: &ConferenceInfo,
    line: impl Fn(&CanvasSettings) -> Option<&CanvasText>,
) -> String {
    let canvas = info.video.as_ref().and_then(|video| video.canvas.as_ref());
    canvas.and_then(line).map(|line| line.text.clone()).unwrap_or_default()
}

/// What is seen of a participant on a canvas, in words.
pub(crate) fn look_of(info: &ParticipantInfo) -> String {
    let video = info.video.clone().unwrap_or_default();
    let off = if video.off { "camera off" } else { "camera on" };
    if video.still.is_empty() { off.to_owned() } else { format!("{off}, still {}", video.still) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read() {
        assert_eq!(parse_rgb("ff8000"), Ok(0xff_80_00));
        assert_eq!(parse_rgb("#00000f"), Ok(15));
        for text in ["", "fff", "ff80000", "gg0000", "+f8000"] {
            assert!(parse_rgb(text).is_err(), "{text}");
        }
    }
}
