//! The commands as a person or a script types them, against `motet serve`.

use crate::world::{Css, Process, eventually, media_ports, text};

fn serve(css: &Css) -> Process {
    let server = Process::motet(&["serve", "--listen", &css.listen(), "--port-range", &media_ports()]);
    css.wait_for_nodes(1);
    server
}

#[test]
fn a_conference_from_create_to_end() {
    let css = Css::new();
    let _server = serve(&css);
    let created = css.json(&["conf", "create", "--name", "weekly", "--number", "8001"]);
    assert_eq!((&created["state"], &created["number"]), (&"running".into(), &"8001".into()));
    let id = created["id"].as_str().expect("an id");

    let alice = css.json(&["conf", "join", "8001", "alice", "--audio", "opus/111", "--video", "h264/96"]);
    assert_eq!(alice["media"].as_array().map(Vec::len), Some(2));
    css.json(&["conf", "join", id, "bob", "--audio", "opus/109", "--video", "h264/97"]);

    let shown = css.json(&["conf", "show", id]);
    let receives = shown["participants"][1]["receives"].as_array().expect("a list").clone();
    assert_eq!(receives.len(), 2, "bob receives alice's sound and picture: {receives:?}");
    assert!(receives.iter().all(|stream| stream["from"] == "alice"));

    css.json(&["conf", "leave", "8001", "alice"]);
    let shown = css.json(&["conf", "show", "8001"]);
    assert_eq!(shown["participants"].as_array().map(Vec::len), Some(1));
    assert_eq!(css.json(&["conf", "end", "8001"])["state"], "ended");
    assert_eq!(css.json(&["conf", "list"]).as_array().map(Vec::len), Some(0));
    assert_eq!(css.json(&["conf", "list", "--ended"])[0]["id"], id);
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    let css = Css::new();
    let _server = serve(&css);
    css.json(&["conf", "create", "--number", "8002"]);
    css.fails(&["conf", "show", "no-such"], 1, "no-such");
    css.fails(&["conf", "create", "--number", "8002"], 1, "8002");
    css.fails(&["conf", "create", "--number", "eight"], 1, "number");
    css.fails(&["conf", "join", "8002", "al ice", "--audio", "opus"], 1, "participant");
    css.fails(&["conf", "join", "8002", "alice", "--audio", "opus/111,pcmu/111"], 1, "payload_type");
    css.fails(&["conf", "join", "8002", "alice"], 1, "media");
    let shown = css.json(&["conf", "show", "8002"]);
    assert_eq!(shown["participants"].as_array().map(Vec::len), Some(0), "a refusal changes nothing");
}

#[test]
fn exit_codes_tell_usage_from_absence() {
    let css = Css::new();
    css.fails(&["conf", "list"], 3, &css.url());
    css.fails(&["conf", "frobnicate"], 2, "frobnicate");
    css.fails(&["conf", "show"], 2, "CONFERENCE");
    assert!(text(&css.run(&["--help"]).stdout).contains("Exit codes"));
}

#[test]
fn a_second_server_on_the_same_port_says_so() {
    let css = Css::new();
    let _server = serve(&css);
    css.fails(&["css", "--listen", &css.listen()], 1, "cannot listen on");
}

#[test]
fn the_node_ends_with_a_server_that_is_killed() {
    let css = Css::new();
    let server = serve(&css);
    let children = format!("/proc/{0}/task/{0}/children", server.id());
    // Threads start children too, so every thread is asked.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).expect("the server runs");
    let nodes: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(nodes.len(), 1, "one node in {children}");
    server.kill();
    eventually("the node has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", nodes[0])).unwrap_or_default();
        // Gone, or waiting for whoever is its parent now.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn who_listens_to_the_world_is_told_what_that_means() {
    let folder = tempfile::tempdir().expect("a folder for the logs");
    let said = |css: &Css, arguments: &[&str]| {
        let log = folder.path().join(arguments.join(" ").replace('/', "-"));
        let mut command = css.command(arguments);
        command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&log).expect("a log"));
        let _process = Process::with_pipes(command);
        eventually("it says that it starts", || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.contains(" starts").then_some(text)
        })
    };
    let css = Css::new();
    let port = css.listen().rsplit(':').next().map(|port| format!("0.0.0.0:{port}")).expect("a port");
    let node = |listen| ["node", "--node-id", "n1", "--metrics", "off", "--listen", listen];
    for (arguments, exposed) in [
        (&["css", "--metrics", "off", "--listen", &css.listen()][..], false),
        (&["css", "--metrics", "off", "--listen", &port], true),
        (&node("127.0.0.1:0"), false),
        (&node("0.0.0.0:0"), true),
    ] {
        let text = said(&css, arguments);
        assert_eq!(text.contains("there is no authentication"), exposed, "{arguments:?}: {text}");
    }
    // Without being told, nothing listens to the world.
    for command in ["css", "node", "serve"] {
        let help = text(&css.run(&[command, "--help"]).stdout);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("[default: 127.0.0.1:"), "{command}: {help}");
        assert!(!help.contains("[default: 0.0.0.0"), "{command}: {help}");
    }
}
