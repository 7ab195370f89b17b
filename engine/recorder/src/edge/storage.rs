//! Files: io_uring, or threads.

use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `tokio-uring`: no thread waits for a disk.
    Uring,
    /// Threads that wait, for where io_uring is forbidden (as in Docker's default profile) or not there.
    Threads,
}

impl Backend {
    /// The better one that works here; with the reason when that is not io_uring.
    pub fn choose() -> (Backend, Option<io::Error>) {
        // A runtime belongs to its thread, and there may be another one on this.
        let tried = std::thread::scope(|scope| {
            let runtime = || tokio_uring::Runtime::new(&tokio_uring::builder()).map(drop);
            scope.spawn(runtime).join()
        });
        match tried {
            Ok(Ok(())) => (Backend::Uring, None),
            Ok(Err(error)) => (Backend::Threads, Some(error)),
            Err(_) => (Backend::Threads, Some(io::Error::other("io_uring cannot be set up"))),
        }
    }
}

/// Where files are. All of it is called on the recorder's thread.
pub trait Storage: Clone + 'static {
    /// A file that is open.
    type File: 'static;

    /// Creates a file that is not there yet.
    fn create(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>>;

    /// Writes all bytes at a place.
    fn write(&self, file: &mut Self::File, at: u64, bytes: Vec<u8>) -> impl Future<Output = io::Result<()>>;

    /// Waits until what was written would outlast a loss of power.
    fn sync(&self, file: &mut Self::File) -> impl Future<Output = io::Result<()>>;

    /// Closes a file and gives it another name, which nothing has.
    fn finish(&self, file: Self::File, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Gives a file these bytes, whether or not it is there: who reads it finds the old ones or the new ones.
    fn replace(&self, path: &Path, bytes: Vec<u8>) -> impl Future<Output = io::Result<()>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
}

/// By `tokio-uring`.
#[derive(Clone, Copy, Debug, Default)]
pub struct UringStorage;

impl Storage for UringStorage {
    type File = tokio_uring::fs::File;

    async fn create(&self, path: &Path) -> io::Result<Self::File> {
        tokio_uring::fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).await
    }

    async fn write(&self, file: &mut Self::File, at: u64, bytes: Vec<u8>) -> io::Result<()> {
        file.write_all_at(bytes, at).await.0
    }

    async fn sync(&self, file: &mut Self::File) -> io::Result<()> {
        file.sync_data().await
    }

    async fn finish(&self, file: Self::File, from: &Path, to: &Path) -> io::Result<()> {
        file.close().await?;
        is_free(to)?;
        tokio_uring::fs::rename(from, to).await
    }

    async fn replace(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let part = part_of(path);
        let mut options = tokio_uring::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(MODE).open(&part).await?;
        let written = file.write_all_at(bytes, 0).await.0;
        file.close().await?;
        written?;
        tokio_uring::fs::rename(&part, path).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        tokio_uring::fs::remove_file(path).await
    }
}

/// By threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadStorage;

impl Storage for ThreadStorage {
    type File = tokio::fs::File;

    async fn create(&self, path: &Path) -> io::Result<Self::File> {
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).await
    }

    async fn write(&self, file: &mut Self::File, _at: u64, bytes: Vec<u8>) -> io::Result<()> {
        // Files are written from beginning to end: each write is where the last one ended.
        file.write_all(&bytes).await?;
        file.flush().await
    }

    async fn sync(&self, file: &mut Self::File) -> io::Result<()> {
        file.sync_data().await
    }

    async fn finish(&self, file: Self::File, from: &Path, to: &Path) -> io::Result<()> {
        drop(file.into_std().await);
        is_free(to)?;
        tokio::fs::rename(from, to).await
    }

    async fn replace(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let part = part_of(path);
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(MODE).open(&part).await?;
        file.write_all(&bytes).await?;
        file.flush().await?;
        drop(file.into_std().await);
        tokio::fs::rename(&part, path).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        tokio::fs::remove_file(path).await
    }
}

/// What others may do with a recording is for the folder to say.
const MODE: u32 = 0o640;

/// What a file is written to before it takes the place of the one that is there.
fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

/// A recording never takes another one's place.
fn is_free(path: &Path) -> io::Result<()> {
    match path.try_exists()? {
        true => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", path.display())))
        }
        false => Ok(()),
    }
}
