//! A server that echoes, behind a door, and this process as its client.

use super::*;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn echo() -> (Net, SocketAddr) {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let target = server.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let door = free.local_addr().expect("bound");
    drop(free);
    let net = Net::default();
    net.add("server", door, target).await.expect("the port was free");
    net.know("me", std::process::id());
    (net, door)
}

async fn talk(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

#[tokio::test]
async fn an_open_link_passes_everything_on() {
    let (_net, door) = echo().await;
    let mut stream = TcpStream::connect(door).await.expect("it listens");
    talk(&mut stream).await.expect("it echoes");
    stream.shutdown().await.expect("it is open");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("the end is passed on");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_stalled_link_delivers_later() {
    let (net, door) = echo().await;
    let mut stream = TcpStream::connect(door).await.expect("it listens");
    talk(&mut stream).await.expect("it echoes");
    net.set("me", "server", Some(Fault::Stall));
    stream.write_all(b"later").await.expect("the buffer takes it");
    let mut answer = [0; 5];
    let early = tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut answer)).await;
    assert!(early.is_err(), "nothing comes through");
    net.heal();
    stream.read_exact(&mut answer).await.expect("all comes through");
    assert_eq!(&answer, b"later");
}

#[tokio::test]
async fn a_delayed_link_delivers_later_and_in_order() {
    let (net, door) = echo().await;
    net.set("me", "server", Some(Fault::Delay(Duration::from_millis(40))));
    let mut stream = TcpStream::connect(door).await.expect("it listens");
    let asked = std::time::Instant::now();
    talk(&mut stream).await.expect("it echoes");
    assert!(asked.elapsed() >= Duration::from_millis(80), "both ways");
}

#[tokio::test]
async fn a_cut_link_resets_what_is_there_and_what_comes() {
    let (net, door) = echo().await;
    let mut stream = TcpStream::connect(door).await.expect("it listens");
    talk(&mut stream).await.expect("it echoes");
    net.set("someone", "server", Some(Fault::Cut));
    talk(&mut stream).await.expect("this is another link");
    net.set("me", "server", Some(Fault::Cut));
    let error = stream.read_u8().await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut second = TcpStream::connect(door).await.expect("the kernel takes it");
    second.read_u8().await.expect_err("it is cut");
    net.heal();
    let mut third = TcpStream::connect(door).await.expect("it listens");
    talk(&mut third).await.expect("it echoes");
    net.reset("me", "server");
    third.read_u8().await.expect_err("it was reset");
}

#[tokio::test]
async fn nothing_listens_for_what_does_not_run() {
    let (net, door) = echo().await;
    net.shut("server");
    let refused = async {
        while let Ok(mut stream) = TcpStream::connect(door).await {
            let _ = stream.read_u8().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("the listener goes");
    net.open("server");
    let answered = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(door).await
                && talk(&mut stream).await.is_ok()
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered).await.expect("it listens again");
}
