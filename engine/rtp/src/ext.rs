//! RTP header extensions: RFC 3550 section 5.3.1, and the elements of RFC 8285.

/// The header extension of a packet: what `profile` means, and whole 32-bit words of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// "Defined by profile": [`Form::profile`] for RFC 8285, anything else otherwise.
    pub profile: u16,
    /// What follows the extension's own four-byte header.
    pub data: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The form that the profile announces; `None` when it is not of RFC 8285.
    pub const fn form(&self) -> Option<Form> {
        match self.profile {
            0xbede => Some(Form::OneByte),
            // RFC 8285 section 4.3: the low four bits are the application's.
            0x1000..=0x100f => Some(Form::TwoByte),
            _ => None,
        }
    }

    /// The elements, in order; none when the profile is not of RFC 8285. Ends at the first element that
    /// runs past the data or that RFC 8285 says to stop at.
    pub const fn elements(&self) -> Elements<'a> {
        Elements { form: self.form(), rest: self.data }
    }

    /// The data of the first element with `id`.
    pub fn element(&self, id: u8) -> Option<&'a [u8]> {
        self.elements().find(|(found, _)| *found == id).map(|(_, data)| data)
    }
}

/// How the elements of an extension are headed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Identifiers 1 to 14, 1 to 16 bytes each (RFC 8285 section 4.2).
    OneByte,
    /// Identifiers 1 to 255, 0 to 255 bytes each (RFC 8285 section 4.3).
    TwoByte,
}

impl Form {
    /// The profile field that announces this form.
    pub const fn profile(self) -> u16 {
        match self {
            Form::OneByte => 0xbede,
            Form::TwoByte => 0x1000,
        }
    }
}

/// Elements of an extension: identifier and data.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    form: Option<Form>,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Splits the next element's identifier and length off; `None` at the end.
    fn head(&mut self) -> Option<(u8, usize)> {
        loop {
            match (self.form?, self.rest) {
                // Padding, anywhere between elements.
                (_, [0, rest @ ..]) => self.rest = rest,
                (Form::OneByte, [head, rest @ ..]) => {
                    self.rest = rest;
                    let id = head >> 4;
                    // RFC 8285 section 4.2: identifier 15, and 0 with a length, end the processing.
                    return (id != 0 && id != 15).then_some((id, usize::from(head & 0x0f) + 1));
                }
                (Form::TwoByte, [id, length, rest @ ..]) => {
                    self.rest = rest;
                    return Some((*id, usize::from(*length)));
                }
                (_, _) => return None,
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.head().and_then(|(id, length)| {
            let (data, rest) = self.rest.split_at_checked(length)?;
            self.rest = rest;
            Some((id, data))
        });
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

impl std::iter::FusedIterator for Elements<'_> {}

/// Why an element cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementError {
    /// The identifier is outside 1 to 14 (one-byte form) or 1 to 255 (two-byte form).
    Id(u8),
    /// The data is not 1 to 16 bytes (one-byte form) or more than 255 (two-byte form).
    Length(usize),
}

impl std::fmt::Display for ElementError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ElementError::Id(id) => write!(f, "header extension identifier {id} does not fit the form"),
            ElementError::Length(bytes) => {
                write!(f, "header extension element of {bytes} bytes does not fit the form")
            }
        }
    }
}

impl std::error::Error for ElementError {}

/// Appends `elements` to `out`, padded to whole 32-bit words: the data of an [`Extension`] whose profile
/// is [`form.profile()`](Form::profile).
///
/// # Errors
/// When an element does not fit the form; `out` is then as it was.
pub fn write_elements(out: &mut Vec<u8>, form: Form, elements: &[(u8, &[u8])]) -> Result<(), ElementError> {
    for (id, data) in elements {
        let (ids, lengths) = match form {
            Form::OneByte => (1..=14, 1..=16),
            Form::TwoByte => (1..=255, 0..=255),
        };
        if !ids.contains(id) {
            return Err(ElementError::Id(*id));
        }
        if !lengths.contains(&data.len()) {
            return Err(ElementError::Length(data.len()));
        }
    }
    let start = out.len();
    for (id, data) in elements {
        match form {
            Form::OneByte => out.push(id << 4 | (data.len() - 1) as u8),
            Form::TwoByte => out.extend_from_slice(&[*id, data.len() as u8]),
        }
        out.extend_from_slice(data);
    }
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    Ok(())
}

#[cfg(test)]
mod tests;
