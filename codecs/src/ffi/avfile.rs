//! FFmpeg's libavformat: files that are read, and the decoders of what is in them.

use super::avcodec::{AvError, silence};
use super::avvideo::planes;
use crate::video::Picture;
use ffmpeg_next::codec::decoder::Opened;
use ffmpeg_next::codec::{Context, threading};
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::sample::Type::Planar;
use ffmpeg_next::format::{Sample, input_with_dictionary};
use ffmpeg_next::{Dictionary, Error, Packet, Stream, ffi, frame, media};
use std::path::Path;
use std::time::Duration;

/// Demuxers that are used: MP4 and QuickTime, Matroska and WebM, WAV. Others read lists, and what these name.
const FORMATS: &str = "mov,matroska,wav";
/// Packets in a row that may be damaged.
const DAMAGED_MAX: u32 = 1_000;
/// FFmpeg's time base where a stream has none of its own: microseconds.
const MICROSECONDS: i64 = 1_000_000;

/// A file that is open.
pub(crate) struct File {
    input: Input,
    pictures: Option<Line>,
    sound: Option<Line>,
    packet: Packet,
    /// All packets were read.
    ended: bool,
    /// Packets that were damaged, or refused by their decoder.
    damaged: u64,
    picture: frame::Video,
    heard: frame::Audio,
    samples: Vec<i16>,
}

/// A stream that is decoded.
struct Line {
    stream: usize,
    /// Seconds of one tick, as a fraction.
    base: (i64, i64),
    decoder: Opened,
}

/// What was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Picture(Duration),
    Sound(Duration),
    /// Something of a kind that is not taken.
    Unknown,
}

impl File {
    /// Opens the file and the decoders of its first streams of pictures and of sound.
    pub(crate) fn open(path: &Path, pixels_max: u32) -> Result<File, AvError> {
        silence();
        let mut options = Dictionary::new();
        options.set("format_whitelist", FORMATS);
        options.set("protocol_whitelist", "file");
        let input = input_with_dictionary(path, options)?;
        let line = |kind| -> Result<Option<Line>, AvError> {
            let stream = input.streams().best(kind);
            // A cover is no film.
            let stream = stream.filter(|stream| !is_cover(stream));
            stream.map(|stream| Line::open(&stream, kind, pixels_max)).transpose()
        };
        let (pictures, sound) = (line(media::Type::Video)?, line(media::Type::Audio)?);
        Ok(File {
            input,
            pictures,
            sound,
            packet: Packet::empty(),
            ended: false,
            damaged: 0,
            picture: frame::Video::empty(),
            heard: frame::Audio::empty(),
            samples: Vec::new(),
        })
    }

    pub(crate) fn has_pictures(&self) -> bool {
        self.pictures.is_some()
    }

    pub(crate) fn has_sound(&self) -> bool {
        self.sound.is_some()
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// As the file says; none: it does not.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let microseconds = u64::try_from(self.input.duration()).ok().filter(|duration| *duration > 0);
        microseconds.map(Duration::from_micros)
    }

    /// Goes on at a key frame at or before this place.
    pub(crate) fn seek(&mut self, to: Duration) -> Result<(), AvError> {
        let to = i64::try_from(to.as_micros()).unwrap_or(i64::MAX).saturating_add(self.begin());
        self.input.seek(to, ..to)?;
        self.ended = false;
        for line in [&mut self.pictures, &mut self.sound].into_iter().flatten() {
            line.decoder.flush();
        }
        Ok(())
    }

    /// Decodes more; none: that was all.
    pub(crate) fn read(&mut self) -> Result<Option<Item>, AvError> {
        let mut in_a_row = 0;
        let begin = self.begin();
        loop {
            if let Some(line) = &mut self.pictures
                && line.decoder.receive_frame(&mut self.picture).is_ok()
            {
                let at = line.place(self.picture.timestamp(), begin);
                return Ok(Some(if self.picture().is_some() { Item::Picture(at) } else { Item::Unknown }));
            }
            if let Some(line) = &mut self.sound
                && line.decoder.receive_frame(&mut self.heard).is_ok()
            {
                let at = line.place(self.heard.timestamp(), begin);
                return Ok(Some(if self.convert() { Item::Sound(at) } else { Item::Unknown }));
            }
            if self.ended {
                return Ok(None);
            }
            match self.packet.read(&mut self.input) {
                Ok(()) => {
                    let lines = [&mut self.pictures, &mut self.sound].into_iter().flatten();
                    let stream = self.packet.stream();
                    for line in lines.filter(|line| line.stream == stream) {
                        self.damaged += u64::from(line.decoder.send_packet(&self.packet).is_err());
                    }
                }
                Err(Error::Eof) => {
                    self.ended = true;
                    for line in [&mut self.pictures, &mut self.sound].into_iter().flatten() {
                        // What they still hold comes out now.
                        let _ = line.decoder.send_eof();
                    }
                }
                Err(Error::InvalidData) if in_a_row < DAMAGED_MAX => {
                    in_a_row += 1;
                    self.damaged += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What was decoded last; none: it is of another kind than 4:2:0 of 8 bits, or nothing was.
    pub(crate) fn picture(&self) -> Option<Picture<'_>> {
        // SAFETY: the frame is ours and valid; this is a plain field. It is compared as a number, since a newer FFmpeg may
        // have formats that ffmpeg-next does not know.
        let format = unsafe { (*self.picture.as_ptr()).format };
        let known = [ffi::AVPixelFormat::AV_PIX_FMT_YUV420P, ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P];
        known.map(|known| known as i32).contains(&format).then(|| planes(&self.picture)).flatten()
    }

    /// Samples a second of what was decoded last, and its samples, all channels brought together.
    pub(crate) fn sound(&self) -> (u32, &[i16]) {
        (self.heard.rate(), &self.samples)
    }

    /// Brings all channels together. False: the samples are of a kind that is not known.
    fn convert(&mut self) -> bool {
        let (frame, samples) = (&self.heard, &mut self.samples);
        samples.clear();
        if frame.channels() == 0 || frame.samples() == 0 || frame.planes() == 0 || frame.rate() == 0 {
            return false;
        }
        match frame.format() {
            Sample::U8(kind) => bring_together(frame, kind == Planar, samples, |byte: [u8; 1]| {
                f32::from(i16::from(byte[0]) - 128) / 128.0
            }),
            Sample::I16(kind) => bring_together(frame, kind == Planar, samples, |bytes| {
                f32::from(i16::from_ne_bytes(bytes)) / 32_768.0
            }),
            Sample::I32(kind) => bring_together(frame, kind == Planar, samples, |bytes| {
                i32::from_ne_bytes(bytes) as f32 / 2_147_483_648.0
            }),
            Sample::F32(kind) => bring_together(frame, kind == Planar, samples, f32::from_ne_bytes),
            Sample::F64(kind) => {
                bring_together(frame, kind == Planar, samples, |bytes| f64::from_ne_bytes(bytes) as f32);
            }
            _ => return false,
        }
        true
    }

    /// Where the file's time begins, in microseconds.
    fn begin(&self) -> i64 {
        // SAFETY: the context is open and ours; this is a plain field.
        let begin = unsafe { (*self.input.as_ptr()).start_time };
        if begin == ffi::AV_NOPTS_VALUE { 0 } else { begin }
    }
}

impl Line {
    fn open(stream: &Stream<'_>, kind: media::Type, pixels_max: u32) -> Result<Line, AvError> {
        let mut context = Context::from_parameters(stream.parameters())?;
        context.set_threading(threading::Config { count: 1, ..threading::Config::default() });
        // SAFETY: the context was allocated and is not open; avcodec.h: "max_pixels: decoding: Set by user".
        unsafe {
            (*context.as_mut_ptr()).max_pixels = i64::from(pixels_max);
        }
        let decoder = match kind {
            media::Type::Video => context.decoder().video()?.0,
            _ => context.decoder().audio()?.0,
        };
        let base = stream.time_base();
        let base = (i64::from(base.numerator()), i64::from(base.denominator()).max(1));
        Ok(Line { stream: stream.index(), base, decoder })
    }

    /// Where in the file something lies.
    fn place(&self, timestamp: Option<i64>, begin: i64) -> Duration {
        let (numerator, denominator) = (i128::from(self.base.0), i128::from(self.base.1));
        let at = i128::from(timestamp.unwrap_or(0)) * numerator * i128::from(MICROSECONDS) / denominator;
        Duration::from_micros(u64::try_from(at - i128::from(begin)).unwrap_or(0))
    }
}

/// Whether a stream is a single picture that goes with the sound.
fn is_cover(stream: &Stream<'_>) -> bool {
    // SAFETY: the stream is that of an open file; this is a plain field.
    let disposition = unsafe { (*stream.as_ptr()).disposition };
    disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0
}

/// Appends the mean of all channels. `read` makes a number of -1 to 1 of a sample's bytes.
fn bring_together<const BYTES: usize>(
    frame: &frame::Audio,
    planar: bool,
    samples: &mut Vec<i16>,
    read: impl Fn([u8; BYTES]) -> f32,
) {
    let (channels, count) = (usize::from(frame.channels()), frame.samples());
    let step = if planar { 1 } else { channels };
    let planes: Vec<&[u8]> =
        (0..frame.planes()).map(|plane| bytes_of(frame, plane, count * step * BYTES)).collect();
    let value = |channel: usize, index: usize| {
        let (plane, at) = if planar { (planes[channel], index) } else { (planes[0], index * step + channel) };
        let bytes = plane.get(at * BYTES..(at + 1) * BYTES).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0.0, &read)
    };
    samples.extend((0..count).map(|index| {
        let sum: f32 = (0..channels).map(|channel| value(channel, index)).sum();
        (sum / channels as f32 * 32_768.0).round() as i16
    }));
}

/// The first bytes of a plane.
fn bytes_of(frame: &frame::Audio, plane: usize, bytes: usize) -> &[u8] {
    // SAFETY: the frame is ours and valid, and has this plane (the caller counts to `planes`). frame.h: planes of sound are
    // at `extended_data`, and each holds the samples of its channel, or of all of them where there is one plane; `bytes` is
    // just that. They live as long as the frame, which is borrowed.
    unsafe {
        let data = *(*frame.as_ptr()).extended_data.add(plane);
        if data.is_null() { &[] } else { std::slice::from_raw_parts(data.cast_const(), bytes) }
    }
}
