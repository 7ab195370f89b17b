//! The `motet load` command.

pub use crate::options::LoadOptions;

use crate::conference;
use crate::raw::RawLoad;
use crate::report::Report;
use crate::run::{Control, Plan, execute};
use crate::system;
use anyhow::{Context, anyhow};
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Runs the load to its end and prints the report: exit code 0 when it passed, 1 when it did not.
///
/// Errors: an option makes no sense, a port is taken; a [`ControlError`](crate::reach::ControlError) when
/// control refuses or is away. Ctrl-C ends the run early, with the report so far.
pub fn run(options: LoadOptions) -> anyhow::Result<ExitCode> {
    options.check()?;
    // A thread of its own, so that it may be called from within an asynchronous program.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start threads")?;
        runtime.block_on(load(&options))
    });
    thread.join().map_err(|_| anyhow!("the generator panicked; the message is above"))?
}

async fn load(options: &LoadOptions) -> anyhow::Result<ExitCode> {
    system::raise_descriptor_limit();
    let run = run_number();
    let report = match &options.css {
        None => measure(RawLoad::from_options(options, run).plan()?, options.progress).await?,
        Some(url) => {
            let mut session = conference::Session::open(url, options.timeout).await?;
            // Whatever happens after the first conference exists, none is left behind.
            let report = tokio::select! {
                plan = session.set_up(options, run) => match plan {
                    Ok(plan) => measure(plan, options.progress).await,
                    Err(error) => Err(error),
                },
                _ = tokio::signal::ctrl_c() => Err(anyhow!("ended before the first packet was sent")),
            };
            session.end_all().await;
            report?
        }
    };
    print(options, &report)?;
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a plan on threads of its own, with a progress line and an early end at Ctrl-C.
async fn measure(plan: Plan, progress: bool) -> anyhow::Result<Report> {
    let control = Arc::new(Control::default());
    let progress = progress || std::io::stderr().is_terminal();
    let total = plan.duration;
    let mut running = tokio::task::spawn_blocking({
        let control = control.clone();
        move || execute(plan, &control)
    });
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    let (mut seconds, mut received_before) = (0, 0);
    loop {
        tokio::select! {
            report = &mut running => return report.context("the generator panicked")?,
            _ = tokio::signal::ctrl_c() => control.stop.store(true, Relaxed),
            _ = second.tick() => {
                seconds += 1;
                let received = control.received.load(Relaxed);
                if progress {
                    let (sent, rate) = (control.sent.load(Relaxed), received - received_before);
                    let total = total.as_secs_f64();
                    complain(&format!("{seconds:>4} of {total:.0} s   sent {sent}, received {received} ({rate} packets/s)"));
                }
                received_before = received;
            }
        }
    }
}

fn print(options: &LoadOptions, report: &Report) -> anyhow::Result<()> {
    let text = match &options.json {
        None => report.table(),
        Some(file) => {
            let json = serde_json::to_string_pretty(report)? + "\n";
            if file.as_os_str() == "-" {
                json
            } else {
                std::fs::write(file, json).with_context(|| format!("--json {}", file.display()))?;
                report.table()
            }
        }
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who has read enough (`motet load | head -1`) still learns the outcome from the exit code.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// One line for people on standard error, if anybody reads it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Different at every start, so that packets of an earlier run are known for what they are.
fn run_number() -> u32 {
    let now = system::now().as_nanos();
    (now ^ (now >> 32)) as u32 ^ std::process::id().rotate_left(16)
}
