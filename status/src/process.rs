//! What the kernel knows of this process, under the names that all Prometheus clients use.

use crate::{Labels, Metric, Page};
use std::fs::read_to_string;

/// Clock ticks per second in /proc; part of the kernel's interface (proc(5): USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

const CPU: Metric =
    Metric { name: "process_cpu", unit: "seconds", help: "Processor time of all threads, user and system." };
const MEMORY: Metric =
    Metric { name: "process_resident_memory", unit: "bytes", help: "Memory that is not swapped out." };
const DESCRIPTORS: Metric =
    Metric { name: "process_open_fds", unit: "", help: "Open file descriptors, sockets included." };
const START: Metric =
    Metric { name: "process_start_time", unit: "seconds", help: "When the process started, since 1970." };

/// Adds what can be read; a value that cannot be is left out.
pub(crate) fn describe(page: &mut Page) {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        page.sums(CPU, [(Labels::new(), seconds)]);
    }
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        page.gauge(MEMORY, bytes);
    }
    // The list holds the descriptor that it is read through.
    if let Ok(list) = std::fs::read_dir("/proc/self/fd") {
        page.gauge(DESCRIPTORS, list.count().saturating_sub(1) as f64);
    }
    let system = read_to_string("/proc/stat").unwrap_or_default();
    if let Some(seconds) = start_seconds(&stat, &system) {
        page.gauge(START, seconds);
    }
}

/// The n-th field of /proc/self/stat, counted from 1 as in proc(5). The second may hold spaces.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, after) = stat.rsplit_once(") ")?;
    after.split_whitespace().nth(number - 3)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn start_seconds(stat: &str, system: &str) -> Option<f64> {
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + field(stat, 22)? / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 12345 1 2";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(start_seconds(stat, "cpu 1\nbtime 1000\n"), Some(1123.45));
        assert_eq!(resident_bytes("Name:\ta\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        assert_eq!((cpu_seconds(""), start_seconds(stat, ""), resident_bytes("")), (None, None, None));
    }

    #[test]
    fn this_process_can_be_described() {
        let text = Page::new().text();
        for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds "] {
            assert!(text.contains(&format!("\n{name}")), "{name} is missing:\n{text}");
        }
    }
}
