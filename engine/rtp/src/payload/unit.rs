//! An access unit while it is put together.

use super::annexb::START_CODE;
use super::{PayloadDrop, UNIT_BYTES_MAX};
use crate::WireTimestamp;

/// See the module. Its memory is used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    pub(super) bytes: Vec<u8>,
    pub(super) timestamp: WireTimestamp,
    pub(super) key_frame: bool,
    pub(super) damaged: bool,
    pub(super) missing: u32,
    /// Packets in it.
    pub(super) packets: u32,
    /// It became too long.
    pub(super) too_long: bool,
    /// It holds a parameter set.
    pub(super) has_sets: bool,
    /// It holds a slice.
    pub(super) has_slice: bool,
    /// Where the NAL unit begins whose fragments are coming.
    fragment: Option<usize>,
}

impl Unit {
    pub(super) fn begin(&mut self, timestamp: WireTimestamp) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Unit { bytes, timestamp, ..Unit::default() };
    }

    pub(super) fn has_fragment(&self) -> bool {
        self.fragment.is_some()
    }

    /// A part of the unit is missing.
    pub(super) fn damage(&mut self) {
        self.damaged = true;
        self.abandon_fragment();
    }

    /// The rest of a NAL unit is missing: without it, the beginning is worth nothing.
    pub(super) fn abandon_fragment(&mut self) {
        if let Some(start) = self.fragment.take() {
            self.bytes.truncate(start);
            self.damaged = true;
        }
    }

    pub(super) fn begin_nal(&mut self, header: &[u8], data: &[u8]) -> Result<(), PayloadDrop> {
        self.abandon_fragment();
        self.reserve(START_CODE.len() + header.len() + data.len())?;
        self.fragment = Some(self.bytes.len());
        self.bytes.extend_from_slice(&START_CODE);
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    pub(super) fn end_nal(&mut self) {
        self.fragment = None;
    }

    pub(super) fn extend(&mut self, data: &[u8]) -> Result<(), PayloadDrop> {
        self.reserve(data.len())?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), PayloadDrop> {
        if self.bytes.len() + bytes > UNIT_BYTES_MAX {
            self.too_long = true;
            return Err(PayloadDrop::UnitTooLong);
        }
        Ok(())
    }
}
