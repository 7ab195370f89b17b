//! `motet-chaos`: what is lost when processes die, stop and are cut off.
#![forbid(unsafe_code)]

use clap::Parser;
use motet_chaos::options::Options;
use motet_chaos::report;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    motet_rtpgen::system::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let missed = runtime.block_on(async {
        tokio::select! {
            // Dropping the rest ends all processes and removes their files.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            missed = report::run(&options) => missed,
        }
    })?;
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
