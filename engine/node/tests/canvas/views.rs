//! What single participants have chosen to see.

use crate::studio::{BLUE, GREEN, RED, Studio, canvas};
use motet_codecs::video::VideoCodecName::H264;
use motet_proto::media::{CanvasSettings, CanvasView};

fn pinned(who: &str) -> String {
    who.to_owned()
}

/// Two have chosen the same, one something else, and one nothing: three pictures, each made once.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_what_they_have_chosen_until_the_chair_chooses_for_all() {
    let mut studio = Studio::start(27_900).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.camera("erin", H264, BLUE);
    studio.viewer("carol", H264);
    studio.viewer("dave", H264);
    for who in ["carol", "dave"] {
        let layout = "custom:0,0,50,100;50,0,50,100".to_owned();
        studio.views(who, CanvasView { layout, pinned: pinned("erin"), ..CanvasView::default() });
    }
    studio.views("bob", CanvasView { layout: "equal:1".into(), hide_self: Some(true), ..Default::default() });
    studio.put(canvas("equal:4")).await;
    let all = [(40, 40, RED), (200, 40, GREEN), (40, 120, BLUE)];
    studio.until_seen("alice", &all).await;
    studio.until_seen("erin", &all).await;
    for who in ["carol", "dave"] {
        studio.until_seen(who, &[(80, 90, BLUE), (240, 90, RED)]).await;
    }
    studio.until_seen("bob", &[(160, 90, RED)]).await;
    let stats = studio.stats().await;
    let mut seen: Vec<_> = stats.outputs.iter().map(|output| (&*output.layout, output.legs.len())).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [("custom:0.00,0.00,50.00,100.00;50.00,0.00,50.00,100.00", 2), ("equal:1", 1), ("equal:4", 2)]
    );
    // Nothing is made for each who gets it: five see it.
    assert!(stats.encoded <= stats.composed + stats.composes_shared, "{stats:?}");

    // The chair shows bob to all; he sees the others, as he has chosen.
    studio.put(CanvasSettings { pinned: pinned("bob"), for_all: true, ..canvas("auto") }).await;
    for who in ["alice", "erin", "carol", "dave"] {
        studio.until_seen(who, &[(90, 50, GREEN), (270, 20, RED), (270, 80, BLUE)]).await;
    }
    studio.until_seen("bob", &[(40, 90, RED), (280, 90, BLUE)]).await;
    assert_eq!(studio.stats().await.outputs.len(), 2);
    studio.put(canvas("equal:4")).await;
    studio.until_seen("carol", &[(80, 90, BLUE), (240, 90, RED)]).await;
    studio.until_seen("alice", &all).await;
    studio.check_streams();
    studio.end().await;
}
