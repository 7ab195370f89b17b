//! Whether somebody's pictures fit what is asked of a canvas, so that they need not be encoded anew. Pure.

use crate::model::CanvasSettings;
use motet_mixer::video::SourceShape;

/// Looks in a row, a second apart, after which something else is believed.
const LOOKS: u32 = 3;
/// Of what is asked for: encoders and cameras keep neither rate nor bits to the last.
const RATE_SLACK: f64 = 1.1;
const BITRATE_SLACK: f64 = 1.25;

/// What is known of one participant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fit {
    /// Looks in a row at which it fitted, or did not.
    good: u32,
    bad: u32,
}

impl Fit {
    /// Looks at what is sent. None: it is not certain.
    pub(super) fn look(&mut self, shape: SourceShape, settings: &CanvasSettings) -> Option<bool> {
        let (size, most) = (shape.size, settings.size);
        let small = size.width <= most.width && size.height <= most.height;
        let few = shape.frames_per_s <= f64::from(settings.frames_per_s) * RATE_SLACK
            && shape.bitrate_bps <= f64::from(settings.bitrate_bps) * BITRATE_SLACK;
        if small && few {
            (self.good, self.bad) = (self.good + 1, 0);
        } else {
            (self.good, self.bad) = (0, self.bad + 1);
        }
        // A larger picture may be more than the receiver can show.
        match (self.good >= LOOKS, self.bad >= LOOKS || !small) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::VideoMode;
    use crate::testing::{caller, conference};
    use motet_codecs::video::PictureSize;
    use motet_proto::media;

    fn settings() -> CanvasSettings {
        let mode = media::VideoMode::Canvas.into();
        let video = media::VideoSettings { mode, ..media::VideoSettings::default() };
        let mut spec = conference(vec![caller("a")]);
        spec.video = Some(video);
        let spec = crate::model::Spec::from_wire(&spec, false).expect("a good specification");
        let VideoMode::Canvas(settings) = spec.video else { panic!("a canvas") };
        settings
    }

    fn shape(height: u32, frames_per_s: f64, bitrate_bps: f64) -> SourceShape {
        SourceShape { size: PictureSize::new(1280, height), frames_per_s, bitrate_bps }
    }

    #[test]
    fn it_is_believed_after_three_looks_and_a_larger_picture_at_once() {
        let (mut fit, settings) = (Fit::default(), settings());
        let (good, much) = (shape(720, 30.2, 1_600_000.0), shape(720, 30.0, 2_000_000.0));
        let mut look = |shape| fit.look(shape, &settings);
        assert_eq!([good, good, good, good].map(&mut look), [None, None, Some(true), Some(true)]);
        assert_eq!([much, much, good, much].map(&mut look), [None; 4], "now and then is nothing");
        assert_eq!([much, much].map(&mut look), [None, Some(false)]);
        assert_eq!([good, good, good].map(&mut look), [None, None, Some(true)]);
        assert_eq!(look(shape(722, 30.0, 1_000.0)), Some(false));
        assert_eq!(look(shape(720, 50.0, 1_000.0)), None);
    }
}
