//! Files that are played: MP4, Matroska and WAV, by FFmpeg's libavformat and its decoders.
//!
//! [`MediaFile`] gives pictures and sound as they come in the file, each with its place. Pictures are of 8 bits and
//! 4:2:0, others are left out and counted; sound has one channel, the mean of all. Lists of files are not read, nor is
//! anything that a file refers to.

use crate::ffi::avcodec::AvError;
use crate::ffi::avfile::{File, Item};
use crate::video::{PIXELS_MAX, Picture};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file that is open.
pub struct MediaFile {
    path: PathBuf,
    file: File,
    unseen: u64,
}

/// What was decoded.
#[derive(Debug)]
pub enum MediaItem<'a> {
    /// A picture.
    Picture {
        /// Its place in the file.
        at: Duration,
        /// What it shows.
        picture: Picture<'a>,
    },
    /// Sound of one channel.
    Sound {
        /// Its place in the file.
        at: Duration,
        /// Samples a second.
        rate_hz: u32,
        /// One after another.
        samples: &'a [i16],
    },
}

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be opened.
    #[error("{} cannot be opened: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// It is no MP4, Matroska or WAV file, or a damaged one.
    #[error("{} cannot be read as MP4, Matroska or WAV: {reason}; is it whole?", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What FFmpeg says.
        reason: &'static str,
    },
    /// It holds neither pictures nor sound.
    #[error("{} holds neither pictures nor sound", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read further.
    #[error("{} cannot be read further: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What FFmpeg says.
        reason: &'static str,
    },
}

impl MediaFile {
    /// Opens a file. It may take as long as its disk does.
    ///
    /// # Errors
    /// What [`FileError`] says.
    pub fn open(path: impl AsRef<Path>) -> Result<MediaFile, FileError> {
        let path = path.as_ref().to_owned();
        // FFmpeg does not say why.
        if let Err(error) = std::fs::File::open(&path) {
            return Err(FileError::Open { path, reason: error.to_string() });
        }
        let file = match File::open(&path, PIXELS_MAX) {
            Ok(file) => file,
            Err(error) => return Err(FileError::Format { path, reason: reason(error) }),
        };
        if !file.has_pictures() && !file.has_sound() {
            return Err(FileError::Empty { path });
        }
        Ok(MediaFile { path, file, unseen: 0 })
    }

    /// It holds pictures.
    pub fn has_pictures(&self) -> bool {
        self.file.has_pictures()
    }

    /// It holds sound.
    pub fn has_sound(&self) -> bool {
        self.file.has_sound()
    }

    /// How long it plays; none: the file does not say.
    pub fn duration(&self) -> Option<Duration> {
        self.file.duration()
    }

    /// Parts that were damaged, and pictures of another kind, so far.
    pub fn damaged(&self) -> u64 {
        self.file.damaged() + self.unseen
    }

    /// Goes on at a key frame at or before this place.
    ///
    /// # Errors
    /// [`FileError::Read`]: the file has no such place, or cannot be read.
    pub fn seek(&mut self, to: Duration) -> Result<(), FileError> {
        self.file.seek(to).map_err(|error| FileError::Read { path: self.path.clone(), reason: reason(error) })
    }

    /// Decodes more; none: that was all.
    ///
    /// # Errors
    /// [`FileError::Read`]: the file cannot be read further. What is damaged is left out.
    pub fn read(&mut self) -> Result<Option<MediaItem<'_>>, FileError> {
        loop {
            let item = self.file.read();
            let item =
                item.map_err(|error| FileError::Read { path: self.path.clone(), reason: reason(error) })?;
            match item {
                None => return Ok(None),
                Some(Item::Picture(at)) => {
                    let picture = self.file.picture();
                    return Ok(picture.map(|picture| MediaItem::Picture { at, picture }));
                }
                Some(Item::Sound(at)) => {
                    let (rate_hz, samples) = self.file.sound();
                    return Ok(Some(MediaItem::Sound { at, rate_hz, samples }));
                }
                Some(Item::Unknown) => self.unseen += 1,
            }
        }
    }
}

fn reason(error: AvError) -> &'static str {
    error.reason()
}

#[cfg(test)]
mod tests;
