//! Who hears whom in a mixed conference, beyond mute and gain: side rooms, whispers, the floor; by signal.

use crate::phones::{ALL, Phone, TONE, amplitude, room, talk, until_heard, write_prompt};
use crate::world::{Css, text};

fn those(pairs: &[&'static str], without: &[&str]) -> Vec<&'static str> {
    pairs.iter().copied().filter(|pair| !without.contains(pair)).collect()
}

#[test]
fn side_rooms_whispers_and_the_floor_are_heard() {
    let css = Css::new();
    let prompts = tempfile::tempdir().expect("a folder can be made");
    write_prompt(&prompts.path().join("gong.wav"), 2_300.0, 2);
    let folder = prompts.path().to_str().expect("text");
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off", "--prompts", folder]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8621", "--audio", "mix,speakers=4"]);
    let mut phones: Vec<Phone> = room(&css, "8621");
    until_heard(&mut phones, &[], &ALL);

    // Carol and dave talk aside; carol hears the others still.
    css.json(&["conf", "room", "8621", "dave", "aside"]);
    let carol = css.json(&["conf", "room", "8621", "carol", "aside", "--main-room", "-3"]);
    assert_eq!((&carol["side_room"], carol["main_room_db"].as_f64()), (&"aside".into(), Some(-3.0)));
    let aside = ["alice>bob", "bob>alice", "alice>carol", "bob>carol", "dave>carol", "carol>dave"];
    until_heard(&mut phones, &[], &aside);
    // What all are to hear reaches every room.
    let playing = css.json(&["conf", "play", "8621", "gong.wav", "--repeat"]);
    let gong = ["gong>alice", "gong>bob", "gong>carol", "gong>dave"];
    let with_gong: Vec<&str> = aside.into_iter().chain(gong).collect();
    until_heard(&mut phones, &[("gong", 2_300.0)], &with_gong);
    css.json(&["conf", "stop", "8621", playing["prompt"].as_str().expect("a name")]);
    css.fails(&["conf", "room", "8621", "dave", "a room"], 1, "a room");
    css.json(&["conf", "room", "8621", "dave"]);
    css.json(&["conf", "room", "8621", "carol"]);
    until_heard(&mut phones, &[("gong", 2_300.0)], &ALL);

    // Bob whispers to alice.
    css.json(&["conf", "whisper", "8621", "bob", "--to", "alice"]);
    until_heard(&mut phones, &[], &those(&ALL, &["bob>carol", "bob>dave"]));
    css.json(&["conf", "whisper", "8621", "bob", "--to", "alice", "--off"]);
    until_heard(&mut phones, &[], &ALL);

    // Only alice may speak, then bob as well.
    css.json(&["conf", "floor", "8621", "alice"]);
    css.json(&["conf", "audio", "8621", "mix,speakers=4,floor"]);
    let of_alice = ["alice>bob", "alice>carol", "alice>dave"];
    until_heard(&mut phones, &[], &of_alice);
    css.json(&["conf", "floor", "8621", "bob"]);
    let of_both: Vec<&str> = of_alice.into_iter().chain(["bob>alice", "bob>carol", "bob>dave"]).collect();
    until_heard(&mut phones, &[], &of_both);
    css.json(&["conf", "audio", "8621", "mix,speakers=4"]);
    until_heard(&mut phones, &[], &ALL);

    let narrow = ["conf", "audio", "8621", "mix,rate=8000"];
    assert_eq!(css.json(&["conf", "denoise", "8621", "alice"])["noise_suppression"], true);
    css.fails(&narrow, 1, "48000");
    css.json(&["conf", "denoise", "8621", "alice", "--off"]);
    css.json(&narrow);
    css.fails(&["conf", "denoise", "8621", "alice"], 1, "48000");
    let page = css.run(&["conf", "show", "8621"]);
    assert!(text(&page.stdout).contains("has the floor"), "{}", text(&page.stdout));
}

#[test]
fn a_mix_and_one_in_it_can_be_listened_to() {
    let css = Css::new();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let _control = css.start("embedded");
    let _node = css.start_node_with("n1", &["--metrics", "off"]);
    css.wait_for_nodes(1);
    css.json(&["conf", "create", "--number", "8622", "--audio", "mix,speakers=4"]);
    let mut phones: Vec<Phone> = room(&css, "8622");
    until_heard(&mut phones, &[], &ALL);
    css.fails(&["nodes", "listen", "n1", "8622", "--participant", "eve", "--out", "x.wav"], 1, "eve");
    for (participant, file) in [("", "mix.wav"), ("bob", "bob.wav")] {
        let file = folder.path().join(file);
        let path = file.to_str().expect("text");
        let listen =
            ["nodes", "listen", "n1", "8622", "--for", "2s", "--participant", participant, "--out", path];
        let mut listening = css.command(&listen);
        listening.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut listening = crate::world::Process::with_pipes(listening);
        talk(&mut phones, std::time::Duration::from_millis(3_000));
        assert_eq!(listening.ends().0, Some(0));
        let samples: Vec<i16> = hound::WavReader::open(&file)
            .expect("it was left")
            .into_samples()
            .map(|sample| sample.expect("16 bits"))
            .collect();
        assert_eq!(samples.len(), 2 * 48_000);
        for phone in &phones {
            let amplitude = amplitude(&samples[72_000..], phone.tone_hz, 48_000.0);
            let wanted = participant.is_empty() || participant == phone.name;
            assert_eq!(amplitude > TONE / 2.0, wanted, "{}: {amplitude}", phone.name);
        }
    }
}
