//! Where a running node waits for its successor: a Unix socket that only its user may reach.

use rustix::fd::OwnedFd;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The socket, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    listener: UnixListener,
    /// Another process has it now: the path must stay.
    given: bool,
}

/// Where the socket is unless an option says otherwise: in the service's own directory (systemd's
/// RuntimeDirectory), the user's, or one of ours in the directory for temporary files.
pub(crate) fn default_path(node_id: &str) -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd separates several directories by colons.
    let service = named("RUNTIME_DIRECTORY").and_then(|list| {
        let list = list.to_str()?.to_owned();
        list.split(':').next().map(PathBuf::from)
    });
    let folder = service.or_else(|| named("XDG_RUNTIME_DIR")).unwrap_or_else(|| {
        let user = rustix::process::getuid().as_raw();
        std::env::temp_dir().join(format!("motet-{user}"))
    });
    folder.join(format!("motet-{node_id}.handover"))
}

impl Place {
    /// Opens the socket, replacing one that a process left behind.
    ///
    /// Errors: another process listens there (`AddrInUse`), or the folder is not this user's alone.
    pub(crate) fn open(path: &Path) -> io::Result<Place> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            prepare(folder)?;
        }
        if path.exists() {
            match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Err(error) => return Err(error),
                Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            }
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Place { path: path.to_owned(), listener, given: false })
    }

    /// The socket that the process before opened.
    pub(crate) fn inherit(path: &Path, listener: OwnedFd) -> Place {
        Place { path: path.to_owned(), listener: listener.into(), given: false }
    }

    /// Another handle of the socket, to wait at it.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another process has the socket now.
    pub(crate) fn give(&mut self) {
        self.given = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.given {
            // Ends the wait of whoever waits at it (shutdown(2) makes accept(2) return).
            let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the folder if it is not there. One in a place where everybody may write could be somebody else's.
fn prepare(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let owner = std::fs::metadata(folder)?.uid();
    if owner != rustix::process::getuid().as_raw() && owner != 0 {
        let why = format!("{} belongs to another user", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}
