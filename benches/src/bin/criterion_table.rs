//! `criterion_table`: puts Criterion's latest figures into a document, see `make bench-criterion`.
#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use motet_benches::figures::between_marks;
use motet_benches::{criterion, machine};
use std::path::PathBuf;

/// Prints Criterion's latest figures as a table
#[derive(Parser, Debug)]
struct Options {
    /// Where Criterion has left its figures
    #[arg(long, value_name = "DIRECTORY", default_value = "target/criterion")]
    from: PathBuf,
    /// Put the table between the marks `criterion` of this file
    #[arg(long, value_name = "FILE")]
    out_markdown: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let machine: String =
        machine::describe().iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
    let text = format!("{machine}\n{}", criterion::table(&options.from)?);
    println!("{text}");
    if let Some(file) = &options.out_markdown {
        let document = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, between_marks(&document, "criterion", &text))
            .with_context(|| format!("--out-markdown {}", file.display()))?;
    }
    Ok(())
}
