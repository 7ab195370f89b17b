//! What changes while a canvas runs.

use crate::studio::{BACKGROUND, BLUE, GREEN, RED, Studio, canvas};
use motet_codecs::video::PictureSize;
use motet_codecs::video::VideoCodecName::H264;
use motet_proto::media::{CanvasSettings, CellShows, CellSubject};
use motet_proto::node::CanvasStats;

#[tokio::test(flavor = "multi_thread")]
async fn layout_and_size_change_in_the_same_stream() {
    let mut studio = Studio::start(27_300).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.viewer("carol", H264);
    studio.put(canvas("auto")).await;
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, GREEN)]).await;
    studio.put(canvas("custom:0,0,100,50;0,50,50,50;50,50,50,50")).await;
    // A camera of 16 by 9 in a cell of 32 by 9: bars at the sides.
    let cells = [(160, 40, RED), (20, 40, BACKGROUND), (80, 130, GREEN), (240, 130, BACKGROUND)];
    studio.until_seen("carol", &cells).await;
    studio.put(CanvasSettings { crop: true, ..canvas("custom:0,0,100,50;0,50,50,50;50,50,50,50") }).await;
    studio.until_seen("carol", &[(160, 40, RED), (20, 40, RED), (80, 130, GREEN)]).await;
    studio.put(CanvasSettings { width: 480, height: 270, ..canvas("auto") }).await;
    studio.until_seen("carol", &[(60, 135, RED), (420, 135, GREEN)]).await;
    assert_eq!(studio.participants["carol"].screen.size(), Some(PictureSize::new(480, 270)));

    studio.camera("erin", H264, BLUE);
    studio.put(canvas("auto")).await;
    studio.until_seen("carol", &[(40, 40, RED), (280, 40, GREEN), (160, 130, BLUE)]).await;
    studio.participants.remove("alice");
    studio.put(canvas("auto")).await;
    // Who stays keeps the cell, if there still is one.
    studio.until_seen("carol", &[(40, 90, BLUE), (280, 90, GREEN)]).await;
    studio.participants.retain(|id, _| *id == "carol");
    studio.check_streams();
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_gets_a_key_frame() {
    let mut studio = Studio::start(27_400).await;
    studio.camera("alice", H264, RED);
    studio.viewer("carol", H264);
    studio.put(canvas("auto")).await;
    studio.until_seen("carol", &[(160, 90, RED)]).await;
    let before = studio.participants["carol"].screen.key_frames;
    studio.participants["carol"].ask();
    studio.until("a key frame", |studio| studio.participants["carol"].screen.key_frames > before).await;
    studio.check_streams();
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_rubbish_harms_nobody_else_and_is_asked_for_a_key_frame() {
    let mut studio = Studio::start(27_500).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.viewer("carol", H264);
    studio.put(canvas("auto")).await;
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, GREEN)]).await;
    let bob = studio.participants.get_mut("bob").expect("he is there");
    // The RTP header and a part of the rest, which is another one each time.
    bob.harm = |packet| {
        let keep = 13 + usize::from(packet[3]) % 23;
        packet.truncate(keep);
        if let Some(last) = packet.last_mut() {
            *last ^= 0x5a;
        }
    };
    let alice = studio.participants.get_mut("alice").expect("she is there");
    alice.camera.as_mut().expect("a camera").colour = BLUE;
    studio.until_seen("carol", &[(40, 90, BLUE)]).await;
    let cannot_be_used = |stats: &CanvasStats| stats.undecoded + stats.concealed > 0;
    studio.until_counted("pictures that cannot be used", cannot_be_used).await;
    // He was asked when he came, too.
    let asked = studio.participants["bob"].times_asked;
    studio.until("bob is asked", |studio| studio.participants["bob"].times_asked > asked).await;
    studio.check_streams();
    studio.participants.get_mut("bob").expect("he is there").harm = |_| {};
    studio.until_seen("carol", &[(40, 90, BLUE), (280, 90, GREEN)]).await;
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_is_seen_large_and_who_spoke_before_in_the_corner() {
    let mut studio = Studio::start(27_700).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.camera("erin", H264, BLUE);
    studio.viewer("carol", H264);
    studio.put(canvas("pip")).await;
    let speak = |studio: &mut Studio, who: &str| {
        studio.participants.iter_mut().for_each(|(id, participant)| participant.speaks = *id == who);
    };
    speak(&mut studio, "erin");
    studio.until_seen("carol", &[(40, 40, BLUE)]).await;
    speak(&mut studio, "bob");
    studio.until_seen("carol", &[(40, 40, GREEN), (270, 150, BLUE)]).await;
    // Somebody chosen for a cell is there, whoever speaks.
    let alice = CellSubject {
        cell: 1,
        shows: CellShows::Participant.into(),
        participant: "alice".into(),
        ..CellSubject::default()
    };
    studio.put(CanvasSettings { cells: vec![alice], ..canvas("pip") }).await;
    studio.until_seen("carol", &[(40, 40, GREEN), (270, 150, RED)]).await;
    studio.check_streams();
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_themself_who_does_not_want_to() {
    let mut studio = Studio::start(27_800).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.viewer("carol", H264);
    studio.put(CanvasSettings { hide_self: true, ..canvas("auto") }).await;
    studio.until_seen("alice", &[(40, 90, GREEN), (280, 90, GREEN)]).await;
    studio.until_seen("bob", &[(40, 90, RED), (280, 90, RED)]).await;
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, GREEN)]).await;
    studio.put(canvas("auto")).await;
    studio.until_seen("alice", &[(40, 90, RED), (280, 90, GREEN)]).await;
    studio.check_streams();
    studio.end().await;
}
