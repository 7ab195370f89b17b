//! What goes to standard output. The only place that writes there.

use std::io::{ErrorKind, Write};

/// Why a text could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Who reads has read enough: `motet conf list | head -1`. Nothing is wrong.
    #[error("nobody reads standard output any more")]
    Closed,
    #[error("cannot write to standard output: {0}")]
    Failed(std::io::Error),
}

/// Writes the text, all of it before the call returns.
pub(crate) fn print(text: &str) -> Result<(), OutputError> {
    write(&mut std::io::stdout().lock(), text)
}

/// Writes one line for people to standard error, if anybody reads it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn write(out: &mut impl Write, text: &str) -> Result<(), OutputError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => OutputError::Closed,
        _ => OutputError::Failed(error),
    })
}
