//! Whom a canvas thread works for, written down where somebody reads it who outlives its process.

use crate::model::Id;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a mark: a length of two, and a name.
const BYTES: usize = 256;

/// A small file without a name, which two processes have.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    /// What it says.
    set: Option<Id>,
}

impl Mark {
    /// Writes into a file that is given.
    pub(super) fn new(file: File) -> Mark {
        Mark { file, set: None }
    }

    /// What comes is for this conference; none: for nobody.
    pub(super) fn set(&mut self, id: Option<&Id>) {
        if self.set.as_ref() == id {
            return;
        }
        self.set = id.cloned();
        let name = id.map_or(&[][..], |id| id.as_bytes());
        let name = &name[..name.len().min(BYTES - 2)];
        let mut bytes = [0; BYTES];
        bytes[..2].copy_from_slice(&(name.len() as u16).to_le_bytes());
        bytes[2..][..name.len()].copy_from_slice(name);
        // Without it nobody is found to be the cause, and everything else goes on.
        let _ = self.file.write_all_at(&bytes[..2 + name.len()], 0);
    }
}

/// Whom the process worked for that wrote this last; none: nobody, or it cannot be read.
pub(super) fn read(file: &File) -> Option<Id> {
    let mut bytes = [0; BYTES];
    file.read_at(&mut bytes, 0).ok()?;
    let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let name = bytes.get(2..2 + length).filter(|name| !name.is_empty())?;
    std::str::from_utf8(name).ok().map(Id::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_read_also_when_the_name_before_was_longer() {
        let file = tempfile::tempfile().expect("a file");
        assert_eq!(read(&file), None, "nothing was written");
        let mut mark = Mark::new(file.try_clone().expect("a descriptor"));
        for name in ["a-long-name", "b"] {
            mark.set(Some(&Id::from(name)));
            mark.set(Some(&Id::from(name)));
            assert_eq!(read(&file), Some(Id::from(name)));
        }
        mark.set(None);
        assert_eq!(read(&file), None);
    }
}
