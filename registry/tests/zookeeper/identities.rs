//! Only a resource makes and changes its entry (source document 000, section 7.2).

use crate::world::{
    PATIENCE, Registered, SESSION, Server, first_fit, followed, hear, is, resource, until, wanted,
};
use motet_registry::{Applicant, ContentError, Heard, ReserveError};
use std::time::Duration;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Error, Permission};

const N1: &str = "n1:its secret";
const CONTROL: &str = "css:another secret";
const SOURCE: &str = "/CMU/Source";
/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(60);

async fn entries(client: &Client, folder: &str) -> Vec<String> {
    let mut names = client.list_children(folder).await.expect("it is there");
    names.sort();
    names.iter().map(|name| format!("{folder}/{name}")).collect()
}

/// Everything that would change what is at this path, or who may.
async fn is_refused(stranger: &Client, path: &str) {
    let all = [Acl::new(Permission::ALL, AuthId::anyone())];
    assert_eq!(stranger.set_data(path, b"{}", None).await.err(), Some(Error::NoAuth), "{path}");
    assert_eq!(stranger.set_acl(path, &all, None).await.err(), Some(Error::NoAuth), "{path}");
    let deleted = stranger.delete(path, None).await.err();
    // The root is everybody's, and what is not empty stays.
    assert!(matches!(deleted, Some(Error::NoAuth | Error::NotEmpty)), "{path}: {deleted:?}");
}

/// An entry that says to be this start of n1.
async fn claim(stranger: &Client, boot: &str) -> String {
    let content = resource("n1", boot, 9_000_000).to_json();
    let mine = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, number) = stranger.create(&format!("{SOURCE}/CMU"), &content, &mine).await.expect("it is made");
    format!("{SOURCE}/CMU{number}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_change_no_entry_of_a_node_and_control_reserves() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    // The first process, which makes the tree, is the node.
    let n1 = Registered::start(server.options_of(Some(N1), LONG), resource("n1", "own", 1_000));
    hear(&mut news, "n1 registers", is("n1", "own", false)).await;
    let nobody = server.stranger(None).await;
    let own = entries(&nobody, SOURCE).await.remove(0);
    for identity in [None, Some("n2:its secret"), Some("n1:a guess"), Some(CONTROL)] {
        let stranger = server.stranger(identity).await;
        for path in [own.as_str(), SOURCE, "/CMU"] {
            is_refused(&stranger, path).await;
        }
    }
    // Control has an identity of its own and does what is its part.
    let control = Applicant::new(server.options_of(Some(CONTROL), SESSION), "css");
    let reserved = control.reserve(&wanted(600, 60), 0, PATIENCE, first_fit(600)).await.expect("n1 is empty");
    let promise = entries(&nobody, "/CMU/ReserveQueue").await.remove(0);
    let guess = nobody.set_data(&promise, b"{}", None).await;
    assert_eq!(guess.err(), Some(Error::NoAuth), "what is promised stays what it is");
    // So do another node and one without an identity; parents shut nobody out.
    let n2 = Registered::start(server.options_of(Some("n2:x"), LONG), resource("n2", "b", 1_000));
    hear(&mut news, "n2 registers", is("n2", "b", false)).await;
    let n3 = Registered::start(server.options_of(None, LONG), resource("n3", "b", 1_000));
    hear(&mut news, "n3 registers", is("n3", "b", false)).await;
    let other = Applicant::new(server.options(), "another platform");
    let second = other.reserve(&wanted(600, 60), 0, PATIENCE, first_fit(600)).await;
    assert_ne!(second.expect("n2 and n3 are empty").node_id, reserved.node_id);
    control.release(&reserved).await.expect("it is control's own");
    // All end in good order and leave nothing, long before their sessions would be over.
    for node in [n1, n2, n3] {
        node.leave().await;
    }
    until("Source is empty", async || entries(&nobody, SOURCE).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_speaks_under_the_name_of_a_node_that_is_there() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let _n1 = Registered::start(server.options_of(Some(N1), LONG), resource("n1", "own", 1_000));
    hear(&mut news, "n1 registers", is("n1", "own", false)).await;
    let nobody = server.stranger(None).await;
    let false_one = claim(&nobody, "false").await;
    let refused = hear(&mut news, "the false one is said", |heard| match heard {
        Heard::Refused { path, why } => Some((path, why)),
        Heard::Resource(found) => {
            assert_eq!(found.boot_id, "own");
            None
        }
        _ => None,
    });
    assert_eq!(refused.await, (false_one, ContentError::Foreign("n1".into())));
    let control = Applicant::new(server.options_of(Some(CONTROL), SESSION), "css");
    let full = control.reserve(&wanted(2_000, 60), 0, PATIENCE, first_fit(2_000)).await;
    assert_eq!(full, Err(ReserveError::NothingFits(1)), "its capacity is what it says itself");
    // One that is to outlive its maker would hold a name for ever.
    let lasting = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let content = resource("n9", "b", 1_000).to_json();
    nobody.create(&format!("{SOURCE}/n9"), &content, &lasting).await.expect("it is made");
    let why = hear(&mut news, "the lasting one is said", |heard| match heard {
        Heard::Refused { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, ContentError::Lasting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_has_its_name_again_at_once() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let n1 = Registered::start(server.options_of(Some(N1), LONG), resource("n1", "first", 1_000));
    hear(&mut news, "n1 registers", is("n1", "first", false)).await;
    n1.die();
    // Its session lives on. Who does not know its secret cannot take its place.
    let _thief = Registered::start(server.options_of(Some("n1:a guess"), LONG), resource("n1", "false", 1));
    let why = hear(&mut news, "the thief is said", |heard| match heard {
        Heard::Refused { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why.await, ContentError::Foreign("n1".into()));
    let _again = Registered::start(server.options_of(Some(N1), LONG), resource("n1", "second", 1_000));
    for _ in 0..20 {
        let heard = hear(&mut news, "the second start is heard", |heard| match heard {
            Heard::Resource(found) => Some(found.boot_id),
            _ => None,
        });
        assert_eq!(heard.await, "second");
    }
    // ZooKeeper's number is new, the name inside is not.
    let nobody = server.stranger(None).await;
    let paths = entries(&nobody, SOURCE).await;
    assert_eq!(paths, ["CMU0000000000", "CMU0000000001", "CMU0000000002"].map(|n| format!("{SOURCE}/{n}")));
    let control = Applicant::new(server.options_of(Some(CONTROL), SESSION), "css");
    let all = wanted(1_000, 60);
    let chosen = control.reserve(&all, 0, PATIENCE, |candidates| {
        assert_eq!(
            candidates.iter().map(|each| each.resource.boot_id.as_str()).collect::<Vec<_>>(),
            ["second"]
        );
        Some(0)
    });
    assert_eq!(chosen.await.expect("it is there").node_id, "n1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_was_open_is_closed_by_the_first_identity() {
    let Some(server) = Server::start() else { return };
    let mut news = followed(&server);
    let n2 = Registered::start(server.options(), resource("n2", "b", 1_000));
    hear(&mut news, "n2 registers", is("n2", "b", false)).await;
    let nobody = server.stranger(None).await;
    let (acl, _) = nobody.get_acl(SOURCE).await.expect("it is there");
    assert_eq!(acl[0].permission(), Permission::ALL);
    let _n1 = Registered::start(server.options_of(Some(N1), SESSION), resource("n1", "b", 1_000));
    hear(&mut news, "n1 registers", is("n1", "b", false)).await;
    let own = entries(&nobody, SOURCE).await.remove(1);
    for path in [own.as_str(), SOURCE, "/CMU"] {
        is_refused(&nobody, path).await;
    }
    // A platform that lays the tree itself says who may make entries: this one, and control reserves all the same.
    n2.leave().await;
    until("n2 is gone", async || entries(&nobody, SOURCE).await.len() == 1).await;
    let control = Applicant::new(server.options_of(Some(CONTROL), SESSION), "css");
    assert!(control.reserve(&wanted(1, 60), 0, PATIENCE, first_fit(1)).await.is_ok());
}
