//! Pieces of live output: with which fragment one ends.

use crate::clock::nanos_of;
use crate::recording::Recording;
use crate::segment::Output;
use motet_rtp::Time;
use std::time::Duration;

/// The piece that is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piece {
    /// Where it begins, in nanoseconds of the segment.
    begin_ns: i64,
    /// Fragments of the segment before it.
    fragments: u32,
    /// It is to end at the next key frame.
    pub(crate) ends: bool,
}

impl Recording {
    /// Ends the piece when it is long enough: at the next key frame, or without one.
    pub(crate) fn check_piece(&mut self, now: Time, (piece, longest): (Duration, Duration)) {
        let lasts_ns = self.segment.end_ns - self.segment.piece.begin_ns;
        if lasts_ns < nanos_of(piece) {
            return;
        }
        let pictures = self.tracks.iter().any(|track| track.is_video() && track.started);
        if !pictures || lasts_ns >= nanos_of(longest) {
            return self.end_piece(now);
        }
        self.segment.piece.ends = true;
        self.ask_key_frames(now);
    }

    /// Ends the piece here.
    pub(crate) fn end_piece(&mut self, now: Time) {
        self.write_fragment(now, true);
        self.close_piece();
    }

    /// What was written of the piece is all of it.
    pub(crate) fn close_piece(&mut self) {
        let pictures = self.tracks.iter().filter(|track| track.is_video() && track.started);
        let segment = &mut self.segment;
        if segment.fragments == segment.piece.fragments {
            return;
        }
        // The next one begins with a picture; sound may be ahead of it.
        let end_ns = pictures.map(|track| track.end_ns()).max().unwrap_or(segment.end_ns);
        let lasts_ns = u64::try_from(end_ns - segment.piece.begin_ns).unwrap_or(0);
        segment.piece = Piece { begin_ns: end_ns, fragments: segment.fragments, ends: false };
        let duration = Duration::from_nanos(lasts_ns);
        self.outputs.push_back(Output::Piece { segment: segment.index(), duration });
    }
}
