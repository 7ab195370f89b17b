//! A node announces itself to every control by itself.

use motet_node::{NodeOptions, start};
use motet_proto::registry::node_registry_server::{NodeRegistry, NodeRegistryServer};
use motet_proto::registry::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts announcements and farewells; gives how often it wants to hear.
struct Control {
    interval_ms: u32,
    heard: Arc<AtomicUsize>,
    left: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl NodeRegistry for Control {
    async fn announce(&self, call: Request<AnnounceRequest>) -> Result<Response<AnnounceResponse>, Status> {
        let call = call.into_inner();
        assert!(!call.stopped && call.held.is_empty(), "it ran all the time");
        let counter = if call.leaving { &self.left } else { &self.heard };
        counter.fetch_add(1, Ordering::SeqCst);
        let (interval_ms, lease_ms) = (self.interval_ms, 1_000);
        Ok(Response::new(AnnounceResponse { interval_ms, lease_ms, give_up: Vec::new() }))
    }
    async fn give_up_node(
        &self,
        _: Request<GiveUpNodeRequest>,
    ) -> Result<Response<GiveUpNodeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn cordon_node(
        &self,
        _: Request<CordonNodeRequest>,
    ) -> Result<Response<CordonNodeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn uncordon_node(
        &self,
        _: Request<UncordonNodeRequest>,
    ) -> Result<Response<CordonNodeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn what_if_lost(
        &self,
        _: Request<WhatIfLostRequest>,
    ) -> Result<Response<WhatIfLostResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn drain_node(&self, _: Request<DrainNodeRequest>) -> Result<Response<DrainNodeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn undrain_node(
        &self,
        _: Request<UndrainNodeRequest>,
    ) -> Result<Response<UndrainNodeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Serves; gives its address and its counters.
async fn control(interval_ms: u32) -> (String, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (heard, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let control = Control { interval_ms, heard: Arc::clone(&heard), left: Arc::clone(&left) };
    let service = NodeRegistryServer::new(control);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, heard, left)
}

async fn reaches(counter: &AtomicUsize, count: usize, what: &str) {
    let end = Instant::now() + PATIENCE;
    while counter.load(Ordering::SeqCst) < count {
        assert!(Instant::now() < end, "{what}: {counter:?} of {count}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_is_silent_delays_no_other() {
    let (often, heard_often, left_often) = control(50).await;
    let (seldom, heard_seldom, left_seldom) = control(60_000).await;
    // The kernel takes connections, and nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent = (format!("http://{}", silent.local_addr().expect("bound")), silent);
    let options = NodeOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        port_range: 26_660..=26_669,
        metrics: Some(motet_status::Listen::Off),
        // The same twice is one.
        control: vec![silent.0.clone(), often.clone(), seldom, often],
        ..NodeOptions::default()
    };
    let node = start(options).await.expect("the node starts");
    reaches(&heard_seldom, 1, "the one that wants to hear seldom").await;
    let before = Instant::now();
    reaches(&heard_often, 20, "the one that wants to hear often").await;
    let waits = before.elapsed() < Duration::from_secs(30);
    assert!(waits && heard_seldom.load(Ordering::SeqCst) == 1, "each in its own time");
    node.shutdown().await;
    assert_eq!(left_often.load(Ordering::SeqCst), 1, "once for two of the same");
    assert_eq!(left_seldom.load(Ordering::SeqCst), 1);
}
