//! Where and when something was measured.

use std::process::Command;

/// The machine, the kernel, the date and the commit, one line each.
pub fn describe() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("processor", format!("{}, {cores} cores", processor())),
        ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease"))),
        ("memory", memory()),
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", commit()),
    ]
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn memory() -> String {
    let info = read("/proc/meminfo");
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or("unknown".to_owned(), |kib| format!("{:.1} GiB", kib / 1024.0 / 1024.0))
}

fn commit() -> String {
    let hash = output("git", &["rev-parse", "--short=12", "HEAD"]);
    // The results themselves change with every run.
    let code = ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/benches/RESULTS.md"];
    let changed = !output("git", &code).is_empty();
    if changed { format!("{hash} with changes") } else { hash }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What a command prints; empty when it cannot be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
