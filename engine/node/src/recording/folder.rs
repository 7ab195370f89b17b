//! Folders of recordings, and which numbers files in them have.

use super::{Job, Whose};
use crate::model::Id;
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// A recording's folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Numbers that come after those of files that are there, by what the files' names begin with.
    next: HashMap<String, u32>,
}

impl Folder {
    /// Number of the next file.
    pub(super) fn next(&self, name: &str) -> u32 {
        self.next.get(name).copied().unwrap_or(1)
    }

    /// Files before this number are there.
    pub(super) fn went_on_to(&mut self, name: String, next: u32) {
        self.next.insert(name, next);
    }

    /// Makes the folder, unless it is there, and looks which files are. May take as long as the disk does.
    fn open(path: PathBuf) -> io::Result<Folder> {
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut next: HashMap<String, u32> = HashMap::new();
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?.file_name();
            let Some((name, number)) = entry.to_str().and_then(parse) else { continue };
            let after = next.entry(name.to_owned()).or_insert(1);
            *after = (*after).max(number.saturating_add(1));
        }
        Ok(Folder { path, next })
    }
}

/// What the names of files begin with. A leg's id that would hide the file gets a sign that no id has.
pub(super) fn file_name(whose: &Whose) -> String {
    match whose {
        Whose::Mix => "+mix".to_owned(),
        Whose::Canvas => "+canvas".to_owned(),
        Whose::Leg(leg) if leg.starts_with('.') => format!("+{leg}"),
        Whose::Leg(leg) => leg.to_string(),
    }
}

/// Opens a recording's folder on a thread of its own, since a disk may take its time; the answer is a job.
pub(super) fn prepare(root: &Path, name: String, (conference, recording): (Id, Id), jobs: Sender<Job>) {
    let path = root.join(&name);
    let open = move || {
        let found = Folder::open(path);
        // Nobody waits for it when the recorder has ended.
        let _ = jobs.send(Job::Folder { conference, recording, name, found });
    };
    if let Err(error) = std::thread::Builder::new().name("recordings".to_owned()).spawn(open) {
        tracing::error!(%error, "no thread for the folder of a recording");
    }
}

/// The name and number of a segment's file, whole or not.
fn parse(file: &str) -> Option<(&str, u32)> {
    let stem = file.strip_suffix("-init.mp4").or_else(|| file.strip_suffix(".mp4"));
    let stem = stem.or_else(|| file.strip_suffix(".mkv"))?;
    let (name, number) = stem.strip_suffix(".part").unwrap_or(stem).rsplit_once('-')?;
    Some((name, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_after_files_that_are_there() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("c1+all");
        let fresh = Folder::open(path.clone()).expect("it is made");
        assert_eq!(fresh.next("alice"), 1);
        for file in [
            "alice-00001.mp4",
            "alice-00006.mp4",
            "alice-00007.part.mkv",
            "a-b-00002.mp4",
            "notes.txt",
            "alice-x.mp4",
            "+canvas-00004-init.mp4",
            "+canvas-00004-000002.m4s",
            "-00003.mp4",
        ] {
            std::fs::write(path.join(file), "").expect("written");
        }
        let mut again = Folder::open(path).expect("it is there");
        let next = ["alice", "a-b", "bob", "a", "+canvas"].map(|name| again.next(name));
        assert_eq!(next, [8, 3, 1, 1, 5]);
        again.went_on_to("bob".to_owned(), 4);
        assert_eq!(again.next("bob"), 4);
        assert!(Folder::open(root.path().join("no/such")).is_err());
    }

    #[test]
    fn no_two_share_a_name_and_none_is_hidden() {
        let leg = |id: &str| file_name(&Whose::Leg(id.into()));
        assert_eq!((leg("alice"), leg(".a"), leg("mix")), ("alice".into(), "+.a".into(), "mix".into()));
        assert_eq!([Whose::Mix, Whose::Canvas].map(|whose| file_name(&whose)), ["+mix", "+canvas"]);
    }
}
