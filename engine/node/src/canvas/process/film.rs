//! A file that is played, read and decoded in a process of its own.
//!
//! The player asks for each picture and each piece of sound, so that nothing is decoded further ahead than it wants.

use super::apart::Apart;
use super::frame::{Came, Kind, put_picture, put_word};
use super::word::{Errand, Held, Reply, Request};
use crossbeam_channel::bounded;
use motet_codecs::file::{MediaFile, MediaItem};
use motet_codecs::video::Frame;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A disk takes its time.
const READ_MAX: Duration = Duration::from_secs(30);
/// Others wait where a file begins at another place than its beginning.
const SEEK_MAX: Duration = Duration::from_secs(5);

/// A file that is open.
pub(crate) enum Film {
    /// Read in this process.
    Here(MediaFile),
    /// Read in another one.
    Apart(Reader),
}

/// A process that reads a file.
pub(crate) struct Reader {
    process: Apart,
    held: Held,
    /// What came last.
    picture: Option<Frame>,
    samples: Vec<i16>,
}

impl Film {
    /// Opens a file, in another process or in this one. It may take as long as its disk does.
    ///
    /// Errors say why it cannot be played.
    pub(crate) fn open(path: PathBuf, apart: bool) -> Result<Film, String> {
        if !apart {
            return MediaFile::open(path).map(Film::Here).map_err(|error| error.to_string());
        }
        let mut process = Apart::start("reads the file", &Errand::Read { path })?;
        match process.hear(READ_MAX)?.word()? {
            Reply::Opened(held) => {
                Ok(Film::Apart(Reader { process, held, picture: None, samples: Vec::new() }))
            }
            Reply::Failed(why) => Err(why),
            _ => Err(UNKNOWN.to_owned()),
        }
    }

    /// It holds pictures.
    pub(crate) fn has_pictures(&self) -> bool {
        match self {
            Film::Here(file) => file.has_pictures(),
            Film::Apart(reader) => reader.held.pictures,
        }
    }

    /// It holds sound.
    pub(crate) fn has_sound(&self) -> bool {
        match self {
            Film::Here(file) => file.has_sound(),
            Film::Apart(reader) => reader.held.sound,
        }
    }

    /// How long it plays; none: the file does not say.
    pub(crate) fn duration(&self) -> Option<Duration> {
        match self {
            Film::Here(file) => file.duration(),
            Film::Apart(reader) => reader.held.duration,
        }
    }

    /// Goes on at a key frame at or before this place.
    pub(crate) fn seek(&mut self, to: Duration) -> Result<(), String> {
        match self {
            Film::Here(file) => file.seek(to).map_err(|error| error.to_string()),
            Film::Apart(reader) => reader.seek(to),
        }
    }

    /// Decodes more; none: that was all.
    ///
    /// Errors say why the file cannot be read further.
    pub(crate) fn read(&mut self) -> Result<Option<MediaItem<'_>>, String> {
        match self {
            Film::Here(file) => file.read().map_err(|error| error.to_string()),
            Film::Apart(reader) => reader.read(),
        }
    }
}

impl Reader {
    fn seek(&mut self, to: Duration) -> Result<(), String> {
        self.process.say(&Request::Seek(to), SEEK_MAX)?;
        match self.process.hear(SEEK_MAX)?.word()? {
            Reply::Sought => Ok(()),
            Reply::Failed(why) => Err(why),
            _ => Err(UNKNOWN.to_owned()),
        }
    }

    fn read(&mut self) -> Result<Option<MediaItem<'_>>, String> {
        self.process.say(&Request::Read, READ_MAX)?;
        let came = self.process.hear(READ_MAX)?;
        if came.kind == Kind::Picture {
            let (at_ns, frame) = came.picture().ok_or(UNKNOWN)?;
            let picture = self.picture.insert(frame).picture();
            return Ok(Some(MediaItem::Picture { at: Duration::from_nanos(at_ns), picture }));
        }
        match came.word()? {
            Reply::Sound { at, rate_hz, samples } => {
                self.samples = samples;
                Ok(Some(MediaItem::Sound { at, rate_hz, samples: &self.samples }))
            }
            Reply::End => Ok(None),
            Reply::Failed(why) => Err(why),
            _ => Err(UNKNOWN.to_owned()),
        }
    }
}

const UNKNOWN: &str = "the process that reads the file speaks of something else";

/// In the process: reads until the node ends this.
pub(super) fn read_for(mut from: BufReader<UnixStream>, mut node: &UnixStream, path: &Path) {
    let mut frame = Vec::new();
    let mut say = |reply: &Reply| {
        put_word(&mut frame, reply).expect("words can be written");
        // A node that is gone ends this.
        let _ = node.write_all(&frame);
    };
    let mut file = match MediaFile::open(path) {
        Ok(file) => file,
        Err(error) => return say(&Reply::Failed(error.to_string())),
    };
    let (pictures, sound, duration) = (file.has_pictures(), file.has_sound(), file.duration());
    say(&Reply::Opened(Held { pictures, sound, duration }));
    let (ask, asked) = bounded(1);
    std::thread::spawn(move || {
        while let Ok(request) =
            Came::read(&mut from).map_err(|_| ()).and_then(|came| came.word().map_err(|_| ()))
        {
            if ask.send(request).is_err() {
                break;
            }
        }
        // Also while a decoder does not come back.
        std::process::exit(0);
    });
    for request in asked {
        let reply = match request {
            Request::Seek(to) => file.seek(to).map(|()| Reply::Sought),
            Request::Read => match file.read() {
                Ok(Some(MediaItem::Picture { at, picture })) => {
                    put_picture(&mut frame, at.as_nanos() as u64, &picture);
                    let _ = node.write_all(&frame);
                    continue;
                }
                Ok(Some(MediaItem::Sound { at, rate_hz, samples })) => {
                    Ok(Reply::Sound { at, rate_hz, samples: samples.to_vec() })
                }
                Ok(None) => Ok(Reply::End),
                Err(error) => Err(error),
            },
        };
        put_word(&mut frame, &reply.unwrap_or_else(|error| Reply::Failed(error.to_string())))
            .expect("words can be written");
        let _ = node.write_all(&frame);
    }
}
