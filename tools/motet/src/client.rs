//! The client commands' way to control, and what their failures mean for the exit code.

use crate::out::OutputError;
use anyhow::{Context, Result};
use motet_proto::conference::conference_client::ConferenceClient;
use motet_rtpgen::reach::{self, Connection, ControlError, Link};
use std::process::ExitCode;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Where control is.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Server {
    /// Address of control
    #[arg(long, value_name = "URL", env = "MOTET_CSS", default_value = "http://127.0.0.1:7400")]
    pub(crate) css: String,

    /// Seconds that connecting, and each answer, may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = reach::seconds)]
    pub(crate) timeout: Duration,

    /// Ask in the name of this user domain: what is another's is not found [default: as an operator]
    #[arg(long, value_name = "MOID", env = "MOTET_USER_DOMAIN", value_parser = moid)]
    pub(crate) as_domain: Option<String>,

    /// Print one JSON document (watch: one a line)
    #[arg(long)]
    pub(crate) json: bool,
}

/// The command line makes no sense, in a way that only shows when it is looked at closely.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// As metadata takes it.
fn moid(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 64 printable ASCII characters".to_owned()) }
}

impl Server {
    pub(crate) async fn connect(&self) -> Result<Connection, ControlError> {
        let mut connection = Connection::open(&self.css, self.timeout).await?;
        if let Some(user_domain) = &self.as_domain {
            assert!(connection.ask_in_the_name_of(user_domain), "the command line was checked");
        }
        Ok(connection)
    }

    /// Connects, for calls about conferences.
    pub(crate) async fn conferences(&self) -> Result<(Connection, ConferenceClient<Link>), ControlError> {
        let connection = self.connect().await?;
        let client = ConferenceClient::new(connection.channel());
        Ok((connection, client))
    }
}

/// A connection to a node, which control knows at `address`.
pub(crate) async fn node_channel(address: &str, within: Duration) -> Result<Channel> {
    let unreachable = || format!("the node cannot be reached at {address}, where control knows it");
    let endpoint = Endpoint::from_shared(address.to_owned()).with_context(unreachable)?;
    endpoint.connect_timeout(within).timeout(within).connect().await.with_context(unreachable)
}

/// The program's end: says on standard error what went wrong, if something did.
pub(crate) fn exit_code(done: Result<ExitCode>) -> ExitCode {
    let error = match done {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(OutputError::Closed) = error.downcast_ref() {
        return ExitCode::SUCCESS;
    }
    crate::out::complain(&format!("motet: {error:#}"));
    let away = error.downcast_ref::<ControlError>().is_some_and(ControlError::is_away);
    match error {
        _ if away => ExitCode::from(3),
        error if error.is::<Usage>() => ExitCode::from(2),
        _ => ExitCode::from(1),
    }
}
