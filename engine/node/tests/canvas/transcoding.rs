//! Pictures are relayed, and transcoded for who lacks their codec.

use crate::studio::{BLUE, RED, Studio};
use motet_codecs::video::PictureSize;
use motet_codecs::video::VideoCodecName::{H264, Vp8};
use motet_node::NodeOptions;
use motet_proto::media::{TranscodeSettings, VideoMode, VideoSettings};

fn relay(transcode: TranscodeSettings) -> VideoSettings {
    VideoSettings { mode: VideoMode::Relay.into(), canvas: None, transcode: Some(transcode) }
}

const SEEN: [(u32, u32, [u8; 3]); 2] = [(0, 0, RED), (152, 80, RED)];

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_the_codec_gets_it_transcoded_and_all_others_as_it_is() {
    let mut studio = Studio::start(28_300).await;
    studio.camera("alice", H264, RED);
    studio.viewer("henry", H264);
    studio.put_video(relay(TranscodeSettings::default())).await;
    studio.until_seen("henry", &SEEN).await;
    assert_eq!(studio.made().await, None, "nobody needs it: nothing is decoded");

    // Two who get the same share all of it.
    studio.viewer("vera", Vp8);
    studio.viewer("wim", Vp8);
    studio.put_video(relay(TranscodeSettings::default())).await;
    for who in ["vera", "wim", "henry"] {
        studio.until_seen(who, &SEEN).await;
    }
    assert_eq!(studio.participants["vera"].screen.size(), Some(PictureSize::new(160, 90)), "as it is sent");
    studio.check_streams();
    let stats = studio.stats().await;
    let [output] = &stats.outputs[..] else { panic!("one encoder: {stats:?}") };
    assert_eq!((&*output.codec, &*output.from_leg, &*output.from_medium), ("VP8", "alice", "video"));
    assert_eq!(output.legs, ["vera", "wim"]);
    assert_eq!((stats.composed, &stats.sources[..]), (0, &["alice".to_owned()][..]));
    assert!(stats.transcoded > 0 && stats.encoded <= stats.transcoded, "{stats:?}");
    let known = studio.participants["vera"].screen.key_frames;
    studio.participants["vera"].ask();
    let asked = |studio: &Studio| studio.participants["vera"].screen.key_frames > known;
    studio.until("a key frame for who asked", asked).await;

    // Smaller, in the same stream.
    let small = TranscodeSettings { width: 96, height: 96, ..TranscodeSettings::default() };
    studio.put_video(relay(small)).await;
    let is_small =
        |studio: &Studio| studio.participants["vera"].screen.size() == Some(PictureSize::new(96, 54));
    studio.until("a small picture", is_small).await;
    studio.until_seen("vera", &[(0, 0, RED), (88, 46, RED)]).await;
    assert_eq!(studio.participants["henry"].screen.size(), Some(PictureSize::new(160, 90)));
    studio.check_streams();
    studio.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_goes_on_in_its_stream_when_it_needs_no_transcoding_any_more() {
    let options = NodeOptions { workers: Some(2), worker_legs_max: 1, ..NodeOptions::default() };
    let mut studio = Studio::with(28_400, options).await;
    studio.camera("alice", Vp8, BLUE);
    studio.viewer("bob", H264);
    studio.put_video(relay(TranscodeSettings::default())).await;
    let seen = [(0, 0, BLUE), (152, 80, BLUE)];
    studio.until_seen("bob", &seen).await;
    studio.check_streams();
    // The studio sees to it that the SSRC stays.
    for (codec, made) in [(Vp8, false), (H264, true), (Vp8, false)] {
        studio.participants.get_mut("bob").expect("he is there").set_codec(codec);
        studio.put_video(relay(TranscodeSettings::default())).await;
        studio.until_seen("bob", &seen).await;
        assert_eq!(studio.participants["bob"].gaps, 0);
        assert_eq!(studio.made().await.is_some(), made);
    }
    studio.end().await;
}
