//! Pictures that stand still, as files: those of one folder that the node was given, and no others.

use crate::error::NodeError;
use crate::model::Spec;
use motet_codecs::video::PictureSize;
use motet_mixer::video::Still;
use std::collections::{BTreeMap, HashMap};
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes of a file at most.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Sides of a picture at most.
const SIDE_MAX: u32 = 4096;
/// Files that are kept in memory.
const KEPT_MAX: usize = 64;

/// Stills by the names of their files.
pub(crate) type StillsByName = BTreeMap<String, Arc<Still>>;

/// Files that were read, by name, with the time of their last change.
type ReadBefore = HashMap<String, (SystemTime, Arc<Still>)>;

/// Where stills are. Clones share what was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct StillFolder {
    folder: Option<PathBuf>,
    read: Arc<Mutex<ReadBefore>>,
}

impl StillFolder {
    /// None: there are no stills.
    pub(crate) fn new(folder: Option<PathBuf>) -> StillFolder {
        StillFolder { folder, ..StillFolder::default() }
    }

    /// The stills that a conference names, by their names. Blocks while files are read that were not before.
    ///
    /// Errors name the field: there is no folder, or no such file in it, or it is no PNG. `lenient`: what cannot be
    /// had is left out, and said in the log.
    pub(crate) fn of(&self, spec: &Spec, lenient: bool) -> Result<StillsByName, NodeError> {
        let mut stills = StillsByName::new();
        for (field, name) in spec.named_stills() {
            if stills.contains_key(name) {
                continue;
            }
            match self.load(name) {
                Ok(still) => drop(stills.insert(name.to_owned(), still)),
                Err(why) if lenient => {
                    tracing::warn!(conference = spec.id, still = name, why, "goes on without a still");
                }
                Err(why) => return Err(NodeError::invalid(field, why)),
            }
        }
        Ok(stills)
    }

    fn load(&self, name: &str) -> Result<Arc<Still>, String> {
        let Some(folder) = &self.folder else {
            return Err(format!("'{name}': this node has no folder for stills (--stills)"));
        };
        let failed = |error: std::io::Error| format!("'{name}' cannot be read: {error}");
        let root =
            folder.canonicalize().map_err(|error| format!("--stills {}: {error}", folder.display()))?;
        // Names have no separators; links must not lead out of the folder either.
        let path = root.join(name).canonicalize().map_err(failed)?;
        if !path.starts_with(&root) {
            return Err(format!("'{name}' leads out of the folder of --stills"));
        }
        let file = std::fs::File::open(&path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            return Err(format!("'{name}' must be a file of at most {} MiB", FILE_BYTES_MAX >> 20));
        }
        let changed = about.modified().map_err(failed)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, still)) = read.get(name).filter(|(then, _)| *then == changed) {
            debug_assert_eq!(*then, changed);
            return Ok(Arc::clone(still));
        }
        let still = decode(file).map_err(|why| format!("'{name}' cannot be used: {why}"))?;
        if read.len() >= KEPT_MAX {
            read.clear();
        }
        let still = Arc::new(still);
        read.insert(name.to_owned(), (changed, Arc::clone(&still)));
        Ok(still)
    }
}

/// Reads a PNG of any kind.
fn decode(file: std::fs::File) -> Result<Still, String> {
    let limits = png::Limits { bytes: 256 << 20 };
    let mut decoder = png::Decoder::new_with_limits(BufReader::new(file), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width > SIDE_MAX || height > SIDE_MAX {
        return Err(format!("it has {width} by {height} pixels; at most {SIDE_MAX} by {SIDE_MAX}"));
    }
    let bytes = reader.output_buffer_size().ok_or("it is too large")?;
    let mut pixels = vec![0; bytes];
    let frame = reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
    pixels.truncate(frame.buffer_size());
    let rgba = match frame.color_type {
        png::ColorType::Rgba => pixels,
        png::ColorType::Rgb => pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect(),
        png::ColorType::GrayscaleAlpha => {
            pixels.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect()
        }
        png::ColorType::Grayscale => pixels.iter().flat_map(|p| [*p, *p, *p, 255]).collect(),
        png::ColorType::Indexed => return Err("its palette cannot be read".to_owned()),
    };
    Still::from_rgba(PictureSize::new(width, height), &rgba).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &std::path::Path, (width, height): (u32, u32), colour: png::ColorType, bytes: &[u8]) {
        let file = std::fs::File::create(path).expect("a file can be made");
        let mut encoder = png::Encoder::new(file, width, height);
        encoder.set_color(colour);
        if colour == png::ColorType::Indexed {
            encoder.set_palette(vec![255, 0, 0, 0, 0, 255]);
        }
        let mut writer = encoder.write_header().expect("written");
        writer.write_image_data(bytes).expect("written");
    }

    #[test]
    fn png_files_of_the_folder_are_read_once_and_no_others() {
        let world = tempfile::tempdir().expect("a folder can be made");
        let root = world.path().join("stills");
        std::fs::create_dir(&root).expect("a folder can be made");
        for (name, colour, bytes) in [
            ("rgba.png", png::ColorType::Rgba, 4),
            ("rgb.png", png::ColorType::Rgb, 3),
            ("grey.png", png::ColorType::Grayscale, 1),
            ("grey-alpha.png", png::ColorType::GrayscaleAlpha, 2),
            ("palette.png", png::ColorType::Indexed, 1),
        ] {
            write(&root.join(name), (4, 3), colour, &vec![1; 12 * bytes]);
        }
        std::fs::write(world.path().join("secret.png"), b"secret").expect("written");
        std::fs::write(root.join("text.png"), b"no picture").expect("written");
        std::os::unix::fs::symlink("../secret.png", root.join("link.png")).expect("a link can be made");
        let stills = StillFolder::new(Some(root));
        for name in ["rgba.png", "rgb.png", "grey.png", "grey-alpha.png", "palette.png"] {
            let still = stills.load(name).expect(name);
            assert_eq!(stills.load(name), Ok(still), "the same again");
        }
        for (name, part) in [
            ("none.png", "cannot be read"),
            ("text.png", "cannot be used"),
            ("link.png", "out of the folder"),
            ("..", "out of the folder"),
        ] {
            let error = stills.load(name).expect_err(name);
            assert!(error.contains(part), "{name}: {error}");
        }
        assert!(StillFolder::default().load("rgb.png").expect_err("no folder").contains("--stills"));
    }
}
