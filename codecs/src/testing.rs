//! Bodies of the fuzz targets, which also run over the committed corpus in `cargo test`.
//!
//! They take any bytes and panic only when this crate is wrong. Bytes are read as what a peer may do to a
//! decoder: payloads, gaps, restarts.

mod video;

pub use video::{fuzz_video_h264, fuzz_video_h265, fuzz_video_vp8, video_seeds, without_notes};

use crate::audio::comfort_noise::{ComfortNoise, NoiseGenerator, ORDER_MAX};
use crate::audio::events::{EventChange, EventReceiver, TelephoneEvent, accepts};
use crate::{AudioCodec, AudioDecoder, AudioError, EncoderSettings};

/// Marks samples that were not written.
const UNTOUCHED: i16 = 12_345;

/// What 120 ms take at 48 kHz with two channels.
const SAMPLES_MAX: usize = 11_520;

/// G.711, G.722 and L16: the first byte says which.
///
/// # Panics
/// When a decoder breaks its promises.
pub fn fuzz_waveform(bytes: &[u8]) {
    const CODECS: [(&str, u32, u8); 5] =
        [("PCMU", 8000, 1), ("PCMA", 8000, 1), ("G722", 8000, 1), ("L16", 44_100, 2), ("L16", 16_000, 1)];
    if let Some((first, bytes)) = bytes.split_first() {
        let (name, clock_hz, channels) = CODECS[usize::from(*first) % CODECS.len()];
        fuzz_decoder(&codec(name, clock_hz, channels, ""), bytes);
    }
}

/// Opus: the first byte says at which rate, mono or stereo.
///
/// # Panics
/// When the decoder breaks its promises.
pub fn fuzz_opus(bytes: &[u8]) {
    if let Some((first, bytes)) = bytes.split_first() {
        let fmtp = if first & 1 == 0 { "" } else { "sprop-stereo=1" };
        let rates_hz = crate::audio::opus::SAMPLE_RATES_HZ;
        let rate_hz = rates_hz[usize::from(first >> 1) % rates_hz.len()];
        let decoder = codec("opus", 48_000, 2, fmtp).decoder_at(rate_hz);
        fuzz_operations(&mut *decoder.expect("libopus has all of its rates"), bytes);
    }
}

/// AAC: the first byte says which.
///
/// # Panics
/// When the decoder breaks its promises.
pub fn fuzz_aac(bytes: &[u8]) {
    // LC with one and two channels, LD, ELD.
    const CONFIGS: [&str; 4] = ["1188", "1190", "b98900", "f8e62000"];
    if let Some((first, bytes)) = bytes.split_first() {
        let config = CONFIGS[usize::from(*first) % CONFIGS.len()];
        let fmtp = format!("mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config}");
        fuzz_decoder(&codec("MPEG4-GENERIC", 48_000, 1, &fmtp), bytes);
    }
}

/// What SDP says of codecs, telephone events and comfort noise.
///
/// # Panics
/// When reading them breaks its promises.
pub fn fuzz_descriptions(bytes: &[u8]) {
    fuzz_sdp(&String::from_utf8_lossy(bytes));
    let mut receiver = EventReceiver::new();
    let mut running = None;
    for (number, payload) in bytes.chunks(5).enumerate() {
        let Ok(packet) = TelephoneEvent::parse(&payload[1..]) else { continue };
        let again = TelephoneEvent::parse(&packet.to_bytes());
        assert_eq!(again, Ok(packet));
        for change in receiver.handle_event(number as u32 / 4 + u32::from(payload[0]), &packet) {
            match change {
                EventChange::Started { event, .. } => assert_eq!(running.replace(event), None),
                EventChange::Ended { event, .. } => assert_eq!(running.take(), Some(event)),
            }
        }
    }
    if let Ok(noise) = ComfortNoise::parse(bytes) {
        let mut payload = [0; ORDER_MAX + 1];
        let written = noise.write(&mut payload).expect("room for every coefficient");
        assert_eq!(ComfortNoise::parse(&payload[..written]), Ok(noise));
        let mut generator = NoiseGenerator::new(1);
        generator.set_noise(&noise);
        generator.fill(&mut [0; 160]);
    }
}

/// Whatever is accepted has a decoder, or says why not.
fn fuzz_sdp(text: &str) {
    let (name, fmtp) = text.split_once(' ').unwrap_or((text, ""));
    for (clock_hz, channels) in [(8000, 1), (48_000, 2)] {
        accepts(fmtp, 3);
        let Ok(codec) = AudioCodec::parse(name, clock_hz, channels, fmtp) else { continue };
        let format = codec.format();
        if let Ok(decoder) = codec.decoder() {
            assert!(codec.name.is_sound());
            assert_eq!(decoder.format(), format);
        }
        if let Ok(encoder) = codec.encoder(&EncoderSettings::default()) {
            assert_eq!(encoder.format(), format);
        }
    }
}

fn codec(name: &str, clock_hz: u32, channels: u8, fmtp: &str) -> AudioCodec {
    AudioCodec::parse(name, clock_hz, channels, fmtp).expect("a codec of this crate")
}

/// What a peer may do to the decoder of `codec`.
///
/// # Panics
/// When the decoder breaks its promises.
pub fn fuzz_decoder(codec: &AudioCodec, bytes: &[u8]) {
    fuzz_operations(&mut *codec.decoder().expect("a codec of this crate"), bytes);
}

/// An operation is a byte, the length of a payload in two more, and the payload.
fn fuzz_operations(decoder: &mut dyn AudioDecoder, mut bytes: &[u8]) {
    let mut samples = [UNTOUCHED; SAMPLES_MAX];
    while let Some(([operation, high, low], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        bytes = rest;
        samples.fill(UNTOUCHED);
        match operation % 8 {
            0 => decoder.reset(),
            1 => check_concealed(decoder, None, &mut samples[..length.min(SAMPLES_MAX)]),
            2 => check_concealed(decoder, Some(payload), &mut samples[..usize::from(*high) * 20]),
            3 => check_decoded(decoder, payload, &mut samples[..length.min(SAMPLES_MAX)]),
            _ => check_decoded(decoder, payload, &mut samples),
        }
    }
}

fn check_concealed(decoder: &mut dyn AudioDecoder, next: Option<&[u8]>, samples: &mut [i16]) {
    let concealed = decoder.conceal(next, samples);
    assert!(samples[concealed..].iter().all(|sample| *sample == UNTOUCHED));
}

fn check_decoded(decoder: &mut dyn AudioDecoder, payload: &[u8], samples: &mut [i16]) {
    let expected = decoder.samples_in(payload);
    match (decoder.decode(payload, samples), expected) {
        (Ok(decoded), Ok(expected)) => {
            assert_eq!(decoded, expected);
            assert!(samples[decoded..].iter().all(|sample| *sample == UNTOUCHED));
        }
        (Err(AudioError::BufferTooShort { needed, available }), Ok(expected)) => {
            assert!(needed == expected && available == samples.len() && needed > available);
            assert!(samples.iter().all(|sample| *sample == UNTOUCHED));
        }
        (Err(AudioError::BadPayload { bytes, .. }), _) => assert_eq!(bytes, payload.len()),
        (found, expected) => panic!("{found:?}, and {expected:?} were expected"),
    }
}
