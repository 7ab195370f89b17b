//! Frames between the node and a process for canvases: a length, a kind, and that many bytes. Both ends are of one
//! program, so that there are no versions; lengths are checked, since the other end may have gone wrong.

use crate::exchange::{PARCEL_BYTES, Parcel, RUNS_MAX, Run};
use crate::handover::{decode, encode};
use motet_codecs::video::{Frame, FramePool, Picture, PictureSize};
use motet_relay::PortId;
use motet_rtp::Time;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// Of one frame: a still of 4096 by 4096 fits.
const BYTES_MAX: usize = 64 << 20;
/// Length and kind.
const HEAD: usize = 5;
/// Bytes of a run before its parcel's.
const RUN: usize = 28;
/// Sides of a picture at most.
const SIDE_MAX: u32 = 16_384;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, which says what it is.
    Word,
    /// A parcel.
    Parcel,
    /// A picture with a number.
    Picture,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Word, Kind::Parcel, Kind::Picture];
}

/// A frame that came.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

impl Came {
    /// Waits for the next frame.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Came> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = Kind::ALL.get(usize::from(head[4])).copied();
        let (Some(kind), true) = (kind, length <= BYTES_MAX) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no frame begins with {head:?}")));
        };
        let mut bytes = Vec::with_capacity(length);
        from.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Came { kind, bytes })
    }

    /// The word that it holds.
    pub(super) fn word<T: for<'a> Deserialize<'a>>(&self) -> Result<T, String> {
        decode("a word between the node and its canvases", &self.bytes)
    }

    /// The parcel that it holds.
    pub(super) fn parcel(&self) -> Option<Packets<'_>> {
        Packets::read(&self.bytes)
    }

    /// The picture that it holds, and its number.
    pub(super) fn picture(&self) -> Option<(u64, Frame)> {
        read_picture(&self.bytes)
    }
}

/// Makes a frame of a word, in place of what `to` held.
pub(super) fn put_word<T: Serialize>(to: &mut Vec<u8>, word: &T) -> Result<(), String> {
    let word = encode(word)?;
    begin(to, Kind::Word);
    to.extend_from_slice(&word);
    end(to);
    Ok(())
}

/// Makes a frame of a parcel, in place of what `to` held. `station` is whom it comes from or goes to: the other one
/// is the canvas thread.
pub(super) fn put_parcel(to: &mut Vec<u8>, station: usize, parcel: &Parcel) {
    begin(to, Kind::Parcel);
    to.extend_from_slice(&(station as u32).to_le_bytes());
    to.extend_from_slice(&(parcel.runs.len() as u32).to_le_bytes());
    for run in &parcel.runs {
        for number in [run.from.0, run.to.0, run.offset, run.len, run.segment_bytes] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&run.at.as_nanos().to_le_bytes());
    }
    to.extend_from_slice(&parcel.bytes);
    end(to);
}

/// Makes a frame of a picture, in place of what `to` held.
pub(super) fn put_picture(to: &mut Vec<u8>, number: u64, picture: &Picture<'_>) {
    begin(to, Kind::Picture);
    to.extend_from_slice(&number.to_le_bytes());
    for side in [picture.size().width, picture.size().height] {
        to.extend_from_slice(&side.to_le_bytes());
    }
    for line in picture.planes().iter().flat_map(|plane| plane.lines()) {
        to.extend_from_slice(line);
    }
    end(to);
}

fn begin(to: &mut Vec<u8>, kind: Kind) {
    to.clear();
    to.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
}

fn end(to: &mut [u8]) {
    let length = (to.len() - HEAD) as u32;
    to[..4].copy_from_slice(&length.to_le_bytes());
}

/// A parcel as it came.
#[derive(Debug)]
pub(super) struct Packets<'a> {
    /// The station at the other end.
    pub(super) station: usize,
    runs: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Packets<'a> {
    fn read(bytes: &'a [u8]) -> Option<Packets<'a>> {
        let (station, rest) = number(bytes)?;
        let (count, rest) = number(rest)?;
        if count as usize > RUNS_MAX {
            return None;
        }
        let (runs, bytes) = rest.split_at_checked(count as usize * RUN)?;
        let packets = Packets { station: station as usize, runs, bytes };
        // Nothing is looked at of what is not whole.
        let whole = |run: &Run| {
            let end = u64::from(run.offset) + u64::from(run.len);
            run.segment_bytes > 0 && run.len > 0 && end <= bytes.len() as u64
        };
        let fits = bytes.len() <= PARCEL_BYTES && packets.runs().all(|run| whole(&run));
        fits.then_some(packets)
    }

    /// What it holds, in the order in which it was sent.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> + use<'a> {
        self.runs.chunks_exact(RUN).map(|run| {
            let part = |at: usize| u32::from_le_bytes([run[at], run[at + 1], run[at + 2], run[at + 3]]);
            Run {
                from: PortId(part(0)),
                to: PortId(part(4)),
                offset: part(8),
                len: part(12),
                segment_bytes: part(16),
                at: Time::from_nanos(u64::from(part(20)) | u64::from(part(24)) << 32),
            }
        })
    }

    /// The datagrams of a run, one after another.
    pub(super) fn bytes(&self, run: &Run) -> &'a [u8] {
        &self.bytes[run.offset as usize..][..run.len as usize]
    }

    /// Number of datagrams.
    pub(super) fn datagrams(&self) -> u64 {
        self.runs().map(|run| run.datagrams()).sum()
    }
}

fn read_picture(bytes: &[u8]) -> Option<(u64, Frame)> {
    let (name, rest) = bytes.split_first_chunk()?;
    let (width, rest) = number(rest)?;
    let (height, mut rest) = number(rest)?;
    let sides = 1..=SIDE_MAX;
    if !sides.contains(&width) || !sides.contains(&height) {
        return None;
    }
    let (pixels, colours) = (width * height, width.div_ceil(2) * height.div_ceil(2));
    // No memory is taken for what is not there.
    if rest.len() as u32 != pixels + 2 * colours {
        return None;
    }
    let mut frame = FramePool::new(1).take(PictureSize::new(width, height));
    for plane in 0..3 {
        for line in frame.plane_mut(plane).lines() {
            let from;
            (from, rest) = rest.split_at_checked(line.len())?;
            line.copy_from_slice(from);
        }
    }
    Some((u64::from_le_bytes(*name), frame))
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Desk, Exchange};
    use crate::plan::TrunkEnd;

    fn frame(bytes: &[u8]) -> Came {
        Came::read(&mut &*bytes).expect("a frame")
    }

    /// A parcel of three runs, as a worker makes it.
    fn parcel() -> Parcel {
        let exchange = Exchange::new(2);
        let mut from = Desk::new(0, exchange.clone());
        let end = TrunkEnd { port: PortId(7), worker: 1, peer: PortId(70) };
        for (size, datagrams, at) in [(100, 3, 5), (60, 1, 5), (40, 2, u64::MAX)] {
            from.begin(Time::from_nanos(at));
            from.pack(end, &[], &vec![size as u8; size * datagrams], size as u32);
        }
        from.flush();
        Desk::new(1, exchange).take_unopened().expect("it came")
    }

    #[test]
    fn parcels_and_pictures_come_as_they_were() {
        let (parcel, mut bytes) = (parcel(), Vec::new());
        put_parcel(&mut bytes, 3, &parcel);
        let came = frame(&bytes);
        let packets = came.parcel().expect("a parcel");
        assert_eq!((packets.station, packets.datagrams()), (3, 6));
        assert!(packets.runs().eq(parcel.runs.iter().copied()));
        for run in packets.runs() {
            assert_eq!(packets.bytes(&run), &parcel.bytes[run.offset as usize..][..run.len as usize]);
        }
        let mut picture = FramePool::new(1).take(PictureSize::new(7, 5));
        picture.fill([1, 2, 3]);
        put_picture(&mut bytes, 9, &picture.picture());
        let (number, other) = frame(&bytes).picture().expect("a picture");
        assert_eq!((number, other.size()), (9, picture.size()));
        assert_eq!(other.picture().psnr_db(&picture.picture()), 100.0);
    }

    #[test]
    fn what_is_cut_or_changed_is_no_parcel_and_no_picture_or_a_whole_one() {
        let (parcel, mut parcels, mut pictures) = (parcel(), Vec::new(), Vec::new());
        put_parcel(&mut parcels, 3, &parcel);
        put_picture(&mut pictures, 9, &FramePool::new(1).take(PictureSize::new(7, 5)).picture());
        let look = |bytes: &[u8]| {
            let packets = Packets::read(bytes);
            let read = packets.map(|packets| packets.runs().map(|run| packets.bytes(&run).len()).sum());
            (read.unwrap_or(0), read_picture(bytes).is_some())
        };
        for whole in [&parcels[HEAD..], &pictures[HEAD..]] {
            for cut in 0..whole.len() {
                look(&whole[..cut]);
            }
            for at in 0..whole.len().min(120) {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut bytes = whole.to_vec();
                    bytes[at] = value;
                    let _: (usize, bool) = look(&bytes);
                }
            }
        }
        assert!(read_picture(&pictures[HEAD..pictures.len() - 1]).is_none());
    }

    #[test]
    fn a_frame_that_is_too_long_or_of_no_kind_is_refused_before_it_is_read() {
        for head in [[255, 255, 255, 255, 0], [1, 0, 0, 0, 3]] {
            let error = Came::read(&mut &head[..]).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let error = Came::read(&mut &[2, 0, 0, 0, 0, 1][..]).expect_err("cut");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
