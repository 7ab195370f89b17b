//! Small checks that know the path of the field they look at.

use crate::error::NodeError;
use std::net::SocketAddr;

/// Path of a field in a request.
#[derive(Clone, Debug)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn root(name: &str) -> Path {
        Path(name.to_owned())
    }

    pub(crate) fn field(&self, name: &str) -> Path {
        Path(format!("{}.{name}", self.0))
    }

    pub(crate) fn index(&self, name: &str, index: usize) -> Path {
        Path(format!("{}.{name}[{index}]", self.0))
    }

    pub(crate) fn error(&self, why: impl Into<String>) -> NodeError {
        NodeError::invalid(self.0.clone(), why)
    }
}

/// 1 to 64 of A-Z a-z 0-9 . _ : -
pub(crate) fn identifier(at: &Path, value: &str) -> Result<(), NodeError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if value.is_empty() {
        return Err(at.error("must not be empty"));
    }
    if value.len() > 64 || !value.chars().all(allowed) {
        return Err(at.error(format!("'{value}' must be 1 to 64 of A-Z a-z 0-9 . _ : -")));
    }
    Ok(())
}

/// An address to send to, or none when empty.
pub(crate) fn address(at: &Path, value: &str) -> Result<Option<SocketAddr>, NodeError> {
    if value.is_empty() {
        return Ok(None);
    }
    let parsed: SocketAddr = value.parse().map_err(|_| {
        at.error(format!("'{value}' is not an address such as 192.0.2.1:5004 or [2001:db8::1]:5004"))
    })?;
    if parsed.port() == 0 || parsed.ip().is_unspecified() || parsed.ip().is_multicast() {
        return Err(at.error(format!("'{value}' is not an address that packets can be sent to")));
    }
    Ok(Some(parsed))
}
