//! The HTTP services of a process.

use crate::{Listen, ListenError, Page};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a source may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// The type of the OpenMetrics text format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Who is asked.
pub trait Source: Send + Sync + 'static {
    /// All metrics as they are now.
    fn page(&self) -> impl Future<Output = Page> + Send;

    /// Whether the process can take work. The error says why not, for people.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// HTTP services that run, until this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the services. None: switched off. When no address was asked for, it is derived from that of the
/// process' `main` service: the port is 2,000 higher, or a free one where that is taken.
pub async fn serve<S: Source>(
    asked: Option<Listen>,
    main: SocketAddr,
    source: Arc<S>,
) -> Result<Option<Server>, ListenError> {
    let Some(listener) = Listen::open(asked, main).await? else { return Ok(None) };
    let address = listener.local_addr().unwrap_or(main);
    let router = Router::new()
        .route("/metrics", get(metrics::<S>))
        .route("/healthz", get(|| async { "lives\n" }))
        .route("/readyz", get(readyz::<S>))
        .with_state(source);
    tracing::info!(%address, "serves /metrics, /healthz and /readyz");
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics cannot be served any more");
        }
    });
    Ok(Some(Server { address, task }))
}

async fn metrics<S: Source>(State(source): State<Arc<S>>) -> impl IntoResponse {
    match tokio::time::timeout(ANSWER_TIMEOUT, source.page()).await {
        Ok(page) => (StatusCode::OK, [(header::CONTENT_TYPE, METRICS_TYPE)], page.text()),
        Err(_) => {
            let why = "the counters could not be read in time\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/plain")], why)
        }
    }
}

async fn readyz<S: Source>(State(source): State<Arc<S>>) -> (StatusCode, String) {
    match tokio::time::timeout(ANSWER_TIMEOUT, source.ready()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Err(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready: no answer in time\n".to_owned()),
    }
}
