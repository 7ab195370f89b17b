//! Source descriptions (RFC 3550 section 6.5).

use super::{Raw, RtcpError, finish, packet_type, put_u32, start};

/// The item that names a source for good (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;

/// A source description: a chunk of items for each of several sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sdes<'a> {
    count: u8,
    body: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, RtcpError> {
        let mut rest = raw.body;
        for _ in 0..raw.count {
            (_, rest) = Chunk::split(rest).ok_or(RtcpError::BodyTruncated)?;
        }
        Ok(Sdes { count: raw.count, body: raw.body })
    }

    /// The chunks, at most 31.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let mut rest = self.body;
        (0..self.count).map_while(move |_| {
            let (chunk, after) = Chunk::split(rest)?;
            rest = after;
            Some(chunk)
        })
    }
}

/// What is said about one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The source.
    pub ssrc: u32,
    items: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The items, in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let mut rest = self.items;
        std::iter::from_fn(move || {
            let (item, after) = Item::split(rest)?;
            rest = after;
            Some(item)
        })
    }

    /// The canonical name: the first CNAME item.
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items().find(|item| item.kind == CNAME).map(|item| item.text)
    }

    /// Splits a chunk off: an SSRC, items, one to four zeros up to the next whole word.
    fn split(bytes: &'a [u8]) -> Option<(Chunk<'a>, &'a [u8])> {
        let (ssrc, body) = bytes.split_first_chunk()?;
        let mut rest = body;
        while *rest.first()? != 0 {
            (_, rest) = Item::split(rest)?;
        }
        let (items, end) = body.split_at(body.len() - rest.len());
        // Chunks begin on whole words, so the end of this one is counted from its own beginning.
        let padding_bytes = 4 - items.len() % 4;
        let chunk = Chunk { ssrc: u32::from_be_bytes(*ssrc), items };
        Some((chunk, end.get(padding_bytes..)?))
    }
}

/// One item of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The kind of item: 1 for CNAME, others in RFC 3550 section 12.2.
    pub kind: u8,
    /// The text, at most 255 bytes; UTF-8 unless the sender errs.
    pub text: &'a [u8],
}

impl<'a> Item<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Item<'a>, &'a [u8])> {
        let [kind, length, rest @ ..] = bytes else {
            return None;
        };
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        Some((Item { kind: *kind, text }, rest))
    }
}

/// Appends a source description with the canonical name of each source to `out`.
///
/// # Panics
/// With more than 31 sources, or a name longer than 255 bytes.
pub fn write_sdes_cname(out: &mut Vec<u8>, sources: &[(u32, &str)]) {
    let at = start(out, packet_type::SOURCE_DESCRIPTION, sources.len());
    for (ssrc, cname) in sources {
        assert!(cname.len() <= 255, "a CNAME of {} bytes is longer than 255", cname.len());
        put_u32(out, *ssrc);
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname.as_bytes());
        // At least one zero ends the items (RFC 3550 section 6.5).
        out.push(0);
        out.resize(at + (out.len() - at).next_multiple_of(4), 0);
    }
    finish(out, at);
}
