//! What a recording is begun with.

use crate::{ConfigError, Container, RecordingConfig, TrackConfig};
use std::path::{Path, PathBuf};

/// Bytes of a name at most: file systems take 255 with what is put behind it.
const NAME_BYTES_MAX: usize = 200;

/// A recording and where its files are to be.
#[derive(Clone, Debug)]
pub struct RecordingSpec {
    /// A folder that is there.
    pub folder: PathBuf,
    /// What files' names begin with: 1 to 200 bytes, no `/`, no `.` at the beginning.
    pub name: String,
    /// How it is made.
    pub config: RecordingConfig,
    /// What is recorded.
    pub tracks: Vec<TrackConfig>,
}

/// Why a recording cannot be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// `config` or `tracks`
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `name`
    #[error(
        "name: {0:?} cannot begin a file's name: 1 to {NAME_BYTES_MAX} bytes, no '/', no '.' at the beginning"
    )]
    Name(String),
    /// `folder`
    #[error("folder: {0} is not a folder; create it first")]
    Folder(PathBuf),
    /// The thread is gone.
    #[error("the recorder has ended")]
    Ended,
}

impl RecordingSpec {
    pub(super) fn check(&self) -> Result<(), BeginError> {
        let name = &self.name;
        let bad = name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.starts_with('.')
            || name.contains(['/', '\0']);
        if bad {
            return Err(BeginError::Name(name.clone()));
        }
        if !self.folder.is_dir() {
            return Err(BeginError::Folder(self.folder.clone()));
        }
        Ok(())
    }
}

/// Names of a segment's file: while it is written, and once it is whole.
#[derive(Clone, Debug)]
pub(super) struct FileNames {
    pub(super) part: PathBuf,
    pub(super) whole: PathBuf,
    pub(super) segment: u32,
}

impl FileNames {
    pub(super) fn new(folder: &Path, name: &str, segment: u32, container: Container) -> FileNames {
        let extension = container.extension();
        FileNames {
            part: folder.join(format!("{name}-{segment:05}.part.{extension}")),
            whole: folder.join(format!("{name}-{segment:05}.{extension}")),
            segment,
        }
    }
}
