//! What becomes of a conference's pictures: checked once, kept in records, and told to nodes.

use super::audio::AudioChange;
use super::domains::Feature;
use super::media::check_identifier;
use super::model::{Record, RequestId};
use super::requests::Response;
use super::step::Step;
use crate::refusal::Refusal;
use motet_proto::media;
use serde::{Deserialize, Serialize};

/// A conference's video mode; see `media.proto`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Video {
    /// With a canvas: how it is composed. None: pictures are relayed.
    pub canvas: Option<Canvas>,
    /// Where pictures are relayed: how they are brought to a codec that a receiver has. None: they are not.
    #[serde(default)]
    pub transcode: Option<Transcode>,
}

/// How pictures are brought to another codec. 0, and what is empty, is read as what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transcode {
    /// Larger ones become smaller; in pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Pictures a second at most.
    pub frames_per_s: u32,
    /// Bits a second of each that is encoded.
    pub bitrate_bps: u32,
    /// Encoding name of what those get who have it.
    pub codec: String,
}

/// How pictures are composed. 0, and what is empty, is read as what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Canvas {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Pictures a second.
    pub frames_per_s: u32,
    /// Bits a second towards each receiver.
    pub bitrate_bps: u32,
    /// Encoding name of what those get who have it.
    pub codec: String,
    /// In words.
    pub layout: String,
    /// Pictures fill their cells.
    pub crop: bool,
    /// Nobody sees themself.
    pub hide_self: bool,
    /// Who is to be seen in cells.
    pub cells: Vec<Cell>,
    /// Names are written on pictures.
    pub names: bool,
    /// Who is seen in the first cell, whoever speaks.
    pub pinned: String,
    /// Everybody sees this, whatever they have chosen for themselves.
    pub for_all: bool,
    /// File of what is seen of who sends no picture.
    pub still: String,
    /// Between and behind pictures, 0xRRGGBB; none: as usual.
    pub background_rgb: Option<u32>,
    /// A line that stands still.
    pub banner: Option<Text>,
    /// A line that moves.
    pub caption: Option<Text>,
    /// Talking most for so long before being shown as the speaker.
    pub switch_after_ms: u32,
    /// Shown as the speaker for at least so long.
    pub hold_ms: u32,
    /// Who talks for long is seen alone.
    pub presentation: Option<Presentation>,
    /// Who sees one participant in full gets that one's pictures.
    pub direct: bool,
}

/// A line of text over a canvas. 0, and what is none, is read as what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Text {
    /// What is written.
    pub text: String,
    /// `CanvasTextPlace`.
    pub place: i32,
    /// Of the canvas.
    pub height_percent: u32,
    /// Of the canvas's width in a second.
    pub speed_percent: u32,
    /// Of the letters, 0xRRGGBB.
    pub text_rgb: Option<u32>,
    /// Behind the letters, 0xRRGGBB.
    pub ground_rgb: Option<u32>,
}

/// Who is to be seen in a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Counted from 0.
    pub cell: u32,
    /// `CellShows`.
    pub shows: i32,
    /// Who, where it is a participant.
    pub participant: String,
    /// Who, where they are seen in turn; empty: all.
    #[serde(default)]
    pub participants: Vec<String>,
    /// How long each of them; 0: as usual.
    #[serde(default)]
    pub interval_seconds: u32,
}

/// Who talks for long is seen alone. 0 is read as what is usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// After so long.
    pub after_seconds: u32,
    /// How long the lecturer sees each of the others.
    pub interval_seconds: u32,
}

const SIDE: std::ops::RangeInclusive<u32> = 64..=4096;
const BITRATE_BPS: std::ops::RangeInclusive<u32> = 10_000..=100_000_000;
const RATE_MAX: u32 = 60;
/// Codecs that nodes make canvases of.
const CODECS: [&str; 3] = ["h264", "h265", "vp8"];
const STILL_BYTES_MAX: usize = 128;
const SWITCH_AFTER_MS_MAX: u32 = 10_000;
const HOLD_MS_MAX: u32 = 60_000;
const SECONDS_MAX: u32 = 3_600;
const TEXT_CHARS_MAX: usize = 512;
/// Cells of a canvas at most.
const CELLS_MAX: usize = 25;
/// The longest layout in words: 25 cells of four numbers with two decimals.
const LAYOUT_BYTES_MAX: usize = 1024;

impl Video {
    /// Pictures are composed.
    pub fn is_composed(&self) -> bool {
        self.canvas.is_some()
    }

    /// Pictures are encoded on the node, or may be.
    pub fn is_encoded(&self) -> bool {
        self.is_composed() || self.transcode.is_some()
    }

    /// Streams of pictures that each participant gets from all others at most.
    pub(crate) fn pictures_max(&self) -> u64 {
        if self.is_composed() { 1 } else { u64::MAX }
    }

    /// Checks what was given; errors name the field, beginning with `video`. What a layout's words mean is for
    /// nodes to say.
    pub(super) fn check(given: Option<&media::VideoSettings>) -> Result<Video, Refusal> {
        let Some(given) = given else { return Ok(Video::default()) };
        let mode = media::VideoMode::try_from(given.mode)
            .map_err(|_| Refusal::invalid("video.mode", format!("{} is not known", given.mode)))?;
        if mode != media::VideoMode::Canvas {
            if given.canvas.is_some() {
                return Err(Refusal::invalid("video.canvas", "is given, but the mode is not CANVAS"));
            }
            let transcode = given.transcode.clone().map(Transcode::check).transpose()?;
            return Ok(Video { transcode, ..Video::default() });
        }
        if given.transcode.is_some() {
            return Err(Refusal::invalid("video.transcode", "is given, but the mode is not RELAY"));
        }
        let canvas = given.canvas.clone().unwrap_or_default();
        let media::CanvasSettings { width, height, frames_per_second: frames_per_s, bitrate_bps, .. } =
            canvas;
        let codec = canvas.codec.clone();
        Transcode { width, height, frames_per_s, bitrate_bps, codec }.check_values("video.canvas")?;
        check_layout("video.canvas.layout", &canvas.layout)?;
        if !canvas.pinned.is_empty() {
            check_identifier("video.canvas.pinned", &canvas.pinned)?;
        }
        Ok(Video { canvas: Some(Canvas::from_wire(canvas)?), transcode: None })
    }

    /// As applications and nodes see it; none: as usual.
    pub(super) fn to_wire(&self) -> Option<media::VideoSettings> {
        let (canvas, transcode) = (self.canvas.as_ref(), self.transcode.as_ref());
        let mode = match (canvas, transcode) {
            (Some(_), _) => media::VideoMode::Canvas,
            (None, Some(_)) => media::VideoMode::Relay,
            (None, None) => return None,
        };
        let (canvas, transcode) = (canvas.map(Canvas::to_wire), transcode.map(Transcode::to_wire));
        Some(media::VideoSettings { mode: mode.into(), canvas, transcode })
    }

    /// For people.
    pub(super) fn mode_name(&self) -> String {
        match &self.canvas {
            None if self.transcode.is_some() => "relayed, or transcoded for who lacks a codec".to_owned(),
            None => "relayed".to_owned(),
            Some(canvas) if canvas.layout.is_empty() => "composed".to_owned(),
            Some(canvas) => format!("composed as {}", canvas.layout),
        }
    }
}

/// What its words mean is for nodes to say.
pub(super) fn check_layout(field: &str, layout: &str) -> Result<(), Refusal> {
    if layout.len() > LAYOUT_BYTES_MAX {
        let why = format!("{} bytes; at most {LAYOUT_BYTES_MAX}", layout.len());
        return Err(Refusal::invalid(field, why));
    }
    Ok(())
}

/// The name of a file. What else is wrong with it is for nodes to say.
pub(super) fn check_still(field: &str, name: &str) -> Result<(), Refusal> {
    if name.len() > STILL_BYTES_MAX || name.chars().any(|c| c == '/' || c.is_control()) {
        let why = format!("must be the name of a file, at most {STILL_BYTES_MAX} bytes");
        return Err(Refusal::invalid(field, why));
    }
    Ok(())
}

fn check_rgb(field: &str, rgb: Option<u32>) -> Result<(), Refusal> {
    match rgb.filter(|rgb| *rgb > 0xff_ff_ff) {
        Some(rgb) => Err(Refusal::invalid(field, format!("{rgb:#x}; must be 0xRRGGBB"))),
        None => Ok(()),
    }
}

fn check_seconds(field: String, value: u32, least: u32) -> Result<(), Refusal> {
    if value != 0 && !(least..=SECONDS_MAX).contains(&value) {
        return Err(Refusal::invalid(field, format!("{value} s; must be {least} to {SECONDS_MAX}")));
    }
    Ok(())
}

impl Transcode {
    fn check(given: media::TranscodeSettings) -> Result<Transcode, Refusal> {
        let media::TranscodeSettings { width, height, frames_per_second: frames_per_s, bitrate_bps, codec } =
            given;
        let transcode = Transcode { width, height, frames_per_s, bitrate_bps, codec };
        transcode.check_values("video.transcode")?;
        Ok(transcode)
    }

    /// Errors name the field, after `path`.
    fn check_values(&self, path: &str) -> Result<(), Refusal> {
        let bad = |field: &str, why: String| Err(Refusal::invalid(format!("{path}.{field}"), why));
        let given_size = (self.width, self.height) != (0, 0);
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if given_size && (!SIDE.contains(&side) || !side.is_multiple_of(2)) {
                return bad(field, format!("{side}; must be even, {} to {}", SIDE.start(), SIDE.end()));
            }
        }
        if self.frames_per_s > RATE_MAX {
            return bad("frames_per_second", format!("{}; at most {RATE_MAX}", self.frames_per_s));
        }
        if self.bitrate_bps != 0 && !BITRATE_BPS.contains(&self.bitrate_bps) {
            let (least, most) = (BITRATE_BPS.start(), BITRATE_BPS.end());
            return bad("bitrate_bps", format!("{}; must be {least} to {most}", self.bitrate_bps));
        }
        if !self.codec.is_empty() && !CODECS.contains(&self.codec.to_ascii_lowercase().as_str()) {
            return bad("codec", format!("'{}' must be H264, H265 or VP8", self.codec));
        }
        Ok(())
    }

    fn to_wire(&self) -> media::TranscodeSettings {
        media::TranscodeSettings {
            width: self.width,
            height: self.height,
            frames_per_second: self.frames_per_s,
            bitrate_bps: self.bitrate_bps,
            codec: self.codec.clone(),
        }
    }
}

impl Presentation {
    fn check(given: media::CanvasPresentation) -> Result<Presentation, Refusal> {
        let media::CanvasPresentation { after_seconds, interval_seconds } = given;
        let field = |name| format!("video.canvas.presentation.{name}");
        check_seconds(field("after_seconds"), after_seconds, 3)?;
        check_seconds(field("interval_seconds"), interval_seconds, 1)?;
        Ok(Presentation { after_seconds, interval_seconds })
    }
}

impl Text {
    /// None: nothing is written. Errors name the field, after `path`.
    fn check(path: &str, given: Option<media::CanvasText>) -> Result<Option<Text>, Refusal> {
        let Some(given) = given.filter(|given| !given.text.is_empty()) else { return Ok(None) };
        let field = |name| format!("{path}.{name}");
        let characters = given.text.chars().count();
        if characters > TEXT_CHARS_MAX || given.text.chars().any(char::is_control) {
            let why = format!("{characters} characters; at most {TEXT_CHARS_MAX}, and no control characters");
            return Err(Refusal::invalid(field("text"), why));
        }
        check_rgb(&field("text_rgb"), given.text_rgb)?;
        check_rgb(&field("ground_rgb"), given.ground_rgb)?;
        let media::CanvasText { text, place, height_percent, speed_percent, text_rgb, ground_rgb } = given;
        Ok(Some(Text { text, place, height_percent, speed_percent, text_rgb, ground_rgb }))
    }

    fn to_wire(&self) -> media::CanvasText {
        let Text { text, place, height_percent, speed_percent, text_rgb, ground_rgb } = self.clone();
        media::CanvasText { text, place, height_percent, speed_percent, text_rgb, ground_rgb }
    }
}

impl Cell {
    /// Errors name the field, after `path`.
    pub(super) fn check(path: &str, given: Vec<media::CellSubject>) -> Result<Vec<Cell>, Refusal> {
        for (index, subject) in given.iter().enumerate() {
            let field = |name| format!("{path}.cells[{index}].{name}");
            if index >= CELLS_MAX || subject.cell as usize >= CELLS_MAX {
                let why = format!("{}; there are at most {CELLS_MAX} cells", subject.cell);
                return Err(Refusal::invalid(field("cell"), why));
            }
            match media::CellShows::try_from(subject.shows) {
                Ok(media::CellShows::Participant) => {
                    check_identifier(&field("participant"), &subject.participant)?;
                }
                Ok(media::CellShows::Sequence) => {
                    check_seconds(field("interval_seconds"), subject.interval_seconds, 1)?;
                    for who in &subject.participants {
                        check_identifier(&field("participants"), who)?;
                    }
                }
                Ok(media::CellShows::Unspecified) | Err(_) => {
                    return Err(Refusal::invalid(field("shows"), "is missing, or not known"));
                }
                Ok(_) => {}
            }
        }
        let cell = |given| {
            let media::CellSubject { cell, shows, participant, participants, interval_seconds } = given;
            Cell { cell, shows, participant, participants, interval_seconds }
        };
        Ok(given.into_iter().map(cell).collect())
    }

    pub(super) fn into_wire(self) -> media::CellSubject {
        let Cell { cell, shows, participant, participants, interval_seconds } = self;
        media::CellSubject { cell, shows, participant, participants, interval_seconds }
    }
}

impl Canvas {
    fn from_wire(given: media::CanvasSettings) -> Result<Canvas, Refusal> {
        let media::CanvasSettings {
            width,
            height,
            frames_per_second: frames_per_s,
            bitrate_bps,
            codec,
            layout,
            crop,
            hide_self,
            cells,
            names,
            pinned,
            for_all,
            still,
            background_rgb,
            banner,
            caption,
            switch_after_ms,
            hold_ms,
            presentation,
            direct,
        } = given;
        for (field, value, most) in
            [("switch_after_ms", switch_after_ms, SWITCH_AFTER_MS_MAX), ("hold_ms", hold_ms, HOLD_MS_MAX)]
        {
            if value > most {
                let why = format!("{value} ms; at most {most}");
                return Err(Refusal::invalid(format!("video.canvas.{field}"), why));
            }
        }
        let presentation = presentation.map(Presentation::check).transpose()?;
        check_still("video.canvas.still", &still)?;
        check_rgb("video.canvas.background_rgb", background_rgb)?;
        let banner = Text::check("video.canvas.banner", banner)?;
        let caption = Text::check("video.canvas.caption", caption)?;
        let cells = Cell::check("video.canvas", cells)?;
        Ok(Canvas {
            width,
            height,
            frames_per_s,
            bitrate_bps,
            codec,
            layout,
            crop,
            hide_self,
            cells,
            names,
            pinned,
            for_all,
            still,
            background_rgb,
            banner,
            caption,
            switch_after_ms,
            hold_ms,
            presentation,
            direct,
        })
    }

    fn to_wire(&self) -> media::CanvasSettings {
        media::CanvasSettings {
            width: self.width,
            height: self.height,
            frames_per_second: self.frames_per_s,
            bitrate_bps: self.bitrate_bps,
            codec: self.codec.clone(),
            layout: self.layout.clone(),
            crop: self.crop,
            hide_self: self.hide_self,
            cells: self.cells.iter().cloned().map(Cell::into_wire).collect(),
            names: self.names,
            pinned: self.pinned.clone(),
            for_all: self.for_all,
            still: self.still.clone(),
            background_rgb: self.background_rgb,
            banner: self.banner.as_ref().map(Text::to_wire),
            caption: self.caption.as_ref().map(Text::to_wire),
            switch_after_ms: self.switch_after_ms,
            hold_ms: self.hold_ms,
            direct: self.direct,
            presentation: self.presentation.map(|Presentation { after_seconds, interval_seconds }| {
                media::CanvasPresentation { after_seconds, interval_seconds }
            }),
        }
    }
}

impl Step<'_> {
    /// Another video mode, or another canvas.
    pub(super) fn set_video(
        &mut self,
        request: RequestId,
        moid: &str,
        given: Option<media::VideoSettings>,
    ) -> Result<Option<Response>, Refusal> {
        let video = Video::check(given.as_ref())?;
        let before = self.changeable(moid)?.record.clone();
        if video.is_encoded() {
            self.permits(&before.user_domain, Feature::Mixing, "video.mode")?;
        }
        let next = Record { video, ..before.clone() };
        self.check_growth(&before, &next)?;
        self.change_audio(request, moid, next, AudioChange::Pictures)
    }
}
