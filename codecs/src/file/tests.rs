use super::*;
use std::process::{Command, Stdio};

/// Two seconds of a moving picture and a tone, as ffmpeg writes them.
fn film(folder: &Path, name: &str, options: &str) -> PathBuf {
    let path = folder.join(name);
    let sources = "-f lavfi -i testsrc2=size=162x98:rate=25:duration=2 -f lavfi -i sine=440:duration=2:sample_rate=44100";
    let words = |line: &'static str| line.split_whitespace();
    let done = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y"])
        .args(words(sources))
        .args(options.split_whitespace())
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    assert!(done.expect("ffmpeg is there (scripts/setup.sh installs it)").success(), "{options}");
    path
}

/// Places of pictures, and how many samples there are at which rate, with the loudest.
fn read(file: &mut MediaFile) -> (Vec<Duration>, usize, u32, u16) {
    let (mut pictures, mut count, mut hz, mut loudest) = (Vec::new(), 0, 0, 0);
    while let Some(item) = file.read().expect("it can be read") {
        match item {
            MediaItem::Picture { at, picture } => {
                assert_eq!((picture.size().width, picture.size().height), (162, 98));
                pictures.push(at);
            }
            MediaItem::Sound { rate_hz, samples, .. } => {
                (count, hz) = (count + samples.len(), rate_hz);
                loudest = loudest.max(samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0));
            }
        }
    }
    (pictures, count, hz, loudest)
}

#[test]
fn each_kind_of_file_is_read_and_gone_through_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        ("film.mp4", "-c:v libx264 -g 25 -bf 2 -pix_fmt yuv420p -c:a aac -ac 2", true, true),
        ("film.mkv", "-c:v libvpx -deadline realtime -g 25 -c:a libopus", true, true),
        ("sound.wav", "-map 1:a -c:a pcm_s24le -ac 2", false, true),
        ("floats.wav", "-map 1:a -c:a pcm_f32le", false, true),
        (
            "silent.mp4",
            "-map 0:v -c:v libx265 -x265-params log-level=none:keyint=25:min-keyint=25:open-gop=0 -pix_fmt yuv420p",
            true,
            false,
        ),
    ];
    for (name, options, pictures, sound) in cases {
        let mut file = MediaFile::open(film(folder.path(), name, options)).expect(name);
        assert_eq!((file.has_pictures(), file.has_sound()), (pictures, sound), "{name}");
        let duration = file.duration().expect(name);
        assert!((1_900..2_200).contains(&duration.as_millis()), "{name}: {duration:?}");
        let (places, samples, hz, loudest) = read(&mut file);
        assert_eq!(places.len(), if pictures { 50 } else { 0 }, "{name}");
        assert!(places.is_sorted(), "{name}: in the order in which they are seen");
        let seconds = samples as f64 / f64::from(hz.max(1));
        assert!(!sound || ((1.9..2.2).contains(&seconds) && loudest > 2_000), "{name}: {seconds} {loudest}");
        // One more time, from the middle.
        file.seek(Duration::from_millis(1_200)).expect(name);
        let (again, fewer, ..) = read(&mut file);
        assert!(!pictures || (20..=30).contains(&again.len()), "{name}: {}", again.len());
        assert!(!sound || (fewer > 0 && fewer < samples * 3 / 4), "{name}: {fewer} of {samples}");
        assert_eq!(file.damaged(), 0, "{name}");
    }
}

#[test]
fn what_is_no_film_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    assert!(matches!(MediaFile::open(path("none.mp4")), Err(FileError::Open { .. })));
    std::fs::write(path("empty.mp4"), "").expect("written");
    std::fs::write(path("notes.mp4"), "no film, but notes of one").expect("written");
    // What FFmpeg would read as a list of files is not.
    let list = format!("ffconcat version 1.0\nfile '{}'\n", path("x.wav").display());
    film(folder.path(), "x.wav", "-map 1:a");
    std::fs::write(path("list.mp4"), list).expect("written");
    for name in ["empty.mp4", "notes.mp4", "list.mp4"] {
        let error = MediaFile::open(path(name)).err().expect(name);
        assert!(matches!(&error, FileError::Format { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_ends_early_is_played_up_to_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = "-c:v libx264 -g 25 -pix_fmt yuv420p -c:a libopus -movflags frag_keyframe+empty_moov";
    let path = film(folder.path(), "film.mp4", whole);
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() * 2 / 3]).expect("written");
    let (places, samples, ..) = read(&mut MediaFile::open(&path).expect("its beginning is there"));
    assert!(places.len() < 50 && samples > 0, "{} {samples}", places.len());
    // The index of a usual MP4 is at its end.
    let path = film(folder.path(), "usual.mp4", "-c:v libx264 -pix_fmt yuv420p -c:a aac");
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let error = MediaFile::open(&path).err().expect("nothing can be found in it");
    assert!(error.to_string().contains("is it whole?"), "{error}");
}

#[test]
fn damaged_parts_are_counted_and_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = film(folder.path(), "film.mkv", "-c:v libvpx -deadline realtime -g 5 -c:a libopus");
    let mut bytes = std::fs::read(&path).expect("read");
    let length = bytes.len();
    bytes[length / 3..length / 3 + 400].fill(0x55);
    std::fs::write(&path, &bytes).expect("written");
    let mut file = MediaFile::open(&path).expect("its header is whole");
    let (mut pictures, mut sounds) = (0, 0);
    while let Ok(Some(item)) = file.read() {
        match item {
            MediaItem::Picture { .. } => pictures += 1,
            MediaItem::Sound { .. } => sounds += 1,
        }
    }
    assert!(pictures > 10 && sounds > 10, "{pictures} {sounds}");
}
