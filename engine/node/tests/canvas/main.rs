//! Canvases over loopback: cameras of known colours go in as RTP, and what comes out is decoded and looked at.

mod changes;
mod direct;
mod layers;
mod stills;
mod studio;
mod transcoding;
mod turns;
mod views;

use motet_codecs::video::VideoCodecName::{H264, Vp8};
use motet_node::NodeOptions;
use studio::{BACKGROUND, GREEN, RED, Studio, canvas};

/// 320 by 180, 15 a second: a slow machine can do it, too.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_seen_in_a_cell_of_their_own_and_gets_a_codec_of_their_own() {
    let mut studio = Studio::start(27_200).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", Vp8, GREEN);
    studio.viewer("carol", H264);
    studio.viewer("dave", Vp8);
    studio.put(canvas("auto")).await;
    // Two beside each other, with bars above and below.
    let cells = [(40, 90, RED), (280, 90, GREEN), (40, 10, BACKGROUND), (280, 164, BACKGROUND)];
    studio.until_seen("carol", &cells).await;
    studio.until_seen("dave", &cells).await;
    studio.until_seen("alice", &cells).await;
    studio.check_streams();

    // Once for all who get the same: alice and carol, bob and dave.
    let stats = studio.stats().await;
    let mut shares: Vec<_> = stats.outputs.iter().map(|output| (&*output.codec, output.legs.len())).collect();
    shares.sort_unstable();
    assert_eq!(shares, [("H264", 2), ("VP8", 2)]);
    assert!(stats.encoded <= 2 * stats.composed, "{stats:?}");
    assert!(stats.decoded > 0, "{stats:?}");
    studio.end().await;
}

/// Who takes part is on one of two workers, and each of those gets the canvas once.
#[tokio::test(flavor = "multi_thread")]
async fn a_canvas_is_made_once_for_all_workers() {
    let options = NodeOptions { workers: Some(2), worker_legs_max: 2, ..NodeOptions::default() };
    let mut studio = Studio::with(27_600, options).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.viewer("carol", H264);
    studio.viewer("dave", H264);
    studio.put(canvas("auto")).await;
    for who in ["alice", "bob", "carol", "dave"] {
        studio.until_seen(who, &[(40, 90, RED), (280, 90, GREEN)]).await;
    }
    studio.check_streams();
    let stats = studio.stats().await;
    assert_eq!(stats.outputs.len(), 1);
    assert!(stats.encoded <= stats.composed && stats.encodes_shared > 0, "{stats:?}");
    studio.end().await;
}
