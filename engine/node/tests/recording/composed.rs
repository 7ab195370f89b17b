//! The composed picture and the mix, in one file.

use super::common::{self, Probe, Source};
use super::stage::{Participant, Stage, codec, opus};
use super::{all, flashes_and_beeps};
use motet_proto::media::{
    AudioMode, AudioSettings, CanvasSettings, Recording, RecordingFormat, VideoMode, VideoSettings,
};
use motet_proto::node::{Leg, change};
use motet_rtp::payload::PayloadFormat;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How far flashes and the beeps of their moment may lie apart in the mean, in seconds. A canvas takes pictures in up to
/// one of its own pictures after they came, of which half is taken off: 20 ms are left. An encoder of Opus delays by 6.5.
const APART_MAX: f64 = 0.040;

/// 160 by 96, 25 a second.
fn canvas() -> VideoSettings {
    let settings = CanvasSettings {
        width: 160,
        height: 96,
        frames_per_second: 25,
        bitrate_bps: 400_000,
        ..CanvasSettings::default()
    };
    VideoSettings { mode: VideoMode::Canvas.into(), canvas: Some(settings), transcode: None }
}

fn alice(stage: &Stage) -> Leg {
    let media = [("audio", opus()), ("video", codec(96, "H264", 90_000, "packetization-mode=1"))];
    stage.join("alice", &media)
}

/// Red, green and blue of the pixel in the middle of a PNG, and its sides.
fn middle(png: &[u8]) -> ([u8; 3], (u32, u32)) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    let at = ((info.height / 2 * info.width + info.width / 2) * 3) as usize;
    ([pixels[at], pixels[at + 1], pixels[at + 2]], (info.width, info.height))
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Pictures that are white, and sound that beeps, from the 13th picture of each second on.
fn flashing_and_beeping(seconds: u32) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let white = "enable='gte(mod(t,1),0.51)'";
    let black = format!("color=black:s=160x96:r=25:d={seconds},drawbox=c=white:t=fill:{white}");
    let tone = "0.5*sin(2*PI*1000*t)*gte(mod(t,1),0.52)";
    let sound = format!("aevalsrc='{tone}':c=mono:s=48000:d={seconds}");
    (common::h264_of(&black), common::opus_of(&sound))
}

/// By how much each beep comes after the flash of its moment, in seconds.
fn apart(path: &Path) -> Vec<f64> {
    let (flashes, beeps) = flashes_and_beeps(path);
    let nearest = |flash: &f64| {
        let apart = beeps.iter().map(|beep| beep - flash);
        apart.min_by(|one, other| one.abs().total_cmp(&other.abs()))
    };
    flashes.iter().filter_map(nearest).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canvas_and_the_mix_are_recorded_in_step() {
    const SECONDS: u32 = 9;
    let (pictures, sound) = flashing_and_beeping(SECONDS);
    // A machine that holds up the sender by more than that says nothing about the recorder.
    for _ in 0..5 {
        let mut stage = Stage::new(31_200).await;
        stage.video = Some(canvas());
        let legs = vec![alice(&stage)];
        let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
        let recording = Recording { id: "r1".into(), canvas: true, ..Recording::default() };
        let allocation = stage.put(legs, vec![recording], Some(audio)).await;
        stage.ready().await;
        let mut video = Source::pictures(1, PayloadFormat::H264);
        let mut audio = Source::sound(0, 48_000, 960);
        let alice = Participant::new("alice", &allocation);
        let held_up = alice.play([video.send(&pictures), audio.send(&sound)].concat()).await;
        let stats = stage.stats().await;
        let canvas = stats.canvas.expect("there is a canvas");
        assert!(canvas.encodes_shared > 0, "alice gets what is recorded: {canvas:?}");
        let file = &stats.recordings[0].files[0];
        assert!(file.canvas && file.leg.is_empty() && file.lost == 0, "{file:?}");
        stage.patch(vec![change::Change::RemoveRecording("r1".into())]).await;
        let closed = stage.closed("r1").await;
        assert!(closed.canvas && closed.path.ends_with("room+r1/+canvas-00001.mp4"), "{closed:?}");
        let path = Path::new(&closed.path);
        assert_eq!(Probe::of(path).codecs, ["h264", "opus"]);
        let apart = apart(path);
        stage.end().await;
        println!("sound comes after pictures by so many seconds: {apart:.3?}; held up {held_up:?}");
        if held_up > Duration::from_millis(20) {
            continue;
        }
        assert!(apart.len() >= SECONDS as usize - 2, "{apart:?}");
        assert!(median(apart.clone()).abs() <= APART_MAX, "{apart:?}");
        return;
    }
    panic!("this machine is too busy to send media in time");
}

/// A player opens it while it grows; what it shows in the end is in step.
#[tokio::test(flavor = "multi_thread")]
async fn live_output_is_played_while_it_grows_and_in_step() {
    const SECONDS: u32 = 9;
    let (pictures, sound) = flashing_and_beeping(SECONDS);
    let mut stage = Stage::new(31_600).await;
    stage.video = Some(canvas());
    let legs = vec![alice(&stage)];
    let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
    let format = RecordingFormat::Hls.into();
    let live =
        Recording { id: "web".into(), canvas: true, format, segment_seconds: 1, ..Recording::default() };
    // Beside one to a file, which has the mix in another codec.
    let film = Recording { id: "r1".into(), canvas: true, ..Recording::default() };
    let allocation = stage.put(legs, vec![live, film], Some(audio)).await;
    stage.ready().await;
    let mut video = Source::pictures(1, PayloadFormat::H264);
    let mut audio = Source::sound(0, 48_000, 960);
    let alice = Participant::new("alice", &allocation);
    let sent = [video.send(&pictures), audio.send(&sound)].concat();
    let playing = tokio::spawn(async move { alice.play(sent).await });
    let playlist = stage.began("web").await;
    assert!(playlist.ends_with("room+web/+canvas.m3u8"), "{playlist}");
    let path = Path::new(&playlist);
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    let text = loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.matches("#EXTINF").count() >= 2 {
            break text;
        }
        assert!(std::time::Instant::now() < deadline, "no pieces come: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!text.contains("#EXT-X-ENDLIST"), "it grows: {text}");
    let opened = common::run("ffprobe", &["-show_entries", "stream=codec_name", "-of", "csv=p=0", &playlist]);
    let opened = String::from_utf8(opened).expect("text");
    // As streams, and as those of the one program.
    assert_eq!(opened.split_whitespace().collect::<BTreeSet<_>>(), BTreeSet::from(["aac", "h264"]));
    playing.await.expect("it sends");
    stage.patch(vec![change::Change::RemoveRecording("web".into())]).await;
    let closed = stage.closed("web").await;
    assert!(closed.canvas && closed.path == playlist, "{closed:?}");
    while !std::fs::read_to_string(path).expect("a playlist").ends_with("#EXT-X-ENDLIST\n") {
        assert!(std::time::Instant::now() < deadline, "it ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Probe::of(path).codecs, ["h264", "aac"]);
    let apart = apart(path);
    println!("sound comes after pictures by so many seconds: {apart:.3?}");
    assert!(apart.len() >= 5 && median(apart.clone()).abs() <= APART_MAX, "{apart:?}");
    stage.end().await;
}

/// Of a conference that is relayed, and of one that is composed.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_show_who_is_asked_for() {
    let blue = common::h264_of("color=blue:s=160x96:r=25:d=2");
    let mut stage = Stage::new(31_400).await;
    let legs = vec![alice(&stage)];
    let allocation = stage.put(legs.clone(), vec![], None).await;
    let participant = Participant::new("alice", &allocation);
    let mut source = Source::pictures(1, PayloadFormat::H264);
    let sending = tokio::spawn(async move {
        loop {
            participant.play(source.send(&blue)).await;
            source.timestamp = source.timestamp.wrapping_add(2 * 90_000);
        }
    });
    let is_blue = |png: &[u8]| {
        let ([red, green, blue], sides) = middle(png);
        assert_eq!(sides, (160, 96));
        red < 40 && green < 40 && blue > 200
    };
    // Until her first packets have come, nobody knows whose they are.
    let png = stage.snapshot("alice").await;
    assert!(is_blue(&png), "{:?}", middle(&png));
    let refused = stage.try_snapshot("bob").await.expect_err("nobody is bob");
    assert!(refused.message().contains("'bob'"), "{refused:?}");
    let refused = stage.try_snapshot("").await.expect_err("it is relayed");
    assert!(refused.message().contains("not composed"), "{refused:?}");
    // Nothing is left of it.
    let free = stage.stats().await;
    assert!(free.recordings.is_empty(), "{free:?}");

    stage.video = Some(canvas());
    stage.revise(legs.clone(), vec![all("r1")], None).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    // Alice is seen on the canvas once she has sent a key frame.
    while !is_blue(&stage.snapshot("").await) {
        assert!(std::time::Instant::now() < deadline, "she is never seen");
    }
    let png = stage.snapshot("alice").await;
    assert!(is_blue(&png), "a recording has her packets, too");
    sending.abort();
    stage.end().await;
}
