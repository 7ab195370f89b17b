//! An applicant that dies at any step holds nothing for longer than its session, and nothing leaks.

use crate::world::{
    Crashing, PATIENCE, Registered, Server, first_fit, followed, hear, is, resource, until, wanted,
};
use motet_registry::{Applicant, Promise, ReserveError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use zookeeper_client::{Acls, Client, CreateMode};

const APPLY: &str = "/CMU/ApplyQueue";
const RESERVE: &str = "/CMU/ReserveQueue";
/// Longer than a test waits for anything.
const LONG: Duration = Duration::from_secs(60);

async fn count(client: &Client, folder: &str) -> usize {
    client.list_children(folder).await.expect("it is there").len()
}

/// How far an applicant comes before it dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// It waits behind another one.
    Waiting,
    /// It is its turn; it has promised nothing.
    Choosing,
    /// It has a promise, and its place still.
    Promised,
    /// It has a promise and was served.
    Served,
}

/// Waits until the applicant has come so far, and kills it.
async fn dies_at(server: &Server, step: Step) {
    let looking = server.stranger(None).await;
    let options = server.options();
    let (tell, told) = oneshot::channel();
    match step {
        Step::Waiting => {
            // Somebody else is before it, who is alive.
            let first = ephemeral(&looking, &format!("{APPLY}/apply-"), b"first").await;
            let process = Crashing::start(async move {
                let one = Applicant::new(options, "one");
                let _ = one.reserve(&wanted(1_000, 600), 0, PATIENCE, first_fit(1_000)).await;
            });
            until("it has its place", async || count(&looking, APPLY).await == 2).await;
            process.crash();
            looking.delete(&first, None).await.expect("it is there");
        }
        Step::Choosing => {
            let process = Crashing::start(async move {
                let one = Applicant::new(options, "one");
                let choose = |_: &[_]| {
                    let _ = tell.send(());
                    // For as long as the process lives.
                    loop {
                        std::thread::park();
                    }
                };
                let _ = one.reserve(&wanted(1_000, 600), 0, PATIENCE, choose).await;
            });
            told.await.expect("its turn comes");
            assert_eq!((count(&looking, APPLY).await, count(&looking, RESERVE).await), (1, 0));
            process.crash();
        }
        Step::Promised => {
            // Between two requests of the library; so by hand.
            let address = server.address();
            let process = Crashing::start(async move {
                let connector = Client::connector().with_session_timeout(crate::world::SESSION);
                let client = connector.connect(&address).await.expect("it runs");
                ephemeral(&client, &format!("{APPLY}/apply-"), b"one").await;
                let promise = Promise {
                    form: motet_registry::FORM,
                    node_id: "n1".into(),
                    applicant: "one".into(),
                    conference: "m1".into(),
                    units: 1_000,
                    until_unix_ms: i64::MAX,
                };
                ephemeral(&client, &format!("{RESERVE}/reserve-"), &promise.to_json()).await;
                let _ = tell.send(());
                std::future::pending::<()>().await;
            });
            told.await.expect("it has both");
            assert_eq!((count(&looking, APPLY).await, count(&looking, RESERVE).await), (1, 1));
            process.crash();
        }
        Step::Served => {
            let process = Crashing::start(async move {
                let one = Applicant::new(options, "one");
                let reserved = one.reserve(&wanted(1_000, 600), 0, PATIENCE, first_fit(1_000)).await;
                assert!(reserved.is_ok(), "n1 is empty: {reserved:?}");
                let _ = tell.send(());
                std::future::pending::<()>().await;
            });
            told.await.expect("it is served");
            assert_eq!((count(&looking, APPLY).await, count(&looking, RESERVE).await), (0, 1));
            process.crash();
        }
    }
}

async fn ephemeral(client: &Client, path: &str, content: &[u8]) -> String {
    let own = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, number) = client.create(path, content, &own).await.expect("it is made");
    format!("{path}{number}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applicant_that_dies_at_any_step_frees_all() {
    let Some(server) = Server::start() else { return };
    let _n1 = Registered::start(server.options(), resource("n1", "b", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let looking = server.stranger(None).await;
    for step in [Step::Waiting, Step::Choosing, Step::Promised, Step::Served] {
        dies_at(&server, step).await;
        // Whoever waits behind the dead gets its turn, and all of it.
        let next = Applicant::new(server.options(), "next");
        let mut tries = 0;
        let reserved = loop {
            match next.reserve(&wanted(1_000, 600), 0, PATIENCE, first_fit(1_000)).await {
                Ok(reserved) => break reserved,
                // The promise is there until the session is over.
                Err(ReserveError::NothingFits(1)) if tries < 2_000 => tries += 1,
                Err(error) => panic!("{step:?}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        next.release(&reserved).await.expect("ZooKeeper is there");
        until("nothing is left", async || {
            count(&looking, APPLY).await == 0 && count(&looking, RESERVE).await == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks_whatever_comes_of_a_request() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let n1 = Registered::start(server.options_of(Some("n1:x"), LONG), resource("n1", "b", 1_000));
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let options = |n: usize| server.options_of(n.is_multiple_of(2).then_some("css:x"), LONG);
    let applicants: Vec<_> =
        (0..4).map(|n| Arc::new(Applicant::new(options(n), format!("css{n}")))).collect();
    let tasks: Vec<_> = (0..120)
        .map(|n| {
            let applicant = Arc::clone(&applicants[n % 4]);
            tokio::spawn(async move {
                // Served, refused, or tired of waiting.
                let patience = if n % 3 == 0 { Duration::from_millis(n as u64 % 7) } else { PATIENCE };
                let units = if n % 5 == 0 { 5_000 } else { 300 };
                match applicant.reserve(&wanted(units, 600), 0, patience, first_fit(units)).await {
                    Ok(reservation) => {
                        applicant.release(&reservation).await.expect("ZooKeeper is there");
                        1
                    }
                    Err(ReserveError::NothingFits(_) | ReserveError::NotInTime(_)) => 0,
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .collect();
    let mut served = 0;
    for task in tasks {
        served += task.await.expect("it ends");
    }
    assert!(served > 0, "somebody was served");
    let looking = server.stranger(None).await;
    // The sessions live on, so that nothing is cleared by their ends.
    assert_eq!((count(&looking, APPLY).await, count(&looking, RESERVE).await), (0, 0));
    n1.leave().await;
    until("the node is gone", async || count(&looking, "/CMU/Source").await == 0).await;
    drop(applicants);
}
