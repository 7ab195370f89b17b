//! Files that legs play, over loopback: into a canvas and a mix, and to others as they are.

use super::common::{Probe, run};
use super::stage::{Stage, codec, opus};
use motet_proto::media::playback_order::Order;
use motet_proto::media::{
    AudioMode, AudioSettings, CanvasSettings, PlayFile, Recording, VideoMode, VideoSettings,
};
use motet_proto::node::{Leg, change};
use std::path::Path;
use std::time::Duration;

/// Three seconds of green with a tone.
fn film(folder: &Path, name: &str) {
    let path = folder.join(name);
    let path = path.to_str().expect("text");
    let picture = ["-f", "lavfi", "-i", "color=green:s=160x96:r=25:d=3"];
    let sound = ["-f", "lavfi", "-i", "sine=440:d=3:sample_rate=44100"];
    let codecs = "-c:v libx264 -bf 2 -g 25 -pix_fmt yuv420p -c:a aac -b:a 64k";
    let codecs: Vec<&str> = codecs.split_whitespace().collect();
    run("ffmpeg", &[&picture[..], &sound, &codecs, &[path]].concat());
}

fn player(stage: &Stage) -> Leg {
    let media = [("audio", opus()), ("video", codec(96, "H264", 90_000, "packetization-mode=1"))];
    stage.join("film", &media)
}

fn play(file: &str, repeat: bool) -> Order {
    Order::Play(PlayFile { file: file.into(), repeat, from_ms: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_seen_on_the_canvas_and_heard_in_the_mix() {
    let folder = tempfile::tempdir().expect("a folder");
    film(folder.path(), "film.mp4");
    let mut stage = Stage::with_files(31_600, folder).await;
    let settings =
        CanvasSettings { width: 160, height: 96, frames_per_second: 25, ..CanvasSettings::default() };
    stage.video =
        Some(VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(settings), transcode: None });
    let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
    let recording = Recording { id: "r1".into(), canvas: true, ..Recording::default() };
    let legs = vec![player(&stage)];
    stage.put(legs, vec![recording], Some(audio)).await;
    stage.ready().await;
    let begun = stage.play("film", play("film.mp4", false)).await.expect("it plays");
    assert_eq!((begun.file.as_str(), begun.ended, begun.paused), ("film.mp4", false, false));
    assert!((2_900..3_200).contains(&begun.duration_ms), "{begun:?}");
    let ended = stage.played().await;
    assert_eq!(
        (ended.leg.as_str(), ended.file.as_str(), ended.complete),
        ("film", "film.mp4", true),
        "{ended:?}"
    );
    stage.patch(vec![change::Change::RemoveRecording("r1".into())]).await;
    let closed = stage.closed("r1").await;
    assert_eq!(Probe::of(Path::new(&closed.path)).codecs, ["h264", "opus"]);
    let filter = ["-map", "0:v", "-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let colours = run("ffmpeg", &[&["-i", closed.path.as_str()], &filter[..]].concat());
    let green = colours.chunks_exact(3).filter(|rgb| rgb[1] > 90 && rgb[0] < 60 && rgb[2] < 60).count();
    assert!(green > 25, "{green} pictures are green of {}", colours.len() / 3);
    let sound = ["-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"];
    let sound = run("ffmpeg", &[&["-i", closed.path.as_str()], &sound[..]].concat());
    let loud = sound.chunks_exact(2).filter(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 1_000);
    assert!(loud.count() > 48_000, "the tone is heard for more than a second");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_paused_sought_and_repeated_and_reaches_others_as_any_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    film(folder.path(), "film.mkv");
    let mut stage = Stage::with_files(31_800, folder).await;
    let viewer = stage.join("viewer", &[("video", codec(96, "H264", 90_000, "packetization-mode=1"))]);
    let legs = vec![player(&stage), viewer];
    let allocation = stage.put(legs.clone(), vec![], None).await;
    assert!(!allocation.routes.is_empty());
    stage.play("film", play("film.mkv", true)).await.expect("it plays");
    let sent = |stats: &motet_proto::node::ConferenceStatsResponse| {
        stats.streams.iter().filter(|stream| stream.leg == "film" && stream.packets > 20).count() == 2
    };
    stage.until(sent).await;
    stage.play("film", Order::Pause(true)).await.expect("it plays");
    let held = stage.plays("film", |state| state.paused).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let later = stage.plays("film", |state| state.paused).await;
    assert!(later.position_ms.abs_diff(held.position_ms) <= 50, "{held:?} {later:?}");
    let sought = stage.play("film", Order::SeekMs(2_500)).await.expect("it plays");
    assert_eq!((sought.position_ms, sought.paused), (2_500, true));
    stage.play("film", Order::Pause(false)).await.expect("it plays");
    // Beyond the end is the beginning.
    stage.plays("film", |state| state.position_ms < 1_000 && !state.ended).await;
    stage.play("film", Order::Repeat(false)).await.expect("it plays");
    let ended = stage.played().await;
    assert!(ended.complete, "{ended:?}");
    assert!(stage.plays("film", |state| state.ended).await.position_ms >= 2_900);
    stage.play("film", Order::SeekMs(0)).await.expect("it plays again");
    stage.plays("film", |state| !state.ended && state.position_ms > 100).await;
    stage.play("film", Order::Stop(true)).await.expect("it stops");
    assert_eq!(stage.play("film", Order::Look(true)).await.expect("told").file, "");
    assert!(
        stage
            .play("film", Order::Pause(true))
            .await
            .expect_err("nothing")
            .message()
            .contains("plays nothing")
    );
    // It ends with its leg.
    stage.play("film", play("film.mkv", true)).await.expect("it plays");
    stage.revise(legs[1..].to_vec(), vec![], None).await;
    assert!(stage.play("film", Order::Look(true)).await.is_err());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_played_are_refused_or_end_early_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    film(folder.path(), "film.mp4");
    film(folder.path(), "cut.mkv");
    let cut = folder.path().join("cut.mkv");
    let bytes = std::fs::read(&cut).expect("read");
    std::fs::write(&cut, &bytes[..bytes.len() / 4]).expect("written");
    std::fs::write(folder.path().join("notes.mp4"), "no film").expect("written");
    let mut stage = Stage::with_files(32_000, folder).await;
    let mut other = player(&stage);
    other.id = "other".into();
    let legs = vec![player(&stage), other];
    stage.put(legs, vec![], None).await;
    for (file, why) in
        [("none.mp4", "cannot be read"), ("../film.mp4", "below the folder"), ("notes.mp4", "is it whole?")]
    {
        let refused = stage.play("film", play(file, false)).await.expect_err(file);
        assert!(
            refused.message().contains(why) && refused.message().contains("order.play.file"),
            "{refused:?}"
        );
    }
    assert!(
        stage.play("nobody", play("film.mp4", false)).await.expect_err("no leg").message().contains("nobody")
    );
    stage.play("other", play("film.mp4", true)).await.expect("it plays");
    stage.play("film", play("cut.mkv", true)).await.expect("its beginning is there");
    let ended = stage.played().await;
    assert_eq!((ended.file.as_str(), ended.complete), ("cut.mkv", false), "{ended:?}");
    assert!(ended.message.contains("cut off"), "{ended:?}");
    let other = stage.plays("other", |state| state.position_ms > 200).await;
    assert!(!other.ended, "it goes on");
    stage.end().await;
}
