//! Smaller copies of a camera, sent beside it (simulcast), checked.

use super::check::Path;
use super::{Id, MediaKind, Medium};
use crate::error::NodeError;
use motet_codecs::video::PictureSize;
use motet_mixer::video::LAYERS_MAX;
use motet_proto::media as wire;

/// What a medium is a smaller copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The medium of the same leg, which is the largest.
    pub of: Id,
    /// Of its pictures.
    pub size: PictureSize,
}

/// Sides of a picture.
const SIDES: std::ops::RangeInclusive<u32> = 16..=8192;

impl Layer {
    pub(super) fn from_wire(
        at: &Path,
        given: Option<&wire::PictureLayer>,
    ) -> Result<Option<Layer>, NodeError> {
        let Some(given) = given else { return Ok(None) };
        for (field, side) in [("width", given.width), ("height", given.height)] {
            if !SIDES.contains(&side) {
                let why = format!("{side}; must be {} to {} pixels", SIDES.start(), SIDES.end());
                return Err(at.field(field).error(why));
            }
        }
        let size = PictureSize::new(given.width, given.height);
        Ok(Some(Layer { of: Id::from(&given.of), size }))
    }
}

/// Whether what copies name is there, and can be copied.
pub(super) fn check_layers(at: &Path, media: &[Medium]) -> Result<(), NodeError> {
    for (index, medium) in media.iter().enumerate() {
        let Some(layer) = &medium.layer else { continue };
        let medium_at = at.index("media", index);
        if medium.kind != MediaKind::Video {
            return Err(medium_at.field("layer").error("is for VIDEO only"));
        }
        if !medium.sends || medium.receives {
            return Err(medium_at.field("direction").error("a layer is SEND_ONLY"));
        }
        let at = medium_at.field("layer").field("of");
        let Some(whole) = media.iter().find(|other| other.id == layer.of) else {
            return Err(at.error(format!("the leg has no medium '{}'", layer.of)));
        };
        if whole.kind != MediaKind::Video || !whole.sends || whole.layer.is_some() {
            let why = format!("'{}' must be VIDEO that the leg sends, and no layer itself", layer.of);
            return Err(at.error(why));
        }
        let same =
            media.iter().filter(|other| other.layer.as_ref().is_some_and(|other| other.of == layer.of));
        let count = same.count();
        if count > LAYERS_MAX {
            return Err(at.error(format!("'{}' has {count} layers; at most {LAYERS_MAX}", layer.of)));
        }
    }
    Ok(())
}
