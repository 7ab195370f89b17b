//! Resources register, are followed, and leave.

use crate::world::{Registered, SESSION, Server, followed, hear, is, resource, until};
use motet_registry::{Function, Heard};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_come_refresh_and_leave() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let n1 = Registered::start(server.options(), resource("n1", "first", 1_000));
    let found = hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    assert_eq!(found, resource("n1", "first", 1_000).part(Function::Relay));
    for _ in 0..3 {
        hear(&mut news, "n1 is refreshed", is("n1", "first", false)).await;
    }
    // One that comes late hears of what is there.
    let mut late = followed(&server);
    hear(&mut late, "a late follower hears of n1", is("n1", "first", false)).await;
    n1.leave().await;
    hear(&mut news, "n1 says that it leaves", is("n1", "first", true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_start_left_behind_is_no_news() {
    let Some(server) = Server::start() else { return };
    let n1 = Registered::start(server.options(), resource("n1", "first", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    n1.die();
    let _again = Registered::start(server.options(), resource("n1", "second", 1_000));
    hear(&mut news, "the second start registers", is("n1", "second", false)).await;
    // The node of the first start is there until its session is over; nothing is heard of it.
    let mut refreshed = 0;
    hear(&mut news, "many refreshes", |heard| {
        if let Heard::Resource(found) = heard {
            assert_eq!(found.boot_id, "second");
            refreshed += 1;
        }
        (refreshed == 60).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_goes_on_after_the_server_was_killed() {
    let Some(mut server) = Server::start() else { return };
    let _n1 = Registered::start(server.options(), resource("n1", "first", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    // Long enough for the sessions to end.
    server.crash(2 * SESSION).await;
    while news.try_recv().is_ok() {}
    for _ in 0..5 {
        hear(&mut news, "n1 is refreshed again", is("n1", "first", false)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_said_once_and_harms_nobody() {
    let Some(server) = Server::start() else { return };
    let _n1 = Registered::start(server.options(), resource("n1", "first", 1_000));
    let mut news = followed(&server);
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    let address = format!("127.0.0.1:{}", server.port);
    let other = zookeeper_client::Client::connect(&address).await.expect("it runs");
    let anyone = zookeeper_client::Acls::anyone_all();
    let plain = zookeeper_client::CreateMode::Persistent.with_acls(anyone);
    other.create("/CMU/Source/stray", b"\xff{", &plain).await.expect("it is made");
    let path = hear(&mut news, "garbage is said", |heard| match heard {
        Heard::Refused { path, .. } => Some(path),
        _ => None,
    })
    .await;
    assert_eq!(path, "/CMU/Source/stray");
    let mut refreshed = 0;
    hear(&mut news, "n1 goes on", |heard| {
        assert!(!matches!(heard, Heard::Refused { .. }), "it was said before");
        refreshed += 1;
        (refreshed == 70).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_of_the_connect_string_is_made() {
    let Some(server) = Server::start() else { return };
    let mut options = server.options_of(Some("n1:x"), SESSION);
    options.servers.push_str("/a-platform/resources");
    let _n1 = Registered::start(options, resource("n1", "b", 1_000));
    let looking = server.stranger(None).await;
    until("n1 is in it", async || {
        let found = looking.list_children("/a-platform/resources/CMU/Source").await;
        found.is_ok_and(|names| names == ["CMU0000000000"])
    })
    .await;
}
