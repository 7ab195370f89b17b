//! The playlist of live output, by HTTP Live Streaming (RFC 8216): which pieces are in it, what its text is, and which
//! files nobody needs any more. Pure.
//!
//! Pieces are fragments of MP4 (section 3.3) that share a header. The last of them are listed, three target durations
//! and six pieces at least (section 6.2.2 asks for the former); files stay for as long as a player may fetch them that
//! has read an older playlist.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

/// Pieces that are listed at least, once there are so many.
const LISTED_MIN: usize = 6;

/// What is listed of live output.
#[derive(Debug)]
pub(crate) struct Playlist {
    /// No piece lasts longer, rounded (section 4.3.3.1). It never changes.
    target: Duration,
    listed: VecDeque<Piece>,
    leaving: VecDeque<Leaving>,
    /// The number of the first piece that is listed, and how many breaks were before it.
    sequence: u64,
    breaks: u64,
    /// What pieces that come are read with; and nothing came with it so far.
    header: String,
    breaks_next: bool,
}

#[derive(Clone, Debug)]
struct Piece {
    name: String,
    header: String,
    duration: Duration,
    /// Timestamps begin anew with it.
    breaks: bool,
}

/// A file that is listed no longer.
#[derive(Debug)]
struct Leaving {
    name: String,
    header: String,
    /// After so much of what comes it may go.
    left: Duration,
}

impl Playlist {
    /// An empty one. `sequence` is the number of its first piece: above those of any that had its name before.
    pub(crate) fn new(sequence: u64, target: Duration) -> Playlist {
        let (listed, leaving) = (VecDeque::new(), VecDeque::new());
        Playlist { target, listed, leaving, sequence, breaks: 0, header: String::new(), breaks_next: false }
    }

    /// Pieces that come are read with another header, and their timestamps begin anew.
    pub(crate) fn begin(&mut self, header: String) {
        self.breaks_next = !self.header.is_empty();
        self.header = header;
    }

    /// Adds a piece. Files that nobody needs any more.
    pub(crate) fn push(&mut self, name: String, duration: Duration) -> Vec<String> {
        let breaks = std::mem::take(&mut self.breaks_next);
        self.listed.push_back(Piece { name, header: self.header.clone(), duration, breaks });
        for leaving in &mut self.leaving {
            leaving.left = leaving.left.saturating_sub(duration);
        }
        // Section 6.2.2: without the piece, three target durations must be left.
        while self.listed.len() > LISTED_MIN && self.listed() - self.listed[0].duration >= 3 * self.target {
            let longest = self.listed();
            let Some(piece) = self.listed.pop_front() else { break };
            self.sequence += 1;
            self.breaks += u64::from(piece.breaks);
            // The same section: a file stays for its own duration and that of the longest playlist with it.
            let left = piece.duration + longest;
            self.leaving.push_back(Leaving { name: piece.name, header: piece.header, left });
        }
        self.drop_files()
    }

    /// The text. With `ended`, nothing will come (section 4.3.3.4).
    pub(crate) fn text(&self, ended: bool) -> String {
        // Version 6: EXT-X-MAP outside of playlists of I frames alone (section 7).
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            self.target.as_secs(),
            self.sequence,
            self.breaks
        );
        let mut header = "";
        for piece in &self.listed {
            // Sections 4.3.2.3, 4.3.2.5 and 4.3.2.1. The number above counts the breaks that have left (section 6.2.2).
            text.push_str(if piece.breaks { "#EXT-X-DISCONTINUITY\n" } else { "" });
            if piece.header != header {
                header = &piece.header;
                let _ = writeln!(text, "#EXT-X-MAP:URI=\"{header}\"");
            }
            let _ = writeln!(text, "#EXTINF:{:.3},\n{}", piece.duration.as_secs_f64(), piece.name);
        }
        if ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        text
    }

    /// How long it is.
    fn listed(&self) -> Duration {
        self.listed.iter().map(|piece| piece.duration).sum()
    }

    fn drop_files(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some(first) = self.leaving.front().filter(|first| first.left.is_zero()) {
            let header = first.header.clone();
            gone.extend(self.leaving.pop_front().map(|leaving| leaving.name));
            let needed = self.leaving.iter().map(|leaving| &leaving.header);
            let listed = self.listed.iter().map(|piece| &piece.header);
            if !needed.chain(listed).any(|known| *known == header) {
                gone.push(header);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn piece(number: u32) -> String {
        format!("p{number}.m4s")
    }

    /// Values of a tag.
    fn values<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
        text.lines().filter_map(|line| line.strip_prefix(tag)).collect()
    }

    #[test]
    fn a_playlist_is_as_the_rfc_says() {
        let mut playlist = Playlist::new(1000, 6 * SECOND);
        playlist.begin("i1.mp4".to_owned());
        assert_eq!(playlist.push(piece(1), Duration::from_millis(4_040)), Vec::<String>::new());
        playlist.push(piece(2), 4 * SECOND);
        let expected = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:1000\n\
                        #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"i1.mp4\"\n#EXTINF:4.040,\np1.m4s\n\
                        #EXTINF:4.000,\np2.m4s\n";
        assert_eq!(playlist.text(false), expected);
        assert_eq!(playlist.text(true), format!("{expected}#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn old_pieces_leave_the_playlist_and_later_the_disk() {
        let mut playlist = Playlist::new(0, 6 * SECOND);
        playlist.begin("i1.mp4".to_owned());
        for number in 1..=100 {
            let gone = playlist.push(piece(number), 4 * SECOND);
            let text = playlist.text(false);
            let listed = values(&text, "p");
            assert_eq!(listed.len(), number.min(6) as usize);
            assert_eq!(values(&text, "#EXT-X-MEDIA-SEQUENCE:"), [number.saturating_sub(6).to_string()]);
            // Seven pieces were listed when it left, and it lasts as long as one itself.
            let expected: Vec<String> =
                number.checked_sub(14).filter(|gone| *gone > 0).map(piece).into_iter().collect();
            assert_eq!(gone, expected, "{number}");
        }
    }

    #[test]
    fn three_target_durations_are_listed_however_short_pieces_are() {
        let mut playlist = Playlist::new(0, 6 * SECOND);
        playlist.begin("i1.mp4".to_owned());
        for number in 1..=100 {
            playlist.push(piece(number), SECOND);
            assert_eq!(values(&playlist.text(false), "p").len(), number.min(18) as usize);
        }
    }

    #[test]
    fn another_header_is_a_break_until_it_has_left() {
        let mut playlist = Playlist::new(0, 6 * SECOND);
        playlist.begin("i1.mp4".to_owned());
        playlist.push(piece(1), 4 * SECOND);
        playlist.begin("i2.mp4".to_owned());
        let mut gone = Vec::new();
        for number in 2..=40 {
            gone.extend(playlist.push(piece(number), 4 * SECOND));
            let text = playlist.text(false);
            let maps = values(&text, "#EXT-X-MAP:URI=");
            let breaks = values(&text, "#EXT-X-DISCONTINUITY-SEQUENCE:");
            match number {
                // The first piece is listed.
                2..=6 => {
                    assert!(
                        text.contains("p1.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"i2.mp4\"\n"),
                        "{text}"
                    );
                    assert_eq!((maps.len(), breaks[0]), (2, "0"));
                }
                // The one with the break is the first: it counts when it has left itself.
                7 => {
                    assert_eq!((maps[0], maps.len(), breaks[0]), ("\"i2.mp4\"", 1, "0"));
                    assert!(text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");
                }
                _ => assert_eq!((maps[0], maps.len(), breaks[0]), ("\"i2.mp4\"", 1, "1")),
            }
        }
        assert_eq!(gone[..3], ["p1.m4s", "i1.mp4", "p2.m4s"].map(str::to_owned));
        assert_eq!(gone.iter().filter(|name| name.starts_with('i')).count(), 1, "the other one is in use");
    }
}
