//! Sound: how long a payload lasts, what stands for silence, and what a file's header says of it.

use crate::config::Codec;
use shiguredo_mp4::bitstream::aac::{
    AudioSpecificConfig, Mp4aSampleEntryConfig, build_mp4a_box, parse_audio_specific_config,
};
use shiguredo_mp4::bitstream::opus::{ChannelCount, OpusSampleEntryConfig, build_opus_box};
use shiguredo_mp4::boxes::{AudioSampleEntryFields, SampleEntry, UnknownBox};
use shiguredo_mp4::{BoxSize, BoxType, FixedPointNumber};

/// Silence of 20, 10, 5 and 2.5 ms: CELT, full band, one channel (RFC 6716 section 3.1), and how long it lasts.
const OPUS_SILENCE: [([u8; 3], u32); 4] = [
    ([0xf8, 0xff, 0xfe], 960),
    ([0xf0, 0xff, 0xfe], 480),
    ([0xe8, 0xff, 0xfe], 240),
    ([0xe0, 0xff, 0xfe], 120),
];
/// A packet of Opus lasts 120 ms at most (RFC 6716 section 3.2.5).
const OPUS_TICKS_MAX: u32 = 5760;
/// A raw_data_block of AAC-LC that says nothing.
const AAC_SILENCE_MONO: [u8; 6] = [0x00, 0xc8, 0x00, 0x80, 0x23, 0x80];
const AAC_SILENCE_STEREO: [u8; 9] = [0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];
const AAC_FRAME_TICKS: u32 = 1024;

/// Sound of one track.
#[derive(Clone, Debug)]
pub(crate) struct Sound {
    kind: Kind,
    /// Samples a second, which are the track's ticks.
    pub(crate) hz: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    Opus { channels: ChannelCount },
    Aac { config: AudioSpecificConfig },
    Pcm { entry: [u8; 4], channels: u8, sample_bytes: u8, silence: u8 },
}

impl Sound {
    /// None: the codec is of pictures.
    pub(crate) fn new(codec: &Codec) -> Result<Option<Sound>, &'static str> {
        let pcm = |entry: &[u8; 4], channels, sample_bytes, silence, hz| {
            Ok(Some(Sound { kind: Kind::Pcm { entry: *entry, channels, sample_bytes, silence }, hz }))
        };
        match codec {
            Codec::H264 | Codec::H265 | Codec::Vp8 => Ok(None),
            Codec::Opus { channels: 1 } => Ok(Some(Sound::opus(ChannelCount::Mono))),
            Codec::Opus { channels: 2 } => Ok(Some(Sound::opus(ChannelCount::Stereo))),
            Codec::Opus { .. } => Err("Opus has 1 or 2 channels"),
            Codec::Pcmu => pcm(b"ulaw", 1, 1, 0xff, 8000),
            Codec::Pcma => pcm(b"alaw", 1, 1, 0xd5, 8000),
            Codec::L16 { rate_hz: 8000..=48_000, channels: 1 | 2 } => {
                let Codec::L16 { rate_hz, channels } = codec else { return Ok(None) };
                pcm(b"twos", *channels, 2, 0, *rate_hz)
            }
            Codec::L16 { .. } => Err("L16 has 1 or 2 channels and 8,000 to 48,000 samples a second"),
            Codec::Aac { config } => {
                let config = parse_audio_specific_config(config)
                    .map_err(|_| "config is not an AudioSpecificConfig of AAC-LC")?;
                let hz = config.sampling_frequency.hz();
                if !(8000..=48_000).contains(&hz) {
                    return Err("AAC has 8,000 to 48,000 samples a second");
                }
                Ok(Some(Sound { kind: Kind::Aac { config }, hz }))
            }
        }
    }

    fn opus(channels: ChannelCount) -> Sound {
        Sound { kind: Kind::Opus { channels }, hz: 48_000 }
    }

    /// What a file's header says of it.
    pub(crate) fn sample_entry(&self) -> SampleEntry {
        match &self.kind {
            Kind::Opus { channels } => SampleEntry::Opus(build_opus_box(&OpusSampleEntryConfig {
                channel_count: *channels,
                // The stream was joined at some point: there is no encoder's beginning to be left out.
                pre_skip: 0,
                input_sample_rate: self.hz,
                output_gain: 0,
            })),
            Kind::Aac { config } => {
                let numbers =
                    Mp4aSampleEntryConfig { es_id: 1, buffer_size_db: 0, max_bitrate: 0, avg_bitrate: 0 };
                match build_mp4a_box(config, &numbers) {
                    Ok(entry) => SampleEntry::Mp4a(entry),
                    Err(error) => unreachable!("the configuration was checked: {error}"),
                }
            }
            Kind::Pcm { entry, channels, .. } => quicktime_entry(*entry, *channels, self.hz),
        }
    }

    /// Frames that a payload holds, each with how long it lasts in ticks; none: it is not of this codec.
    pub(crate) fn frames<'a>(&self, payload: &'a [u8]) -> Option<Vec<(&'a [u8], u32)>> {
        match &self.kind {
            Kind::Opus { .. } => Some(vec![(payload, opus_ticks(payload)?)]),
            Kind::Pcm { channels, sample_bytes, .. } => {
                let block_bytes = usize::from(*channels) * usize::from(*sample_bytes);
                let blocks = payload.len() / block_bytes;
                (blocks > 0).then(|| vec![(&payload[..blocks * block_bytes], blocks as u32)])
            }
            Kind::Aac { .. } => {
                let frames = aac_frames(payload)?;
                Some(frames.into_iter().map(|frame| (frame, AAC_FRAME_TICKS)).collect())
            }
        }
    }

    /// Appends silence of at most so many ticks; how long it lasts. 0: a shorter one cannot be written.
    pub(crate) fn write_silence(&self, ticks: u32, out: &mut Vec<u8>) -> u32 {
        match &self.kind {
            Kind::Opus { .. } => {
                let longest = OPUS_SILENCE.iter().find(|(_, lasts)| *lasts <= ticks);
                longest.map_or(0, |(packet, lasts)| {
                    out.extend_from_slice(packet);
                    *lasts
                })
            }
            Kind::Aac { config } if ticks >= AAC_FRAME_TICKS => {
                match config.channel_configuration.as_u8() {
                    1 => out.extend_from_slice(&AAC_SILENCE_MONO),
                    2 => out.extend_from_slice(&AAC_SILENCE_STEREO),
                    _ => return 0,
                }
                AAC_FRAME_TICKS
            }
            Kind::Pcm { channels, sample_bytes, silence, .. } => {
                let ticks = ticks.min(self.hz / 50);
                let bytes = ticks as usize * usize::from(*channels) * usize::from(*sample_bytes);
                out.resize(out.len() + bytes, *silence);
                ticks
            }
            _ => 0,
        }
    }
}

/// An entry that QuickTime defines, with no boxes in it: players know `ulaw`, `alaw` and `twos` in MP4, and few know
/// `ipcm` (ISO/IEC 23003-5), which has no G.711 at all.
fn quicktime_entry(name: [u8; 4], channels: u8, hz: u32) -> SampleEntry {
    let fields = AudioSampleEntryFields {
        data_reference_index: AudioSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
        channelcount: channels.into(),
        samplesize: AudioSampleEntryFields::DEFAULT_SAMPLESIZE,
        samplerate: FixedPointNumber::new(hz as u16, 0),
    };
    let payload = crate::mp4::encode(&fields);
    let box_type = BoxType::Normal(name);
    let box_size = BoxSize::with_payload_size(box_type, payload.len() as u64);
    SampleEntry::Unknown(UnknownBox { box_type, box_size, payload })
}

/// How long a packet of Opus lasts, in ticks of 48 kHz (RFC 6716 section 3.1).
fn opus_ticks(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame_ticks = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let ticks = frame_ticks * frames;
    (1..=OPUS_TICKS_MAX).contains(&ticks).then_some(ticks)
}

/// Access units of a payload of RFC 3640, mode `AAC-hbr`: 13 bits of size and 3 of index each, whole units only.
fn aac_frames(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (header_bits, rest) = payload.split_first_chunk()?;
    let header_bytes = usize::from(u16::from_be_bytes(*header_bits)) / 8;
    let (headers, mut data) = rest.split_at_checked(header_bytes)?;
    let (headers, left) = headers.as_chunks::<2>();
    if headers.is_empty() || !left.is_empty() {
        return None;
    }
    let mut frames = Vec::with_capacity(headers.len());
    for header in headers {
        let header = u16::from_be_bytes(*header);
        // Interleaving is not understood: indexes count up by one.
        if header & 7 != 0 || header >> 3 == 0 {
            return None;
        }
        let (frame, after) = data.split_at_checked(usize::from(header >> 3))?;
        frames.push(frame);
        data = after;
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_lasts_as_its_first_bytes_say() {
        assert_eq!(opus_ticks(&[]), None);
        for (packet, lasts) in OPUS_SILENCE {
            assert_eq!(opus_ticks(&packet), Some(lasts));
        }
        assert_eq!(opus_ticks(&[0x80]), Some(120), "2.5 ms");
        assert_eq!(opus_ticks(&[0x18]), Some(2880), "60 ms");
        assert_eq!(opus_ticks(&[0x79, 0]), Some(1920), "two of 20 ms");
        assert_eq!(opus_ticks(&[0xfb, 6]), Some(5760));
        assert_eq!(opus_ticks(&[0xfb, 7]), None, "longer than 120 ms");
        assert_eq!(opus_ticks(&[0xfb, 0]), None, "nothing");
        assert_eq!(opus_ticks(&[0xfb]), None, "cut");
    }

    #[test]
    fn aac_is_cut_where_its_headers_say() {
        let payload = [0, 32, 0, 2 << 3, 0, 1 << 3, 1, 2, 3];
        assert_eq!(aac_frames(&payload), Some(vec![&[1, 2][..], &[3][..]]));
        assert_eq!(aac_frames(&payload[..8]), None, "cut");
        assert_eq!(aac_frames(&[0, 0, 1]), None, "no header");
        assert_eq!(aac_frames(&[0, 16, 0, 9, 1]), None, "interleaved");
    }

    #[test]
    fn codecs_that_cannot_be_are_refused() {
        for codec in [
            Codec::Opus { channels: 3 },
            Codec::L16 { rate_hz: 96_000, channels: 1 },
            Codec::L16 { rate_hz: 16_000, channels: 0 },
            Codec::Aac { config: vec![] },
            Codec::Aac { config: vec![0xff; 4] },
        ] {
            assert!(Sound::new(&codec).is_err(), "{codec:?}");
        }
    }
}
