//! The parameters of SDP's `a=fmtp` line, as `name=value` separated by semicolons (RFC 8866 section 6.15; every
//! payload format says the same).

/// The value of a parameter, whose name is compared without case; the first one if there are several. None
/// when it is not there.
pub fn value<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    let parameters = fmtp.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut named = parameters.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

/// The value of a parameter that is a number. None when it is not there.
///
/// # Errors
/// The value itself, when it is no number that fits.
pub fn number<'a, N: std::str::FromStr>(fmtp: &'a str, name: &str) -> Result<Option<N>, &'a str> {
    let Some(text) = value(fmtp, name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| text)
}
