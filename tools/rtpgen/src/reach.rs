//! Calls to control, and why one failed: control refused, or it could not be reached.
//!
//! The two are told apart by where a status comes from: an answer has no source, what the transport made
//! up has the transport's error as its source. The code does not tell: UNAVAILABLE is both.

use motet_proto::USER_DOMAIN;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// How often an open stream of events asks whether control is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The address makes no sense.
    #[error("--css: '{0}' is not an address such as http://127.0.0.1:7400")]
    Address(String),
    /// Nobody takes the connection.
    #[error("cannot reach control at {address}: {why}; is it running there? (motet serve, or --css URL)")]
    Absent {
        /// As on the command line.
        address: String,
        /// What the system says.
        why: String,
    },
    /// Somebody takes the connection and says nothing.
    #[error(
        "control at {address} took the connection and did not answer within {seconds} s (--timeout); is it \
         control that listens there, and has it too much to do?"
    )]
    Silent {
        /// As on the command line.
        address: String,
        /// As on the command line.
        seconds: f64,
    },
    /// The connection broke before the answer was there. What was asked may have been done.
    #[error(
        "lost control at {address} before its answer was there: {why}; what was asked may have been done"
    )]
    Lost {
        /// As on the command line.
        address: String,
        /// What the system says.
        why: String,
    },
    /// Control answered, and refused or failed.
    #[error("{0}")]
    Refused(String),
}

impl ControlError {
    /// Control cannot be reached, or not any more; asking again elsewhere or later may help.
    pub fn is_away(&self) -> bool {
        matches!(self, ControlError::Absent { .. } | ControlError::Silent { .. } | ControlError::Lost { .. })
    }
}

/// A connection to control.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    address: String,
    within: Duration,
    name: InName,
}

/// What a generated client takes.
pub type Link = InterceptedService<Channel, InName>;

/// Puts the name of a user domain on calls, if there is one.
#[derive(Clone, Debug, Default)]
pub struct InName(Option<MetadataValue<Ascii>>);

impl Interceptor for InName {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(user_domain) = &self.0 {
            request.metadata_mut().insert(USER_DOMAIN, user_domain.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// Connects to `address`, an URL. Connecting and each answer may take as long as `within`.
    pub async fn open(address: &str, within: Duration) -> Result<Connection, ControlError> {
        let address = address.to_owned();
        let endpoint =
            Endpoint::from_shared(address.clone()).map_err(|_| ControlError::Address(address.clone()))?;
        let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(within);
        match tokio::time::timeout(within, endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(Connection { channel, address, within, name: InName::default() }),
            Ok(Err(error)) => Err(ControlError::Absent { address, why: innermost(&error) }),
            Err(_) => {
                let why =
                    format!("nobody takes the connection within {} s (--timeout)", within.as_secs_f64());
                Err(ControlError::Absent { address, why })
            }
        }
    }

    /// Asks in the name of a user domain from now on. False: its MOID is not printable ASCII.
    pub fn ask_in_the_name_of(&mut self, user_domain: &str) -> bool {
        let value = MetadataValue::try_from(user_domain).ok();
        self.name = InName(value);
        self.name.0.is_some()
    }

    /// What a generated client takes.
    pub fn channel(&self) -> Link {
        InterceptedService::new(self.channel.clone(), self.name.clone())
    }

    /// Waits for the answer to a call; for a stream, for its beginning.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ControlError> {
        match tokio::time::timeout(self.within, call).await {
            Ok(answer) => answer.map(Response::into_inner).map_err(|status| self.failure(&status)),
            Err(_) => {
                let seconds = self.within.as_secs_f64();
                Err(ControlError::Silent { address: self.address.clone(), seconds })
            }
        }
    }

    /// What a status means that came instead of an answer or a stream's next message.
    pub fn failure(&self, status: &Status) -> ControlError {
        if let Some(source) = std::error::Error::source(status) {
            return ControlError::Lost { address: self.address.clone(), why: innermost(source) };
        }
        match status.code() {
            Code::Unknown | Code::Internal | Code::Cancelled => {
                ControlError::Refused(format!("control failed: {}", status.message()))
            }
            _ => ControlError::Refused(status.message().to_owned()),
        }
    }

    /// A stream that has no end has ended.
    pub fn ended(&self) -> ControlError {
        ControlError::Lost { address: self.address.clone(), why: "it ended the stream of events".to_owned() }
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

/// Reads a number of seconds, 0.1 to 3600.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be seconds, 0.1 to 3600".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connection() -> Connection {
        let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Connection {
            channel,
            address: "http://there".into(),
            within: Duration::from_secs(1),
            name: InName::default(),
        }
    }

    #[tokio::test]
    async fn an_unavailable_answer_is_a_refusal_and_a_broken_transport_is_not() {
        let connection = connection().await;
        let answer = connection.failure(&Status::unavailable("the store is away"));
        assert_eq!(answer, ControlError::Refused("the store is away".into()));
        assert!(!answer.is_away());
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = connection.failure(&Status::from_error(Box::new(reset)));
        assert!(broken.is_away(), "{broken}");
        assert!(broken.to_string().contains("http://there"), "{broken}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_named() {
        let error = Connection::open("not an address", Duration::from_secs(1)).await.expect_err("nonsense");
        assert!(error.to_string().contains("'not an address'") && !error.is_away(), "{error}");
    }

    #[test]
    fn seconds_have_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["", "0", "-1", "NaN", "inf", "3601", "ten"].iter().all(|text| seconds(text).is_err()));
    }
}
