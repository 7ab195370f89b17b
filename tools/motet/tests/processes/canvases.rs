//! Canvases in a process of their own, which is killed or hangs: nothing that is relayed is lost, and pictures come again.

use crate::screens::{
    Camera, GREEN, RED, Relayed, Screen, children, composer, crashes, kill_over, of_canvases, until_gone,
};
use crate::world::{Css, Process, Watched, eventually, free_port, local, signal};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

const SETTINGS: &str = "canvas,layout=equal:1,size=320x180,rate=15,kbps=500";

/// Control, and a node with one canvas thread.
struct Stage {
    css: Css,
    node: Process,
    metrics: u16,
    _control: Process,
}

impl Stage {
    fn start() -> Stage {
        Stage::with(&[])
    }

    fn with(options: &[&str]) -> Stage {
        let (css, metrics) = (Css::new(), free_port());
        let control = css.start("embedded");
        let node = css.start_node_with("n1", &[&["--metrics", &local(metrics)], options].concat());
        css.wait_for_nodes(1);
        Stage { css, node, metrics, _control: control }
    }

    /// A conference with a canvas; gives its id.
    fn canvas(&self, number: &str, settings: &str) -> String {
        let info = self.css.json(&["conf", "create", "--number", number, "--video", settings]);
        info["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until so many processes have ended by themselves, and gives the one that runs instead of the last.
    #[track_caller]
    fn until_crashed(&self, times: u64, last: u32) -> u32 {
        eventually("the end is counted", || crashes(self.metrics).filter(|count| *count == times));
        eventually("another process composes", || composer(&self.node).filter(|next| *next != last))
    }

    /// The node can have no more descriptors than it has; gives what it was allowed before.
    fn allow_no_descriptors(&self) -> Rlimit {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.node.id())).expect("proc(5)").count();
        let maximum = getrlimit(Resource::Nofile).maximum;
        self.allow(Rlimit { current: Some(open as u64), maximum })
    }

    fn allow(&self, limit: Rlimit) -> Rlimit {
        let node = Pid::from_raw(self.node.id() as i32);
        prlimit(node, Resource::Nofile, limit).expect("its own user may set its limits")
    }

    fn count(&self, name: &str) -> u64 {
        of_canvases(self.metrics, name).expect("it is counted")
    }
}

#[test]
fn a_process_that_composes_pictures_is_killed_and_another_one_goes_on_while_nothing_relayed_is_lost() {
    let stage = Stage::start();
    let css = &stage.css;
    css.json(&["conf", "create", "--number", "8801"]);
    stage.canvas("8802", SETTINGS);
    let watch = Watched::start(css.command(&["conf", "watch", "8802", "--json"]));
    let relayed = Relayed::start(css, "8801");
    let (camera, mut screen) = (Camera::join(css, "8802"), Screen::join(css, "8802", "screen"));
    let pictures = screen.until(RED, 10);

    let first = eventually("one process composes", || composer(&stage.node));
    signal(first, Signal::KILL);
    let second = stage.until_crashed(1, first);
    let pictures = screen.until(RED, pictures + 30);
    // A process that is stopped composes nothing; it is the same one when it goes on.
    signal(second, Signal::STOP);
    signal(second, Signal::CONT);
    screen.until(RED, pictures + 10);
    assert_eq!((composer(&stage.node), crashes(stage.metrics)), (Some(second), Some(1)));
    let told = || watch.lines().iter().filter(|line| line.contains("canvas-rate-changed")).count();
    eventually("it is told that there is no canvas, and then one again", || (told() == 2).then_some(()));
    assert_eq!(screen.jumps, 0, "the stream went on where it was");
    assert!(camera.end().asked >= 2, "each process asked for a key frame");
    relayed.end().check();

    // It does not outlive its node, however that ends.
    stage.node.kill();
    until_gone(second);
}

#[test]
fn a_process_that_hangs_is_ended_and_another_one_takes_its_place() {
    let stage = Stage::start();
    let css = &stage.css;
    css.json(&["conf", "create", "--number", "8803"]);
    stage.canvas("8804", SETTINGS);
    let relayed = Relayed::start(css, "8803");
    let (_camera, mut screen) = (Camera::join(css, "8804"), Screen::join(css, "8804", "screen"));
    let pictures = screen.until(RED, 10);

    let first = eventually("one process composes", || composer(&stage.node));
    signal(first, Signal::STOP);
    // Changes are made meanwhile, of its own conference, too: nobody waits for its end.
    let mut late = Screen::join(css, "8804", "late");
    assert_eq!(crashes(stage.metrics), Some(0), "it was made before the process was found to hang");
    let second = stage.until_crashed(1, first);
    until_gone(first);
    screen.until(RED, pictures + 30);
    late.until(RED, 10);
    assert_eq!((composer(&stage.node), crashes(stage.metrics)), (Some(second), Some(1)));
    assert_eq!((screen.jumps, late.jumps), (0, 0), "streams went on where they were");
    relayed.end().check();
}

#[test]
fn a_conference_over_which_the_process_ends_again_and_again_is_left_out_and_others_have_theirs() {
    let stage = Stage::start();
    let css = &stage.css;
    let bad = stage.canvas("8806", "canvas,layout=equal:1,size=640x360,rate=30,kbps=500");
    stage.canvas("8807", SETTINGS);
    let watch = Watched::start(css.command(&["conf", "watch", "8806", "--json"]));
    let _cameras = [Camera::join(css, "8806"), Camera::join(css, "8807")];
    let (mut left_out, mut other) =
        (Screen::join(css, "8806", "screen"), Screen::join(css, "8807", "screen"));
    left_out.until(RED, 10);
    other.until(RED, 10);

    // Three times do where they are within ten seconds.
    let mut times = 0;
    while stage.count("motet_canvas_left_out_conferences") == 0 {
        assert!(times < 8, "it is not left out");
        times += 1;
        let ended = kill_over(&stage.node, &bad);
        stage.until_crashed(times, ended);
    }
    // What was on its way has come when the other one has pictures of the process that leaves the first out.
    let mut pictures = other.look();
    pictures = other.until(RED, pictures + 10);
    let before = left_out.look();
    other.until(RED, pictures + 30);
    assert_eq!(left_out.look(), before, "the other conference alone has its canvas");
    // A change is kept for when it is made again.
    Screen::join(css, "8806", "late");
    assert_eq!((crashes(stage.metrics), other.jumps), (Some(times), 0));
    let lines = watch.lines();
    let last = lines.iter().rfind(|line| line.contains("canvas-rate-changed")).expect("it is told");
    assert!(last.contains("has 0.0 of 30 pictures"), "it has no pictures: {last}");
}

#[test]
fn the_layer_that_fills_a_cell_is_what_is_decoded_also_by_the_next_process() {
    let stage = Stage::start();
    let css = &stage.css;
    stage.canvas("8808", "canvas,layout=equal:4,size=320x180,rate=15,kbps=500");
    let (_camera, mut screen) = (Camera::with_layers(css, "8808"), Screen::join(css, "8808", "screen"));
    let layers = || stage.count("motet_canvas_decoded_layers_pictures_total");
    let of_the_largest = || stage.count("motet_canvas_decoded_pictures_total") - layers();
    for times in 1..=2 {
        let pictures = screen.look();
        screen.until(GREEN, pictures + 10);
        let (small, large) = (layers(), of_the_largest());
        eventually("the layer is decoded", || (layers() >= small + 20).then_some(()));
        assert_eq!(of_the_largest(), large, "the large one is not");
        if times == 1 {
            let first = composer(&stage.node).expect("one process composes");
            signal(first, Signal::KILL);
            stage.until_crashed(1, first);
        }
    }
    assert_eq!(screen.jumps, 0, "the stream went on where it was");
}

/// What a process has open, and is not a file: sockets and pipes by their numbers.
fn open_by(process: u32) -> BTreeSet<PathBuf> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("proc(5)").flatten();
    let names = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    names
        .filter(|name| ["socket:", "pipe:"].iter().any(|kind| name.to_string_lossy().starts_with(kind)))
        .collect()
}

/// The cores that a thread of a process may run on.
fn cores(process: u32, thread: &str) -> Option<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let mut pages = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let page = pages.find(|page| page.starts_with(&format!("Name:\t{thread}\n")))?;
    page.lines().find_map(|line| Some(line.strip_prefix("Cpus_allowed_list:")?.trim().to_owned()))
}

#[test]
fn a_process_is_started_with_the_first_canvas_and_ends_with_its_node() {
    let mut stage = Stage::with(&["--canvas-cores", "0"]);
    let css = &stage.css;
    css.json(&["conf", "create", "--number", "8809"]);
    let relayed = Relayed::start(css, "8809");
    assert!(children(stage.node.id()).is_empty(), "there is no canvas");
    stage.canvas("8810", SETTINGS);
    let (_camera, mut screen) = (Camera::join(css, "8810"), Screen::join(css, "8810", "screen"));
    let pictures = screen.until(RED, 10);
    let process = composer(&stage.node).expect("one process composes");
    assert_eq!(cores(process, "canvas-0").as_deref(), Some("0"));
    // Whoever started this test may have given something to all.
    let given = open_by(std::process::id());
    let of_the_node = &open_by(stage.node.id()) - &given;
    assert!(of_the_node.len() > 10, "sockets of media, of control, and what wakes threads");
    assert_eq!(&open_by(process) & &of_the_node, BTreeSet::new(), "it has nothing of the node's");

    // What a terminal or a service manager sends to all of them is the node's to obey.
    for to_all in [Signal::INT, Signal::TERM] {
        signal(process, to_all);
    }
    screen.until(RED, pictures + 10);
    assert_eq!(composer(&stage.node), Some(process));
    relayed.end().check();
    // The second one says that conferences are not waited for.
    for to_the_node in [Signal::INT, Signal::TERM] {
        stage.node.signal(to_the_node);
    }
    stage.node.ends();
    until_gone(process);
}

#[test]
fn a_process_that_hangs_does_not_outlive_its_node() {
    let stage = Stage::start();
    stage.canvas("8811", SETTINGS);
    let (_camera, mut screen) =
        (Camera::join(&stage.css, "8811"), Screen::join(&stage.css, "8811", "screen"));
    screen.until(RED, 10);
    let process = composer(&stage.node).expect("one process composes");
    signal(process, Signal::STOP);
    stage.node.kill();
    until_gone(process);
}

#[test]
fn a_canvas_is_refused_where_no_process_can_be_started_for_it_and_nothing_else_changes() {
    let stage = Stage::start();
    let css = &stage.css;
    css.json(&["conf", "create", "--number", "8812"]);
    let (_camera, mut screen) = (Camera::join(css, "8812"), Screen::join(css, "8812", "screen"));
    screen.until(RED, 10);
    let limit = stage.allow_no_descriptors();
    css.fails(&["conf", "video", "8812", SETTINGS], 1, "no process can be started to compose its pictures");
    assert_eq!(composer(&stage.node), None);
    let pictures = screen.look();
    screen.until(RED, pictures + 10);
    stage.allow(limit);
    css.json(&["conf", "video", "8812", SETTINGS]);
    eventually("pictures are composed", || {
        (stage.count("motet_canvas_encoded_pictures_total") > 10).then_some(())
    });
    assert!(composer(&stage.node).is_some());
}

#[test]
fn a_node_composes_by_itself_where_it_is_told_to() {
    let stage = Stage::with(&["--canvas-in-node"]);
    stage.canvas("8813", SETTINGS);
    let (_camera, mut screen) =
        (Camera::join(&stage.css, "8813"), Screen::join(&stage.css, "8813", "screen"));
    screen.until(RED, 10);
    assert!(children(stage.node.id()).is_empty());
}

#[test]
fn a_participants_picture_is_decoded_in_a_process_that_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let stage = Stage::with(&["--recordings", path]);
    let css = &stage.css;
    css.json(&["conf", "create", "--number", "8814"]);
    let _camera = Camera::join(css, "8814");
    let file = format!("{path}/camera.png");
    let snapshot = ["conf", "snapshot", "8814", &file, "--participant", "camera"];
    let taken = eventually("there is a picture", || {
        let taken = css.run(&[&snapshot[..], &["--json"]].concat());
        taken.status.success().then(|| serde_json::from_slice::<Value>(&taken.stdout).expect("one document"))
    });
    assert_eq!((&taken["width"], &taken["height"]), (&160.into(), &90.into()));
    assert!(children(stage.node.id()).is_empty());
    let limit = stage.allow_no_descriptors();
    css.fails(&snapshot, 1, "no process can be started that decodes a picture");
    stage.allow(limit);
    css.json(&snapshot);
}
