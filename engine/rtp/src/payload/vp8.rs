//! The payload descriptor of VP8 (RFC 7741 section 4.2).

use super::PayloadDrop;

const EXTENDED: u8 = 0x80;
const START: u8 = 0x10;
const PARTITION: u8 = 0x07;
const PICTURE_ID: u8 = 0x80;
const LONG_PICTURE_ID: u8 = 0x80;
const LEVEL_INDEX: u8 = 0x40;
const LAYER: u8 = 0x20;
const KEY_INDEX: u8 = 0x10;

/// Bytes of the descriptor that is written: with a picture id of 15 bits.
pub(super) const DESCRIPTOR_BYTES: usize = 4;

/// What follows a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vp8Payload<'a> {
    /// The frame begins here.
    pub(super) start: bool,
    pub(super) data: &'a [u8],
}

pub(super) fn read(payload: &[u8]) -> Result<Vp8Payload<'_>, PayloadDrop> {
    let (&first, mut data) = payload.split_first().ok_or(PayloadDrop::Empty)?;
    let mut take = |bytes: usize| {
        let (taken, rest) = data.split_at_checked(bytes).ok_or(PayloadDrop::Truncated)?;
        data = rest;
        Ok::<u8, PayloadDrop>(taken[0])
    };
    if first & EXTENDED != 0 {
        let fields = take(1)?;
        if fields & PICTURE_ID != 0 && take(1)? & LONG_PICTURE_ID != 0 {
            take(1)?;
        }
        if fields & LEVEL_INDEX != 0 {
            take(1)?;
        }
        if fields & (LAYER | KEY_INDEX) != 0 {
            take(1)?;
        }
    }
    if data.is_empty() {
        return Err(PayloadDrop::Empty);
    }
    Ok(Vp8Payload { start: first & START != 0 && first & PARTITION == 0, data })
}

/// Whether a frame that begins so is a key frame (RFC 6386 section 9.1).
pub(super) fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// The descriptor of a packet: the whole frame counts as partition 0, as in libwebrtc.
pub(super) fn descriptor(start: bool, picture_id: u16) -> [u8; DESCRIPTOR_BYTES] {
    let [high, low] = (picture_id & 0x7fff).to_be_bytes();
    [EXTENDED | (u8::from(start) << 4), PICTURE_ID, LONG_PICTURE_ID | high, low]
}
