//! The `motet load` command.

pub use crate::options::LoadOptions;

use crate::audio;
use crate::conference;
use crate::raw::RawLoad;
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
    let done = match &options.css {
        None => measure(options, RawLoad::from_options(options, run).plan()?).await?,
        Some(url) => {
            let mut session = conference::Session::open(url, options.timeout).await?;
            // Whatever happens after the first conference exists, none is left behind.
            let done = tokio::select! {
                job = set_up(&mut session, options, run) => match job {
                    Ok(Job::Packets(plan)) => measure(options, plan).await,
                    Ok(Job::Sound(plan)) => measure_sound(options, plan).await,
                    Err(error) => Err(error),
                },
                _ = tokio::signal::ctrl_c() => Err(anyhow!("ended before the first packet was sent")),
            };
            session.end_all().await;
            done?
        }
    };
    print(options, &done)?;
    Ok(if done.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is to be done in conferences.
enum Job {
    Packets(Plan),
    Sound(audio::run::Plan),
}

async fn set_up(session: &mut conference::Session, options: &LoadOptions, run: u32) -> anyhow::Result<Job> {
    if options.audio.audio {
        return session.set_up_audio(options, run).await.map(Job::Sound);
    }
    session.set_up(options, run).await.map(Job::Packets)
}

/// What a run came to, in words and for programs.
struct Done {
    passed: bool,
    table: String,
    json: String,
}

async fn measure(options: &LoadOptions, plan: Plan) -> anyhow::Result<Done> {
    let report = watch(options, plan.duration, move |control| execute(plan, control)).await?;
    Ok(Done { passed: report.passed, table: report.table(), json: serde_json::to_string_pretty(&report)? })
}

async fn measure_sound(options: &LoadOptions, plan: audio::run::Plan) -> anyhow::Result<Done> {
    let report = watch(options, plan.duration, move |control| audio::run::execute(plan, control)).await?;
    Ok(Done { passed: report.passed, table: report.table(), json: serde_json::to_string_pretty(&report)? })
}

/// Runs something on a thread of its own, with a progress line and an early end at Ctrl-C.
async fn watch<R: Send + 'static>(
    options: &LoadOptions,
    total: Duration,
    run: impl FnOnce(&Control) -> anyhow::Result<R> + Send + 'static,
) -> anyhow::Result<R> {
    let control = Arc::new(Control::default());
    let progress = options.progress || std::io::stderr().is_terminal();
    let mut running = tokio::task::spawn_blocking({
        let control = control.clone();
        move || run(&control)
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

fn print(options: &LoadOptions, done: &Done) -> anyhow::Result<()> {
    let json = format!("{}\n", done.json);
    let text = match &options.json {
        Some(file) if file.as_os_str() == "-" => &json,
        Some(file) => {
            std::fs::write(file, &json).with_context(|| format!("--json {}", file.display()))?;
            &done.table
        }
        None => &done.table,
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
