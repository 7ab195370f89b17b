//! Files that ffprobe and ffmpeg read.

mod common;

use common::{Made, Probe, Sent, Source, What, decode, record, track};
use motet_recorder::{Codec, Container, DropReason, ParameterChange, Recording, RecordingConfig};
use motet_rtp::Time;
use motet_rtp::payload::PayloadFormat::{H264, H265, Vp8};
use std::time::Duration;

const OPUS: Codec = Codec::Opus { channels: 1 };

fn near(found: f64, expected: f64, by: f64) {
    assert!((found - expected).abs() <= by, "{found} is not {expected} ± {by}");
}

fn recording(config: RecordingConfig, codecs: &[Codec]) -> Recording {
    let tracks = codecs.iter().map(|codec| track(codec.clone(), 0)).collect();
    Recording::new(config, tracks).expect("it can be made")
}

/// H.264 and Opus of one sender.
fn two(config: RecordingConfig) -> Recording {
    recording(config, &[Codec::H264, OPUS])
}

fn probe(folder: &tempfile::TempDir, file: &Made) -> Probe {
    let path = file.save(folder.path(), "recorded");
    decode(&path);
    Probe::of(&path)
}

#[test]
fn every_codec_is_read_by_ffmpeg() {
    every_codec(Container::Mp4);
}

#[test]
fn every_codec_is_read_by_ffmpeg_in_matroska() {
    every_codec(Container::Matroska);
}

fn every_codec(container: Container) {
    // Matroska does not say how long the last picture lasts.
    let slack = if container == Container::Matroska { 0.05 } else { 0.02 };
    let folder = tempfile::tempdir().expect("a folder");
    let size = "160x96";
    let aac = Codec::Aac { config: vec![0x11, 0x88] };
    let l16 = Codec::L16 { rate_hz: 16_000, channels: 2 };
    let sound = |hz, ticks| Source::sound(1, hz, ticks);
    for (pictures, sounds) in [
        (
            (Codec::H264, H264, common::h264(3, size), "h264"),
            (OPUS, sound(48_000, 960), common::opus(3), "opus"),
        ),
        (
            (Codec::H265, H265, common::h265(3, size), "hevc"),
            (aac, sound(48_000, 1024), common::aac(3), "aac"),
        ),
        (
            (Codec::Vp8, Vp8, common::vp8(3, size), "vp8"),
            (Codec::Pcmu, sound(8000, 160), common::pcmu(3), "pcm_mulaw"),
        ),
        (
            (Codec::H264, H264, common::h264(3, size), "h264"),
            (l16, sound(16_000, 320), common::l16(3), "pcm_s16be"),
        ),
    ] {
        let (codec, format, units, name) = pictures;
        let (sound_codec, mut sound, payloads, sound_name) = sounds;
        let config = RecordingConfig { container, ..RecordingConfig::default() };
        let mut recording = recording(config, &[codec, sound_codec]);
        let mut sent = Source::pictures(0, format).send(&units);
        sent.extend(sound.send(&payloads));
        let (made, _) = record(&mut recording, sent);
        assert_eq!(made.len(), 1);
        let probe = probe(&folder, &made[0]);
        assert_eq!(probe.codecs, [name, sound_name]);
        assert_eq!(probe.sizes[0], (160, 96));
        assert_eq!(probe.times(0).len(), 75, "{name}");
        assert_eq!(probe.packets.iter().filter(|packet| packet.stream == 0 && packet.key).count(), 3);
        near(probe.end(0), 3.0, slack);
        assert_eq!(probe.times(1).len(), payloads.len(), "{sound_name}");
        near(probe.end(1), payloads.len() as f64 * f64::from(sound.ticks) / f64::from(sound.hz), slack);
    }
}

/// Pictures are under way 250 ms longer than sound; reports come after a second.
#[test]
fn sound_and_pictures_are_in_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let (units, packets) = (common::h264(6, "160x96"), common::opus(6));
    let (mut pictures, mut sound) = (Source::pictures(0, H264), Source::sound(1, 48_000, 960));
    pictures.delay_ms = 250;
    let mut sent = [pictures.send(&units), sound.send(&packets)].concat();
    let clock = 1_700_000_000_000;
    sent.extend([1000, 3500].map(|after| pictures.report(after, clock)));
    sent.extend([900, 3400].map(|after| sound.report(after, clock)));
    let mut recording = two(RecordingConfig::default());
    let (made, _) = record(&mut recording, sent);
    let probe = Probe::of(&made[0].save(folder.path(), "step.mp4"));
    let (shown, heard) = (probe.times(0), probe.times(1));
    assert_eq!((shown.len(), heard.len()), (150, packets.len()));
    let apart = |second: usize| shown[second * 25] - heard[second * 50];
    near(apart(0), 0.25, 0.02);
    for second in 2..6 {
        near(apart(second), 0.0, 0.04);
    }
    assert_eq!(recording.stats(0).reports_refused + recording.stats(1).reports_refused, 0);
}

/// A sender whose sound card is fast by 500 parts in a million, which reports tell.
#[test]
fn clocks_that_drift_stay_in_step() {
    let units = common::h264(2, "160x96");
    let (pictures, sound) = (Source::pictures(0, H264), Source::sound(1, 48_000, 960));
    let frames: Vec<Vec<u8>> = (0..60 * 25).map(|index| units[index % 50].clone()).collect();
    let packets = common::opus(2);
    let packets: Vec<Vec<u8>> = (0..60 * 50).map(|index| packets[index % 100].clone()).collect();
    let mut sent = pictures.clone().send(&frames);
    let mut heard = sound.clone().send(&packets);
    for (index, packet) in heard.iter_mut().enumerate() {
        packet.at = Time::from_nanos(10_000_000_000 + index as u64 * 19_990_000);
    }
    sent.extend(heard);
    let clock = 1_700_000_000_000;
    for second in (0..60).step_by(5) {
        sent.push(pictures.report(second * 1000, clock));
        let mut report = sound.report(second * 1000, clock);
        if let What::Report(_, info) = &mut report.what {
            // What the card has counted in that time by the sender's clock.
            info.rtp_timestamp = info.rtp_timestamp.plus((second * 24) as u32);
        }
        sent.push(report);
    }
    let mut recording = two(RecordingConfig::default());
    let folder = tempfile::tempdir().expect("a folder");
    let (made, _) = record(&mut recording, sent);
    let probe = Probe::of(&made[0].save(folder.path(), "drift.mp4"));
    near(probe.end(1), probe.end(0), 0.08);
    assert_eq!(recording.stats(1).dropped(DropReason::Overlap), 1, "30 ms in a minute are one packet");
}

#[test]
fn a_file_that_ends_anywhere_plays_to_its_last_fragment() {
    ends_anywhere(Container::Mp4);
}

#[test]
fn a_file_of_matroska_that_ends_anywhere_plays_to_its_last_cluster() {
    ends_anywhere(Container::Matroska);
}

fn ends_anywhere(container: Container) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sent = Source::pictures(0, H264).send(&common::h264(4, "160x96"));
    sent.extend(Source::sound(1, 48_000, 960).send(&common::opus(4)));
    let (made, _) = record(&mut two(RecordingConfig { container, ..RecordingConfig::default() }), sent);
    let whole = &made[0];
    for (index, (at, end)) in whole.appends.iter().enumerate().skip(2) {
        // Cut within what would have come next.
        let next = whole.appends.get(index + 1).map_or(*end, |(_, next)| (end + next) / 2);
        let path = folder.path().join("cut");
        std::fs::write(&path, &whole.bytes[..next]).expect("written");
        let out = std::process::Command::new("ffprobe")
            .args(["-v", "quiet", "-show_packets", "-of", "csv=p=0", "-show_entries", "packet=pts_time"])
            .arg(&path)
            .output()
            .expect("ffprobe");
        assert!(out.status.success());
        let text = String::from_utf8(out.stdout).expect("text");
        let last = text
            .lines()
            .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
            .fold(0.0, f64::max);
        // Media began to come at 10 s.
        let written = at.since(Time::from_millis(10_000)).as_secs_f64();
        assert!(last > written - 0.3, "{last} of {written}");
    }
    let gaps = whole.appends.windows(2).map(|pair| pair[1].0.since(pair[0].0));
    assert!(gaps.max().expect("some") <= Duration::from_millis(600));
}

#[test]
fn a_bad_network_leaves_a_whole_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sent = Source::pictures(0, H264).send(&common::h264(5, "160x96"));
    sent.extend(Source::sound(1, 48_000, 960).send(&common::opus(5)));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut arrived: Vec<Sent> = Vec::new();
    for mut packet in sent {
        packet.at += Duration::from_millis(next(60));
        match next(50) {
            0 => continue,
            1 => arrived.extend([packet.clone(), packet]),
            _ => arrived.push(packet),
        }
    }
    // The first key frame may be among what is lost.
    let start_wait = Duration::from_secs(4);
    let mut recording = two(RecordingConfig { start_wait, ..RecordingConfig::default() });
    let (made, asked) = record(&mut recording, arrived);
    assert_eq!(made.len(), 1);
    let (pictures, sound) = (recording.stats(0), recording.stats(1));
    assert!(pictures.lost > 0 && sound.lost > 0 && asked > 1);
    assert!(pictures.dropped(DropReason::Damaged) > 0);
    let probe = Probe::of(&made[0].save(folder.path(), "lossy.mp4"));
    near(probe.end(0), 5.0, 0.15);
    near(probe.end(1), 5.0, 0.15);
    assert!(sound.silence_ms >= 20, "silence stands for what is lost");
    let times = probe.times(1);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 0.041), "sound has no gap");
}

#[test]
fn another_source_and_another_time_go_on_in_the_same_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (units, packets) = (common::h264(2, "160x96"), common::opus(2));
    let mut sent = Vec::new();
    for part in 0..3_u32 {
        let (mut pictures, mut sound) = (Source::pictures(0, H264), Source::sound(1, 48_000, 960));
        for source in [&mut pictures, &mut sound] {
            source.begin_ms += u64::from(part) * 2000;
            // First the source changes, then nothing but timestamps.
            source.ssrc += part.min(1);
            source.timestamp = source.timestamp.wrapping_add(part * 900_000_000);
            source.sequence = if part == 0 { 9000 } else { (part as u16) * 100 };
        }
        if part == 2 {
            pictures.sequence = sent.iter().filter(|sent: &&Sent| sent.track == 0).count() as u16;
        }
        let (mut shown, mut heard) = (pictures.send(&units), sound.send(&packets));
        if part == 2 {
            renumber(&mut shown, &sent, 0);
            renumber(&mut heard, &sent, 1);
        }
        sent.extend(shown);
        sent.extend(heard);
    }
    let mut recording = two(RecordingConfig::default());
    let (made, _) = record(&mut recording, sent);
    assert_eq!(made.len(), 1);
    let stats = recording.stats(0);
    assert_eq!((stats.sources, stats.timestamp_jumps), (1, 1));
    let probe = Probe::of(&made[0].save(folder.path(), "sources.mp4"));
    near(probe.end(0), 6.0, 0.1);
    near(probe.end(1), 6.0, 0.1);
    assert!(probe.times(1).windows(2).all(|pair| pair[1] - pair[0] < 0.041));
}

/// Makes packets continue the numbers of a track.
fn renumber(packets: &mut [Sent], before: &[Sent], track: usize) {
    let of = |sent: &Sent| match &sent.what {
        What::Packet(bytes) if sent.track == track => Some(u16::from_be_bytes([bytes[2], bytes[3]])),
        _ => None,
    };
    let mut last = before.iter().filter_map(of).next_back().expect("some came before");
    for packet in packets {
        if let What::Packet(bytes) = &mut packet.what {
            last = last.wrapping_add(1);
            bytes[2..4].copy_from_slice(&last.to_be_bytes());
        }
    }
}

#[test]
fn other_parameters_begin_another_segment_or_go_in_band() {
    let folder = tempfile::tempdir().expect("a folder");
    let units = [common::h264(2, "160x96"), common::h264(2, "320x192")].concat();
    for parameter_change in [ParameterChange::NewSegment, ParameterChange::InBand] {
        let mut sent = Source::pictures(0, H264).send(&units);
        sent.extend(Source::sound(1, 48_000, 960).send(&common::opus(4)));
        let config = RecordingConfig { parameter_change, ..RecordingConfig::default() };
        let mut recording = two(config);
        let (made, _) = record(&mut recording, sent);
        let probes: Vec<Probe> = made.iter().map(|file| probe(&folder, file)).collect();
        let frames: usize = probes.iter().map(|probe| probe.times(0).len()).sum();
        let sounds: usize = probes.iter().map(|probe| probe.times(1).len()).sum();
        assert_eq!((frames, sounds), (100, common::opus(4).len()), "each is in one segment");
        let sizes: Vec<(u64, u64)> = probes.iter().map(|probe| probe.sizes[0]).collect();
        match parameter_change {
            ParameterChange::NewSegment => assert_eq!(sizes, [(160, 96), (320, 192)]),
            ParameterChange::InBand => assert_eq!(sizes, [(160, 96)]),
        }
    }
}

#[test]
fn a_pause_is_not_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sent = Source::pictures(0, H264).send(&common::h264(6, "160x96"));
    sent.extend(Source::sound(1, 48_000, 960).send(&common::opus(6)));
    let command = |ms, what| Sent { at: Time::from_millis(ms), track: 0, what };
    // The second key frame after the pause is at 14 s.
    sent.extend([command(11_500, What::Pause), command(13_500, What::Resume)]);
    let mut recording = two(RecordingConfig::default());
    let (made, asked) = record(&mut recording, sent);
    assert_eq!(made.len(), 1);
    assert!(asked >= 2, "a key frame is asked for after a pause");
    let probe = probe(&folder, &made[0]);
    near(probe.end(0), 4.0, 0.05);
    near(probe.end(1), 4.0, 0.05);
    let shown = probe.times(0);
    // 1.5 s before, and from 14 s on.
    near(shown.len() as f64, 37.0 + 50.0, 2.0);
    near(shown[40], 2.0 + 0.04 * 2.0, 0.1);
    assert!(recording.stats(1).dropped(DropReason::Paused) > 90);
}

#[test]
fn segments_follow_each_other_without_a_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sent = Source::pictures(0, H264).send(&common::h264(8, "160x96"));
    let packets = common::opus(8);
    sent.extend(Source::sound(1, 48_000, 960).send(&packets));
    sent.push(Sent { at: Time::from_millis(16_400), track: 0, what: What::Cut });
    let config =
        RecordingConfig { segment_duration_max: Some(Duration::from_secs(3)), ..RecordingConfig::default() };
    let mut recording = two(config);
    let (made, _) = record(&mut recording, sent);
    let probes: Vec<Probe> = made.iter().map(|file| probe(&folder, file)).collect();
    let frames: Vec<usize> = probes.iter().map(|probe| probe.times(0).len()).collect();
    assert_eq!(frames, [75, 75, 25, 25], "after three seconds, at a key frame; and once by command");
    assert_eq!(probes.iter().map(|probe| probe.times(1).len()).sum::<usize>(), packets.len());
    let summaries: Vec<_> = made.iter().filter_map(|file| file.summary).collect();
    for pair in summaries.windows(2) {
        let end = pair[0].begins_at + pair[0].duration;
        assert!(pair[1].begins_at.since(end) + end.since(pair[1].begins_at) < Duration::from_millis(60));
    }
}

#[test]
fn who_comes_later_is_in_the_next_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pictures = Source::pictures(0, H264);
    pictures.begin_ms += 2500;
    let mut sent = pictures.send(&common::h264(2, "160x96"));
    sent.extend(Source::sound(1, 48_000, 960).send(&common::opus(5)));
    let (made, _) = record(&mut two(RecordingConfig::default()), sent);
    let probes: Vec<Probe> = made.iter().map(|file| probe(&folder, file)).collect();
    let codecs: Vec<usize> = probes.iter().map(|probe| probe.codecs.len()).collect();
    assert_eq!(codecs, [1, 2]);
    assert_eq!(probes[1].times(0).len(), 50);
}

#[test]
fn b_pictures_are_shown_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (units, shown): (Vec<Vec<u8>>, Vec<u32>) = common::h264_with_b(folder.path(), 2).into_iter().unzip();
    assert!(shown.windows(2).any(|pair| pair[1] < pair[0]), "there are B pictures");
    let mut source = Source::pictures(0, H264);
    let mut sent = source.send(&units);
    for packet in &mut sent {
        let What::Packet(bytes) = &mut packet.what else { continue };
        let timestamp = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let unit = timestamp.wrapping_sub(source.timestamp) / source.ticks;
        bytes[4..8].copy_from_slice(&source.timestamp.wrapping_add(shown[unit as usize]).to_be_bytes());
    }
    let mut recording = recording(RecordingConfig::default(), &[Codec::H264]);
    let (made, _) = record(&mut recording, sent);
    let probe = probe(&folder, &made[0]);
    let times = probe.times(0);
    assert_eq!(times.len(), shown.len());
    for (found, sent) in times.iter().zip(&shown) {
        near(found - times[0], (f64::from(*sent) - f64::from(shown[0])) / 90_000.0, 0.002);
    }
}

#[test]
fn sound_alone_and_silence_are_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let aac = Codec::Aac { config: vec![0x11, 0x88] };
    for (codec, mut source, packets) in [
        (OPUS, Source::sound(0, 48_000, 960), common::opus(1)),
        (aac, Source::sound(0, 48_000, 1024), common::aac(1)),
        (Codec::Pcmu, Source::sound(0, 8000, 160), common::pcmu(1)),
    ] {
        let mut sent = source.send(&packets);
        // Silence of four seconds, as with discontinuous transmission.
        source.begin_ms += 5000;
        source.timestamp += 5 * source.hz;
        sent.extend(source.send(&packets));
        let mut recording = recording(RecordingConfig::default(), std::slice::from_ref(&codec));
        let (made, _) = record(&mut recording, sent);
        let probe = probe(&folder, &made[0]);
        near(probe.end(0), 6.0, 0.06);
        let widest = probe.times(0).windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest < 0.045, "{codec:?}: a gap of {widest} s");
        near(recording.stats(0).silence_ms as f64, 4000.0, 60.0);
    }
}
