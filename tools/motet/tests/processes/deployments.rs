//! The deployments in `docs/deployments` start from their files, by the units in `packaging/systemd`; addresses, ports
//! and the store are the test's own.

use crate::world::{Css, Process, eventually, free_port, local, media_ports};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lines of a unit or an environment file, with those that end with a backslash joined, and without comments
/// (systemd.syntax(7), `EnvironmentFile=` in systemd.exec(5)).
fn lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A unit's command on this machine.
struct Unit {
    environment: BTreeMap<String, String>,
    exec: String,
}

impl Unit {
    /// With the settings of a deployment's file instead of those of the unit.
    fn read(unit: &str, settings: &str) -> Unit {
        let (mut environment, mut exec) = (BTreeMap::new(), String::new());
        for line in lines(&read(&root().join("packaging/systemd").join(unit))) {
            match line.split_once('=') {
                Some(("Environment", pair)) => {
                    let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                    environment.insert(name.to_owned(), value.to_owned());
                }
                Some(("ExecStart", command)) => exec = command.to_owned(),
                _ => {}
            }
        }
        for line in lines(&read(&root().join("docs/deployments").join(settings))) {
            let (name, value) = line.split_once('=').expect("NAME=VALUE");
            let known = environment.insert(name.to_owned(), value.to_owned());
            assert!(known.is_some(), "{settings}: {unit} knows no {name}");
        }
        Unit { environment, exec }
    }

    /// What the file says of this machine, and what it is here.
    fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// The arguments: `${NAME}` is one, `$NAME` is as many as it has words (systemd.service(5), command lines).
    fn arguments(&self, machine: &str, files: &Path) -> Vec<String> {
        let mut arguments = Vec::new();
        for word in self.exec.split_whitespace().skip(1) {
            let of = |name: &str| self.environment.get(name).unwrap_or_else(|| panic!("nobody sets {name}"));
            if let Some(name) = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                arguments.push(of(name).clone());
            } else if let Some(name) = word.strip_prefix('$') {
                arguments.extend(of(name).split_whitespace().map(str::to_owned));
            } else {
                arguments.push(word.replace("%i", "0").replace("%H", machine));
            }
        }
        let here = files.to_str().expect("text");
        arguments.iter().map(|argument| argument.replace("/etc/motet", here)).collect()
    }

    fn start(&self, machine: &str, files: &Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_motet"));
        command.args(self.arguments(machine, files)).args(["--metrics", "off"]);
        command.env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process::with_pipes(command)
    }
}

/// Control as the file has it, at an address and with a Redis of the test's own.
fn control(settings: &str, files: &Path) -> (Css, [Process; 2]) {
    let (css, port) = (Css::new(), free_port());
    let redis = Process::redis(port);
    let mut unit = Unit::read("motet-css.service", settings);
    assert!(unit.environment["MOTET_STORE"].starts_with("redis+sentinel://"), "{settings}");
    unit.set("MOTET_LISTEN", &css.listen());
    unit.set("MOTET_STORE", &format!("redis://{}", local(port)));
    let process = unit.start("control", files);
    (css, [redis, process])
}

/// A node as the file has it, which announces itself to this control.
fn node(settings: &str, machine: &str, css: &Css) -> Process {
    let mut unit = Unit::read("motet-node@.service", settings);
    unit.set("MOTET_CONTROL", &css.url());
    unit.set("MOTET_LISTEN", "127.0.0.1:0");
    unit.set("MOTET_MEDIA_IP", "127.0.0.1");
    unit.set("MOTET_PORT_RANGE", &media_ports());
    unit.start(machine, Path::new("/nowhere"))
}

/// The domains of the file are set up by control, soon after it starts.
fn wait_for_domains(css: &Css, count: usize) {
    eventually("the domains are there", || {
        let output = css.run(&["domains", "list", "--json"]);
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        (list.as_array()?.len() == count).then_some(())
    });
}

/// Room and platform of a conference that is created for this user domain, and its number.
fn created(css: &Css, user_domain: &str) -> (String, String, String) {
    let made = css.json(&["conf", "create", "--user-domain", user_domain]);
    let number = made["number"].as_str().expect("text").to_owned();
    let history = css.json(&["conf", "history", &number]);
    let segment = &history["segments"][0];
    let text = |name: &str| segment[name].as_str().unwrap_or_else(|| panic!("{history}")).to_owned();
    (text("room"), text("platform"), number)
}

#[test]
fn media_in_the_cities_and_control_in_the_province() {
    let folder = root().join("docs/deployments/province/control");
    let (css, _processes) = control("province/control/css.env", &folder);
    let _nodes =
        ["city-north", "city-south"].map(|room| node(&format!("province/{room}/node.env"), room, &css));
    css.wait_for_nodes(2);
    wait_for_domains(&css, 4);
    for (domain, city) in [("north-offices", "city-north"), ("south-offices", "city-south")] {
        let (room, platform, number) = created(&css, domain);
        assert_eq!((room.as_str(), platform.as_str()), (city, "province"));
        assert!(number.starts_with('8') && number.len() == 6, "{number}");
    }
}

#[test]
fn two_platforms() {
    let folder = root().join("docs/deployments/platforms");
    for (platform, other, first) in [("one", "two", '1'), ("two", "one", '2')] {
        let (css, _processes) = control(&format!("platforms/{platform}/css.env"), &folder);
        let _node = node(&format!("platforms/{platform}/node.env"), platform, &css);
        css.wait_for_nodes(1);
        wait_for_domains(&css, 5);
        let (room, served_by, number) = created(&css, &format!("users-of-{platform}"));
        assert_eq!((room, served_by.as_str()), (format!("room-{platform}"), platform));
        assert!(number.starts_with(first), "{number}");
        // Those of the other platform are served here, too, under numbers of their own platform.
        let (_, served_by, number) = created(&css, &format!("users-of-{other}"));
        assert_eq!(served_by, platform);
        assert!(!number.starts_with(first), "{number}");
    }
}
