//! Pictures: access units to samples of a file, and what a file's header says of them.

use crate::config::{Codec, ParameterChange};
use crate::stats::DropReason;
use motet_rtp::payload::nal_units;
use shiguredo_mp4::bitstream::h264::LengthSize;
use shiguredo_mp4::bitstream::h264::{H264SampleEntryConfig, build_avc1_box};
use shiguredo_mp4::bitstream::h265::{
    H265ConstantFrameRate, H265SampleEntryConfig, build_hev1_box, build_hvc1_box,
};
use shiguredo_mp4::bitstream::vp8::{Vp8SampleEntryConfig, build_vp08_box, parse_frame_header};
use shiguredo_mp4::boxes::{SampleEntry, UnknownBox};
use shiguredo_mp4::{BoxSize, BoxType};

/// Parameter sets of one kind at most, and bytes of one at most.
const SETS_MAX: usize = 31;
const SET_BYTES_MAX: usize = 4096;

/// What a file's header says of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PictureEntry {
    pub(crate) entry: SampleEntry,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// Pictures of one track.
#[derive(Clone, Debug)]
pub(crate) struct Pictures {
    kind: Kind,
    in_band: bool,
    sets: Sets,
    /// Of the last key frame, with the sets that it was made of.
    entry: Option<(Sets, PictureEntry)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    H264,
    H265,
    Vp8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sets {
    vps: Vec<Vec<u8>>,
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

/// What becomes of a NAL unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Vps,
    Sps,
    Pps,
    /// Delimiters and filler: files do without.
    Needless,
    Other,
}

impl Pictures {
    /// None: the codec is of sound.
    pub(crate) fn new(codec: &Codec, change: ParameterChange, parameter_sets: &[u8]) -> Option<Pictures> {
        let kind = match codec {
            Codec::H264 => Kind::H264,
            Codec::H265 => Kind::H265,
            Codec::Vp8 => Kind::Vp8,
            _ => return None,
        };
        let in_band = kind == Kind::Vp8 || change == ParameterChange::InBand;
        let mut pictures = Pictures { kind, in_band, sets: Sets::default(), entry: None };
        if kind != Kind::Vp8 && !parameter_sets.is_empty() {
            // What is wrong with them shows when pictures need them.
            let _ = pictures.note_sets(parameter_sets, true);
        }
        Some(pictures)
    }

    /// What a file's header says of the pictures that come now; none: that is not known yet.
    pub(crate) fn entry(&self) -> Option<&PictureEntry> {
        self.entry.as_ref().map(|(_, entry)| entry)
    }

    /// Whether pictures with another entry need another file.
    pub(crate) fn entry_binds(&self) -> bool {
        !self.in_band
    }

    /// Reads what a picture says about itself and those after it.
    pub(crate) fn note(&mut self, unit: &[u8], key_frame: bool) -> Result<(), DropReason> {
        match self.kind {
            Kind::H264 | Kind::H265 => self.note_sets(unit, key_frame),
            Kind::Vp8 if key_frame => self.note_vp8(unit),
            Kind::Vp8 => Ok(()),
        }
    }

    /// Appends a picture as a sample.
    pub(crate) fn write(&self, unit: &[u8], out: &mut Vec<u8>) {
        if self.kind == Kind::Vp8 {
            return out.extend_from_slice(unit);
        }
        for nal in nal_units(unit) {
            let kept = match part(self.kind, nal) {
                Part::Vps | Part::Sps | Part::Pps => self.in_band,
                Part::Needless => false,
                Part::Other => true,
            };
            if kept {
                out.extend_from_slice(&(nal.len() as u32).to_be_bytes());
                out.extend_from_slice(nal);
            }
        }
    }

    fn note_sets(&mut self, unit: &[u8], key_frame: bool) -> Result<(), DropReason> {
        let sets = self.sets.with(Sets::of(self.kind, unit)?);
        if key_frame && self.entry.as_ref().is_none_or(|(of, _)| *of != sets) {
            let entry = self.build(&sets).ok_or(DropReason::ParameterSets)?;
            self.entry = Some((sets.clone(), entry));
        }
        self.sets = sets;
        Ok(())
    }

    fn note_vp8(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let header = parse_frame_header(frame).map_err(|_| DropReason::ParameterSets)?;
        let key = header.keyframe.filter(|key| key.width > 0 && key.height > 0);
        let key = key.ok_or(DropReason::ParameterSets)?;
        let entry = build_vp08_box(&Vp8SampleEntryConfig {
            video_full_range_flag: false,
            colour_primaries: Vp8SampleEntryConfig::COLOUR_PRIMARIES_BT601,
            transfer_characteristics: Vp8SampleEntryConfig::TRANSFER_CHARACTERISTICS_BT601,
            matrix_coefficients: Vp8SampleEntryConfig::MATRIX_COEFFICIENTS_BT601,
            width: key.width,
            height: key.height,
        });
        let (width, height) = (key.width, key.height);
        let entry = PictureEntry { entry: SampleEntry::Vp08(entry), width, height };
        self.entry = Some((Sets::default(), entry));
        Ok(())
    }

    fn build(&self, sets: &Sets) -> Option<PictureEntry> {
        let Sets { vps, sps, pps } = sets;
        let length_size = LengthSize::FourBytes;
        let entry = match (self.kind, self.in_band) {
            (Kind::Vp8, _) => return None,
            (Kind::H264, _) => {
                SampleEntry::Avc1(build_avc1_box(sps, pps, &H264SampleEntryConfig { length_size }).ok()?)
            }
            (Kind::H265, in_band) => {
                let config = H265SampleEntryConfig {
                    length_size,
                    avg_frame_rate: H265SampleEntryConfig::AVG_FRAME_RATE_UNSPECIFIED,
                    constant_frame_rate: H265ConstantFrameRate::Unknown,
                };
                match in_band {
                    true => SampleEntry::Hev1(build_hev1_box(vps, sps, pps, &config).ok()?),
                    false => SampleEntry::Hvc1(build_hvc1_box(vps, sps, pps, &config).ok()?),
                }
            }
        };
        let (width, height) = entry.video_resolution()?;
        let entry = if self.in_band && self.kind == Kind::H264 { renamed(&entry, *b"avc3") } else { entry };
        Some(PictureEntry { entry, width, height })
    }
}

impl Sets {
    fn of(kind: Kind, unit: &[u8]) -> Result<Sets, DropReason> {
        let mut sets = Sets::default();
        for nal in nal_units(unit) {
            let list = match part(kind, nal) {
                Part::Vps => &mut sets.vps,
                Part::Sps => &mut sets.sps,
                Part::Pps => &mut sets.pps,
                Part::Needless | Part::Other => continue,
            };
            if list.iter().any(|known| known == nal) {
                continue;
            }
            if list.len() == SETS_MAX || nal.len() > SET_BYTES_MAX {
                return Err(DropReason::ParameterSets);
            }
            list.push(nal.to_vec());
        }
        Ok(sets)
    }

    /// Those of a unit come in place of those before: senders repeat them together.
    fn with(&self, newer: Sets) -> Sets {
        let choose = |newer: Vec<Vec<u8>>, older: &Vec<Vec<u8>>| {
            if newer.is_empty() { older.clone() } else { newer }
        };
        Sets {
            vps: choose(newer.vps, &self.vps),
            sps: choose(newer.sps, &self.sps),
            pps: choose(newer.pps, &self.pps),
        }
    }
}

/// What a NAL unit is (H.264 table 7-1, H.265 table 7-1). None is empty.
fn part(kind: Kind, nal: &[u8]) -> Part {
    let header = nal.first().copied().unwrap_or(0);
    match kind {
        Kind::H264 => match header & 0x1f {
            7 => Part::Sps,
            8 => Part::Pps,
            9 | 12 => Part::Needless,
            _ => Part::Other,
        },
        Kind::H265 => match header >> 1 & 0x3f {
            32 => Part::Vps,
            33 => Part::Sps,
            34 => Part::Pps,
            35 | 38 => Part::Needless,
            _ => Part::Other,
        },
        Kind::Vp8 => Part::Other,
    }
}

/// The same entry under another name: `avc3` is an `avc1` whose sets may be among the pictures.
fn renamed(entry: &SampleEntry, name: [u8; 4]) -> SampleEntry {
    let payload = crate::mp4::encode(entry).split_off(8);
    let box_type = BoxType::Normal(name);
    let box_size = BoxSize::with_payload_size(box_type, payload.len() as u64);
    SampleEntry::Unknown(UnknownBox { box_type, box_size, payload })
}
