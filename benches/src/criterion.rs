//! Criterion's figures as a table, read from what it leaves in `target/criterion`.

use crate::table;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One benchmark: its name, its mean with the bounds of 95 %, and what an iteration is divided by.
#[derive(Clone, Debug, PartialEq)]
struct Benchmark {
    name: String,
    mean_ns: [f64; 3],
    elements: f64,
}

/// The table of all benchmarks below `directory`, in the order of their names.
pub fn table(directory: &Path) -> anyhow::Result<String> {
    let mut found = Vec::new();
    collect(directory, &mut found).with_context(|| format!("cannot read {}", directory.display()))?;
    ensure!(
        !found.is_empty(),
        "no figures below {}: run `cargo bench -p motet-benches`",
        directory.display()
    );
    let mut benchmarks = found.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    benchmarks.sort_by_key(|benchmark| name_key(&benchmark.name));
    let lines: Vec<Vec<String>> = benchmarks.iter().map(line).collect();
    Ok(table::render(&["benchmark", "ns/packet", "95 % within", "packets/iteration"], &lines))
}

/// Numbers in names are ordered by value.
fn name_key(name: &str) -> (String, u64) {
    let (front, last) = name.rsplit_once('/').unwrap_or((name, ""));
    match last.parse() {
        Ok(number) => (front.to_owned(), number),
        Err(_) => (name.to_owned(), 0),
    }
}

/// Directories named `new` hold the latest run.
fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") {
            found.push(path);
        } else {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn read(directory: &Path) -> anyhow::Result<Benchmark> {
    let json = |name: &str| -> anyhow::Result<Value> {
        let path = directory.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    };
    let (about, estimates) = (json("benchmark.json")?, json("estimates.json")?);
    let mean = &estimates["mean"];
    let bounds = &mean["confidence_interval"];
    let number = |value: &Value| value.as_f64().context("Criterion's estimates have another form");
    Ok(Benchmark {
        name: about["full_id"].as_str().context("Criterion names no full_id")?.to_owned(),
        mean_ns: [
            number(&mean["point_estimate"])?,
            number(&bounds["lower_bound"])?,
            number(&bounds["upper_bound"])?,
        ],
        elements: about["throughput"]["Elements"].as_f64().unwrap_or(1.0),
    })
}

fn line(benchmark: &Benchmark) -> Vec<String> {
    let [mean, low, high] = benchmark.mean_ns.map(|ns| ns / benchmark.elements);
    vec![
        benchmark.name.clone(),
        format!("{mean:.2}"),
        format!("{low:.2}-{high:.2}"),
        format!("{:.0}", benchmark.elements),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, id: &str, elements: u64, mean: f64) {
        let directory = directory.join(id).join("new");
        std::fs::create_dir_all(&directory).expect("a temporary directory can be written");
        let about = format!(r#"{{"full_id":"{id}","throughput":{{"Elements":{elements}}}}}"#);
        let (low, high) = (mean - 10.0, mean + 10.0);
        let estimates = format!(
            r#"{{"mean":{{"confidence_interval":{{"lower_bound":{low},"upper_bound":{high}}},"point_estimate":{mean}}}}}"#
        );
        std::fs::write(directory.join("benchmark.json"), about).expect("it can be written");
        std::fs::write(directory.join("estimates.json"), estimates).expect("it can be written");
    }

    #[test]
    fn benchmarks_are_found_divided_and_ordered() {
        let directory = std::env::temp_dir().join(format!("motet-criterion-{}", std::process::id()));
        write(&directory, "route/burst of 10/100", 1000, 9000.0);
        write(&directory, "route/burst of 10/20", 200, 1800.0);
        write(&directory, "parse/RtpView", 1, 20.0);
        let table = table(&directory).expect("three benchmarks");
        std::fs::remove_dir_all(&directory).expect("it was made above");
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert!(lines[0].starts_with("| parse/RtpView ") && lines[0].contains("10.00-30.00"), "{table}");
        assert!(lines[1].starts_with("| route/burst of 10/20 ") && lines[1].contains(" 9.00 "), "{table}");
        assert!(lines[2].starts_with("| route/burst of 10/100 "), "{table}");
    }

    #[test]
    fn nothing_measured_says_what_to_run() {
        let empty = std::env::temp_dir().join(format!("motet-criterion-empty-{}", std::process::id()));
        std::fs::create_dir_all(&empty).expect("a temporary directory can be written");
        let error = table(&empty).expect_err("nothing is there").to_string();
        std::fs::remove_dir_all(&empty).expect("it was made above");
        assert!(error.contains("cargo bench"), "{error}");
    }
}
