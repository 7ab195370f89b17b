//! One source: its packets, its decoder, and its picture in every size in which it is seen.

use super::canvas::{bars, draw_cell};
use super::label::Name;
use super::measure::{Measure, SourceShape};
use super::{Fit, Layer, PixelRect, Scaler, SourceConfig, SourceId, SourceLook, VideoMixError, VideoStats};
use motet_codecs::video::{
    Frame, FramePool, Picture, PictureSize, VideoCodec, VideoCodecName, VideoDecoder, VideoError,
};
use motet_rtp::payload::{Depacketizer, PayloadFormat, PicturePacket, parameter_sets};
use motet_rtp::{RtpView, Time};
use std::time::Duration;

/// How long a missing packet is waited for.
const WAIT: Duration = Duration::from_millis(60);
/// A sender is asked for a key frame so often at most.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// Who has sent nothing for so long has no picture.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// A size that was not seen for so many looks is forgotten.
const LOOKS_KEPT: u64 = 30;
/// No smaller picture is encoded.
const SIDE_MIN: u32 = 16;

pub(super) struct Source {
    pub(super) id: SourceId,
    pub(super) ssrc: u32,
    codecs: Vec<(u8, VideoCodec)>,
    /// With the payload type that comes; none before the first packet.
    receiving: Option<Receiving>,
    /// Goes up with each picture; 0: there is none.
    pub(super) version: u64,
    /// The cells in which it is seen, each as often as there are of it.
    cells: Vec<(PictureSize, Fit)>,
    /// Nothing can be decoded until a key frame comes.
    cold: bool,
    /// A key frame is to be asked for, and when it was last.
    wants_key: bool,
    asked: Option<Time>,
    tiles: Vec<Tile>,
    pub(super) name: Name,
    pub(super) look: SourceLook,
    pub(super) content: bool,
    /// It is a copy of another one.
    pub(super) layer: Option<Layer>,
    /// When its last packet came, and that this is too long ago.
    heard: Option<Time>,
    silent: bool,
    /// None: nobody asks.
    measure: Option<Measure>,
}

struct Receiving {
    payload_type: u8,
    depacketizer: Depacketizer,
    decoder: Box<dyn VideoDecoder>,
}

/// The picture in one size.
struct Tile {
    cell: PictureSize,
    fit: Fit,
    looked_at: u64,
    scaler: Scaler,
    /// The picture of this version, if several cells have it.
    kept: Option<(u64, Frame)>,
}

impl Source {
    pub(super) fn new(config: SourceConfig) -> Result<Source, VideoMixError> {
        if config.codecs.is_empty() {
            return Err(VideoMixError::NoCodec);
        }
        for (_, codec) in &config.codecs {
            drop(codec.decoder().map_err(VideoMixError::Codec)?);
        }
        let SourceConfig { id, ssrc, codecs, name, look, content, layer } = config;
        Ok(Source {
            id,
            ssrc,
            codecs,
            receiving: None,
            version: 0,
            cells: Vec::new(),
            cold: true,
            wants_key: false,
            asked: None,
            tiles: Vec::new(),
            name: Name::new(&name),
            look,
            content,
            layer,
            heard: None,
            silent: false,
            measure: None,
        })
    }

    /// Takes a packet in; false: nobody knows its payload type.
    pub(super) fn handle_packet(&mut self, now: Time, packet: &RtpView<'_>, stats: &mut VideoStats) -> bool {
        let payload_type = packet.payload_type();
        if self.receiving.as_ref().is_none_or(|receiving| receiving.payload_type != payload_type) {
            let known = self.codecs.iter().find(|(known, _)| *known == payload_type);
            let Some(begun) = known.and_then(|(_, codec)| receiving(payload_type, codec)) else {
                return false;
            };
            self.receiving = Some(begun);
            self.cold = true;
        }
        let Some(receiving) = &mut self.receiving else { return false };
        (self.heard, self.silent) = (Some(now), false);
        let packet = PicturePacket {
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            marker: packet.marker(),
            payload: packet.payload(),
        };
        receiving.depacketizer.handle_packet(now, &packet);
        self.decode(now, stats);
        true
    }

    /// Decodes what is there.
    pub(super) fn decode(&mut self, now: Time, stats: &mut VideoStats) {
        let Some(Receiving { depacketizer, decoder, .. }) = &mut self.receiving else { return };
        while let Some(unit) = depacketizer.poll_unit(now) {
            if let Some(measure) = &mut self.measure {
                measure.add(now, unit.bytes.len());
            }
            if self.cells.is_empty() {
                self.cold = true;
                let measure = self.measure.as_mut().filter(|_| unit.key_frame);
                match measure.map(|measure| (measure, decoder.decode(unit.bytes))) {
                    Some((measure, Ok(Some(decoded)))) => {
                        stats.decoded += 1;
                        measure.set_size(decoded.picture.size());
                    }
                    _ => stats.decodes_spared += 1,
                }
                continue;
            }
            if self.cold && !unit.key_frame {
                stats.undecoded += 1;
                self.wants_key = true;
                continue;
            }
            self.cold = false;
            self.wants_key = (self.wants_key && !unit.key_frame) || unit.missing > 0;
            match decoder.decode(unit.bytes) {
                Ok(Some(decoded)) => {
                    stats.decoded += 1;
                    stats.decoded_layers += u64::from(self.layer.is_some());
                    stats.concealed += u64::from(decoded.concealed);
                    self.wants_key |= decoded.concealed;
                    self.version += 1;
                    if let Some(measure) = &mut self.measure {
                        measure.set_size(decoded.picture.size());
                    }
                }
                Ok(None) => {
                    stats.decoded += 1;
                    stats.decoded_layers += u64::from(self.layer.is_some());
                }
                Err(VideoError::BadUnit { .. }) => {
                    stats.undecoded += 1;
                    self.wants_key = true;
                }
                // Another key frame would be of the same kind.
                Err(_) => stats.undecoded += 1,
            }
        }
    }

    /// Notices that nothing comes any more.
    pub(super) fn listen(&mut self, now: Time) {
        // A page of a document may stand for as long as it likes.
        self.silent = !self.content && self.heard.is_some_and(|heard| now.since(heard) >= SILENT_AFTER);
    }

    /// Whether it is somebody: neither content nor a copy.
    pub(super) fn is_person(&self) -> bool {
        !self.content && self.layer.is_none()
    }

    /// Whether packets come.
    pub(super) fn comes(&self) -> bool {
        self.heard.is_some() && !self.silent
    }

    /// Whether it is decoded and has a picture.
    pub(super) fn is_ready(&self) -> bool {
        !self.cells.is_empty() && !self.cold && self.version > 0 && !self.silent
    }

    /// The picture that is seen of it, as `version`; 0: there is none.
    pub(super) fn shown(&self) -> u64 {
        if self.look.off || self.silent { 0 } else { self.version }
    }

    /// Whether it is measured what it sends.
    pub(super) fn set_measured(&mut self, now: Time, measured: bool) {
        if measured != self.measure.is_some() {
            self.measure = measured.then(|| Measure::new(now));
        }
    }

    pub(super) fn shape(&self) -> Option<SourceShape> {
        self.measure.as_ref()?.shape()
    }

    /// The cells in which it is seen, each as often as there are of it; none: nobody sees it.
    pub(super) fn set_cells(&mut self, cells: Vec<(PictureSize, Fit)>) {
        self.wants_key |= !cells.is_empty() && self.cells.is_empty() && self.cold;
        self.cells = cells;
    }

    /// Whether its sender is to be asked for a key frame now.
    pub(super) fn poll_key_frame(&mut self, now: Time) -> bool {
        let due = self.asked.is_none_or(|asked| now.since(asked) >= ASK_INTERVAL);
        let asks = !self.cells.is_empty() && self.wants_key && due;
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// Draws the picture into a cell of a canvas, with bars around it where it does not fill that; false: there is none
    /// yet. `look` goes up with each canvas.
    pub(super) fn draw(
        &mut self,
        (rect, fit, background): (PixelRect, Fit, [u8; 3]),
        canvas: &mut Frame,
        (look, pool): (u64, &FramePool),
        stats: &mut VideoStats,
    ) -> bool {
        let cell = (rect.size(), fit);
        if self.cells.iter().filter(|seen| **seen == cell).count() > 1 {
            let tile = self.tile(cell, look, pool, stats);
            draw_cell(canvas, rect, tile, background);
            return tile.is_some();
        }
        // Nobody else has it in this size: it is made where it is seen.
        let Some((picture, tile)) = self.sized(cell, look) else {
            draw_cell(canvas, rect, None, background);
            return false;
        };
        tile.kept = None;
        let place = bars(canvas, rect, tile.scaler.to(), background);
        tile.scaler.scale_at(&picture, canvas, (place.left, place.top));
        stats.scaled += 1;
        true
    }

    /// The picture for a cell, kept for others; none: there is none yet.
    fn tile(
        &mut self,
        cell: (PictureSize, Fit),
        look: u64,
        pool: &FramePool,
        stats: &mut VideoStats,
    ) -> Option<&Frame> {
        let version = self.version;
        let (picture, tile) = self.sized(cell, look)?;
        let to = tile.scaler.to();
        let kept = tile.kept.take().filter(|(_, frame)| frame.size() == to);
        let (held, mut frame) = kept.unwrap_or_else(|| (0, pool.take(to)));
        if held == version {
            stats.scales_shared += 1;
        } else {
            tile.scaler.scale(&picture, &mut frame);
            stats.scaled += 1;
        }
        Some(&tile.kept.insert((version, frame)).1)
    }

    /// The picture, and what brings it to the size for a cell; none: there is no picture yet.
    fn sized(&mut self, (cell, fit): (PictureSize, Fit), look: u64) -> Option<(Picture<'_>, &mut Tile)> {
        let picture = self.receiving.as_ref()?.decoder.picture()?;
        let (crop, to) = fitted(picture.size(), cell, fit);
        let scaler = || Scaler::new(picture.size(), crop, to);
        let known = self.tiles.iter().position(|tile| (tile.cell, tile.fit) == (cell, fit));
        let index = known.unwrap_or_else(|| {
            self.tiles.push(Tile { cell, fit, looked_at: look, scaler: scaler(), kept: None });
            self.tiles.len() - 1
        });
        let tile = &mut self.tiles[index];
        tile.looked_at = look;
        if !tile.scaler.fits(picture.size(), crop, to) {
            (tile.scaler, tile.kept) = (scaler(), None);
        }
        Some((picture, tile))
    }

    /// The picture as it was decoded; a smaller one if it is larger than `most`, or of a size that is not encoded.
    /// None: there is none yet.
    pub(super) fn within(
        &mut self,
        most: PictureSize,
        look: u64,
        pool: &FramePool,
        stats: &mut VideoStats,
    ) -> Option<Picture<'_>> {
        let size = self.receiving.as_ref()?.decoder.picture()?.size();
        let side = |side: u32, most: u32| (side.min(most) & !1).max(SIDE_MIN);
        let room = PictureSize::new(side(size.width, most.width), side(size.height, most.height));
        if room == size {
            return self.receiving.as_ref()?.decoder.picture();
        }
        self.tile((room, Fit::Letterbox), look, pool, stats).map(Frame::picture)
    }

    /// Forgets sizes that nobody has seen for a while. Who sends a picture now and then is looked at as rarely.
    pub(super) fn forget_tiles(&mut self, look: u64) {
        let cells = &self.cells;
        self.tiles
            .retain(|tile| cells.contains(&(tile.cell, tile.fit)) || look - tile.looked_at <= LOOKS_KEPT);
    }
}

fn receiving(payload_type: u8, codec: &VideoCodec) -> Option<Receiving> {
    let format = match codec.name {
        VideoCodecName::H264 => PayloadFormat::H264,
        VideoCodecName::H265 => PayloadFormat::H265,
        VideoCodecName::Vp8 => PayloadFormat::Vp8,
        _ => return None,
    };
    let depacketizer = Depacketizer::new(format, WAIT, parameter_sets(format, &codec.fmtp));
    Some(Receiving { payload_type, depacketizer, decoder: codec.decoder().ok()? })
}

/// Which part of a picture is seen in a cell, and in which size.
pub(super) fn fitted(picture: PictureSize, cell: PictureSize, fit: Fit) -> (PixelRect, PictureSize) {
    let whole = PixelRect { left: 0, top: 0, width: picture.width, height: picture.height };
    let [pw, ph, cw, ch] = [picture.width, picture.height, cell.width, cell.height].map(u64::from);
    // Whether the picture is wider than the cell.
    let wider = pw * ch > cw * ph;
    // Even, and never nothing.
    let side = |value: u64, max: u32| ((value as u32).next_multiple_of(2)).clamp(2, max.max(2));
    match fit {
        Fit::Letterbox if wider => (whole, PictureSize::new(cell.width, side(cw * ph / pw, cell.height))),
        Fit::Letterbox => (whole, PictureSize::new(side(ch * pw / ph, cell.width), cell.height)),
        Fit::Crop => {
            let (width, height) =
                if wider { ((cw * ph).div_ceil(ch), ph) } else { (pw, (pw * ch).div_ceil(cw)) };
            let (width, height) = (width.clamp(1, pw) as u32, height.clamp(1, ph) as u32);
            let middle = |whole: u32, part: u32| ((whole - part) / 2) & !1;
            let (left, top) = (middle(picture.width, width), middle(picture.height, height));
            (PixelRect { left, top, width, height }, cell)
        }
    }
}
