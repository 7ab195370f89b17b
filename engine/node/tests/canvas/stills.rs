//! What is seen of who sends no picture, and text over all.

use crate::studio::{BLUE, GREEN, RED, Studio, canvas};
use motet_codecs::video::VideoCodecName::H264;
use motet_node::NodeOptions;
use motet_proto::media::{CanvasSettings, CanvasText, ParticipantVideo};

const WHITE: [u8; 3] = [235, 128, 128];

/// A PNG of 16 by 9 pixels of one colour.
fn png(path: &std::path::Path, rgb: [u8; 3]) {
    let file = std::fs::File::create(path).expect("a file can be made");
    let mut encoder = png::Encoder::new(file, 16, 9);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("written");
    writer.write_image_data(&rgb.repeat(16 * 9)).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_still_stands_for_who_is_off_and_text_lies_over_all() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    png(&folder.path().join("logo.png"), [255, 255, 255]);
    png(&folder.path().join("bob.png"), [0, 0, 255]);
    let options = NodeOptions { stills: Some(folder.path().to_owned()), ..NodeOptions::default() };
    let mut studio = Studio::with(28_000, options).await;
    studio.camera("alice", H264, RED);
    studio.camera("bob", H264, GREEN);
    studio.viewer("carol", H264);
    let all = || CanvasSettings { still: "logo.png".into(), ..canvas("auto") };
    studio.put(all()).await;
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, GREEN)]).await;
    let look = |studio: &mut Studio, off: bool, still: &str| {
        let video = ParticipantVideo { off, still: still.to_owned(), ..ParticipantVideo::default() };
        studio.participants.get_mut("bob").expect("he is there").video = Some(video);
    };
    look(&mut studio, true, "");
    studio.put(all()).await;
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, WHITE)]).await;
    look(&mut studio, true, "bob.png");
    studio.put(all()).await;
    studio.until_seen("carol", &[(280, 90, BLUE)]).await;
    look(&mut studio, false, "bob.png");
    studio.put(all()).await;
    studio.until_seen("carol", &[(280, 90, GREEN)]).await;
    // He sends no more pictures.
    studio.participants.get_mut("bob").expect("he is there").harm = Vec::clear;
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, BLUE)]).await;

    let line = |text: &str, ground_rgb| CanvasText {
        text: text.to_owned(),
        height_percent: 15,
        ground_rgb: Some(ground_rgb),
        ..CanvasText::default()
    };
    let banner = Some(line("\u{4f1a}\u{8bae}", 0xff_00_00));
    let caption = Some(line("Welcome", 0x00_00_ff));
    studio.put(CanvasSettings { banner, caption, background_rgb: Some(0xff_ff_ff), ..all() }).await;
    // Banner above, caption below, a background of another colour between.
    let seen = [(20, 10, RED), (20, 30, WHITE), (40, 90, RED), (20, 168, BLUE), (280, 90, BLUE)];
    studio.until_seen("carol", &seen).await;
    studio.put(all()).await;
    studio.until_seen("carol", &[(20, 10, crate::studio::BACKGROUND)]).await;
    // What is not there is refused, and nothing is changed.
    let refused = studio.refused(CanvasSettings { still: "none.png".into(), ..canvas("pip") }).await;
    assert!(refused.contains("spec.video.canvas.still"), "{refused}");
    studio.until_seen("carol", &[(40, 90, RED), (280, 90, BLUE)]).await;
    studio.check_streams();
    studio.end().await;
}
