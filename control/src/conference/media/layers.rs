//! Smaller copies of a camera, sent beside it (simulcast).

use super::Medium;
use crate::refusal::Refusal;
use motet_proto::media::{Direction, MediaKind, PictureLayer};
use serde::{Deserialize, Serialize};

/// What a medium is a smaller copy of; see `media.proto`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The participant's medium that is the largest.
    pub of: String,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// Sides of a picture.
const SIDES: std::ops::RangeInclusive<u32> = 16..=8192;
/// Copies of a medium at most.
const LAYERS_MAX: usize = 3;

impl Layer {
    /// As on the wire.
    pub(super) fn to_wire(&self) -> PictureLayer {
        PictureLayer { of: self.of.clone(), width: self.width, height: self.height }
    }

    /// As it was given.
    pub(super) fn from_wire(given: &PictureLayer) -> Layer {
        Layer { of: given.of.clone(), width: given.width, height: given.height }
    }
}

/// Whether what copies name is there, and can be copied. Errors name the field, beginning with `media`.
pub(super) fn check_layers(media: &[Medium]) -> Result<(), Refusal> {
    let is_video = |medium: &Medium| medium.kind == MediaKind::Video as i32;
    for (index, medium) in media.iter().enumerate() {
        let Some(layer) = &medium.layer else { continue };
        let at = format!("media[{index}]");
        if !is_video(medium) {
            return Err(Refusal::invalid(format!("{at}.layer"), "is for VIDEO only"));
        }
        if medium.direction != Direction::SendOnly as i32 {
            return Err(Refusal::invalid(format!("{at}.direction"), "a layer is SEND_ONLY"));
        }
        for (field, side) in [("width", layer.width), ("height", layer.height)] {
            if !SIDES.contains(&side) {
                let why = format!("{side}; must be {} to {} pixels", SIDES.start(), SIDES.end());
                return Err(Refusal::invalid(format!("{at}.layer.{field}"), why));
            }
        }
        let of = format!("{at}.layer.of");
        let Some(whole) = media.iter().find(|other| other.id == layer.of) else {
            return Err(Refusal::invalid(of, format!("the participant has no medium '{}'", layer.of)));
        };
        let sends = whole.direction != Direction::ReceiveOnly as i32;
        if !is_video(whole) || !sends || whole.layer.is_some() {
            let why = format!("'{}' must be VIDEO that the participant sends, and no layer itself", layer.of);
            return Err(Refusal::invalid(of, why));
        }
        let same =
            media.iter().filter(|other| other.layer.as_ref().is_some_and(|other| other.of == layer.of));
        let count = same.count();
        if count > LAYERS_MAX {
            return Err(Refusal::invalid(
                of,
                format!("'{}' has {count} layers; at most {LAYERS_MAX}", layer.of),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::check_media;
    use motet_proto::conference::ParticipantMedium;
    use motet_proto::media::{Direction, MediaKind, PictureLayer};

    fn camera() -> ParticipantMedium {
        let (kind, ssrc, bundle) = (MediaKind::Video.into(), 1, "b".to_owned());
        ParticipantMedium { kind, ssrc, bundle, ..ParticipantMedium::default() }
    }

    fn layer(number: u32, of: &str) -> ParticipantMedium {
        let layer = PictureLayer { of: of.to_owned(), width: 640, height: 360 };
        ParticipantMedium {
            id: format!("layer{number}"),
            direction: Direction::SendOnly.into(),
            ssrc: 1 + number,
            layer: Some(layer),
            ..camera()
        }
    }

    #[test]
    fn layers_are_kept_and_told_again() {
        let given = [camera(), layer(1, "video"), layer(2, "video")];
        let media = check_media("alice", &given).expect("they are good");
        assert_eq!(media[2].to_wire().layer, given[2].layer);
        let kept = serde_json::to_string(&media).expect("it can be kept");
        assert_eq!(serde_json::from_str::<Vec<super::Medium>>(&kept).expect("and read"), media);
        // Records of before have none.
        let before = kept.replace(",\"layer\":null", "");
        assert_eq!(serde_json::from_str::<Vec<super::Medium>>(&before).expect("read"), media);
    }

    #[test]
    fn mistakes_are_named() {
        let small = PictureLayer { of: "video".to_owned(), width: 8, height: 360 };
        let sound =
            ParticipantMedium { kind: MediaKind::Audio.into(), bundle: String::new(), ..layer(1, "video") };
        let screen = ParticipantMedium {
            kind: MediaKind::Content.into(),
            id: "screen".to_owned(),
            ssrc: 9,
            ..camera()
        };
        for (given, field) in [
            (vec![camera(), sound], "media[1].layer"),
            (vec![camera(), ParticipantMedium { direction: 0, ..layer(1, "video") }], "media[1].direction"),
            (
                vec![camera(), ParticipantMedium { layer: Some(small), ..layer(1, "video") }],
                "media[1].layer.width",
            ),
            (vec![camera(), layer(1, "audio")], "media[1].layer.of"),
            (vec![camera(), screen, layer(1, "screen")], "media[2].layer.of"),
            (vec![camera(), layer(1, "video"), layer(2, "layer1")], "media[2].layer.of"),
            (
                (0..5).map(|n| if n == 0 { camera() } else { layer(n, "video") }).collect(),
                "media[1].layer.of",
            ),
        ] {
            let refusal = check_media("alice", &given).expect_err(field);
            assert!(refusal.to_string().contains(field), "{field}: {refusal}");
        }
    }
}
