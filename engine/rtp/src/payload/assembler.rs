//! Packets in their order, some missing, to access units.

use super::nal::{Fragment, NalCodec, NalPayload, aggregated};
use super::unit::Unit;
use super::{AccessUnit, PayloadDrop, PayloadFormat, vp8};
use crate::WireTimestamp;
use std::collections::VecDeque;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Assembler {
    format: PayloadFormat,
    /// Parameter sets of the session's description, used until others come in band.
    sets: Vec<u8>,
    sets_in_band: bool,
    open: Option<Unit>,
    /// At most two: a packet may end the unit before and be a whole one itself.
    ready: VecDeque<Unit>,
    shown: Unit,
    free: Vec<Unit>,
    /// Packets missing since a unit was finished.
    missing: u32,
    /// So many packets just before the next one are missing.
    gap: u32,
}

/// Units counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) units: u64,
    pub(super) damaged: u64,
}

impl Assembler {
    pub(super) fn new(format: PayloadFormat, sets: Vec<u8>) -> Assembler {
        Assembler {
            format,
            sets,
            sets_in_band: false,
            open: None,
            ready: VecDeque::with_capacity(2),
            shown: Unit::default(),
            free: Vec::with_capacity(4),
            missing: 0,
            gap: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next unit that is finished.
    pub(super) fn take(&mut self) -> Option<AccessUnit<'_>> {
        let next = self.ready.pop_front()?;
        self.free.push(std::mem::replace(&mut self.shown, next));
        let Unit { timestamp, key_frame, damaged, missing, .. } = self.shown;
        Some(AccessUnit { bytes: &self.shown.bytes, timestamp, key_frame, damaged, missing })
    }

    /// So many packets before the next one are missing.
    pub(super) fn lose(&mut self, packets: u32) {
        self.missing = self.missing.saturating_add(packets);
        self.gap = self.gap.saturating_add(packets);
        if let Some(unit) = &mut self.open {
            unit.damage();
        }
    }

    /// The stream begins anew.
    pub(super) fn restart(&mut self, finished: &mut Finished) {
        self.lose(1);
        self.finish(finished);
    }

    /// Takes the next packet. Whatever is wrong with it, its marker counts.
    pub(super) fn push(
        &mut self,
        timestamp: WireTimestamp,
        marker: bool,
        payload: &[u8],
        finished: &mut Finished,
    ) -> Result<(), PayloadDrop> {
        if self.open.as_ref().is_some_and(|unit| unit.timestamp != timestamp) {
            self.finish(finished);
            // Nobody knows whose they were.
            self.missing = self.missing.max(self.gap);
        }
        let mut unit = match self.open.take() {
            Some(unit) => unit,
            None => {
                let mut unit = self.free.pop().unwrap_or_default();
                unit.begin(timestamp);
                unit
            }
        };
        let gap = std::mem::take(&mut self.gap) > 0;
        let outcome =
            if unit.too_long { Err(PayloadDrop::UnitTooLong) } else { self.add(&mut unit, gap, payload) };
        match outcome {
            Ok(()) => unit.packets += 1,
            Err(_) => {
                unit.damage();
                self.missing = self.missing.saturating_add(1);
            }
        }
        self.open = Some(unit);
        if marker {
            self.finish(finished);
        }
        outcome
    }

    fn add(&mut self, unit: &mut Unit, gap: bool, payload: &[u8]) -> Result<(), PayloadDrop> {
        match self.format {
            PayloadFormat::H264 => self.add_nal(NalCodec::H264, unit, gap, payload),
            PayloadFormat::H265 => self.add_nal(NalCodec::H265, unit, gap, payload),
            PayloadFormat::Vp8 => add_vp8(unit, payload),
        }
    }

    fn add_nal(
        &mut self,
        codec: NalCodec,
        unit: &mut Unit,
        gap: bool,
        payload: &[u8],
    ) -> Result<(), PayloadDrop> {
        match codec.read(payload)? {
            NalPayload::Single(nal) => self.add_whole(codec, unit, gap, nal),
            NalPayload::Aggregate(rest) => {
                for (index, nal) in aggregated(codec, rest)?.enumerate() {
                    self.add_whole(codec, unit, gap && index == 0, nal)?;
                }
                Ok(())
            }
            NalPayload::Fragment(fragment) => self.add_fragment(codec, unit, gap, &fragment),
        }
    }

    fn add_whole(
        &mut self,
        codec: NalCodec,
        unit: &mut Unit,
        gap: bool,
        nal: &[u8],
    ) -> Result<(), PayloadDrop> {
        let (header, data) = nal.split_at(codec.header_bytes());
        self.note(codec, unit, gap, header, data)?;
        unit.begin_nal(header, data)?;
        unit.end_nal();
        Ok(())
    }

    fn add_fragment(
        &mut self,
        codec: NalCodec,
        unit: &mut Unit,
        gap: bool,
        fragment: &Fragment<'_>,
    ) -> Result<(), PayloadDrop> {
        if fragment.start {
            self.note(codec, unit, gap, fragment.header(), fragment.data)?;
            unit.begin_nal(fragment.header(), fragment.data)?;
        } else if unit.has_fragment() {
            unit.extend(fragment.data)?;
        } else {
            return Err(PayloadDrop::NoStart);
        }
        if fragment.end {
            unit.end_nal();
        }
        Ok(())
    }

    /// What a NAL unit that begins says of its access unit.
    fn note(
        &mut self,
        codec: NalCodec,
        unit: &mut Unit,
        gap: bool,
        header: &[u8],
        data: &[u8],
    ) -> Result<(), PayloadDrop> {
        let kind = codec.kind(header[0]);
        if codec.is_parameter_set(kind) {
            unit.has_sets = true;
            self.sets_in_band = true;
        }
        let Some(begins) = codec.begins_picture(kind, data) else { return Ok(()) };
        // With a gap before it, the first slice tells whether others should have come before.
        unit.damaged |= gap && !unit.has_slice && !begins;
        unit.has_slice = true;
        if codec.is_key(kind) && !unit.key_frame {
            unit.key_frame = true;
            if !self.sets_in_band && !unit.has_sets {
                unit.abandon_fragment();
                unit.extend(&self.sets)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, finished: &mut Finished) {
        let Some(mut unit) = self.open.take() else { return };
        unit.abandon_fragment();
        if unit.too_long || unit.bytes.is_empty() {
            self.missing = self.missing.saturating_add(unit.packets);
            self.free.push(unit);
            return;
        }
        // A sender that does not end what it began has left something out, too.
        unit.missing = std::mem::take(&mut self.missing).max(unit.damaged.into());
        finished.units += 1;
        finished.damaged += u64::from(unit.damaged);
        self.ready.push_back(unit);
    }
}

fn add_vp8(unit: &mut Unit, payload: &[u8]) -> Result<(), PayloadDrop> {
    let vp8::Vp8Payload { start, data } = vp8::read(payload)?;
    // After a gap nothing can be told of what follows; a frame begins once.
    let fits = if start { unit.bytes.is_empty() } else { !unit.bytes.is_empty() && !unit.damaged };
    if !fits {
        return Err(PayloadDrop::NoStart);
    }
    if start {
        unit.key_frame = vp8::is_key(data);
    }
    unit.extend(data)
}
