//! Goodbyes and application-defined packets (RFC 3550 sections 6.6 and 6.7).

use super::{Raw, RtcpError, finish, packet_type, put_u32, start, words};

/// Sources that leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    ssrcs: &'a [u8],
    reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, RtcpError> {
        let split = raw.body.split_at_checked(4 * usize::from(raw.count));
        let (ssrcs, rest) = split.ok_or(RtcpError::BodyTruncated)?;
        let reason = match rest {
            [] => None,
            [length, text @ ..] => Some(text.get(..usize::from(*length)).ok_or(RtcpError::BodyTruncated)?),
        };
        Ok(Bye { ssrcs, reason })
    }

    /// Who leaves, at most 31.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        words(self.ssrcs)
    }

    /// Why, at most 255 bytes; UTF-8 unless the sender errs.
    pub const fn reason(&self) -> Option<&'a [u8]> {
        self.reason
    }
}

/// Appends a goodbye to `out`.
///
/// # Panics
/// With more than 31 sources, or a reason longer than 255 bytes.
pub fn write_bye(out: &mut Vec<u8>, ssrcs: &[u32], reason: Option<&str>) {
    let at = start(out, packet_type::GOODBYE, ssrcs.len());
    for ssrc in ssrcs {
        put_u32(out, *ssrc);
    }
    if let Some(reason) = reason {
        assert!(reason.len() <= 255, "a BYE reason of {} bytes is longer than 255", reason.len());
        out.push(reason.len() as u8);
        out.extend_from_slice(reason.as_bytes());
    }
    finish(out, at);
}

/// A packet that an application defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// Five bits for the application.
    pub subtype: u8,
    /// Who sent it.
    pub ssrc: u32,
    /// Four letters that name the application.
    pub name: [u8; 4],
    /// The application's own, whole words.
    pub data: &'a [u8],
}

impl<'a> App<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, RtcpError> {
        let (fixed, data) = raw.take::<8>()?;
        let [s0, s1, s2, s3, name @ ..] = *fixed;
        Ok(App { subtype: raw.count, ssrc: u32::from_be_bytes([s0, s1, s2, s3]), name, data })
    }
}
