//! How large a source's pictures are, how many come and in how many bits.

use motet_codecs::video::PictureSize;
use motet_rtp::Time;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);

/// What a source sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceShape {
    /// Of the last picture that was decoded.
    pub size: PictureSize,
    /// Pictures a second, in the last second.
    pub frames_per_s: f64,
    /// Bits a second in them, in the last second.
    pub bitrate_bps: f64,
}

/// Counts what a source sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    since: Time,
    pictures: u32,
    bytes: usize,
    size: Option<PictureSize>,
    /// Pictures and bits a second.
    rates: Option<(f64, f64)>,
}

impl Measure {
    pub(super) fn new(now: Time) -> Measure {
        Measure { since: now, pictures: 0, bytes: 0, size: None, rates: None }
    }

    /// An access unit came.
    pub(super) fn add(&mut self, now: Time, bytes: usize) {
        let passed = now.since(self.since);
        if passed >= WINDOW {
            let seconds = passed.as_secs_f64();
            self.rates = Some((f64::from(self.pictures) / seconds, self.bytes as f64 * 8.0 / seconds));
            (self.since, self.pictures, self.bytes) = (now, 0, 0);
        }
        self.pictures += 1;
        self.bytes += bytes;
    }

    pub(super) fn set_size(&mut self, size: PictureSize) {
        self.size = Some(size);
    }

    /// None: it is not known yet.
    pub(super) fn shape(&self) -> Option<SourceShape> {
        let (frames_per_s, bitrate_bps) = self.rates?;
        Some(SourceShape { size: self.size?, frames_per_s, bitrate_bps })
    }
}
