//! Streams, the reference, and ffmpeg as the other mixer.

use super::Turn;
use anyhow::{Context, ensure};
use motet_codecs::video::{FramePool, Picture, PictureSize, Plane, VideoCodec};
use motet_rtp::payload::nal_units;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The canvas.
pub const CANVAS: PictureSize = PictureSize::new(1920, 1080);

/// A source: its file, and its access units.
pub struct Stream {
    /// As ffmpeg wrote it.
    pub file: PathBuf,
    /// One for each picture.
    pub units: Vec<Vec<u8>>,
}

/// What the last picture of a canvas, or of a stream in another size, is held against.
pub struct Reference {
    bytes: Vec<u8>,
    size: PictureSize,
}

impl Reference {
    /// How near a picture is to it, in dB.
    pub fn psnr_db(&self, picture: &Picture<'_>) -> f64 {
        view(&self.bytes, self.size).psnr_db(picture)
    }
}

/// Makes so many streams of 720p, each of other pictures.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn make_sources(folder: &Path, count: usize, pictures: u32) -> anyhow::Result<Vec<Stream>> {
    let camera = |index| {
        let file = folder.join(format!("source-{index}-{pictures}.h264"));
        encode_camera(file, index, pictures, &["-b:v", "1500k"])
    };
    (0..count).map(camera).collect()
}

/// The same cameras in the size of a layer, as a sender of several sizes makes it: each picture is made smaller before
/// it is encoded, by the mean of what a pixel covers.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn make_layers(
    folder: &Path,
    count: usize,
    pictures: u32,
    (size, kbps): (PictureSize, u32),
) -> anyhow::Result<Vec<Stream>> {
    let (PictureSize { width, height }, bits) = (size, format!("{kbps}k"));
    let smaller = format!("scale={width}:{height}:flags=area");
    let layer = |index| {
        let file = folder.join(format!("layer-{height}-{index}-{pictures}.h264"));
        encode_camera(file, index, pictures, &["-vf", &smaller, "-b:v", &bits])
    };
    (0..count).map(layer).collect()
}

/// A camera of 720p, unless the file is there already.
fn encode_camera(file: PathBuf, index: usize, pictures: u32, how: &[&str]) -> anyhow::Result<Stream> {
    if !file.exists() {
        let source = format!("testsrc2=size=1280x720:rate=30,hue=h={}:s=0.8", index * 37);
        let frames = pictures.to_string();
        let codec = "-pix_fmt yuv420p -c:v libx264 -profile:v main -preset veryfast -tune zerolatency -g 300 \
                     -x264-params sliced-threads=0:slices=1";
        let mut arguments = vec!["-f", "lavfi", "-i", &source, "-frames:v", &frames];
        arguments.extend(how);
        arguments.extend(codec.split_ascii_whitespace());
        arguments.push(path(&file)?);
        run(&arguments)?;
    }
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Stream { file, units: units(&bytes) })
}

/// Access units of so many seconds at this rate, of this many bits a second, with a key frame each second.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn encode_at(
    folder: &Path,
    size: &str,
    rate: u32,
    seconds: u32,
    bits: u32,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let file = folder.join("steady.h264");
    let source = format!("testsrc2=size={size}:rate={rate}:duration={seconds},noise=alls=20:allf=t");
    let (bits, buffer, interval) = (bits.to_string(), (bits / 4).to_string(), rate.to_string());
    let codec = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -tune zerolatency -x264-params nal-hrd=cbr";
    let mut arguments = vec!["-f", "lavfi", "-i", &source];
    arguments.extend(codec.split(' '));
    arguments.extend(["-b:v", &bits, "-minrate", &bits, "-maxrate", &bits, "-bufsize", &buffer]);
    arguments.extend(["-g", &interval, path(&file)?]);
    run(&arguments)?;
    Ok(units(&std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?))
}

/// When the last packet of a file plays, in seconds.
///
/// # Errors
/// When ffprobe is missing, or cannot read the file.
pub fn last_time(file: &Path) -> anyhow::Result<f64> {
    let entries = ["-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(entries).arg(file).output().context("cannot start ffprobe")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ffprobe {}: {said}", file.display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let times = text.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    Ok(times.fold(0.0, f64::max))
}

/// The last canvas, scaled by ffmpeg's best filter and not encoded.
///
/// # Errors
/// When ffmpeg fails.
pub fn reference(folder: &Path, streams: &[Stream], pictures: u32) -> anyhow::Result<Reference> {
    let file = folder.join("reference.yuv");
    let graph = graph(
        streams.len(),
        "lanczos+accurate_rnd+full_chroma_int",
        &format!("select=eq(n\\,{})", pictures - 1),
    );
    let mut arguments = inputs(streams)?;
    arguments
        .extend(["-filter_complex", &graph, "-map", "[v]", "-fps_mode", "passthrough"].map(str::to_owned));
    raw(arguments, &file, CANVAS)
}

/// The last picture of a stream in another size, made in the same way.
///
/// # Errors
/// When ffmpeg fails.
pub fn scaled(folder: &Path, stream: &Stream, size: PictureSize, pictures: u32) -> anyhow::Result<Reference> {
    let mut arguments = inputs(std::slice::from_ref(stream))?;
    let PictureSize { width, height } = size;
    let last = pictures - 1;
    let filter =
        format!("scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int,select=eq(n\\,{last})");
    arguments.extend(["-vf", &filter, "-fps_mode", "passthrough"].map(str::to_owned));
    raw(arguments, &folder.join("scaled.yuv"), size)
}

/// Runs ffmpeg for one picture as it is.
fn raw(mut arguments: Vec<String>, file: &Path, size: PictureSize) -> anyhow::Result<Reference> {
    arguments.extend(["-pix_fmt", "yuv420p", "-f", "rawvideo", path(file)?].map(str::to_owned));
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let bytes = std::fs::read(file)?;
    ensure!(bytes.len() as u64 == size.pixels() * 3 / 2, "ffmpeg made {} bytes of reference", bytes.len());
    Ok(Reference { bytes, size })
}

/// Composes and encodes by ffmpeg's command, on one thread.
///
/// # Errors
/// When ffmpeg fails.
pub fn compose(folder: &Path, streams: &[Stream], reference: &Reference) -> anyhow::Result<Turn> {
    let file = folder.join("composed.h264");
    let mut arguments = vec!["-benchmark".to_owned(), "-filter_complex_threads".to_owned(), "1".to_owned()];
    arguments.extend(inputs(streams)?);
    let graph = graph(streams.len(), "bicubic", "null");
    arguments.extend(["-filter_complex", &graph, "-map", "[v]", "-pix_fmt", "yuv420p"].map(str::to_owned));
    encode(arguments, &file, 3000, reference)
}

/// Brings a stream to another size and so many kilobits by ffmpeg's command, on one thread.
///
/// # Errors
/// When ffmpeg fails.
pub fn transcode(
    folder: &Path,
    stream: &Stream,
    (size, kbps): (PictureSize, u32),
    reference: &Reference,
) -> anyhow::Result<Turn> {
    let mut arguments = vec!["-benchmark".to_owned(), "-filter_threads".to_owned(), "1".to_owned()];
    arguments.extend(inputs(std::slice::from_ref(stream))?);
    let filter = format!("scale={}:{}:flags=bicubic", size.width, size.height);
    arguments.extend(["-vf", &filter, "-pix_fmt", "yuv420p"].map(str::to_owned));
    encode(arguments, &folder.join("transcoded.h264"), kbps, reference)
}

/// Runs ffmpeg with the encoder as motet sets it.
fn encode(mut arguments: Vec<String>, file: &Path, kbps: u32, reference: &Reference) -> anyhow::Result<Turn> {
    let (bits, buffer) = (format!("{kbps}k"), format!("{}k", kbps / 2));
    let encoder = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-profile:v",
        "baseline",
        "-b:v",
        &bits,
        "-maxrate",
        &bits,
        "-bufsize",
        &buffer,
        "-g",
        "100000",
        "-threads",
        "1",
        "-x264-params",
        "scenecut=0",
        path(file)?,
    ];
    arguments.extend(encoder.map(str::to_owned));
    let said = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    let units = units(&std::fs::read(file)?);
    let codec = VideoCodec::parse("H264", 90_000, "").context("H.264")?;
    let mut decoder = codec.decoder()?;
    for unit in &units {
        decoder.decode(unit)?;
    }
    let psnr_db = decoder.picture().map(|picture| reference.psnr_db(&picture));
    let seconds = seconds(&said, "utime=").context("ffmpeg did not tell its time")?
        + seconds(&said, "stime=").context("ffmpeg did not tell its time")?;
    let cpu_ms = seconds * 1000.0 / units.len() as f64;
    Ok(Turn { cpu_ms, psnr_db, encoded: 1, of_layers: 0.0 })
}

/// A number of seconds in what `-benchmark` prints: `bench: utime=1.234s stime=0.1s rtime=1.3s`.
fn seconds(said: &str, name: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("bench: utime="))?;
    line.split(name).nth(1)?.split('s').next()?.parse().ok()
}

/// Cells of equal size, row by row.
fn graph(sources: usize, flags: &str, last: &str) -> String {
    let side = (1..).find(|side| side * side >= sources).unwrap_or(1);
    let (width, height) = (CANVAS.width as usize / side, CANVAS.height as usize / side);
    let (width, height) = (width & !1, height & !1);
    let mut graph = String::new();
    let (mut pads, mut places) = (String::new(), Vec::new());
    for index in 0..sources {
        graph += &format!("[{index}:v]scale={width}:{height}:flags={flags}[s{index}];");
        pads += &format!("[s{index}]");
        places.push(format!(
            "{}_{}",
            (index % side * CANVAS.width as usize / side) & !1,
            (index / side * CANVAS.height as usize / side) & !1
        ));
    }
    let whole = format!("pad={}:{}", CANVAS.width, CANVAS.height);
    graph
        + &format!(
            "{pads}xstack=inputs={sources}:layout={}:fill=0x202020,{whole},{last}[v]",
            places.join("|")
        )
}

fn inputs(streams: &[Stream]) -> anyhow::Result<Vec<String>> {
    let mut arguments = Vec::new();
    for stream in streams {
        arguments.extend(["-threads", "1", "-r", "30", "-i", path(&stream.file)?].map(str::to_owned));
    }
    Ok(arguments)
}

/// Runs ffmpeg and gives what it printed.
fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let done = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-y"])
        .args(arguments)
        .output()
        .context("ffmpeg does not start (scripts/setup.sh installs it)")?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "ffmpeg {}: {said}", arguments.join(" "));
    Ok(said)
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}

/// Access units of one slice each.
fn units(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut units, mut unit) = (Vec::new(), Vec::new());
    for nal in nal_units(stream) {
        unit.extend_from_slice(&[0, 0, 0, 1]);
        unit.extend_from_slice(nal);
        if matches!(nal[0] & 0x1f, 1 | 5) {
            units.push(std::mem::take(&mut unit));
        }
    }
    units
}

/// Raw bytes as a picture.
fn view(bytes: &[u8], size: PictureSize) -> Picture<'_> {
    let (width, height) = (size.width as usize, size.height as usize);
    let (luma, colour) = bytes.split_at(width * height);
    let (u, v) = colour.split_at(colour.len() / 2);
    let plane = |bytes, width, height| Plane::new(bytes, width, width, height).expect("the size was checked");
    let planes =
        [plane(luma, width, height), plane(u, width / 2, height / 2), plane(v, width / 2, height / 2)];
    Picture::new(planes).expect("planes fit")
}

/// A copy of the last picture that a decoder made of the units.
///
/// # Errors
/// When they cannot be decoded.
pub fn last_picture(units: &[Vec<u8>]) -> anyhow::Result<motet_codecs::video::Frame> {
    let mut decoder = VideoCodec::parse("H264", 90_000, "").context("H.264")?.decoder()?;
    for unit in units {
        decoder.decode(unit)?;
    }
    let picture = decoder.picture().context("no picture was decoded")?;
    let mut frame = FramePool::new(1).take(picture.size());
    frame.copy_from(&picture);
    Ok(frame)
}
