//! What is recorded, checked.

use super::check::{Path, identifier};
use super::{Id, Leg, MediaKind, Medium};
use crate::error::NodeError;
use motet_proto::media as wire;
use motet_recorder::Container;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A recording of a conference.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Id in the conference.
    pub id: Id,
    /// Name of its folder, below the node's.
    pub folder: String,
    /// What participants send is written.
    pub participants: bool,
    /// Of these only; empty: of all.
    pub only: BTreeSet<Id>,
    /// Media of these kinds only; empty: of all.
    pub kinds: BTreeSet<MediaKind>,
    /// The mix is written, while there is one.
    pub mix: bool,
    /// The composed picture is written, while there is one, with the mix in the same file.
    pub canvas: bool,
    /// What files are.
    pub container: Container,
    /// After how long another file begins; none: never.
    pub segment_duration: Option<Duration>,
    /// After how many bytes another file begins; none: never.
    pub segment_bytes: Option<u64>,
    /// What comes now is left out.
    pub paused: bool,
}

/// Recordings of a conference at most.
const RECORDINGS_MAX: usize = 16;
/// A folder's name at most, so that files' names fit behind it.
const FOLDER_BYTES_MAX: usize = 128;
const SEGMENT_SECONDS_MAX: u32 = 86_400;
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// A piece of live output lasts so long at most.
const LIVE_SECONDS_MAX: u32 = 60;

impl Recording {
    pub(super) fn all(
        path: &Path,
        conference: &str,
        given: &[wire::Recording],
    ) -> Result<BTreeMap<Id, Recording>, NodeError> {
        if given.len() > RECORDINGS_MAX {
            let why = format!("{} of them; at most {RECORDINGS_MAX}", given.len());
            return Err(path.field("recordings").error(why));
        }
        let mut all: BTreeMap<Id, Recording> = BTreeMap::new();
        for (index, given) in given.iter().enumerate() {
            let at = path.index("recordings", index);
            let recording = Recording::from_wire(&at, conference, given)?;
            if let Some(other) = all.values().find(|other| other.folder == recording.folder) {
                let why = format!("'{}' is also that of {}", recording.folder, other.id);
                return Err(at.field("folder").error(why));
            }
            if all.insert(recording.id.clone(), recording).is_some() {
                return Err(at.field("id").error(format!("'{}' names two recordings", given.id)));
            }
        }
        Ok(all)
    }

    fn from_wire(at: &Path, conference: &str, given: &wire::Recording) -> Result<Recording, NodeError> {
        identifier(&at.field("id"), &given.id)?;
        let folder = match given.folder.as_str() {
            // Ids may begin with a dot, which would hide the folder, or be the one above.
            "" => format!("{conference}+{}", given.id).replacen(
                '.',
                "+",
                usize::from(conference.starts_with('.')),
            ),
            name => {
                check_folder(&at.field("folder"), name)?;
                name.to_owned()
            }
        };
        if !given.participants && !given.mix && !given.canvas {
            return Err(at.error("writes nothing: set participants, mix or canvas"));
        }
        if !given.participants && (!given.only.is_empty() || !given.kinds.is_empty()) {
            return Err(at.field("participants").error("must be set where only or kinds choose among them"));
        }
        let mut only = BTreeSet::new();
        for (index, leg) in given.only.iter().enumerate() {
            identifier(&at.index("only", index), leg)?;
            only.insert(Id::from(leg));
        }
        let mut kinds = BTreeSet::new();
        for (index, kind) in given.kinds.iter().enumerate() {
            kinds.insert(match wire::MediaKind::try_from(*kind) {
                Ok(wire::MediaKind::Audio) => MediaKind::Audio,
                Ok(wire::MediaKind::Video) => MediaKind::Video,
                Ok(wire::MediaKind::Content) => MediaKind::Content,
                _ => return Err(at.index("kinds", index).error(format!("{kind} is not known"))),
            });
        }
        if given.segment_seconds > SEGMENT_SECONDS_MAX {
            let why = format!("{} s; at most {SEGMENT_SECONDS_MAX}", given.segment_seconds);
            return Err(at.field("segment_seconds").error(why));
        }
        if given.segment_bytes != 0 && given.segment_bytes < SEGMENT_BYTES_MIN {
            let why = format!("{} bytes; at least {SEGMENT_BYTES_MIN}, or 0", given.segment_bytes);
            return Err(at.field("segment_bytes").error(why));
        }
        let container = match wire::RecordingFormat::try_from(given.format) {
            Ok(wire::RecordingFormat::Matroska) => Container::Matroska,
            Ok(wire::RecordingFormat::Hls) => {
                check_live(at, given)?;
                Container::Hls
            }
            Ok(_) => Container::Mp4,
            Err(_) => return Err(at.field("format").error(format!("{} is not known", given.format))),
        };
        let seconds = (given.segment_seconds > 0).then_some(u64::from(given.segment_seconds));
        Ok(Recording {
            id: Id::from(&given.id),
            folder,
            participants: given.participants,
            only,
            kinds,
            mix: given.mix,
            canvas: given.canvas,
            container,
            segment_duration: seconds.map(Duration::from_secs),
            segment_bytes: (given.segment_bytes > 0).then_some(given.segment_bytes),
            paused: given.paused,
        })
    }

    /// Whether it writes a medium of a leg. Sound that only some are to hear is in no recording.
    pub(crate) fn takes(&self, leg: &Leg, medium: &Medium) -> bool {
        let kind = medium.kind;
        self.participants
            && medium.sends
            && medium.layer.is_none()
            && (self.only.is_empty() || self.only.contains(&leg.id))
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
            && !(kind == MediaKind::Audio && leg.audio.private)
    }

    /// The same recording goes on, though something of it changed.
    pub(crate) fn goes_on_as(&self, other: &Recording) -> bool {
        let same =
            |one: &Recording| (one.folder.clone(), one.container, one.segment_duration, one.segment_bytes);
        same(self) == same(other)
    }
}

/// Live output is of what is mixed and composed here, in codecs that players take.
fn check_live(at: &Path, given: &wire::Recording) -> Result<(), NodeError> {
    if given.participants {
        return Err(at.field("format").error("is live, which is of mix and canvas, not of participants"));
    }
    if given.segment_bytes != 0 || given.segment_seconds > LIVE_SECONDS_MAX {
        let why = format!("live output has pieces of at most {LIVE_SECONDS_MAX} s, and of any size");
        return Err(at.field("segment_seconds").error(why));
    }
    Ok(())
}

fn check_folder(at: &Path, name: &str) -> Result<(), NodeError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if name.len() > FOLDER_BYTES_MAX || name.starts_with('.') || !name.chars().all(allowed) {
        let why = format!(
            "'{name}' must be 1 to {FOLDER_BYTES_MAX} of A-Z a-z 0-9 . _ : - and begin with no dot; it is a folder below \
             that of --recordings"
        );
        return Err(at.error(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: wire::Recording) -> Result<Recording, NodeError> {
        let all = Recording::all(&Path::root("spec"), "c1", &[given])?;
        Ok(all.into_values().next().expect("one was given"))
    }

    #[test]
    fn folders_stay_where_they_belong() {
        let whole = wire::Recording { id: "all".into(), participants: true, ..wire::Recording::default() };
        assert_eq!(read(whole.clone()).expect("it is good").folder, "c1+all");
        for conference in [".", "..", ".c"] {
            let all = Recording::all(&Path::root("spec"), conference, std::slice::from_ref(&whole));
            let folder = all.expect("it is good").into_values().next().expect("one").folder;
            assert!(folder.starts_with('+') && !folder.contains('/'), "{folder}");
        }
        for folder in ["..", ".hidden", "a/b", "/etc", "x\0", "a b", &"x".repeat(129)] {
            let error = read(wire::Recording { folder: folder.into(), ..whole.clone() }).expect_err(folder);
            assert_eq!(error.field(), Some("spec.recordings[0].folder"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let good = wire::Recording { id: "r".into(), participants: true, ..wire::Recording::default() };
        type Spoil = fn(&mut wire::Recording);
        let cases: [(Spoil, &str); 11] = [
            (|bad| bad.format = 3, "spec.recordings[0].format"),
            (
                |bad| (bad.format, bad.participants, bad.mix, bad.segment_seconds) = (3, false, true, 61),
                "spec.recordings[0].segment_seconds",
            ),
            (|bad| bad.format = 9, "spec.recordings[0].format"),
            (|bad| bad.id = String::new(), "spec.recordings[0].id"),
            (|bad| bad.participants = false, "spec.recordings[0]"),
            (|bad| bad.segment_seconds = 86_401, "spec.recordings[0].segment_seconds"),
            (|bad| bad.segment_bytes = 65_535, "spec.recordings[0].segment_bytes"),
            (|bad| bad.kinds = vec![9], "spec.recordings[0].kinds[0]"),
            (|bad| bad.kinds = vec![1, 0], "spec.recordings[0].kinds[1]"),
            (|bad| bad.only = vec!["a/b".into()], "spec.recordings[0].only[0]"),
            (
                |bad| (bad.participants, bad.mix, bad.kinds) = (false, true, vec![1]),
                "spec.recordings[0].participants",
            ),
        ];
        for (spoil, field) in cases {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert_eq!(read(bad).expect_err(field).field(), Some(field));
        }
        let twice = Recording::all(&Path::root("spec"), "c1", &[good.clone(), good.clone()]);
        assert!(twice.is_err(), "one folder for two");
        let many: Vec<_> = (0..17).map(|n| wire::Recording { id: format!("r{n}"), ..good.clone() }).collect();
        assert!(Recording::all(&Path::root("spec"), "c1", &many).is_err());
        assert!(Recording::all(&Path::root("spec"), "c1", &many[..16]).is_ok());
    }
}
