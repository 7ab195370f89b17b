//! The composed conference: three who talk in turns, and a screen that gets one picture of all, with their names and a
//! border around who talks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use motet_proto::media::MediaKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cast::CAST;
use crate::ffmpeg::{self, Process, Recording};
use crate::server::Server;
use crate::terminal::Port;

/// Size of the picture, and how it is divided: one large cell for who talks, two for the others.
pub const WIDTH: u32 = 960;
/// As [`WIDTH`].
pub const HEIGHT: u32 = 540;
const LAYOUT: &str = "custom:0,0,66.66,100;66.66,0,33.34,50;66.66,50,33.34,50";
/// How long everybody talks, one after another.
pub const TURN_SECONDS: u64 = 4;
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
    png: PathBuf,
    mp4: PathBuf,
}

impl Composed {
    /// Everybody was seen large, and others small all the while.
    pub fn is_right(&self) -> bool {
        let seen = |person| self.large.iter().filter(|large| **large == Some(person)).count() >= 2;
        let enough = self.small.iter().all(|seconds| 2 * seconds > self.large.len());
        (0..CAST.len()).all(seen) && enough && self.strays == 0 && self.counted.1 == 0
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
            "composed picture: {} packets, {} lost; large, second by second: {large}; see {} and {}",
            self.counted.0,
            self.counted.1,
            self.png.display(),
            self.mp4.display()
        )
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
    let mp4 = out.join("composed.mp4");
    let mut recording = Recording::start("composed", out, &mp4)?;
    let ready = Instant::now() + Duration::from_secs(20);
    while !recording.is_ready()? {
        if Instant::now() > ready {
            bail!("a decoder does not listen after 20 s: is the machine very busy?");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    screen.expect(ssrc, recording.port, true);
    // What came before it was known whose it is.
    let before = screen.strays();
    // Another layout begins with a key frame, which the recording waits for.
    server.compose(&conference, (WIDTH, HEIGHT), LAYOUT).await?;
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
    recording.end().await?;
    for sender in senders {
        sender.end().await?;
    }
    let png = out.join("composed.png");
    ffmpeg::still(&mp4, seconds - 3, &png).await?;
    let mut composed =
        Composed { counted, strays: screen.strays() - before, png, mp4, ..Composed::default() };
    composed.look(&ffmpeg::picture_of_each_second(&composed.mp4).await?);
    Ok(composed)
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
            ..Composed::default()
        };
        assert!(right().is_right());
        assert!(!Composed { large: vec![Some(0); 6], ..right() }.is_right());
        assert!(!Composed { small: [6, 2], ..right() }.is_right());
        assert!(!Composed { strays: 1, ..right() }.is_right());
        assert!(right().line().contains("AABBCC"));
    }
}
