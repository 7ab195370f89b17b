//! FFmpeg's libavcodec for pictures.
//!
//! Through the crate ffmpeg-next, which is safe but for what it does not cover: limits of a decoder, options that change
//! while an encoder runs, and the planes of frames of any width.

use super::avcodec::{AvError, silence};
use crate::video::{Picture, PictureSize, Plane};
use ffmpeg_next::codec::decoder::Opened;
use ffmpeg_next::codec::packet::Flags as PacketFlags;
use ffmpeg_next::codec::{Context, Flags, encoder, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Dictionary, Error, Packet, ffi, frame, picture};

/// Why there is no picture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DecodeError {
    Av(AvError),
    /// FFmpeg's number of a format that is not 4:2:0 of 8 bits.
    Format(i32),
    TooLarge(PictureSize),
}

impl From<Error> for DecodeError {
    fn from(error: Error) -> Self {
        DecodeError::Av(error.into())
    }
}

/// A decoder that is open.
pub(crate) struct Decoder {
    decoder: Opened,
    pixels_max: u32,
    /// What was decoded last, if anything was; and the one that is decoded into.
    shown: frame::Video,
    next: frame::Video,
}

impl Decoder {
    /// One thread, no delay.
    pub(crate) fn new(codec: &str, pixels_max: u32) -> Result<Self, AvError> {
        silence();
        let codec = ffmpeg_next::decoder::find_by_name(codec).ok_or(Error::DecoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        context.set_threading(threading::Config { count: 1, ..threading::Config::default() });
        context.set_flags(Flags::LOW_DELAY | Flags::OUTPUT_CORRUPT);
        // SAFETY: the context was allocated and is not open (Context panics else); avcodec.h: "max_pixels: decoding: Set
        // by user".
        unsafe {
            (*context.as_mut_ptr()).max_pixels = i64::from(pixels_max);
        }
        let decoder = context.decoder().open_as(codec)?;
        Ok(Decoder { decoder, pixels_max, shown: frame::Video::empty(), next: frame::Video::empty() })
    }

    /// Decodes one unit. Some: there is another picture, and parts of it are made up if it is true.
    pub(crate) fn decode(&mut self, unit: &[u8]) -> Result<Option<bool>, DecodeError> {
        // A unit of no bytes would be the end of the stream.
        if unit.is_empty() {
            return Err(Error::InvalidData.into());
        }
        let sent = self.decoder.send_packet(&Packet::copy(unit));
        let mut concealed = None;
        // One unit may hold several pictures: the last one counts.
        while self.decoder.receive_frame(&mut self.next).is_ok() {
            self.check()?;
            // SAFETY: the frame is ours and valid; these are plain fields (frame.h).
            let (flags, errors) =
                unsafe { ((*self.next.as_ptr()).flags, (*self.next.as_ptr()).decode_error_flags) };
            concealed = Some(errors != 0 || flags & ffi::AV_FRAME_FLAG_CORRUPT != 0);
            std::mem::swap(&mut self.shown, &mut self.next);
        }
        if concealed.is_none()
            && let Err(error) = sent
        {
            let size = self.size_of_stream();
            if size.pixels() > u64::from(self.pixels_max) {
                return Err(DecodeError::TooLarge(size));
            }
            return Err(error.into());
        }
        Ok(concealed)
    }

    pub(crate) fn picture(&self) -> Option<Picture<'_>> {
        planes(&self.shown)
    }

    pub(crate) fn reset(&mut self) {
        self.decoder.flush();
    }

    fn check(&self) -> Result<(), DecodeError> {
        // SAFETY: the frame is ours and valid; this is a plain field. It is compared as a number, since a newer FFmpeg may
        // have formats that ffmpeg-next does not know.
        let format = unsafe { (*self.next.as_ptr()).format };
        let known = [ffi::AVPixelFormat::AV_PIX_FMT_YUV420P, ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P];
        if !known.map(|known| known as i32).contains(&format) {
            return Err(DecodeError::Format(format));
        }
        if planes(&self.next).is_none() {
            return Err(DecodeError::Av(AvError::Unexpected("its picture's lines do not fit their memory")));
        }
        Ok(())
    }

    /// As the stream says, whether or not there was a picture.
    fn size_of_stream(&self) -> PictureSize {
        // SAFETY: the context is open and ours; these are plain fields.
        let (width, height) = unsafe {
            let context = self.decoder.as_ptr();
            let (coded, shown) =
                (((*context).coded_width, (*context).coded_height), ((*context).width, (*context).height));
            (coded.0.max(shown.0), coded.1.max(shown.1))
        };
        PictureSize::new(width.unsigned_abs(), height.unsigned_abs())
    }
}

/// The planes of a frame of 4:2:0; none: it holds none.
pub(super) fn planes(frame: &frame::Video) -> Option<Picture<'_>> {
    let size = PictureSize::new(frame.width(), frame.height());
    let plane = |index: usize| {
        let size = if index == 0 { size } else { size.chroma() };
        // SAFETY: the frame is ours and valid; these are plain fields.
        let (data, stride) = unsafe { ((*frame.as_ptr()).data[index], (*frame.as_ptr()).linesize[index]) };
        let (stride, lines) = (usize::try_from(stride).ok()?, size.height as usize);
        let bytes = stride.checked_mul(lines.checked_sub(1)?)?.checked_add(size.width as usize)?;
        if data.is_null() || stride < size.width as usize {
            return None;
        }
        // SAFETY: frame.h: `data` points to the plane's first line, and lines are `linesize` apart; a frame of the format
        // 4:2:0 has planes of at least this size (`check`). They live as long as the frame, which is borrowed and which
        // the decoder does not write to (a frame that is handed out is only referred to).
        let bytes = unsafe { std::slice::from_raw_parts(data.cast_const(), bytes) };
        Plane::new(bytes, stride, size.width as usize, lines)
    };
    Picture::new([plane(0)?, plane(1)?, plane(2)?])
}

/// What an encoder is opened with.
#[derive(Clone, Debug)]
pub(crate) struct EncoderSettings {
    pub(crate) codec: &'static str,
    pub(crate) size: PictureSize,
    pub(crate) bitrate_bps: u32,
    pub(crate) frames_per_s: u32,
    /// Pictures from one key frame to the next at most.
    pub(crate) interval: u32,
    /// The rate is to be neither more nor less.
    pub(crate) constant: bool,
    /// The codec's own.
    pub(crate) options: Vec<(&'static str, String)>,
}

/// An encoder that is open.
pub(crate) struct Encoder {
    /// None: it was closed, since it kept a picture that was lent to it.
    encoder: Option<encoder::video::Encoder>,
    size: PictureSize,
    /// Holds a picture only while that is encoded.
    frame: frame::Video,
    packet: Packet,
    number: i64,
}

impl Encoder {
    /// One thread, no pictures that refer to later ones.
    pub(crate) fn new(settings: &EncoderSettings) -> Result<Self, AvError> {
        silence();
        let codec = ffmpeg_next::encoder::find_by_name(settings.codec).ok_or(Error::EncoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        context.set_threading(threading::Config { count: 1, ..threading::Config::default() });
        let mut video = context.encoder().video()?;
        let PictureSize { width, height } = settings.size;
        let rate = i32::try_from(settings.frames_per_s).map_err(|_| Error::InvalidData)?;
        video.set_width(width);
        video.set_height(height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base((1, rate));
        video.set_frame_rate(Some((rate, 1)));
        video.set_gop(settings.interval);
        video.set_max_b_frames(0);
        // SAFETY: the context was allocated and is not open.
        unsafe {
            let context = video.as_mut_ptr();
            set_rate(context, settings.bitrate_bps);
            if settings.constant {
                (*context).rc_min_rate = (*context).bit_rate;
            }
        }
        let mut options = Dictionary::new();
        for (name, value) in &settings.options {
            options.set(name, value);
        }
        let encoder = Some(video.open_as_with(codec, options)?);
        let (frame, packet) = (frame::Video::empty(), Packet::empty());
        Ok(Encoder { encoder, size: settings.size, frame, packet, number: 0 })
    }

    /// Appends the access unit of a picture, which must be of the encoder's size; true: it is a key frame. The picture
    /// is read where it lies: the codecs' libraries make the copy that they need themselves.
    pub(crate) fn encode(
        &mut self,
        picture: &Picture<'_>,
        key_frame: bool,
        unit: &mut Vec<u8>,
    ) -> Result<bool, AvError> {
        assert_eq!(picture.size(), self.size);
        let Encoder { encoder, frame, packet, number, .. } = self;
        let Some(open) = encoder else { return Err(KEEPS) };
        // SAFETY: below, either nobody else refers to the picture any more, or the encoder is closed, which ends all its
        // references; both before this returns, and nothing in between panics.
        let lent = unsafe { lend(picture, frame) };
        frame.set_pts(Some(*number));
        frame.set_kind(if key_frame { picture::Type::I } else { picture::Type::None });
        *number += 1;
        let encoded = lent.and_then(|()| encode(open, frame, packet, unit));
        let is_kept = is_shared(frame);
        // SAFETY: the frame is ours and valid.
        unsafe { ffi::av_frame_unref(frame.as_mut_ptr()) };
        if is_kept {
            *encoder = None;
            return Err(KEEPS);
        }
        encoded
    }

    /// Another rate from the next picture on, where the codec's wrapper looks at it (libx264.c, reconfig_encoder).
    pub(crate) fn set_bitrate(&mut self, bitrate_bps: u32) {
        let Some(encoder) = &mut self.encoder else { return };
        // SAFETY: the context is open and ours, and no other thread knows it; the wrapper reads these fields with each
        // picture.
        unsafe { set_rate(encoder.as_mut_ptr(), bitrate_bps) };
    }
}

/// No encoder does that which is set up without delay and threads (encode.c unrefers the frame when its callback has
/// returned; libx264.c, libx265.c and libvpxenc.c hand over pointers, and x264, x265 and libvpx copy what is behind them).
const KEEPS: AvError = AvError::Unexpected("it keeps pictures that are lent to it");

fn encode(
    encoder: &mut encoder::video::Encoder,
    frame: &frame::Video,
    packet: &mut Packet,
    unit: &mut Vec<u8>,
) -> Result<bool, AvError> {
    encoder.send_frame(frame)?;
    let mut is_key = false;
    loop {
        match encoder.receive_packet(packet) {
            Ok(()) => {
                unit.extend_from_slice(packet.data().unwrap_or_default());
                is_key |= packet.flags().contains(PacketFlags::KEY);
            }
            Err(Error::Other { errno }) if errno == ffmpeg_next::error::EAGAIN => return Ok(is_key),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Has an empty frame refer to a picture's memory.
///
/// # Safety
/// When the picture is gone, nobody uses the frame's buffers any more: neither the frame nor who took references to them.
unsafe fn lend(picture: &Picture<'_>, frame: &mut frame::Video) -> Result<(), AvError> {
    let size = picture.size();
    frame.set_width(size.width);
    frame.set_height(size.height);
    frame.set_format(Pixel::YUV420P);
    for (index, plane) in picture.planes().iter().enumerate() {
        let bytes = plane.bytes();
        let stride = i32::try_from(plane.stride()).map_err(|_| Error::InvalidData)?;
        // SAFETY: the frame is ours and empty. The memory is the picture's for as long as the caller promises;
        // AV_BUFFER_FLAG_READONLY has everybody copy it who would write to it (buffer.h), and it is not ours to free.
        unsafe {
            let data = bytes.as_ptr().cast_mut();
            let read_only = ffi::AV_BUFFER_FLAG_READONLY;
            let buffer =
                ffi::av_buffer_create(data, bytes.len(), Some(keep), std::ptr::null_mut(), read_only);
            if buffer.is_null() {
                return Err(Error::Other { errno: ffmpeg_next::error::ENOMEM }.into());
            }
            let frame = frame.as_mut_ptr();
            (*frame).buf[index] = buffer;
            (*frame).data[index] = data;
            (*frame).linesize[index] = stride;
        }
    }
    Ok(())
}

/// Whether somebody else refers to a frame's memory.
fn is_shared(frame: &frame::Video) -> bool {
    // SAFETY: the frame is ours and valid, and its buffers are valid or null (frame.h).
    let buffers = unsafe { (*frame.as_ptr()).buf };
    // SAFETY: as above.
    buffers.into_iter().any(|buffer| !buffer.is_null() && unsafe { ffi::av_buffer_get_ref_count(buffer) } > 1)
}

/// Frees nothing: the memory is the picture's.
extern "C" fn keep(_: *mut std::ffi::c_void, _: *mut u8) {}

/// The rate, kept within half a second.
///
/// # Safety
/// `context` is valid, and nobody else uses it meanwhile.
unsafe fn set_rate(context: *mut ffi::AVCodecContext, bitrate_bps: u32) {
    let rate = i64::from(bitrate_bps);
    // SAFETY: the caller's promise; plain fields.
    unsafe {
        (*context).bit_rate = rate;
        (*context).rc_max_rate = rate;
        (*context).rc_buffer_size = (rate / 2).try_into().unwrap_or(i32::MAX);
    }
}
