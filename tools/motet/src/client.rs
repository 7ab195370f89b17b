//! Connections to control, and what their failures mean for the exit code.

use anyhow::{Context, Result};
use std::process::ExitCode;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Where control is.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Server {
    /// Address of control
    #[arg(long, value_name = "URL", env = "MOTET_CSS", default_value = "http://127.0.0.1:7400")]
    pub(crate) css: String,

    /// Print one JSON document (watch: one a line)
    #[arg(long)]
    pub(crate) json: bool,
}

/// The server could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach control at {address}: {why}; is it running there? (motet serve, or --css URL)")]
struct Unreachable {
    address: String,
    why: String,
}

/// The server refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// The command line makes no sense, in a way that only shows when it is looked at closely.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl Server {
    /// Connects within two seconds.
    pub(crate) async fn connect(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(self.css.clone()).with_context(|| {
            format!("--css: '{}' is not an address such as http://127.0.0.1:7400", self.css)
        })?;
        let timeout = Duration::from_secs(2);
        endpoint
            .connect_timeout(timeout)
            .connect()
            .await
            .map_err(|error| Unreachable { address: self.css.clone(), why: innermost(&error) }.into())
    }
}

/// What lies at the bottom of an error says most.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// An answer's failure, for people.
pub(crate) fn refused(status: Status) -> anyhow::Error {
    match status.code() {
        Code::Unknown | Code::Internal | Code::Cancelled => {
            Refused(format!("control failed: {}", status.message())).into()
        }
        _ => Refused(status.message().to_owned()).into(),
    }
}

pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error {
        error if error.is::<Unreachable>() => ExitCode::from(3),
        error if error.is::<Usage>() => ExitCode::from(2),
        _ => ExitCode::from(1),
    }
}
