//! Who sees one participant in full gets that one's stream, or its pictures alone.

use crate::studio::{BLUE, GREEN, RED, Studio, canvas};
use motet_codecs::video::PictureSize;
use motet_codecs::video::VideoCodecName::{H264, Vp8};
use motet_node::NodeOptions;
use motet_proto::media::CanvasSettings;
use motet_proto::node::PictureWay;

fn direct(pinned: &str) -> CanvasSettings {
    CanvasSettings { pinned: pinned.to_owned(), direct: true, ..canvas("equal:1") }
}

fn all_of(colour: [u8; 3]) -> [(u32, u32, [u8; 3]); 2] {
    [(0, 0, colour), (152, 80, colour)]
}

/// On two workers, so that pictures cross between them.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_seen_alone_is_relayed_where_it_fits_else_transcoded_else_composed() {
    let options = NodeOptions { workers: Some(2), worker_legs_max: 2, ..NodeOptions::default() };
    let mut studio = Studio::with(28_500, options).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.viewer("carol", H264);
    studio.viewer("dave", Vp8);
    studio.put(direct("alice")).await;
    // First its pictures alone: nobody knows yet how large they are.
    for who in ["carol", "dave", "bob"] {
        studio.until_seen(who, &all_of(RED)).await;
    }
    assert_eq!(studio.participants["carol"].screen.size(), Some(PictureSize::new(160, 90)), "no canvas");
    let why = studio.until_way("carol", PictureWay::Relayed).await;
    assert!(why.contains("alice alone"), "{why}");
    let why = studio.until_way("dave", PictureWay::Transcoded).await;
    assert!(why.contains("a codec that it lacks"), "{why}");
    let encoded = studio.stats().await;
    assert_eq!(
        (encoded.composed, encoded.outputs.len()),
        (0, 2),
        "for dave, and for alice herself: {encoded:?}"
    );

    // Another picture, in the same stream: the studio sees to the SSRC.
    let alice = studio.participants.get_mut("alice").expect("she is there");
    alice.camera.as_mut().expect("a camera").colour = BLUE;
    studio.until_seen("carol", &all_of(BLUE)).await;
    studio.put(direct("bob")).await;
    for who in ["carol", "dave"] {
        studio.until_seen(who, &all_of(GREEN)).await;
    }
    studio.until_way("carol", PictureWay::Relayed).await;
    studio.until_seen("carol", &all_of(GREEN)).await;
    // Every switch was at a key frame: no picture refers to what did not come.
    studio.check_streams();

    // Who is relayed leaves: the next one is seen, in the same stream.
    studio.participants.remove("bob");
    studio.put(direct("bob")).await;
    studio.until_seen("carol", &all_of(BLUE)).await;
    studio.until_way("carol", PictureWay::Relayed).await;
    // And a canvas again.
    studio.put(CanvasSettings { direct: true, ..canvas("pip") }).await;
    studio.until_seen("carol", &[(160, 90, BLUE), (10, 160, BLUE)]).await;
    studio.until_way("carol", PictureWay::Composed).await;
    assert_eq!(studio.participants["carol"].screen.size(), Some(PictureSize::new(320, 180)));
    studio.check_streams();
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_more_than_a_canvas_has_is_transcoded() {
    let mut studio = Studio::start(28_600).await;
    studio.camera("alice", H264, RED);
    studio.viewer("carol", H264);
    studio.put(CanvasSettings { width: 320, height: 90, ..direct("alice") }).await;
    studio.until_way("carol", PictureWay::Relayed).await;
    studio.until_seen("carol", &all_of(RED)).await;
    studio.put(CanvasSettings { width: 80, height: 80, ..direct("alice") }).await;
    let why = studio.until_way("carol", PictureWay::Transcoded).await;
    assert!(why.contains("more than asked for"), "{why}");
    let small =
        |studio: &Studio| studio.participants["carol"].screen.size() == Some(PictureSize::new(80, 46));
    studio.until("a small picture", small).await;
    studio.until_seen("carol", &[(0, 0, RED), (72, 36, RED)]).await;
    studio.check_streams();
    studio.end().await;
}
