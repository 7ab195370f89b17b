//! Fragmented MP4 (ISO/IEC 14496-12 section 8.8): a header that names the tracks, then fragments, each with all that is
//! needed to read it. A file that ends anywhere plays up to its last whole fragment.

use shiguredo_mp4::boxes::{
    Brand, DinfBox, FtypBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader, MfhdBox, MinfBox, MoofBox, MoovBox,
    MvexBox, MvhdBox, SampleEntry, SmhdBox, StblBox, StcoBox, StscBox, StsdBox, StszBox, SttsBox, TfdtBox,
    TfhdBox, TkhdBox, TrafBox, TrakBox, TrexBox, TrunBox, TrunSample, VmhdBox,
};
use shiguredo_mp4::{Either, Encode, FixedPointNumber, LanguageCode, Mp4FileTime, SampleFlags, Utf8String};
use std::num::NonZeroU32;
use std::time::Duration;

/// sample_depends_on 2: on none (section 8.8.3.1).
const KEY_FRAME: SampleFlags = SampleFlags::new(0x0200_0000);
/// sample_depends_on 1, sample_is_non_sync_sample.
const OTHER_FRAME: SampleFlags = SampleFlags::new(0x0101_0000);
const MDAT_HEADER_BYTES: usize = 8;

/// A track in a header.
pub(crate) struct HeaderTrack<'a> {
    pub(crate) id: u32,
    pub(crate) name: &'a str,
    pub(crate) hz: u32,
    pub(crate) entry: &'a SampleEntry,
    /// Width and height of pictures; none: it is sound.
    pub(crate) size: Option<(u16, u16)>,
}

/// A sample in a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) duration: u32,
    pub(crate) bytes: u32,
    pub(crate) key_frame: bool,
    /// From when it is decoded to when it is shown, in ticks.
    pub(crate) composition_offset: i32,
}

/// A track in a fragment.
pub(crate) struct FragmentTrack {
    pub(crate) id: u32,
    pub(crate) start: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) data: Vec<u8>,
}

/// `ftyp` and `moov`.
pub(crate) fn header(created: Duration, tracks: &[HeaderTrack<'_>]) -> Vec<u8> {
    let ftyp = FtypBox {
        major_brand: Brand::ISO6,
        minor_version: 0,
        compatible_brands: vec![Brand::ISO6, Brand::ISO5, Brand::ISOM, Brand::MP41],
    };
    let created = Mp4FileTime::from_unix_time(created);
    let trex = |track: &HeaderTrack<'_>| TrexBox {
        track_id: track.id,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: SampleFlags::empty(),
    };
    let moov = MoovBox {
        mvhd_box: MvhdBox {
            creation_time: created,
            modification_time: created,
            timescale: NonZeroU32::MIN.saturating_add(999),
            duration: 0,
            rate: MvhdBox::DEFAULT_RATE,
            volume: MvhdBox::DEFAULT_VOLUME,
            matrix: MvhdBox::DEFAULT_MATRIX,
            next_track_id: tracks.iter().map(|track| track.id).max().unwrap_or(0) + 1,
        },
        trak_boxes: tracks.iter().map(|track| trak(created, track)).collect(),
        mvex_box: Some(MvexBox {
            mehd_box: None,
            trex_boxes: tracks.iter().map(trex).collect(),
            unknown_boxes: Vec::new(),
        }),
        unknown_boxes: Vec::new(),
    };
    let mut bytes = encode(&ftyp);
    bytes.extend_from_slice(&encode(&moov));
    bytes
}

fn trak(created: Mp4FileTime, track: &HeaderTrack<'_>) -> TrakBox {
    let (width, height) = track.size.unwrap_or((0, 0));
    let pixels = |pixels: u16| FixedPointNumber::new(i16::try_from(pixels).unwrap_or(i16::MAX), 0);
    let name = Utf8String::new(&track.name.replace('\0', " "));
    TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: created,
            modification_time: created,
            track_id: track.id,
            duration: 0,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume: match track.size {
                Some(_) => TkhdBox::DEFAULT_VIDEO_VOLUME,
                None => TkhdBox::DEFAULT_AUDIO_VOLUME,
            },
            matrix: TkhdBox::DEFAULT_MATRIX,
            width: pixels(width),
            height: pixels(height),
        },
        edts_box: None,
        mdia_box: MdiaBox {
            mdhd_box: MdhdBox {
                creation_time: created,
                modification_time: created,
                timescale: NonZeroU32::new(track.hz).unwrap_or(NonZeroU32::MIN),
                duration: 0,
                language: LanguageCode::UNDEFINED,
            },
            hdlr_box: HdlrBox {
                handler_type: match track.size {
                    Some(_) => HdlrBox::HANDLER_TYPE_VIDE,
                    None => HdlrBox::HANDLER_TYPE_SOUN,
                },
                name: name.map(Utf8String::into_null_terminated_bytes).unwrap_or_else(|| vec![0]),
            },
            minf_box: minf(track),
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    }
}

/// The tables are empty: fragments have the samples.
fn minf(track: &HeaderTrack<'_>) -> MinfBox {
    let media_header = match track.size {
        Some(_) => MediaHeader::Vmhd(VmhdBox {
            graphicsmode: VmhdBox::DEFAULT_GRAPHICSMODE,
            opcolor: VmhdBox::DEFAULT_OPCOLOR,
        }),
        None => MediaHeader::Smhd(SmhdBox { balance: SmhdBox::DEFAULT_BALANCE }),
    };
    MinfBox {
        media_header: Some(media_header),
        dinf_box: DinfBox::LOCAL_FILE,
        stbl_box: StblBox {
            stsd_box: StsdBox { entries: vec![track.entry.clone()] },
            stts_box: SttsBox { entries: Vec::new() },
            ctts_box: None,
            cslg_box: None,
            stsc_box: StscBox { entries: Vec::new() },
            stsz_box: StszBox::Variable { entry_sizes: Vec::new() },
            stco_or_co64_box: Either::A(StcoBox { chunk_offsets: Vec::new() }),
            stss_box: None,
            sdtp_box: None,
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    }
}

/// `moof` and `mdat`.
pub(crate) fn fragment(sequence: u32, tracks: &[FragmentTrack]) -> Vec<u8> {
    // Offsets are of a fixed size, so that what they count from is known before they are.
    let moof_bytes = encode(&moof(sequence, tracks, 0)).len();
    let mut bytes = encode(&moof(sequence, tracks, moof_bytes + MDAT_HEADER_BYTES));
    assert_eq!(bytes.len(), moof_bytes, "a moof's length does not depend on its offsets");
    let data_bytes: usize = tracks.iter().map(|track| track.data.len()).sum();
    bytes.reserve(MDAT_HEADER_BYTES + data_bytes);
    bytes.extend_from_slice(&((MDAT_HEADER_BYTES + data_bytes) as u32).to_be_bytes());
    bytes.extend_from_slice(b"mdat");
    for track in tracks {
        bytes.extend_from_slice(&track.data);
    }
    bytes
}

fn moof(sequence: u32, tracks: &[FragmentTrack], data_offset: usize) -> MoofBox {
    let mut offset = data_offset;
    let traf_boxes = tracks.iter().map(|track| {
        let traf = traf(track, offset as i32);
        offset += track.data.len();
        traf
    });
    MoofBox {
        mfhd_box: MfhdBox { sequence_number: sequence },
        traf_boxes: traf_boxes.collect(),
        unknown_boxes: Vec::new(),
    }
}

fn traf(track: &FragmentTrack, data_offset: i32) -> TrafBox {
    let samples = &track.samples;
    // What all samples have in common is said once.
    let duration = same(samples, |sample| sample.duration);
    let bytes = same(samples, |sample| sample.bytes);
    let flags = |sample: &Sample| if sample.key_frame { KEY_FRAME } else { OTHER_FRAME };
    let flags_of_all = same(samples, flags);
    let shifted = samples.iter().any(|sample| sample.composition_offset != 0);
    let sample = |sample: &Sample| TrunSample {
        duration: duration.is_none().then_some(sample.duration),
        size: bytes.is_none().then_some(sample.bytes),
        flags: flags_of_all.is_none().then_some(flags(sample)),
        composition_time_offset: shifted.then_some(sample.composition_offset.into()),
    };
    TrafBox {
        tfhd_box: TfhdBox {
            track_id: track.id,
            base_data_offset: None,
            sample_description_index: None,
            default_sample_duration: duration,
            default_sample_size: bytes,
            default_sample_flags: flags_of_all,
            duration_is_empty: false,
            default_base_is_moof: true,
        },
        tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: track.start }),
        trun_boxes: vec![TrunBox {
            data_offset: Some(data_offset),
            first_sample_flags: None,
            samples: samples.iter().map(sample).collect(),
        }],
        unknown_boxes: Vec::new(),
    }
}

fn same<T: PartialEq>(samples: &[Sample], value: impl Fn(&Sample) -> T) -> Option<T> {
    let first = value(samples.first()?);
    samples.iter().all(|sample| value(sample) == first).then_some(first)
}

/// Bytes of a box.
///
/// # Panics
/// When the box cannot be: whoever made it did it wrong.
pub(crate) fn encode(of: &impl Encode) -> Vec<u8> {
    match of.encode_to_vec() {
        Ok(bytes) => bytes,
        Err(error) => panic!("a box that cannot be written: {error}"),
    }
}
