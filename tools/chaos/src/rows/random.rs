//! A plan from a seed, while conferences come and go.

use super::{Measured, ms, settled, settled_before, setup};
use crate::callers::Callers;
use crate::options::Options;
use crate::plan::{self, Harm, Step, Targets};
use crate::redis::{SENTINELS, SERVERS};
use crate::world::{World, css_name, node_name};
use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Conferences that are there before.
const CONFERENCES: usize = 12;
const PEOPLE: usize = 3;
/// Callers who do one thing after another.
const CALLERS: u64 = 3;
/// How long what was begun may take to end, after the plan.
const LAST_CALLS: Duration = Duration::from_secs(40);
/// How long nodes may take to give back what ended.
const RELEASE: Duration = Duration::from_secs(20);

/// Kills, stops and cuts for a minute, while callers create, join, rename, lock and end.
pub(super) async fn plan(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(setup(options, seed)?, 3).await?;
    world.callers.populate(CONFERENCES, PEOPLE).await?;
    settled_before(&mut world).await?;
    world.callers.media.mark();
    let targets = Targets {
        css: (0..usize::from(options.css)).map(css_name).collect(),
        nodes: (0..3).map(node_name).collect(),
        stores: SERVERS.iter().chain(&SENTINELS).map(|name| (*name).to_owned()).collect(),
    };
    let steps = plan::plan(seed, Duration::from_secs(options.plan), &targets);
    let begun = Instant::now();
    let work = Work::start(&world.callers, seed, begun + Duration::from_secs(options.plan));
    play(&mut world, &steps, begun).await?;
    let refused = work.end().await;
    let hearings = world.callers.media.read().await;
    let silence = hearings.iter().map(|hearing| hearing.heard.silence).max().unwrap_or_default();
    let quiet = settled(&mut world).await?;
    let (done, living) = (refused.0, world.callers.ledger().living().count());
    let leaks = leaks(&mut world, RELEASE).await?;
    let mut measured = vec![
        Measured::new("seed", seed as f64, ""),
        Measured::new("harms", steps.len() as f64, ""),
        Measured::new("operations_acknowledged", done as f64, ""),
        Measured::new("operations_given_up", refused.1 as f64, ""),
        Measured::new("conferences_at_the_end", living as f64, ""),
        Measured::new("longest_time_between_packets", ms(silence), "ms"),
        Measured::new("leaks", leaks as f64, "").at_most(0.0),
    ];
    measured.extend(quiet);
    Ok(measured)
}

/// Does each harm when it is due, and mends it.
async fn play(world: &mut World, steps: &[Step], begun: Instant) -> Result<()> {
    let mut acts: Vec<(Duration, bool, &Step)> = Vec::new();
    for step in steps {
        acts.push((step.at, true, step));
        acts.push((step.end(), false, step));
    }
    acts.sort_by_key(|(at, ..)| *at);
    for (at, harms, step) in acts {
        tokio::time::sleep_until(begun + at).await;
        world.check_processes()?;
        if harms {
            println!(
                "  {:>6.1} s for {:>4.1} s: {:?}",
                at.as_secs_f64(),
                step.lasts.as_secs_f64(),
                step.harm
            );
        }
        act(world, &step.harm, harms)?;
    }
    Ok(())
}

fn act(world: &mut World, harm: &Harm, harms: bool) -> Result<()> {
    match (harm, harms) {
        (Harm::Kill(name), true) => world.kill(name)?,
        (Harm::Kill(name), false) => world.revive(name)?,
        (Harm::Stop(name), true) => world.process(name)?.stop()?,
        (Harm::Stop(name), false) => world.process(name)?.go_on()?,
        (Harm::Link(from, to, fault), true) => world.net.set(from, to, Some(*fault)),
        (Harm::Link(from, to, _), false) => world.net.set(from, to, None),
        (Harm::Reset(from, to), true) => world.net.reset(from, to),
        (Harm::Reset(..), false) => {}
    }
    Ok(())
}

/// Callers at work.
struct Work {
    /// Ended when this is dropped: the next row may have its servers at the same addresses.
    tasks: JoinSet<()>,
    done: Arc<AtomicU64>,
    given_up: Arc<AtomicU64>,
}

impl Work {
    fn start(callers: &Arc<Callers>, seed: u64, until: Instant) -> Work {
        let (done, given_up) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for caller in 0..CALLERS {
            let (callers, done, given_up) = (Arc::clone(callers), Arc::clone(&done), Arc::clone(&given_up));
            let mut random = StdRng::seed_from_u64(seed ^ (caller + 1) << 32);
            tasks.spawn(async move {
                while Instant::now() < until {
                    let count = match do_something(&callers, &mut random).await {
                        Ok(()) => &done,
                        Err(error) => {
                            println!("  given up: {error:#}");
                            &given_up
                        }
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
                }
            });
        }
        Work { tasks, done, given_up }
    }

    /// Waits until all have ended; how many operations were acknowledged, and given up.
    async fn end(mut self) -> (u64, u64) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_CALLS, all).await.is_err() {
            self.tasks.shutdown().await;
        }
        (self.done.load(Ordering::Relaxed), self.given_up.load(Ordering::Relaxed))
    }
}

async fn do_something(callers: &Callers, random: &mut StdRng) -> Result<()> {
    let open: Vec<String> = {
        let ledger = callers.ledger();
        let open = ledger.living().filter(|(_, expected)| expected.locks == [false].into());
        open.map(|(id, _)| id.clone()).collect()
    };
    let number: u32 = random.random();
    let Some(id) = open.get(number as usize % open.len().max(1)).filter(|_| open.len() >= CONFERENCES / 2)
    else {
        return callers.create(PEOPLE).await.map(|_| ());
    };
    match random.random_range(0..10) {
        0..=2 => callers.create(PEOPLE).await.map(|_| ()),
        3..=5 => callers.join(id, &format!("x{number:08x}")).await,
        6 => callers.rename(id).await,
        7 => {
            callers.lock(id, true).await?;
            callers.lock(id, false).await
        }
        _ => callers.end(id).await,
    }
}

/// Ends everything and counts what nodes do not give back.
pub(super) async fn leaks(world: &mut World, within: Duration) -> Result<usize> {
    world.callers.end_all().await?;
    let end = Instant::now() + within;
    loop {
        let mut left = 0;
        for index in 0..3 {
            let load = world.node(&node_name(index))?.describe().await?.load.unwrap_or_default();
            left += (load.conferences + load.legs + load.ports_used) as usize;
        }
        let views = world.views().await?;
        let unsure = world.callers.ledger().unsure.clone();
        let lists = views.css.values().flatten().filter(|info| !unsure.contains(&info.name));
        left += lists.count();
        if left == 0 || Instant::now() > end {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
