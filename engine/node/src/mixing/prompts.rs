//! Files that may be played: those below one folder that the node was given, and no others.

use crate::error::NodeError;
use motet_mixer::audio::prompt::{PromptSound, load_wav};
use std::path::{Component, Path, PathBuf};

/// Bytes of a prompt's file at most: half an hour of 48 kHz in stereo.
const FILE_BYTES_MAX: u64 = 360 << 20;

/// Where prompts are.
#[derive(Clone, Debug, Default)]
pub(crate) struct PromptFolder(Option<PathBuf>);

impl PromptFolder {
    /// None: there are no prompts.
    pub(crate) fn new(folder: Option<PathBuf>) -> PromptFolder {
        PromptFolder(folder)
    }

    /// Reads a file of the folder, at a rate of samples. Blocks.
    ///
    /// Errors name the field `file`: as [`PromptFolder::find`], or it is no prompt.
    pub(crate) fn load(&self, file: &str, rate_hz: u32) -> Result<PromptSound, NodeError> {
        let path = self.find(file)?;
        let bytes = std::fs::metadata(&path).map_or(0, |about| about.len());
        if bytes > FILE_BYTES_MAX {
            let why = format!("'{file}' has {bytes} bytes; prompts have at most {FILE_BYTES_MAX}");
            return Err(NodeError::invalid("file", why));
        }
        load_wav(&path, rate_hz).map_err(|error| NodeError::invalid("file", error.to_string()))
    }

    /// Where a file of the folder is.
    ///
    /// Errors name the field `file`: there is no folder, the name leads out of it, or there is no such file.
    pub(crate) fn find(&self, file: &str) -> Result<PathBuf, NodeError> {
        let bad = |why: String| NodeError::invalid("file", why);
        let Some(folder) = &self.0 else {
            return Err(bad("this node has no prompts (--prompts)".to_owned()));
        };
        let name = Path::new(file);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if file.is_empty() || file.contains('\0') || !name.components().all(plain) {
            return Err(bad(format!("'{file}' must be the name of a file below the folder of --prompts")));
        }
        let failed = |error: std::io::Error| bad(format!("'{file}' cannot be read: {error}"));
        // Links must not lead out of the folder either.
        let root =
            folder.canonicalize().map_err(|error| bad(format!("--prompts {}: {error}", folder.display())))?;
        let path = root.join(name).canonicalize().map_err(failed)?;
        if !path.starts_with(&root) {
            return Err(bad(format!("'{file}' leads out of the folder of --prompts")));
        }
        let about = std::fs::metadata(&path).map_err(failed)?;
        if !about.is_file() {
            return Err(bad(format!("'{file}' is no file")));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_are_read() {
        let world = tempfile::tempdir().expect("a folder can be made");
        let root = world.path().join("prompts");
        std::fs::create_dir_all(root.join("en")).expect("a folder can be made");
        std::fs::write(root.join("en/hello.wav"), b"sound").expect("a file can be written");
        std::fs::write(world.path().join("secret"), b"secret").expect("a file can be written");
        std::os::unix::fs::symlink("../secret", root.join("link.wav")).expect("a link can be made");
        let prompts = PromptFolder::new(Some(root.clone()));
        assert_eq!(prompts.find("en/hello.wav").map(|path| path.ends_with("prompts/en/hello.wav")), Ok(true));
        let absolute = world.path().join("secret");
        for file in [
            "",
            "../secret",
            "en/../../secret",
            "link.wav",
            "en",
            "none.wav",
            absolute.to_str().expect("text"),
        ] {
            let error = prompts.find(file).expect_err(file);
            assert_eq!(error.field(), Some("file"), "{file}: {error}");
        }
        let none = PromptFolder::new(None).find("en/hello.wav").expect_err("there is no folder");
        assert!(none.to_string().contains("--prompts"), "{none}");
    }
}
