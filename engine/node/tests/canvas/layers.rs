//! Who sends several sizes at once is seen in the size that a cell needs.

use crate::studio::{BLUE, GREEN, RED, Studio, canvas};
use motet_codecs::video::PictureSize;
use motet_codecs::video::VideoCodecName::H264;
use motet_proto::node::CanvasStats;

/// Pictures decoded of the largest size.
fn of_the_largest(stats: &CanvasStats) -> u64 {
    stats.decoded - stats.decoded_layers
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_show_the_layer_that_fills_them_and_the_others_are_not_decoded() {
    let mut studio = Studio::start(28_700).await;
    let size = PictureSize::new;
    let sizes = [(size(320, 180), RED), (size(160, 90), GREEN), (size(80, 44), BLUE)];
    studio.simulcast("alice", &sizes);
    studio.viewer("carol", H264);
    studio.put(canvas("equal:4")).await;
    studio.until_seen("carol", &[(40, 40, GREEN)]).await;
    let before = studio.stats().await;
    studio.until_counted("two of three", |now| now.decodes_spared >= before.decodes_spared + 20).await;
    let after = studio.stats().await;
    assert!(after.decoded_layers > before.decoded_layers, "{after:?}");
    assert_eq!(of_the_largest(&after), of_the_largest(&before), "the large one is not decoded");

    // The whole canvas: the large one is asked for and comes.
    studio.put(canvas("equal:1")).await;
    studio.until_seen("carol", &[(40, 40, RED), (280, 160, RED)]).await;
    let before = studio.stats().await;
    assert!(studio.participants["alice"].times_asked > 0);
    studio.until_counted("the large one", |now| of_the_largest(now) >= of_the_largest(&before) + 10).await;
    let after = studio.stats().await;
    assert_eq!(after.decoded_layers, before.decoded_layers, "smaller ones are not decoded");

    studio.put(canvas("equal:16")).await;
    studio.until_seen("carol", &[(40, 20, BLUE)]).await;
    studio.check_streams();
    studio.end().await;
}
