//! Pictures by command: files that are played, snapshots, and live output.

use crate::phones::{Phone, until_heard};
use crate::screens::{children, until_gone};
use crate::world::{Css, Watched, eventually, signal, text};
use rustix::process::Signal;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a tool of ffmpeg's.
fn run(tool: &str, arguments: &[&str]) -> Output {
    let quiet = ["-hide_banner", "-loglevel", "error"];
    Command::new(tool).args(quiet).args(arguments).output().expect("ffmpeg is there")
}

/// Three seconds of green with a tone of 440 Hz.
fn make_film(path: &Path) {
    let sources = "-f lavfi -i color=green:s=160x96:r=25:d=3 -f lavfi -i sine=440:d=3:sample_rate=48000";
    // A sine of ffmpeg's is soft.
    let codecs = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -af volume=12dB -c:a aac -b:a 64k";
    let words = sources.split_whitespace().chain(codecs.split_whitespace());
    let words: Vec<&str> = words.chain([path.to_str().expect("text")]).collect();
    let made = run("ffmpeg", &words);
    assert!(made.status.success(), "{}", text(&made.stderr));
}

/// The mean colour of a picture: red, green and blue.
fn colour(path: &Path) -> [u8; 3] {
    let path = path.to_str().expect("text");
    let one = run("ffmpeg", &["-i", path, "-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    assert!(one.status.success(), "{}", text(&one.stderr));
    one.stdout.try_into().expect("one pixel")
}

fn is_green([red, green, blue]: [u8; 3]) -> bool {
    green > 90 && red < 60 && blue < 60
}

#[test]
fn a_film_is_heard_seen_and_delivered_while_it_plays() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    make_film(&folder.path().join("film.mp4"));
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--recordings", path, "--prompts", path]);
    css.wait_for_nodes(1);
    let create = ["conf", "create", "--number", "8801", "--audio", "mix"];
    css.json(&[&create[..], &["--video", "canvas,size=160x96,rate=25,kbps=400"]].concat());
    css.fails(&["conf", "play", "8801", "none.mp4", "--as", "none"], 1, "order.play.file");
    css.json(&["conf", "leave", "8801", "none"]);
    let playing = css.json(&["conf", "play", "8801", "film.mp4", "--as", "film", "--repeat"]);
    assert_eq!((&playing["state"], &playing["repeat"]), (&"playing".into(), &true.into()));
    let mut phones = [Phone::join(&css, "8801", "bob", ("pcmu", 8_000, 0), 850.0)];
    until_heard(&mut phones, &[("film", 440.0)], &["film>bob"]);

    css.json(&[
        "conf",
        "record",
        "start",
        "8801",
        "--recording",
        "web",
        "--live",
        "--segment",
        "1s",
        "--folder",
        "web",
    ]);
    let playlist = folder.path().join("web/+canvas.m3u8");
    let grown = eventually("pieces come", || {
        let text = std::fs::read_to_string(&playlist).ok()?;
        (text.matches("#EXTINF").count() >= 2).then_some(text)
    });
    assert!(!grown.contains("#EXT-X-ENDLIST"), "{grown}");
    let name = playlist.to_str().expect("text");
    let opened = run("ffprobe", &["-show_entries", "stream=codec_name", "-of", "csv=p=0", name]);
    assert!(opened.status.success(), "{}", text(&opened.stderr));
    let codecs = text(&opened.stdout);
    assert!(codecs.contains("h264") && codecs.contains("aac"), "{codecs}");

    let png = folder.path().join("picture.png");
    let file = png.to_str().expect("text");
    for whose in [&["--participant", "film"][..], &[]] {
        eventually("the film is in the snapshot", || {
            let taken = css.run(&[&["conf", "snapshot", "8801", file, "--json"], whose].concat());
            (taken.status.success() && is_green(colour(&png))).then_some(())
        });
    }
    css.fails(&["conf", "snapshot", "8801", file, "--participant", "bob"], 1, "bob");

    css.json(&["conf", "record", "stop", "8801", "--recording", "web"]);
    eventually("the playlist ends", || {
        std::fs::read_to_string(&playlist).ok().filter(|text| text.ends_with("#EXT-X-ENDLIST\n"))
    });
    let stopped = css.json(&["conf", "playback", "8801", "film", "--stop"]);
    assert_eq!(stopped["state"], "nothing");
    until_heard(&mut phones, &[("film", 440.0)], &[]);
}

#[test]
fn a_file_is_read_in_a_process_whose_end_is_that_of_this_file_alone() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    make_film(&folder.path().join("film.mp4"));
    std::fs::write(folder.path().join("broken.mp4"), [7; 1000]).expect("a file");
    let _control = css.start("embedded");
    let node = css.start_node_with("n1", &["--metrics", "off", "--prompts", path]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8802"]);
    css.fails(&["conf", "play", "8802", "broken.mp4", "--as", "broken"], 1, "is it whole?");
    assert!(children(node.id()).is_empty());
    let watch = Watched::start(css.command(&["conf", "watch", "8802", "--json"]));
    let is_told = |what: &str, of: &str| {
        eventually(what, || {
            watch.lines().iter().any(|line| line.contains(what) && line.contains(of)).then_some(())
        });
    };
    let play = |whose| css.json(&["conf", "play", "8802", "film.mp4", "--as", whose, "--repeat"]);
    play("first");
    let [first] = children(node.id())[..] else { panic!("one process") };
    play("second");
    is_told("participant-joined", "second");
    signal(first, Signal::KILL);
    let state = |whose: &str| css.json(&["conf", "playback", "8802", whose])["state"].clone();
    eventually("the file has ended", || (state("first") == "ended").then_some(()));
    is_told("playback-ended", "signal 9");
    assert_eq!(state("second"), "playing");
    let [second] = children(node.id())[..] else { panic!("one process") };
    // It plays again by another one, and none outlives its node.
    play("first");
    let both = children(node.id());
    assert!(both.len() == 2 && both.contains(&second), "{both:?}");
    node.kill();
    both.into_iter().for_each(until_gone);
}
