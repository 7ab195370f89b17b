//! The composed conference: three who talk in turns, and a screen that gets one picture of all, with their names and a
//! border around who talks. The node records the picture with the mix.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use motet_proto::media::MediaKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cast::CAST;
use crate::ffmpeg::{self, Process};
use crate::hearing::{self, Heard};
use crate::server::Server;
use crate::terminal::Port;

/// Size of the picture, and how it is divided: one large cell for who talks, two for the others.
pub const WIDTH: u32 = 960;
/// As [`WIDTH`].
pub const HEIGHT: u32 = 540;
const LAYOUT: &str = "custom:0,0,66.66,100;66.66,0,33.34,50;66.66,50,33.34,50";
/// How long everybody talks, one after another.
pub const TURN_SECONDS: u64 = 4;
/// Name of the recording and of its folder.
const FOLDER: &str = "composed";
/// What people are called.
const NAMES: [&str; CAST.len()] = ["Alice Ångström", "Bob 鲍勃", "Carol キャロル"];
/// The screen, which only sees.
const SCREEN: &str = "screen";
/// Mean differences of colours that are taken for the same.
const DIFFERENCE_MAX: i32 = 40;

/// What the screen saw.
#[derive(Default)]
pub struct Composed {
    /// Packets, lost packets, sender reports.
    counted: (u64, i64, u64),
    strays: u64,
    /// Who was seen in the large cell, second by second, by index in [`CAST`].
    large: Vec<Option<usize>>,
    /// Seconds in which somebody was in each of the small cells.
    small: [usize; 2],
    /// Codecs of the recording's tracks.
    codecs: Vec<String>,
    /// Whose tones are in its sound.
    heard: Heard,
    png: PathBuf,
    mp4: PathBuf,
}

impl Composed {
    /// Everybody was seen large and heard, and others were small all the while.
    pub fn is_right(&self) -> bool {
        let seen = |person| self.large.iter().filter(|large| **large == Some(person)).count() >= 2;
        let enough = self.small.iter().all(|seconds| 2 * seconds > self.large.len());
        let tracks = self.codecs == ["h264", "opus"];
        // Half of everybody's turn, in tenths of a second.
        let heard = self.heard.tones.iter().all(|tenths| *tenths as u64 >= TURN_SECONDS * 5);
        let counted = self.strays == 0 && self.counted.1 == 0;
        (0..CAST.len()).all(seen) && enough && counted && tracks && heard
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let large: Vec<&str> =
            self.large.iter().map(|person| person.map_or("nobody", |person| CAST[person].name)).collect();
        json!({
            "packets": self.counted.0,
            "lost": self.counted.1,
            "stray_packets": self.strays,
            "large_by_second": large,
            "small_cells_filled_s": self.small,
            "tracks": self.codecs,
            "heard_s": self.heard_seconds(),
            "png": self.png.file_name().map(|name| name.to_string_lossy()),
            "mp4": self.mp4.file_name().map(|name| name.to_string_lossy()),
            "right": self.is_right(),
        })
    }

    /// For people.
    pub fn line(&self) -> String {
        let letter = |person: &Option<usize>| {
            person.map_or('-', |person| CAST[person].name.chars().next().unwrap_or('?').to_ascii_uppercase())
        };
        let large: String = self.large.iter().map(letter).collect();
        format!(
            "composed picture: {} packets, {} lost; large, second by second: {large}; recorded as {}, where the \
             three are heard for {:?} s; see {} and {}",
            self.counted.0,
            self.counted.1,
            self.codecs.join(" and "),
            self.heard_seconds(),
            self.png.display(),
            self.mp4.display()
        )
    }

    /// How long everybody's tone is heard.
    fn heard_seconds(&self) -> [f64; CAST.len()] {
        self.heard.tones.map(|tenths| tenths as f64 / 10.0)
    }

    /// Looks at a picture of each second, RGB.
    fn look(&mut self, pictures: &[u8]) {
        let size = (WIDTH * HEIGHT * 3) as usize;
        for picture in pictures.chunks_exact(size) {
            // A picture of 4 by 3 fills the large cell's width of 640, 30 lines from the top; the small cells are
            // 320 by 270 with 240 lines in the middle.
            self.large.push(person_at(picture, (14, 200), (626, 300)));
            let small = [(648, 100), (648, 370)].map(|(x, y)| person_at(picture, (x, y), (x + 304, y + 60)));
            for (seconds, person) in self.small.iter_mut().zip(small) {
                *seconds += usize::from(person.is_some());
            }
        }
    }
}

/// Whose frame is seen at both places.
fn person_at(picture: &[u8], one: (u32, u32), other: (u32, u32)) -> Option<usize> {
    let at = |(x, y): (u32, u32)| &picture[((y * WIDTH + x) * 3) as usize..][..3];
    let is = |place, colour: &[u8; 3]| {
        let difference = |(a, b): (&u8, &u8)| (i32::from(*a) - i32::from(*b)).abs();
        at(place).iter().zip(colour).map(difference).sum::<i32>() <= DIFFERENCE_MAX * 3
    };
    CAST.iter().position(|person| is(one, &person.colour) && is(other, &person.colour))
}

/// The whole conference, from its creation to its end.
pub async fn run(server: &Server, out: &Path) -> Result<Composed> {
    let conference = server.create_composed((WIDTH, HEIGHT), "auto").await?.id;
    let mut targets = Vec::new();
    let mut ports = Vec::new();
    for (person, name) in CAST.iter().zip(NAMES) {
        let (audio, video) = (Port::open()?, Port::open()?);
        let info = server.join_named(&conference, (person.name, name), Some(&audio), &video).await?;
        targets.push([crate::target(&info, MediaKind::Audio)?, crate::target(&info, MediaKind::Video)?]);
        ports.push((audio, video));
    }
    let screen = Port::open()?;
    server.join_named(&conference, (SCREEN, SCREEN), None, &screen).await?;
    let ssrc = canvas_ssrc(server, &conference).await?;
    screen.count(ssrc);
    // What came before it was known whose it is.
    let before = screen.strays();
    server.compose(&conference, (WIDTH, HEIGHT), LAYOUT).await?;
    server.record(&conference, FOLDER).await?;
    let mut senders: Vec<Process> = Vec::new();
    for (index, (person, [audio, video])) in CAST.iter().zip(&targets).enumerate() {
        senders.push(ffmpeg::take_turns(person, (index, CAST.len()), *audio, *video, out)?);
    }
    let seconds = 2 + TURN_SECONDS * CAST.len() as u64;
    println!("demo: three talk in turns, composed to one picture, for {seconds} s");
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        senders.iter_mut().try_for_each(Process::check)?;
    }
    let counted = screen.counted(ssrc);
    server.end_recording(&conference, FOLDER).await?;
    for sender in senders {
        sender.end().await?;
    }
    let mp4 = out.join("composed.mp4");
    take_recording(&crate::recordings(out).join(FOLDER).join("+canvas-00001.mp4"), &mp4).await?;
    let png = out.join("composed.png");
    ffmpeg::still(&mp4, seconds - 3, &png).await?;
    let mut composed =
        Composed { counted, strays: screen.strays() - before, png, mp4, ..Composed::default() };
    composed.look(&ffmpeg::picture_of_each_second(&composed.mp4).await?);
    composed.codecs = ffmpeg::codecs(&composed.mp4).await?;
    composed.heard = hearing::listen(&ffmpeg::sound(&composed.mp4).await?);
    Ok(composed)
}

/// Puts what the node has recorded where it is looked for, once it is whole.
async fn take_recording(from: &Path, to: &Path) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !from.is_file() {
        if Instant::now() > end {
            bail!("the node has written no {}", from.display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::rename(from, to).with_context(|| format!("cannot write {}", to.display()))
}

/// The SSRC under which the screen gets the picture.
async fn canvas_ssrc(server: &Server, conference: &str) -> Result<u32> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let info = server.show(conference).await?;
        let screen =
            info.participants.iter().find(|one| one.id == SCREEN).context("the screen has joined")?;
        if let Some(stream) = screen.receives.first() {
            return Ok(stream.ssrc);
        }
        if Instant::now() > end {
            bail!("control does not announce a picture to the screen: {screen:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with somebody's frame at the large cell's sides.
    fn picture(person: usize) -> Vec<u8> {
        let colour =
            |index: usize| if index % (WIDTH as usize) < 640 { CAST[person].colour } else { [7, 7, 7] };
        (0..(WIDTH * HEIGHT) as usize).flat_map(colour).collect()
    }

    #[test]
    fn who_is_large_is_known_by_the_frame() {
        let mut composed = Composed::default();
        composed.look(&[picture(2), picture(0)].concat());
        assert_eq!((composed.large.as_slice(), composed.small), ([Some(2), Some(0)].as_slice(), [0, 0]));
    }

    #[test]
    fn everybody_has_to_be_seen_large() {
        let right = || Composed {
            large: [0, 0, 1, 1, 2, 2].map(Some).into(),
            small: [6, 6],
            counted: (900, 0, 2),
            codecs: ["h264", "opus"].map(str::to_owned).into(),
            heard: Heard { windows: 120, tones: [20, 30, 40] },
            ..Composed::default()
        };
        assert!(right().is_right());
        assert!(!Composed { large: vec![Some(0); 6], ..right() }.is_right());
        assert!(!Composed { small: [6, 2], ..right() }.is_right());
        assert!(!Composed { strays: 1, ..right() }.is_right());
        assert!(!Composed { codecs: vec!["h264".into()], ..right() }.is_right());
        let heard = Heard { windows: 120, tones: [20, 19, 40] };
        assert!(!Composed { heard, ..right() }.is_right());
        assert!(right().line().contains("AABBCC"));
    }
}
