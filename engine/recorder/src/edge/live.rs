//! The files of live output: headers, pieces, and the playlist that names them.
//!
//! A header is `NAME-00001-init.mp4`, a piece `NAME-00001-000001.m4s` once it is whole, the playlist `NAME.m3u8`.

use super::EventKind;
use super::begin::RecordingSpec;
use super::job::Operation;
use super::storage::Storage;
use crate::playlist::Playlist;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where live output goes.
#[derive(Clone, Debug)]
pub(super) struct LiveSpec {
    folder: PathBuf,
    name: String,
    /// The number of its first piece.
    sequence: u64,
    longest: Duration,
}

/// Live output that is written.
pub(super) struct Live<F> {
    spec: LiveSpec,
    playlist: Playlist,
    segment: u32,
    /// What comes next is a header.
    header: bool,
    /// The piece that is written, its bytes so far, and its number.
    open: Option<(F, u64)>,
    pieces: u32,
}

impl LiveSpec {
    /// None: it is written to files.
    pub(super) fn of(spec: &RecordingSpec) -> Option<LiveSpec> {
        let (_, longest) = spec.config.pieces()?;
        // Pieces last a second and more: who counts from the time of day is above all who have done so before.
        let sequence = spec.config.created.as_secs();
        Some(LiveSpec { folder: spec.folder.clone(), name: spec.name.clone(), sequence, longest })
    }

    fn playlist(&self) -> PathBuf {
        self.folder.join(format!("{}.m3u8", self.name))
    }
}

impl<F: 'static> Live<F> {
    pub(super) fn new(spec: LiveSpec) -> Live<F> {
        let playlist = Playlist::new(spec.sequence, spec.longest);
        Live { spec, playlist, segment: 0, header: false, open: None, pieces: 0 }
    }

    pub(super) async fn perform<S: Storage<File = F>>(
        &mut self,
        storage: &S,
        operation: Operation,
    ) -> io::Result<Option<EventKind>> {
        match operation {
            Operation::Begin(names) => {
                (self.segment, self.header, self.pieces) = (names.segment, true, 0);
                return Ok(Some(EventKind::SegmentBegan { path: self.spec.playlist() }));
            }
            Operation::Append(bytes) if self.header => {
                let name = format!("{}-{:05}-init.mp4", self.spec.name, self.segment);
                storage.replace(&self.spec.folder.join(&name), bytes).await?;
                self.playlist.begin(name);
                self.header = false;
            }
            Operation::Append(bytes) => self.append(storage, bytes).await?,
            Operation::Piece(duration) => self.end_piece(storage, duration).await?,
            Operation::End(summary) => {
                return Ok(Some(EventKind::SegmentEnded { path: self.spec.playlist(), summary }));
            }
            Operation::Close if self.segment > 0 => {
                storage.replace(&self.spec.playlist(), self.playlist.text(true).into_bytes()).await?;
            }
            Operation::Close => {}
        }
        Ok(None)
    }

    async fn append<S: Storage<File = F>>(&mut self, storage: &S, bytes: Vec<u8>) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some((storage.create(&self.path("part.m4s")).await?, 0));
        }
        let Some((file, written)) = &mut self.open else { return Ok(()) };
        let length = bytes.len() as u64;
        storage.write(file, *written, bytes).await?;
        *written += length;
        Ok(())
    }

    /// The playlist names what is there: a piece before it is listed, and as long as it is.
    async fn end_piece<S: Storage<File = F>>(&mut self, storage: &S, duration: Duration) -> io::Result<()> {
        let Some((file, _)) = self.open.take() else { return Ok(()) };
        let whole = self.path("m4s");
        storage.finish(file, &self.path("part.m4s"), &whole).await?;
        self.pieces += 1;
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
        let gone = self.playlist.push(name.unwrap_or_default(), duration);
        storage.replace(&self.spec.playlist(), self.playlist.text(false).into_bytes()).await?;
        for name in gone {
            match storage.remove(&self.spec.folder.join(name)).await {
                // Somebody else has tidied up.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// The file of the piece that is written.
    fn path(&self, extension: &str) -> PathBuf {
        let (name, segment, piece) = (&self.spec.name, self.segment, self.pieces + 1);
        self.spec.folder.join(format!("{name}-{segment:05}-{piece:06}.{extension}"))
    }
}
