//! People who are seen in turn, and lectures.

use crate::studio::{BLUE, GREEN, RED, Studio, canvas};
use motet_codecs::video::VideoCodecName::H264;
use motet_proto::media::{CanvasPresentation, CanvasSettings, CellShows, CellSubject};
use motet_proto::node::CanvasStats;

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_shows_all_in_turn() {
    let mut studio = Studio::start(28_100).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.camera("erin", H264, BLUE);
    studio.viewer("carol", H264);
    let turns =
        CellSubject { shows: CellShows::Sequence.into(), interval_seconds: 1, ..CellSubject::default() };
    studio.put(CanvasSettings { cells: vec![turns], ..canvas("equal:1") }).await;
    for _ in 0..2 {
        for colour in [RED, GREEN, BLUE] {
            studio.until_seen("carol", &[(160, 90, colour)]).await;
        }
    }
    studio.check_streams();
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_for_long_is_seen_alone_and_sees_the_others_in_turn() {
    let mut studio = Studio::start(28_200).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.camera("erin", H264, BLUE);
    studio.viewer("carol", H264);
    let presentation = Some(CanvasPresentation { after_seconds: 3, interval_seconds: 1 });
    studio.put(CanvasSettings { presentation, ..canvas("equal:4") }).await;
    studio.until_seen("carol", &[(40, 40, RED), (200, 40, GREEN), (40, 120, BLUE)]).await;
    let speak = |studio: &mut Studio, who: &str| {
        studio.participants.iter_mut().for_each(|(id, participant)| participant.speaks = *id == who);
    };
    speak(&mut studio, "alice");
    studio.until_seen("carol", &[(40, 40, RED), (280, 140, RED)]).await;
    studio.until_seen("bob", &[(40, 40, RED), (280, 140, RED)]).await;
    for colour in [GREEN, BLUE, GREEN] {
        studio.until_seen("alice", &[(40, 40, colour), (280, 140, colour)]).await;
    }
    let two = |stats: &CanvasStats| stats.outputs.len() == 2;
    studio.until_counted("one picture for the lecturer, and one for all others", two).await;
    // Another one goes on for long.
    speak(&mut studio, "bob");
    studio.until_seen("carol", &[(40, 40, GREEN), (280, 140, GREEN)]).await;
    studio.until_seen("alice", &[(40, 40, GREEN), (280, 140, GREEN)]).await;
    for colour in [RED, BLUE] {
        studio.until_seen("bob", &[(40, 40, colour), (280, 140, colour)]).await;
    }
    // All are silent: all see all again.
    speak(&mut studio, "nobody");
    for who in ["carol", "alice", "bob"] {
        studio.until_seen(who, &[(40, 40, RED), (200, 40, GREEN), (40, 120, BLUE)]).await;
    }
    studio.check_streams();
    studio.end().await;
}
