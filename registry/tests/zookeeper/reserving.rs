//! Resources are reserved in turn.

use crate::world::{PATIENCE, Registered, Server, first_fit, followed, hear, is, resource, wanted};
use motet_registry::{Applicant, ReserveError};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_promised_twice_by_many_at_once() {
    let Some(server) = Server::start() else { return };
    let (_n1, _n2) = (
        Registered::start(server.options(), resource("n1", "b", 1_000)),
        Registered::start(server.options(), resource("n2", "b", 1_000)),
    );
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let mut other = followed(&server);
    hear(&mut other, "n2 registers", is("n2", "b", false)).await;
    // Room for ten of 200; 24 want one, from six processes.
    let applicants: Vec<_> =
        (0..6).map(|n| Arc::new(Applicant::new(server.options(), format!("css{n}")))).collect();
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let applicant = Arc::clone(&applicants[n % 6]);
            tokio::spawn(
                async move { applicant.reserve(&wanted(200, 60), 0, PATIENCE, first_fit(200)).await },
            )
        })
        .collect();
    let mut granted = Vec::new();
    let mut refused = 0;
    for task in tasks {
        match task.await.expect("it ends") {
            Ok(reservation) => granted.push(reservation),
            Err(ReserveError::NothingFits(2)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((granted.len(), refused), (10, 14));
    assert_eq!(granted.iter().filter(|each| each.node_id == "n1").count(), 5);
    // What is released can be had again; releasing twice is harmless.
    applicants[0].release(&granted[0]).await.expect("it is released");
    applicants[1].release(&granted[0]).await.expect("it is gone already");
    let again = applicants[1].reserve(&wanted(200, 60), 0, PATIENCE, first_fit(200)).await;
    assert_eq!(again.expect("there is room again").node_id, granted[0].node_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_end_with_their_time_and_with_their_applicant() {
    let Some(server) = Server::start() else { return };
    let _n1 = Registered::start(server.options(), resource("n1", "b", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let (one, two) = (Applicant::new(server.options(), "one"), Applicant::new(server.options(), "two"));
    one.reserve(&wanted(1_000, 5), 0, PATIENCE, first_fit(1_000)).await.expect("it is empty");
    let full = two.reserve(&wanted(1_000, 5), 4_000, PATIENCE, first_fit(1_000)).await;
    assert_eq!(full, Err(ReserveError::NothingFits(1)));
    let held = two.reserve(&wanted(1_000, 60), 6_000, PATIENCE, first_fit(1_000)).await;
    held.expect("the other's time is over");
    // Its session ends with it.
    drop(two);
    let mut tries = 0;
    while one.reserve(&wanted(1_000, 5), 7_000, PATIENCE, first_fit(1_000)).await.is_err() {
        tries += 1;
        assert!(tries < 400, "the promise outlives its session");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
