//! The services over a real socket.

use motet_status::{Labels, Listen, Metric, Page, Server, Source, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Default)]
struct Fake {
    ready: AtomicBool,
    stuck: AtomicBool,
}

impl Fake {
    async fn stick(&self) {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

impl Source for Fake {
    async fn page(&self) -> Page {
        self.stick().await;
        let mut page = Page::default();
        let metric = Metric { name: "fake", unit: "packets", help: "Packets that never were." };
        page.counts(metric, [(Labels::new(), 42)]);
        page
    }

    async fn ready(&self) -> Result<(), String> {
        self.stick().await;
        self.ready.load(Ordering::Relaxed).then_some(()).ok_or_else(|| "still asleep".to_owned())
    }
}

async fn start(source: &Arc<Fake>) -> Server {
    let local: SocketAddr = "127.0.0.1:0".parse().expect("a literal");
    let server = serve(Some(Listen::At(local)), local, Arc::clone(source)).await;
    server.expect("a free port").expect("not off")
}

/// Status and whole answer.
async fn get(server: &Server, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: motet\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, answer)
}

#[tokio::test]
async fn metrics_come_as_openmetrics() {
    let server = start(&Arc::default()).await;
    let (status, answer) = get(&server, "/metrics").await;
    assert_eq!(status, 200);
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("\nfake_packets_total 42\n") && answer.ends_with("# EOF\n"), "{answer}");
    assert_eq!(get(&server, "/").await.0, 404);
}

#[tokio::test]
async fn readiness_follows_the_source() {
    let source = Arc::new(Fake::default());
    let server = start(&source).await;
    let (status, answer) = get(&server, "/readyz").await;
    assert_eq!(status, 503);
    assert!(answer.contains("still asleep"), "{answer}");
    source.ready.store(true, Ordering::Relaxed);
    assert_eq!(get(&server, "/readyz").await.0, 200);
}

#[tokio::test]
async fn a_stuck_source_makes_a_process_unready_and_not_dead() {
    let source = Arc::new(Fake { stuck: true.into(), ready: true.into() });
    let server = start(&source).await;
    let asked = tokio::join!(get(&server, "/healthz"), get(&server, "/readyz"), get(&server, "/metrics"));
    assert_eq!((asked.0.0, asked.1.0, asked.2.0), (200, 503, 503));
}

#[tokio::test]
async fn switched_off_nothing_listens() {
    let local: SocketAddr = "127.0.0.1:0".parse().expect("a literal");
    assert!(serve(Some(Listen::Off), local, Arc::new(Fake::default())).await.expect("done").is_none());
}
