//! What becomes of a conference's pictures, checked.

use super::Id;
use super::check::{Path, identifier};
use crate::canvas::VoiceSettings;
use crate::error::NodeError;
use motet_codecs::video::{PictureSize, VideoCodec, VideoCodecName};
use motet_mixer::video::{BACKGROUND, CELLS_MAX, CanvasText, Fit, Layout, colour_of_rgb};
use motet_proto::media as wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How pictures reach participants.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum VideoMode {
    /// Each to each, as it is.
    #[default]
    Relay,
    /// The same, and in another codec for who lacks that of a publisher. Size, rate, bits and codec count.
    Transcode(CanvasSettings),
    /// Composed.
    Canvas(CanvasSettings),
}

/// How a conference's pictures are composed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanvasSettings {
    /// Size of the canvas; both sides even, 64 to 4096 pixels.
    pub size: PictureSize,
    /// Pictures a second, 1 to 60.
    pub frames_per_s: u32,
    /// Bits a second towards each receiver, 10,000 to 100,000,000.
    pub bitrate_bps: u32,
    /// What those get who have it; none: each the first of its list.
    pub codec: Option<VideoCodecName>,
    /// How it is divided.
    pub layout: Layout,
    /// How pictures get into cells.
    pub fit: Fit,
    /// Nobody sees their own picture.
    pub hide_self: bool,
    /// Who is to be seen in cells, by their number in the layout's order.
    pub cells: BTreeMap<u8, Shows>,
    /// Names are written on pictures.
    pub names: bool,
    /// Who is seen in the first cell, whoever speaks.
    pub pinned: Option<Id>,
    /// Everybody sees this, whatever they have chosen for themselves.
    pub for_all: bool,
    /// File of what is seen of who sends no picture.
    pub still: Option<String>,
    /// Between and behind pictures: Y, Cb and Cr.
    pub background: [u8; 3],
    /// Banner and caption.
    pub texts: Vec<CanvasText>,
    /// When another one is shown as the speaker, and as a lecturer.
    pub voice: VoiceSettings,
    /// How long a lecturer sees each of the others.
    pub lecture_turn: Duration,
    /// Who sees one participant in full gets no canvas, but that one's pictures.
    pub direct: bool,
}

/// What becomes of a leg's pictures on a canvas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegVideo {
    /// What it sees in another way than all others do.
    pub view: LegView,
    /// Its picture is not seen.
    pub off: bool,
    /// File of what is seen instead of its picture.
    pub still: Option<String>,
}

/// What a leg sees of a canvas; what is none is as for all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegView {
    /// How it is divided.
    pub layout: Option<Layout>,
    /// Who is to be seen in cells.
    pub cells: Option<BTreeMap<u8, Shows>>,
    /// Who is seen in the first cell, whoever speaks.
    pub pinned: Option<Id>,
    /// It does not see its own picture.
    pub hide_self: Option<bool>,
}

/// Who is to be seen in a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shows {
    /// Who speaks.
    Speaker,
    /// Who spoke before.
    PreviousSpeaker,
    /// This leg.
    Leg(Id),
    /// Content that is shared.
    Content,
    /// These in turn, or all, each for so long.
    Sequence(Vec<Id>, Duration),
    /// Nobody.
    Nobody,
}

const SIDE: std::ops::RangeInclusive<u32> = 64..=4096;
const RATE: std::ops::RangeInclusive<u32> = 1..=60;
const BITRATE_BPS: std::ops::RangeInclusive<u32> = 10_000..=100_000_000;
const SIZE_USUAL: (u32, u32) = (1280, 720);
const STILL_BYTES_MAX: usize = 128;
/// Participants who are named for one sequence.
const SEQUENCE_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 512;
const RATE_USUAL: u32 = 30;
const BITRATE_USUAL_BPS: u32 = 1_500_000;

impl VideoMode {
    /// The settings of a canvas; none: there is none.
    pub fn canvas(&self) -> Option<&CanvasSettings> {
        match self {
            VideoMode::Relay | VideoMode::Transcode(_) => None,
            VideoMode::Canvas(settings) => Some(settings),
        }
    }

    /// How pictures are transcoded for who lacks a codec; none: they are not.
    pub fn transcode(&self) -> Option<&CanvasSettings> {
        match self {
            VideoMode::Transcode(settings) => Some(settings),
            VideoMode::Relay | VideoMode::Canvas(_) => None,
        }
    }

    /// Whether what fits the one fits the other.
    pub(crate) fn is_as_large(&self, other: &VideoMode) -> bool {
        let limits = |mode: &VideoMode| {
            mode.canvas().map(|canvas| (canvas.size, canvas.frames_per_s, canvas.bitrate_bps))
        };
        limits(self) == limits(other)
    }

    /// Of what is encoded here, if anything is.
    pub fn encoded(&self) -> Option<&CanvasSettings> {
        self.canvas().or_else(|| self.transcode())
    }

    pub(super) fn from_wire(at: &Path, video: Option<&wire::VideoSettings>) -> Result<VideoMode, NodeError> {
        let Some(video) = video else { return Ok(VideoMode::Relay) };
        let mode = wire::VideoMode::try_from(video.mode)
            .map_err(|_| at.field("mode").error(format!("{} is not known", video.mode)))?;
        match mode {
            wire::VideoMode::Canvas if video.transcode.is_some() => {
                Err(at.field("transcode").error("is given, but the mode is not RELAY"))
            }
            wire::VideoMode::Canvas => {
                let settings = video.canvas.clone().unwrap_or_default();
                CanvasSettings::from_wire(&at.field("canvas"), &settings).map(VideoMode::Canvas)
            }
            _ if video.canvas.is_some() => {
                Err(at.field("canvas").error("is given, but the mode is not CANVAS"))
            }
            _ => match video.transcode.clone() {
                None => Ok(VideoMode::Relay),
                Some(given) => {
                    let wire::TranscodeSettings { width, height, frames_per_second, bitrate_bps, codec } =
                        given;
                    let given = wire::CanvasSettings {
                        width,
                        height,
                        frames_per_second,
                        bitrate_bps,
                        codec,
                        ..wire::CanvasSettings::default()
                    };
                    CanvasSettings::from_wire(&at.field("transcode"), &given).map(VideoMode::Transcode)
                }
            },
        }
    }
}

impl CanvasSettings {
    fn from_wire(at: &Path, given: &wire::CanvasSettings) -> Result<CanvasSettings, NodeError> {
        let or = |value: u32, usual: u32| if value == 0 { usual } else { value };
        let (width, height) = match (given.width, given.height) {
            (0, 0) => SIZE_USUAL,
            size => size,
        };
        for (field, side) in [("width", width), ("height", height)] {
            if !SIDE.contains(&side) || !side.is_multiple_of(2) {
                let why = format!("{side}; must be even, {} to {}", SIDE.start(), SIDE.end());
                return Err(at.field(field).error(why));
            }
        }
        let lecture = given.presentation.unwrap_or_default();
        let settings = CanvasSettings {
            size: PictureSize::new(width, height),
            frames_per_s: or(given.frames_per_second, RATE_USUAL),
            bitrate_bps: or(given.bitrate_bps, BITRATE_USUAL_BPS),
            codec: codec(&at.field("codec"), &given.codec)?,
            layout: layout(&at.field("layout"), &given.layout)?,
            fit: if given.crop { Fit::Crop } else { Fit::Letterbox },
            hide_self: given.hide_self,
            cells: cells(at, &given.cells)?,
            names: given.names,
            pinned: pinned(&at.field("pinned"), &given.pinned)?,
            for_all: given.for_all,
            still: still(&at.field("still"), &given.still)?,
            background: match given.background_rgb {
                Some(rgb) => colour(&at.field("background_rgb"), rgb)?,
                None => BACKGROUND,
            },
            texts: texts(at, given)?,
            voice: voice(at, given)?,
            direct: given.direct,
            lecture_turn: seconds(&at.field("presentation"), lecture.interval_seconds, 10, 1)?,
        };
        if !RATE.contains(&settings.frames_per_s) {
            let why = format!("{}; must be {} to {}", settings.frames_per_s, RATE.start(), RATE.end());
            return Err(at.field("frames_per_second").error(why));
        }
        if !BITRATE_BPS.contains(&settings.bitrate_bps) {
            let (least, most) = (BITRATE_BPS.start(), BITRATE_BPS.end());
            let why = format!("{} bit/s; must be {least} to {most}", settings.bitrate_bps);
            return Err(at.field("bitrate_bps").error(why));
        }
        Ok(settings)
    }
}

impl LegVideo {
    pub(super) fn from_wire(at: &Path, given: Option<&wire::ParticipantVideo>) -> Result<Self, NodeError> {
        let Some(given) = given else { return Ok(LegVideo::default()) };
        let still = still(&at.field("still"), &given.still)?;
        let view = given.view.as_ref().map(|view| LegView::from_wire(&at.field("view"), view));
        Ok(LegVideo { view: view.transpose()?.unwrap_or_default(), off: given.off, still })
    }
}

impl LegView {
    fn from_wire(at: &Path, view: &wire::CanvasView) -> Result<Self, NodeError> {
        let layout = match view.layout.as_str() {
            "" => None,
            words => Some(layout(&at.field("layout"), words)?),
        };
        // Cells of the conference are those of its layout.
        let own = layout.is_some() || !view.cells.is_empty();
        let cells = own.then(|| cells(at, &view.cells)).transpose()?;
        let pinned = pinned(&at.field("pinned"), &view.pinned)?;
        Ok(LegView { layout, cells, pinned, hide_self: view.hide_self })
    }
}

/// The name of a file, and no way to another folder.
fn still(at: &Path, name: &str) -> Result<Option<String>, NodeError> {
    if name.is_empty() {
        return Ok(None);
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
    if name.len() > STILL_BYTES_MAX || name.starts_with('.') || !name.chars().all(allowed) {
        let why = format!(
            "'{name}' must be the name of a file in the folder of --stills: letters, digits, spaces, . _ -, at most \
             {STILL_BYTES_MAX} bytes, and no dot at the beginning"
        );
        return Err(at.error(why));
    }
    Ok(Some(name.to_owned()))
}

fn colour(at: &Path, rgb: u32) -> Result<[u8; 3], NodeError> {
    if rgb > 0xff_ff_ff {
        return Err(at.error(format!("{rgb:#x}; must be 0xRRGGBB")));
    }
    Ok(colour_of_rgb(rgb))
}

/// The banner first, then the caption.
fn texts(at: &Path, given: &wire::CanvasSettings) -> Result<Vec<CanvasText>, NodeError> {
    let mut texts = Vec::new();
    for (field, given, moves) in [("banner", &given.banner, false), ("caption", &given.caption, true)] {
        if let Some(given) = given.as_ref().filter(|given| !given.text.is_empty()) {
            texts.push(text(&at.field(field), given, moves)?);
        }
    }
    Ok(texts)
}

fn text(at: &Path, given: &wire::CanvasText, moves: bool) -> Result<CanvasText, NodeError> {
    let characters = given.text.chars().count();
    if characters > TEXT_CHARS_MAX || given.text.chars().any(char::is_control) {
        let why = format!("{characters} characters; at most {TEXT_CHARS_MAX}, and no control characters");
        return Err(at.field("text").error(why));
    }
    let within = |field: &str, value: u32, usual: u8, range: std::ops::RangeInclusive<u8>| {
        let value = if value == 0 { u32::from(usual) } else { value };
        let fits = u8::try_from(value).ok().filter(|value| range.contains(value));
        fits.ok_or_else(|| {
            at.field(field).error(format!("{value}; must be {} to {}", range.start(), range.end()))
        })
    };
    if !moves && given.speed_percent != 0 {
        return Err(at.field("speed_percent").error("is given, but a banner stands still"));
    }
    let bottom = match wire::CanvasTextPlace::try_from(given.place) {
        Ok(wire::CanvasTextPlace::Unspecified) => moves,
        Ok(place) => place == wire::CanvasTextPlace::Bottom,
        Err(_) => return Err(at.field("place").error(format!("{} is not known", given.place))),
    };
    let ground = given.ground_rgb.map(|rgb| colour(&at.field("ground_rgb"), rgb)).transpose()?;
    Ok(CanvasText {
        text: given.text.clone(),
        bottom,
        height_percent: within("height_percent", given.height_percent, 8, 3..=20)?,
        speed_percent: if moves { within("speed_percent", given.speed_percent, 10, 1..=100)? } else { 0 },
        colour: colour(&at.field("text_rgb"), given.text_rgb.unwrap_or(0xff_ff_ff))?,
        ground,
    })
}

/// When who is shown.
fn voice(at: &Path, given: &wire::CanvasSettings) -> Result<VoiceSettings, NodeError> {
    let millis = |field: &str, value: u32, most: u32| match value {
        value if value <= most => Ok(Duration::from_millis(value.into())),
        value => Err(at.field(field).error(format!("{value} ms; at most {most}"))),
    };
    let lecture = given.presentation.map(|lecture| lecture.after_seconds);
    let at_lecture = at.field("presentation").field("after_seconds");
    Ok(VoiceSettings {
        after: millis("switch_after_ms", given.switch_after_ms, 10_000)?,
        hold: millis("hold_ms", given.hold_ms, 60_000)?,
        lecture_after: lecture.map(|after| seconds(&at_lecture, after, 30, 3)).transpose()?,
    })
}

/// So many seconds; 0: as usual.
fn seconds(at: &Path, value: u32, usual: u32, least: u32) -> Result<Duration, NodeError> {
    let value = if value == 0 { usual } else { value };
    if !(least..=3600).contains(&value) {
        return Err(at.error(format!("{value} s; must be {least} to 3600")));
    }
    Ok(Duration::from_secs(value.into()))
}

/// Participants in turn.
fn sequence(at: &Path, subject: &wire::CellSubject) -> Result<Shows, NodeError> {
    if subject.participants.len() > SEQUENCE_MAX {
        let why = format!("{}; at most {SEQUENCE_MAX}", subject.participants.len());
        return Err(at.field("participants").error(why));
    }
    for (index, who) in subject.participants.iter().enumerate() {
        identifier(&at.index("participants", index), who)?;
    }
    let turn = seconds(&at.field("interval_seconds"), subject.interval_seconds, 10, 1)?;
    Ok(Shows::Sequence(subject.participants.iter().map(Id::from).collect(), turn))
}

fn pinned(at: &Path, given: &str) -> Result<Option<Id>, NodeError> {
    if given.is_empty() {
        return Ok(None);
    }
    identifier(at, given)?;
    Ok(Some(Id::from(given)))
}

fn cells(at: &Path, given: &[wire::CellSubject]) -> Result<BTreeMap<u8, Shows>, NodeError> {
    let mut cells = BTreeMap::new();
    for (index, subject) in given.iter().enumerate() {
        let at = at.index("cells", index);
        let cell = u8::try_from(subject.cell).ok().filter(|cell| usize::from(*cell) < CELLS_MAX);
        let cell = cell.ok_or_else(|| {
            at.field("cell").error(format!("{}; cells are counted 0 to {}", subject.cell, CELLS_MAX - 1))
        })?;
        let shows = match wire::CellShows::try_from(subject.shows) {
            Ok(wire::CellShows::Speaker) => Shows::Speaker,
            Ok(wire::CellShows::PreviousSpeaker) => Shows::PreviousSpeaker,
            Ok(wire::CellShows::Nobody) => Shows::Nobody,
            Ok(wire::CellShows::Content) => Shows::Content,
            Ok(wire::CellShows::Sequence) => sequence(&at, subject)?,
            Ok(wire::CellShows::Participant) => {
                identifier(&at.field("participant"), &subject.participant)?;
                Shows::Leg(Id::from(&subject.participant))
            }
            Ok(wire::CellShows::Unspecified) => return Err(at.field("shows").error("is missing")),
            Err(_) => return Err(at.field("shows").error(format!("{} is not known", subject.shows))),
        };
        if cells.insert(cell, shows).is_some() {
            return Err(at.field("cell").error(format!("{cell} is named twice")));
        }
    }
    Ok(cells)
}

fn codec(at: &Path, name: &str) -> Result<Option<VideoCodecName>, NodeError> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = VideoCodec::parse(name, 90_000, "").map(|codec| codec.name);
    let names = || VideoCodecName::ALL.map(VideoCodecName::encoding_name).join(", ");
    known.map(Some).ok_or_else(|| at.error(format!("'{name}' is not encoded here; {} are", names())))
}

fn layout(at: &Path, words: &str) -> Result<Layout, NodeError> {
    if words.is_empty() {
        return Ok(Layout::Auto);
    }
    words.parse().map_err(|error: motet_mixer::video::LayoutError| at.error(error.to_string()))
}
