//! Two control processes on one Redis: any of them answers any request, and each survives the other.

use crate::world::{Call, Css, Process, Watched, eventually, free_port};
use serde_json::Value;

/// Two control processes side by side, which come and go.
struct Pair {
    css: [Css; 2],
    processes: [Option<Process>; 2],
    store: String,
    _redis: Process,
}

const A: usize = 0;
const B: usize = 1;

impl Pair {
    fn start() -> Pair {
        let port = free_port();
        let redis = Process::redis(port);
        let store = format!("redis://127.0.0.1:{port}");
        let mut pair = Pair { css: [Css::new(), Css::new()], processes: [None, None], store, _redis: redis };
        pair.revive(A);
        pair.revive(B);
        pair
    }

    fn revive(&mut self, which: usize) {
        let id = ["a", "b"][which];
        self.processes[which] = Some(self.css[which].start_with(&self.store, &["--css-id", id]));
    }

    /// SIGKILL.
    fn kill(&mut self, which: usize) {
        self.processes[which].take().expect("it runs").kill();
    }

    /// A node that announces itself to both.
    fn start_node(&self, id: &str) -> Process {
        self.css[A].start_node_with(id, &["--control", &self.css[B].url(), "--metrics", "off"])
    }

    #[track_caller]
    fn wait_for_nodes(&self, count: usize) {
        self.css.iter().for_each(|css| css.wait_for_nodes(count));
    }

    /// Waits until both list the same conferences, so many of them.
    #[track_caller]
    fn wait_for_list(&self, count: usize) -> Value {
        eventually("both list the same", || {
            let [one, other] = [A, B].map(|which| list(&self.css[which]));
            let same = one.is_some() && one == other;
            one.filter(|list| same && list.as_array().is_some_and(|list| list.len() == count))
        })
    }
}

fn list(css: &Css) -> Option<Value> {
    let list = css.run(&["conf", "list", "--json"]);
    serde_json::from_slice(&list.stdout).ok()
}

/// Asks until the request is granted: a control process that died may be waited for.
#[track_caller]
fn insist(css: &Css, arguments: &[&str]) {
    eventually(&format!("{arguments:?} is done"), || css.run(arguments).status.success().then_some(()));
}

fn names(conference: &Value) -> Vec<&str> {
    let people = conference["participants"].as_array().expect("a list");
    people.iter().map(|someone| someone["id"].as_str().expect("a name")).collect()
}

#[test]
fn either_answers_for_all_and_survives_the_other() {
    let mut pair = Pair::start();
    let _nodes = ["n1", "n2"].map(|id| pair.start_node(id));
    pair.wait_for_nodes(2);
    pair.css[A].json(&["conf", "create", "--number", "8951"]);
    pair.css[A].json(&["conf", "create", "--number", "8952"]);
    pair.css[B].json(&["conf", "create", "--number", "8953"]);
    pair.wait_for_list(3);
    // What is maintained by one is changed through the other.
    let mut call = Call::join(&pair.css[B], "8951");
    assert!(call.carries(), "media flows");
    pair.css[B].json(&["conf", "rename", "8951", "of both"]);
    pair.css[A].json(&["conf", "lock", "8951"]);
    pair.css[A].json(&["conf", "join", "8953", "carol", "--audio", "pcmu"]);
    pair.css[B].fails(&["conf", "create", "--number", "8951"], 1, "8951 belongs to another conference");
    pair.css[B].fails(&["conf", "join", "8951", "dave", "--audio", "pcmu"], 1, "is locked");
    pair.wait_for_list(3);
    let shown = pair.css[B].json(&["conf", "show", "8951"]);
    assert_eq!((&shown["name"], &shown["locked"]), (&"of both".into(), &true.into()));

    pair.kill(A);
    insist(&pair.css[B], &["conf", "unlock", "8951"]);
    insist(&pair.css[B], &["conf", "join", "8951", "erin", "--audio", "pcmu"]);
    insist(&pair.css[B], &["conf", "end", "8952"]);
    assert!(call.carries(), "media flows on");

    pair.revive(A);
    pair.wait_for_nodes(2);
    pair.wait_for_list(2);
    pair.css[A].fails(&["conf", "join", "8952", "erin", "--audio", "pcmu"], 1, "has ended");
    pair.css[A].json(&["conf", "leave", "8951", "erin"]);
    for css in &pair.css {
        let shown = css.json(&["conf", "show", "8951"]);
        assert_eq!((&shown["name"], &shown["locked"]), (&"of both".into(), &false.into()));
        assert_eq!((names(&shown), &shown["epoch"]), (vec!["alice", "bob"], &1.into()));
    }
    assert!(call.carries(), "and on");
    pair.css[A].json(&["conf", "end", "8951"]);
    pair.css[A].json(&["conf", "end", "8953"]);
    pair.wait_for_list(0);
    eventually("the nodes run nothing", || {
        let left = ["n1", "n2"].map(|node| pair.css[B].json(&["nodes", "conferences", node]));
        left.iter().all(|list| list.as_array().is_some_and(Vec::is_empty)).then_some(())
    });
}

#[test]
fn a_request_that_is_repeated_at_the_other_is_done_once() {
    let mut pair = Pair::start();
    let _node = pair.start_node("n1");
    pair.wait_for_nodes(1);
    let create = ["conf", "create", "--request-id", "create-1"];
    let first = pair.css[A].json(&create);
    // It may have to be asked again: that another one carries it out is known before it is known what came of it.
    insist(&pair.css[B], &create);
    assert_eq!(pair.css[B].json(&create)["id"], first["id"]);
    let id = first["id"].as_str().expect("an id");
    let rename = |name| ["conf", "rename", id, name, "--request-id", "rename-1"];
    pair.css[A].json(&rename("first"));
    pair.css[A].json(&["conf", "rename", id, "second"]);
    pair.css[B].json(&rename("first"));
    assert_eq!(pair.css[B].json(&["conf", "show", id])["name"], "second", "it was done before");

    // The one that knows the answers is gone.
    pair.kill(A);
    insist(&pair.css[B], &rename("first"));
    assert_eq!(pair.css[B].json(&["conf", "show", id])["name"], "second");
    insist(&pair.css[B], &create);
    pair.revive(A);
    pair.wait_for_nodes(1);
    assert_eq!(pair.css[A].json(&create)["id"], first["id"]);
    pair.wait_for_list(1);
}

/// A watcher of one that has seen its first event.
fn watch(css: &Css, conference: &str) -> Watched {
    let watch = Watched::start(css.command(&["conf", "watch", conference, "--json"]));
    eventually("the watcher sees something", || {
        css.json(&["conf", "audio", conference, "loudest:1"]);
        css.json(&["conf", "audio", conference, "relay"]);
        (!watch.lines().is_empty()).then_some(())
    });
    watch
}

/// Where alice is to send from now on, once it is told.
#[track_caller]
fn moved(watch: &Watched) -> Value {
    eventually("alice is told where to send", || {
        let lines = watch.lines();
        let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let of = |event: &Value| event["kind"] == "participant-moved" && event["participant"] == "alice";
        events.rev().find(of).map(|event| event["participant_info"].clone())
    })
}

#[test]
fn conferences_of_either_outlive_their_node() {
    let pair = Pair::start();
    let first = pair.start_node("n1");
    pair.wait_for_nodes(1);
    pair.css[A].json(&["conf", "create", "--number", "8961"]);
    pair.css[B].json(&["conf", "create", "--number", "8962"]);
    pair.wait_for_list(2);
    let mut calls = [Call::join(&pair.css[B], "8961"), Call::join(&pair.css[A], "8962")];
    assert!(calls.iter_mut().all(Call::carries), "media flows");
    let _second = pair.start_node("n2");
    pair.wait_for_nodes(2);
    // Each is watched where it is maintained, and where it is not.
    let numbers = ["8961", "8962"];
    let watches = numbers.map(|number| [A, B].map(|which| watch(&pair.css[which], number)));

    first.kill();
    for (call, watches) in calls.iter_mut().zip(&watches) {
        let [here, there] = watches.each_ref().map(moved);
        assert_eq!(here["media"][0]["send_rtp_to"], there["media"][0]["send_rtp_to"]);
        call.follow(&there);
        assert!(call.carries(), "media flows again");
    }
    for (css, number) in pair.css.iter().flat_map(|css| numbers.map(|number| (css, number))) {
        let info = css.wait_for_state(number, "running");
        assert_eq!((&info["node_id"], &info["epoch"]), (&"n2".into(), &2.into()), "{info}");
        assert_eq!(names(&info), ["alice", "bob"]);
    }
    pair.wait_for_list(2);
}

#[test]
fn what_was_booked_at_one_begins_at_the_other() {
    let mut pair = Pair::start();
    let _node = pair.start_node("n1");
    pair.wait_for_nodes(1);
    let create = ["conf", "create", "--number", "8971", "--start", "+6s", "--duration", "1h"];
    let booked = pair.css[A].json(&create);
    pair.kill(A);
    let info = eventually("it begins", || {
        let running = list(&pair.css[B])?[0].clone();
        (running["state"] == "running").then_some(running)
    });
    assert_eq!((&info["number"], &info["booking"]), (&"8971".into(), &booked["id"]));
    pair.revive(A);
    pair.wait_for_nodes(1);
    pair.css[A].json(&["conf", "join", "8971", "alice", "--audio", "pcmu"]);
    insist(&pair.css[A], &["conf", "end", "8971"]);
    pair.wait_for_list(0);
}
