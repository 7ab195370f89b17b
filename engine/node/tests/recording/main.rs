//! Recording in a whole node, over loopback: real codecs in, files out.

#[path = "../../../recorder/tests/common/mod.rs"]
mod common;
mod composed;
mod playing;
mod stage;

use common::{Probe, Source, decode, run};
use motet_proto::media::{AudioMode, AudioSettings, Recording};
use motet_proto::node::event::Kind;
use motet_proto::node::*;
use motet_rtp::Time;
use motet_rtp::payload::PayloadFormat;
use stage::{Participant, Stage, codec, opus};
use std::path::Path;
use std::time::Duration;

fn all(id: &str) -> Recording {
    Recording { id: id.into(), participants: true, ..Recording::default() }
}

/// Where pictures turn white, and where sound begins after silence, in seconds.
fn flashes_and_beeps(path: &Path) -> (Vec<f64>, Vec<f64>) {
    let (file, probe) = (path.to_str().expect("text"), Probe::of(path));
    let seen = probe.codecs.iter().position(|codec| codec == "h264").expect("pictures");
    let times = probe.times(seen);
    // One after another: pictures that were brought into step lie too near to each other for raw video.
    let filter = "scale=1:1,format=gray,setpts=N/25/TB";
    let gray = ["-i", file, "-map", "0:v", "-vf", filter, "-fps_mode", "passthrough"];
    let gray = run("ffmpeg", &[&gray[..], &["-f", "rawvideo", "-"]].concat());
    assert_eq!(gray.len(), times.len(), "each picture is decoded");
    let white = |index: &usize| gray[*index] > 128 && (*index == 0 || gray[*index - 1] <= 128);
    let flashes = (0..gray.len()).filter(white).map(|index| times[index]).collect();

    let sound = ["-i", file, "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"];
    let sound = run("ffmpeg", &sound);
    let heard = probe.codecs.iter().position(|codec| codec != "h264").expect("sound");
    let begins = probe.times(heard)[0];
    let (mut beeps, mut quiet) = (Vec::new(), 0);
    for (index, sample) in sound.chunks_exact(2).enumerate() {
        if i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() < 2_000 {
            quiet += 1;
            continue;
        }
        // A fifth of a second.
        if std::mem::take(&mut quiet) > 9_600 {
            beeps.push(begins + index as f64 / 48_000.0);
        }
    }
    (flashes, beeps)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_participant_sends_is_recorded_in_step() {
    const SECONDS: u32 = 7;
    // Both in the second half of each second.
    let white = "enable='gte(mod(t,1),0.5)'";
    let black = format!("color=black:s=160x96:r=25:d={SECONDS},drawbox=c=white:t=fill:{white}");
    let pictures = common::h264_of(&black);
    let tone = "0.5*sin(2*PI*1000*t)*gte(mod(t,1),0.5)";
    let sound = common::opus_of(&format!("aevalsrc='{tone}':c=mono:s=48000:d={SECONDS}"));
    // A machine that holds up the sender by more than that says nothing about the recorder.
    for _ in 0..5 {
        let mut stage = Stage::new(30_000).await;
        let media = [("audio", opus()), ("video", codec(96, "H264", 90_000, "packetization-mode=1"))];
        let legs = vec![stage.join("alice", &media)];
        let allocation = stage.put(legs, vec![all("r1")], None).await;
        // Pictures come a quarter of a second late; reports say when they were taken.
        let mut video = Source { delay_ms: 250, ..Source::pictures(1, PayloadFormat::H264) };
        let mut audio = Source::sound(0, 48_000, 960);
        let mut sent = [video.send(&pictures), audio.send(&sound)].concat();
        for second in 0..u64::from(SECONDS) {
            sent.extend([&video, &audio].map(|source| source.report(second * 1_000 + 40, 5_000_000)));
        }
        let alice = Participant::new("alice", &allocation);
        stage.ready().await;
        let held_up = alice.play(sent).await;
        stage.patch(vec![change::Change::RemoveRecording("r1".into())]).await;
        let closed = stage.closed("r1").await;
        assert!(matches!(stage.next("r1").await, Kind::RecordingStopped(_)));
        let path = stage.folder.path().canonicalize().expect("there").join("room+r1/alice-00001.mp4");
        assert_eq!(Path::new(&closed.path), path);
        if held_up > Duration::from_millis(200) {
            continue;
        }
        assert_eq!(Probe::of(&path).codecs, ["opus", "h264"]);
        assert!(closed.duration_ms.abs_diff(u64::from(SECONDS) * 1_000) < 500, "{closed:?}");
        let (flashes, beeps) = flashes_and_beeps(&path);
        // Until reports have come both ways, tracks lie as they came.
        let late: Vec<f64> = flashes.into_iter().filter(|at| *at > 3.0).collect();
        assert!(late.len() >= 3, "{late:?} {beeps:?}");
        for flash in late {
            let apart = beeps.iter().map(|beep| (beep - flash).abs()).fold(f64::MAX, f64::min);
            assert!(apart <= 0.040, "{apart} s apart at {flash} s: {beeps:?}");
        }
        stage.end().await;
        return;
    }
    panic!("this machine is too busy to send media in time");
}

/// All that reaches the node once it has said that it records, and until it is asked to end, is in the file.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_a_recording_begins_and_ends() {
    let mut stage = Stage::new(32_200).await;
    let media = [("audio", opus()), ("video", codec(96, "H264", 90_000, "packetization-mode=1"))];
    let legs = vec![stage.join("alice", &media)];
    let (sound, pictures) = (common::opus(2), common::h264(2, "160x96"));
    let samples = (sound.len() + pictures.len()) as u64;
    let mut first = Source::sound(0, 48_000, 960).send(&sound);
    first.extend(Source::pictures(1, PayloadFormat::H264).send(&pictures));
    first.sort_by_key(|sent| sent.at);
    // As fast as can be.
    first.iter_mut().for_each(|sent| sent.at = Time::ZERO);
    let second = first.split_off(first.len() / 2);
    let allocation = stage.put(legs, vec![all("r1")], None).await;
    let alice = Participant::new("alice", &allocation);
    let mut count = first.len() as u64;
    alice.play(first).await;
    let stats = stage.until(|stats| stats.recordings[0].files.iter().any(|file| file.packets == count)).await;
    let file = &stats.recordings[0].files[0];
    assert_eq!((file.lost, file.drops.len()), (0, 0), "{file:?}");

    count += second.len() as u64;
    alice.play(second).await;
    let came =
        |stats: &ConferenceStatsResponse| stats.streams.iter().map(|stream| stream.packets).sum::<u64>();
    stage.until(|stats| came(stats) == count).await;
    stage.patch(vec![change::Change::RemoveRecording("r1".into())]).await;
    assert_eq!(stage.closed("r1").await.samples, samples);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_leg_has_files_of_its_own_whatever_its_codecs() {
    let mut stage = Stage::new(30_200).await;
    let bob = [("audio", codec(96, "PCMU", 8_000, "")), ("video", codec(96, "VP8", 90_000, ""))];
    let carol = [("audio", codec(96, "G722", 8_000, "")), ("video", codec(96, "H265", 90_000, ""))];
    let legs = vec![stage.join("bob", &bob), stage.join(".carol", &carol)];
    let recording = Recording { folder: "Monday.1".into(), ..all("r1") };
    let allocation = stage.put(legs, vec![recording], None).await;
    let (bob, carol) = (Participant::new("bob", &allocation), Participant::new(".carol", &allocation));
    let bobs = [
        Source::sound(0, 8_000, 160).send(&common::pcmu(3)),
        Source::pictures(1, PayloadFormat::Vp8).send(&common::vp8(3, "160x96")),
    ];
    let carols = Source::pictures(1, PayloadFormat::H265).send(&common::h265(3, "160x96"));
    stage.ready().await;
    tokio::join!(bob.play(bobs.concat()), carol.play(carols));
    let all_came = |stats: &ConferenceStatsResponse| {
        stats.recordings[0].files.iter().all(|file| file.packets > 70 && file.lost == 0)
    };
    let stats = stage.until(all_came).await.recordings;
    assert_eq!((stats.len(), stats[0].recording.as_str(), stats[0].files.len()), (1, "r1", 2), "{stats:?}");
    let refused = &stats[0].refused[0];
    assert_eq!((refused.leg.as_str(), refused.medium.as_str()), (".carol", "audio"));
    assert!(refused.reason.contains("g722"), "{refused:?}");
    // A conference that ends has whole files.
    stage.delete().await;
    for _ in 0..2 {
        stage.closed("r1").await;
    }
    for (file, codecs) in [("bob-00001.mp4", &["pcm_mulaw", "vp8"][..]), ("+.carol-00001.mp4", &["hevc"][..])]
    {
        let path = stage.folder.path().join("Monday.1").join(file);
        decode(&path);
        let probe = Probe::of(&path);
        assert_eq!(probe.codecs, codecs);
        for (index, codec) in codecs.iter().enumerate() {
            assert!(probe.end(index) > 1.0, "{codec}: {} s", probe.end(index));
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_leaves_no_gap_and_segments_follow_each_other() {
    let mut stage = Stage::new(30_400).await;
    let legs = vec![stage.join("alice", &[("audio", opus())])];
    let recording = Recording { segment_seconds: 1, ..all("r1") };
    let allocation = stage.put(legs, vec![recording.clone()], None).await;
    let alice = Participant::new("alice", &allocation);
    stage.ready().await;
    let playing = tokio::spawn(async move {
        alice.play(Source::sound(0, 48_000, 960).send(&common::opus(8))).await;
    });
    // A whole file, so that it records.
    let mut closed = vec![stage.closed("r1").await];
    let paused = Recording { paused: true, ..recording.clone() };
    stage.patch(vec![change::Change::PutRecording(paused)]).await;
    assert!(stage.stats().await.recordings[0].paused);
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.patch(vec![change::Change::PutRecording(recording)]).await;
    playing.await.expect("all is sent");
    stage.patch(vec![change::Change::RemoveRecording("r1".into())]).await;
    loop {
        match stage.next("r1").await {
            Kind::SegmentClosed(segment) => closed.push(segment),
            Kind::RecordingStopped(_) => break,
            _ => {}
        }
    }
    assert!(closed.len() >= 2, "{closed:?}");
    let mut frames = 0;
    for segment in &closed {
        let path = Path::new(&segment.path);
        decode(path);
        let times = Probe::of(path).times(0);
        frames += times.len();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(gap < 0.021, "{gap} s without sound in {}", segment.path);
    }
    // 50 frames a second; what was sent in two seconds is missing, and nothing fills its place.
    assert!((50..=310).contains(&frames), "{frames} frames");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_is_recorded_while_there_is_one() {
    let mut stage = Stage::new(30_600).await;
    let pcmu = || [("audio", codec(96, "PCMU", 8_000, ""))];
    let legs = vec![stage.join("bob", &pcmu()), stage.join("carol", &pcmu())];
    let audio = AudioSettings { mode: AudioMode::Mix.into(), ..AudioSettings::default() };
    let recording = Recording { id: "r1".into(), mix: true, ..Recording::default() };
    let allocation = stage.put(legs.clone(), vec![recording.clone()], Some(audio)).await;
    let bob = Participant::new("bob", &allocation);
    let mut source = Source::sound(0, 8_000, 160);
    let talking = tokio::spawn(async move {
        for _ in 0..30 {
            bob.play(source.send(&common::pcmu(2))).await;
            source.timestamp = source.timestamp.wrapping_add(16_000);
        }
    });
    let written = |stats: &ConferenceStatsResponse| {
        stats.recordings[0].files.first().is_some_and(|file| file.samples > 150)
    };
    stage.until(written).await;
    // Another mode ends the mix and its file, and not the recording.
    stage.revise(legs.clone(), vec![recording.clone()], None).await;
    let closed = stage.closed("r1").await;
    assert!(closed.path.ends_with("+mix-00001.mp4"), "{closed:?}");
    let path = Path::new(&closed.path);
    decode(path);
    let probe = Probe::of(path);
    assert_eq!(probe.codecs, ["opus"]);
    assert!(probe.end(0) > 1.0, "{} s", probe.end(0));
    let sound = ["-i", &closed.path, "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"];
    let sound = run("ffmpeg", &sound);
    let loud = sound.chunks_exact(2).filter(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 1_000);
    assert!(loud.count() > 24_000, "the tone is heard");
    stage.revise(legs, vec![recording], Some(audio)).await;
    let path = stage.began("r1").await;
    assert!(path.ends_with("+mix-00002.part.mp4"), "{path}");
    talking.abort();
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_cannot_be_written_ends_alone() {
    let mut stage = Stage::new(30_800).await;
    let legs = vec![stage.join("alice", &[("audio", opus())]), stage.join("bob", &[("audio", opus())])];
    let bad = stage.folder.path().join("bad");
    std::fs::write(&bad, "no folder").expect("written");
    let recordings = vec![Recording { folder: "bad".into(), ..all("r1") }, all("r2")];
    let allocation = stage.put(legs, recordings, None).await;
    let Kind::RecordingFailed(failed) = stage.next("r1").await else { panic!("another event") };
    assert_eq!(failed.reason(), RecordingFailure::File);
    assert!(failed.message.contains("bad"), "{failed:?}");
    let stats = stage.stats().await.recordings;
    assert_eq!((stats[0].recording.as_str(), stats[0].failed.as_str()), ("r1", failed.message.as_str()));
    let (alice, bob) = (Participant::new("alice", &allocation), Participant::new("bob", &allocation));
    let sound = common::opus(2);
    stage.ready().await;
    // Where bob listens is known when he has sent a little.
    bob.play(Source::sound(0, 48_000, 960).send(&sound[..10])).await;
    alice.play(Source::sound(0, 48_000, 960).send(&sound)).await;
    let count = sound.len() as u64;
    let unharmed = |stats: &ConferenceStatsResponse| {
        let files = &stats.recordings[1].files;
        stats.routes.iter().any(|route| route.packets == count)
            && files.iter().any(|file| file.packets == count)
    };
    stage.until(unharmed).await;

    // Once the cause is gone it is begun again, when it is asked for.
    std::fs::remove_file(&bad).expect("removed");
    stage.patch(vec![change::Change::RemoveRecording("r1".into())]).await;
    let again = Recording { folder: "bad".into(), ..all("r1") };
    stage.patch(vec![change::Change::PutRecording(again)]).await;
    stage.ready().await;
    alice.play(Source::sound(0, 48_000, 960).send(&common::opus(2))).await;
    assert!(stage.began("r1").await.ends_with("alice-00001.part.mp4"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_folder_runs_the_conference_and_says_so() {
    let mut stage = Stage::without_folder(31_000).await;
    let legs = vec![stage.join("alice", &[("audio", opus())]), stage.join("bob", &[("audio", opus())])];
    let allocation = stage.put(legs, vec![all("r1")], None).await;
    assert_eq!(allocation.routes.len(), 2);
    let Kind::RecordingFailed(failed) = stage.next("r1").await else { panic!("another event") };
    assert_eq!(failed.reason(), RecordingFailure::NoFolder);
    assert!(stage.stats().await.recordings[0].failed.contains("--recordings"));
    stage.end().await;
}
