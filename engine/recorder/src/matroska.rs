//! Matroska (RFC 9559): a header that names the tracks, then clusters, each with all that is needed to read it. A file that
//! ends anywhere plays up to its last whole cluster: the segment's length is left open, and there is no index.
//!
//! Samples are those of `mp4.rs`, so that configurations of codecs are taken out of MP4's sample entries.

use crate::mp4::{FragmentTrack, HeaderTrack, encode};
use std::time::Duration;

const EBML: u32 = 0x1a45_dfa3;
const EBML_VERSION: u32 = 0x4286;
const EBML_READ_VERSION: u32 = 0x42f7;
const EBML_MAX_ID_LENGTH: u32 = 0x42f2;
const EBML_MAX_SIZE_LENGTH: u32 = 0x42f3;
const DOC_TYPE: u32 = 0x4282;
const DOC_TYPE_VERSION: u32 = 0x4287;
const DOC_TYPE_READ_VERSION: u32 = 0x4285;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const MUXING_APP: u32 = 0x4d80;
const WRITING_APP: u32 = 0x5741;
const DATE_UTC: u32 = 0x4461;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_UID: u32 = 0x73c5;
const TRACK_TYPE: u32 = 0x83;
const FLAG_LACING: u32 = 0x9c;
const NAME: u32 = 0x536e;
const LANGUAGE: u32 = 0x22_b59c;
const CODEC_ID: u32 = 0x86;
const CODEC_PRIVATE: u32 = 0x63a2;
const SEEK_PRE_ROLL: u32 = 0x56bb;
const VIDEO: u32 = 0xe0;
const PIXEL_WIDTH: u32 = 0xb0;
const PIXEL_HEIGHT: u32 = 0xba;
const AUDIO: u32 = 0xe1;
const SAMPLING_FREQUENCY: u32 = 0xb5;
const CHANNELS: u32 = 0x9f;
const BIT_DEPTH: u32 = 0x6264;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;

/// Of timestamps: a millisecond.
const TICK_NS: u64 = 1_000_000;
/// RFC 9559 section 5.1.3.5.2: a block's time is within 16 bits of its cluster's.
const CLUSTER_MS_MAX: i64 = 30_000;
/// From 1970 to 2001, where DateUTC begins.
const EPOCH_S: u64 = 978_307_200;
/// Before the children of a sample entry, with its own header (ISO/IEC 14496-12 sections 12.1.3 and 12.2.3).
const PICTURE_ENTRY_BYTES: usize = 86;
const SOUND_ENTRY_BYTES: usize = 36;
/// Numbers of G.711 in Microsoft's WAVEFORMATEX, which `A_MS/ACM` has.
const WAVE_A_LAW: u16 = 6;
const WAVE_MU_LAW: u16 = 7;

/// What comes before clusters.
pub(crate) fn header(created: Duration, tracks: &[HeaderTrack<'_>]) -> Vec<u8> {
    let mut ebml = Vec::new();
    for (id, value) in [
        (EBML_VERSION, 1),
        (EBML_READ_VERSION, 1),
        (EBML_MAX_ID_LENGTH, 4),
        (EBML_MAX_SIZE_LENGTH, 8),
        (DOC_TYPE_VERSION, 4),
        (DOC_TYPE_READ_VERSION, 2),
    ] {
        number(&mut ebml, id, value);
    }
    element(&mut ebml, DOC_TYPE, b"matroska");
    let mut info = Vec::new();
    number(&mut info, TIMESTAMP_SCALE, TICK_NS);
    let since_2001 = created.saturating_sub(Duration::from_secs(EPOCH_S)).as_nanos();
    element(&mut info, DATE_UTC, &(since_2001 as u64).to_be_bytes());
    for id in [MUXING_APP, WRITING_APP] {
        element(&mut info, id, b"motet");
    }
    let mut entries = Vec::new();
    for track in tracks {
        element(&mut entries, TRACK_ENTRY, &track_entry(track));
    }
    let mut bytes = Vec::new();
    element(&mut bytes, EBML, &ebml);
    // RFC 8794 section 6.2: all ones say that nobody knows how long it will be.
    write_id(&mut bytes, SEGMENT);
    bytes.extend_from_slice(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    element(&mut bytes, INFO, &info);
    element(&mut bytes, TRACKS, &entries);
    bytes
}

fn track_entry(track: &HeaderTrack<'_>) -> Vec<u8> {
    let entry = encode(track.entry);
    let (codec, private) = codec(&entry, track);
    let mut bytes = Vec::new();
    number(&mut bytes, TRACK_NUMBER, track.id.into());
    number(&mut bytes, TRACK_UID, track.id.into());
    number(&mut bytes, TRACK_TYPE, if track.size.is_some() { 1 } else { 2 });
    number(&mut bytes, FLAG_LACING, 0);
    element(&mut bytes, LANGUAGE, b"und");
    if !track.name.is_empty() {
        element(&mut bytes, NAME, track.name.replace('\0', " ").as_bytes());
    }
    element(&mut bytes, CODEC_ID, codec.as_bytes());
    if !private.is_empty() {
        element(&mut bytes, CODEC_PRIVATE, &private);
    }
    let mut details = Vec::new();
    match track.size {
        Some((width, height)) => {
            number(&mut details, PIXEL_WIDTH, width.into());
            number(&mut details, PIXEL_HEIGHT, height.into());
            element(&mut bytes, VIDEO, &details);
        }
        None => {
            if codec == "A_OPUS" {
                // RFC 7845 section 4.6: what a decoder needs to find its way.
                number(&mut bytes, SEEK_PRE_ROLL, 80_000_000);
            }
            element(&mut details, SAMPLING_FREQUENCY, &f64::from(track.hz).to_be_bytes());
            number(&mut details, CHANNELS, channels(&entry).into());
            if codec.starts_with("A_PCM") {
                number(&mut details, BIT_DEPTH, 16);
            }
            element(&mut bytes, AUDIO, &details);
        }
    }
    bytes
}

/// The codec's name, and what its decoder is told.
fn codec(entry: &[u8], track: &HeaderTrack<'_>) -> (&'static str, Vec<u8>) {
    let children = if track.size.is_some() { PICTURE_ENTRY_BYTES } else { SOUND_ENTRY_BYTES };
    let child = |name: &[u8; 4]| child(entry.get(children..).unwrap_or_default(), name);
    match entry.get(4..8).unwrap_or_default() {
        b"avc1" | b"avc3" => ("V_MPEG4/ISO/AVC", child(b"avcC").to_vec()),
        b"hvc1" | b"hev1" => ("V_MPEGH/ISO/HEVC", child(b"hvcC").to_vec()),
        b"vp08" => ("V_VP8", Vec::new()),
        b"Opus" => ("A_OPUS", opus_head(child(b"dOps"))),
        b"mp4a" => ("A_AAC", decoder_specific(child(b"esds")).to_vec()),
        b"ulaw" => ("A_MS/ACM", wave_format(WAVE_MU_LAW, track.hz)),
        b"alaw" => ("A_MS/ACM", wave_format(WAVE_A_LAW, track.hz)),
        b"twos" => ("A_PCM/INT/BIG", Vec::new()),
        other => unreachable!("no track has the entry {other:02x?}"),
    }
}

/// What is in the first of these boxes that has the name; nothing if there is none.
fn child<'a>(mut boxes: &'a [u8], name: &[u8; 4]) -> &'a [u8] {
    while let Some((size, _)) = boxes.split_first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        let Some((this, rest)) = boxes.split_at_checked(size).filter(|(this, _)| this.len() >= 8) else {
            break;
        };
        if this[4..8] == *name {
            return &this[8..];
        }
        boxes = rest;
    }
    &[]
}

/// The header of RFC 7845 section 5.1 from the box that says the same (Opus in ISOBMFF, section 4.3.2), in another order of
/// bytes.
fn opus_head(specific: &[u8]) -> Vec<u8> {
    let [_, channels, p0, p1, r0, r1, r2, r3, g0, g1, family, ..] = *specific else {
        unreachable!("an entry of Opus holds its details");
    };
    let mut head = b"OpusHead\x01".to_vec();
    head.extend_from_slice(&[channels, p1, p0, r3, r2, r1, r0, g1, g0, family]);
    head
}

/// The AudioSpecificConfig in an `esds` (ISO/IEC 14496-1 section 7.2.6).
fn decoder_specific(esds: &[u8]) -> &[u8] {
    let mut rest = esds.get(4..).unwrap_or_default();
    while let [tag, after @ ..] = rest {
        // The length is in groups of seven bits, the highest first.
        let end = after.iter().position(|byte| byte & 0x80 == 0).map_or(after.len(), |last| last + 1);
        let length = after[..end].iter().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let body = &after[end..];
        rest = match tag {
            // An ES_Descriptor without options, and a DecoderConfigDescriptor: what is wanted lies in them.
            0x03 => body.get(3..).unwrap_or_default(),
            0x04 => body.get(13..).unwrap_or_default(),
            0x05 => return body.get(..length).unwrap_or_default(),
            _ => body.get(length..).unwrap_or_default(),
        };
    }
    &[]
}

/// WAVEFORMATEX of one channel of 8 bits a sample.
fn wave_format(tag: u16, hz: u32) -> Vec<u8> {
    let mut format = Vec::new();
    format.extend_from_slice(&tag.to_le_bytes());
    format.extend_from_slice(&1_u16.to_le_bytes());
    format.extend_from_slice(&hz.to_le_bytes());
    format.extend_from_slice(&hz.to_le_bytes());
    for value in [1_u16, 8, 0] {
        format.extend_from_slice(&value.to_le_bytes());
    }
    format
}

fn channels(entry: &[u8]) -> u16 {
    // After the header of a box and of a sample entry come 8 bytes that say nothing.
    entry.get(24..26).and_then(|bytes| bytes.try_into().ok()).map_or(1, u16::from_be_bytes).max(1)
}

/// A block before it is written.
struct Block<'a> {
    track: u32,
    /// When it is decoded, and when it is seen or heard, in milliseconds.
    order_ms: i64,
    at_ms: i64,
    key_frame: bool,
    data: &'a [u8],
}

/// A cluster, or more where samples lie far apart. `hz` are the ticks of each track, by its number.
pub(crate) fn fragment(tracks: &[FragmentTrack], hz: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for track in tracks {
        let hz = i128::from(hz(track.id).max(1));
        let ms = |ticks: i128| ((ticks * 1000 + hz / 2).div_euclid(hz)) as i64;
        let (mut ticks, mut rest) = (i128::from(track.start), track.data.as_slice());
        for sample in &track.samples {
            let (data, after) = rest.split_at(sample.bytes as usize);
            let at_ms = ms(ticks + i128::from(sample.composition_offset)).max(0);
            let (order_ms, key_frame) = (ms(ticks), sample.key_frame);
            blocks.push(Block { track: track.id, order_ms, at_ms, key_frame, data });
            ticks += i128::from(sample.duration);
            rest = after;
        }
    }
    // Those of one track keep their order.
    blocks.sort_by_key(|block| block.order_ms);
    let mut bytes = Vec::new();
    let mut rest = blocks.as_slice();
    while let Some(first) = rest.first() {
        let near = |block: &Block<'_>| (block.at_ms - first.at_ms).abs() < CLUSTER_MS_MAX;
        let count = rest.iter().position(|block| !near(block)).unwrap_or(rest.len());
        let (these, others) = rest.split_at(count);
        element(&mut bytes, CLUSTER, &cluster(first.at_ms, these));
        rest = others;
    }
    bytes
}

fn cluster(begin_ms: i64, blocks: &[Block<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, TIMESTAMP, begin_ms as u64);
    for block in blocks {
        write_id(&mut bytes, SIMPLE_BLOCK);
        // A track's number has one byte up to 126, of which there are fewer.
        write_size(&mut bytes, 4 + block.data.len());
        bytes.push(0x80 | block.track as u8);
        bytes.extend_from_slice(&((block.at_ms - begin_ms) as i16).to_be_bytes());
        bytes.push(if block.key_frame { 0x80 } else { 0 });
        bytes.extend_from_slice(block.data);
    }
    bytes
}

fn number(to: &mut Vec<u8>, id: u32, value: u64) {
    let bytes = value.to_be_bytes();
    let first = (value.leading_zeros() as usize / 8).min(7);
    element(to, id, &bytes[first..]);
}

fn element(to: &mut Vec<u8>, id: u32, data: &[u8]) {
    write_id(to, id);
    write_size(to, data.len());
    to.extend_from_slice(data);
}

fn write_id(to: &mut Vec<u8>, id: u32) {
    let first = (id.leading_zeros() as usize / 8).min(3);
    to.extend_from_slice(&id.to_be_bytes()[first..]);
}

/// A length in as few bytes as it takes (RFC 8794 section 4).
fn write_size(to: &mut Vec<u8>, size: usize) {
    let size = size as u64;
    // All ones are kept for what nobody knows.
    let bytes = (1..8_u32).find(|bytes| size < (1 << (7 * bytes)) - 1).unwrap_or(8);
    let marked = size | 1 << (7 * bytes);
    to.extend_from_slice(&marked.to_be_bytes()[8 - bytes as usize..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_as_few_bytes_as_they_can() {
        for (size, expected) in [
            (0, &[0x80][..]),
            (126, &[0xfe]),
            (127, &[0x40, 0x7f]),
            (16_382, &[0x7f, 0xfe]),
            (16_383, &[0x20, 0x3f, 0xff]),
            (1 << 20, &[0x30, 0x00, 0x00]),
        ] {
            let mut bytes = Vec::new();
            write_size(&mut bytes, size);
            assert_eq!(bytes, expected, "{size}");
        }
    }

    #[test]
    fn the_configuration_of_aac_is_found() {
        let mut esds = vec![0; 4];
        // Lengths of more than one byte are usual.
        esds.extend_from_slice(&[3, 0x80, 0x80, 0x80, 25, 0, 1, 0, 4, 17]);
        esds.extend_from_slice(&[0x40; 13]);
        esds.extend_from_slice(&[5, 0x80, 2, 0x11, 0x88, 6, 1, 2]);
        assert_eq!(decoder_specific(&esds), [0x11, 0x88]);
        assert_eq!(decoder_specific(&[0, 0]), []);
    }

    #[test]
    fn samples_that_lie_far_apart_have_clusters_of_their_own() {
        let sample =
            |duration| crate::mp4::Sample { duration, bytes: 1, key_frame: true, composition_offset: 0 };
        let samples = vec![sample(1_000), sample(60_000), sample(1_000)];
        let track = FragmentTrack { id: 1, start: 5_000, samples, data: vec![7, 8, 9] };
        let bytes = fragment(&[track], |_| 1_000);
        let cluster = |bytes: &[u8]| bytes.windows(4).filter(|four| **four == CLUSTER.to_be_bytes()).count();
        assert_eq!(cluster(&bytes), 2);
    }
}
