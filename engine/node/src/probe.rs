//! Asks another node whether it lives, for control, which has lost sight of it, and passes on what control has to
//! say to it.

use crate::error::NodeError;
use motet_proto::node::forward_request::Order;
use motet_proto::node::forward_response::Answer;
use motet_proto::node::media_node_client::MediaNodeClient;
use motet_proto::node::{DescribeRequest, ForwardRequest, ForwardResponse, ProbeRequest, ProbeResponse};
use std::error::Error;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// Used unless the caller says how long the other node has.
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(500);
/// The same for what is passed on: control itself waits for two seconds.
const FORWARD_DEFAULT: Duration = Duration::from_millis(1_500);
/// Control decides within seconds: whoever answers later is as good as gone.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// A node that asks more than these at once has become somebody's tool.
const PROBES_MAX: usize = 16;
const FORWARDS_MAX: usize = 64;

/// Calls to other nodes, a bounded number at once.
#[derive(Debug)]
pub(crate) struct Probes {
    free: Semaphore,
    forwards: Semaphore,
}

impl Probes {
    pub(crate) fn new() -> Probes {
        Probes { free: Semaphore::new(PROBES_MAX), forwards: Semaphore::new(FORWARDS_MAX) }
    }

    /// Whether the node at an address answers in time.
    ///
    /// Errors: the request makes no sense, or too many are under way. That nobody answers is none.
    pub(crate) async fn probe(&self, request: &ProbeRequest) -> Result<ProbeResponse, NodeError> {
        let endpoint = endpoint(&request.address)?;
        let timeout = timeout(request.timeout_ms, TIMEOUT_DEFAULT)?;
        let _one = self.free.try_acquire().map_err(|_| NodeError::Exhausted {
            field: "address".into(),
            why: format!("{PROBES_MAX} nodes are being probed; try again when one has answered"),
        })?;
        Ok(match tokio::time::timeout(timeout, describe(endpoint)).await {
            Ok(Ok(boot_id)) => ProbeResponse { reachable: true, boot_id, why: String::new() },
            Ok(Err(why)) => unreachable_because(why),
            Err(_) => unreachable_because(format!("no answer within {} ms", timeout.as_millis())),
        })
    }

    /// Passes an order on to the node at an address.
    ///
    /// Errors: those of [`Probes::probe`]; the other node's own, word for word; no answer in time.
    pub(crate) async fn forward(&self, request: ForwardRequest) -> Result<ForwardResponse, Status> {
        let endpoint = endpoint(&request.address)?;
        let timeout = timeout(request.timeout_ms, FORWARD_DEFAULT)?;
        let order = request.order.ok_or_else(|| NodeError::invalid("order", "is missing"))?;
        let _one = self.forwards.try_acquire().map_err(|_| NodeError::Exhausted {
            field: "address".into(),
            why: format!("{FORWARDS_MAX} orders are being passed on; try again when one is through"),
        })?;
        let answered = tokio::time::timeout(timeout, pass_on(endpoint, order)).await;
        let late = || format!("{} has not answered within {} ms", request.address, timeout.as_millis());
        let answer = answered.unwrap_or_else(|_| Err(Status::deadline_exceeded(late())))?;
        Ok(ForwardResponse { answer: Some(answer) })
    }
}

async fn pass_on(endpoint: Endpoint, order: Order) -> Result<Answer, Status> {
    let connected = endpoint.connect().await;
    let channel = connected.map_err(|error| Status::unavailable(cause(&error)))?;
    let mut node = MediaNodeClient::new(channel);
    Ok(match order {
        Order::Put(put) => Answer::Put(node.put_conference(put).await?.into_inner()),
        Order::Delete(delete) => Answer::Delete(node.delete_conference(delete).await?.into_inner()),
    })
}

fn unreachable_because(why: String) -> ProbeResponse {
    ProbeResponse { reachable: false, boot_id: String::new(), why }
}

/// The name of the start of the node that answers, or what was seen instead.
async fn describe(endpoint: Endpoint) -> Result<String, String> {
    let channel = endpoint.connect().await.map_err(|error| cause(&error))?;
    match MediaNodeClient::new(channel).describe(DescribeRequest {}).await {
        Ok(answer) => Ok(answer.into_inner().boot_id),
        Err(status) => Err(refused(&status)),
    }
}

fn refused(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "what answers is no media node".into(),
        code => format!("it answers, and fails: {code:?}"),
    }
}

/// The innermost reason, such as "Connection refused (os error 111)".
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn endpoint(address: &str) -> Result<Endpoint, NodeError> {
    let wrong = |why: String| NodeError::invalid("address", why);
    let Some(rest) = address.strip_prefix("http://") else {
        return Err(wrong(format!("'{address}' must begin with http://, such as http://192.0.2.1:7500")));
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(wrong(format!(
            "'{address}' must be a host and a port alone, such as http://192.0.2.1:7500"
        )));
    }
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| wrong(format!("'{address}' is no address: {error}")))?;
    match endpoint.uri().port_u16() {
        Some(1..) => Ok(endpoint),
        _ => Err(wrong(format!("'{address}' must have a port, 1 to 65535"))),
    }
}

fn timeout(timeout_ms: u32, usual: Duration) -> Result<Duration, NodeError> {
    match Duration::from_millis(timeout_ms.into()) {
        Duration::ZERO => Ok(usual),
        timeout if timeout <= TIMEOUT_MAX => Ok(timeout),
        _ => Err(NodeError::invalid(
            "timeout_ms",
            format!("{timeout_ms} is more than {} milliseconds", TIMEOUT_MAX.as_millis()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_and_short_times_are_taken() {
        for good in ["http://192.0.2.1:7500", "http://[2001:db8::1]:7500/", "http://node-1.example:7500"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "192.0.2.1:7500",
            "https://192.0.2.1:7500",
            "http://",
            "http:///",
            "http://192.0.2.1:7500/x",
            "http://user@192.0.2.1:7500",
            "http://a b",
            "http://192.0.2.1",
            "http://192.0.2.1:0",
            "http://192.0.2.1:99999",
        ] {
            assert_eq!(endpoint(bad).expect_err(bad).field(), Some("address"), "{bad}");
        }
        assert_eq!(timeout(0, TIMEOUT_DEFAULT), Ok(TIMEOUT_DEFAULT));
        assert_eq!(timeout(5_000, TIMEOUT_DEFAULT), Ok(TIMEOUT_MAX));
        assert_eq!(timeout(5_001, TIMEOUT_DEFAULT).expect_err("too long").field(), Some("timeout_ms"));
    }
}
