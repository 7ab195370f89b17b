//! A store that goes away.

use super::{Measured, ms, percentile, settled, settled_before, setup, untouched};
use crate::options::Options;
use crate::redis::{NAME, SENTINELS, SERVERS};
use crate::world::World;
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CONFERENCES: usize = 30;
const SWITCHOVERS: usize = 20;
/// How often service is tried after the return.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// How long that is tried.
const BACK_MAX: Duration = Duration::from_secs(60);

/// Both servers are killed, are away for a while, and come back.
pub(super) async fn down(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(setup(options, seed)?, 3).await?;
    world.callers.populate(options.many(CONFERENCES), 3).await?;
    settled_before(&mut world).await?;
    world.callers.media.mark();
    SERVERS.iter().try_for_each(|server| world.kill(server))?;
    let down = Instant::now();
    let slowest = try_meanwhile(&world, down + Duration::from_secs(options.redis_down)).await?;
    SERVERS.iter().try_for_each(|server| world.revive(server))?;
    let primary = world.primary()?;
    world.wait_redis(&primary).await?;
    let back = world.callers.wait_served(BACK_MAX).await?;
    let hearings = world.callers.media.read().await;
    let mut measured = vec![
        Measured::new("away", down.elapsed().as_secs_f64(), "s"),
        Measured::new("slowest_refusal_meanwhile", ms(slowest), "ms"),
        Measured::new("full_service_after_return", ms(back), "ms").at_most(5_000.0),
    ];
    measured.extend(untouched(&hearings));
    measured.extend(settled(&mut world).await?);
    Ok(measured)
}

/// What is asked meanwhile is refused, and soon; gives the longest time until it was.
async fn try_meanwhile(world: &World, until: Instant) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        for css in world.callers.css() {
            let asked = Instant::now();
            let answer = world.callers.create_once(css, world.callers.wish(2)).await;
            slowest = slowest.max(asked.elapsed());
            ensure!(answer.is_err(), "{} acknowledged a conference that it could not store", css.name);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(slowest)
}

/// The primary is told to give its place to the replica, again and again, while conferences are created.
pub(super) async fn switched(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(setup(options, seed)?, 3).await?;
    world.callers.populate(options.many(CONFERENCES), 3).await?;
    settled_before(&mut world).await?;
    world.callers.media.mark();
    for sentinel in SENTINELS {
        // They switch when they are told to, and not because the machine is busy.
        world.ask_redis(sentinel, &["SENTINEL", "SET", NAME, "down-after-milliseconds", "60000"])?;
    }
    let callers = Arc::clone(&world.callers);
    // Ends with this function, however that ends: the next row may have its servers at the same addresses.
    let mut work = JoinSet::new();
    work.spawn(async move {
        loop {
            // A failure is one of the conferences that have no answer; those are allowed.
            let _ = callers.create(2).await;
            tokio::time::sleep(TRY_AGAIN).await;
        }
    });
    let mut times = Vec::new();
    for _ in 0..options.many(SWITCHOVERS) {
        times.push(ms(switch(&mut world).await?));
    }
    work.shutdown().await;
    let hearings = world.callers.media.read().await;
    let quiet = settled(&mut world).await?;
    let (living, lost) = lost_in_store(&world)?;
    let mut measured = vec![
        Measured::new("switchovers", times.len() as f64, ""),
        Measured::new("service_back_p50", percentile(&mut times, 50), "ms"),
        Measured::new("service_back_max", percentile(&mut times, 100), "ms"),
        Measured::new("acknowledged_conferences", living as f64, ""),
        Measured::new("lost_in_the_store", lost as f64, "").at_most(0.0),
        Measured::new("processes_that_ended", 0.0, "").at_most(0.0),
    ];
    measured.extend(untouched(&hearings));
    measured.extend(quiet);
    Ok(measured)
}

/// One switchover; the time until a conference could be created with each control process. Returns when the old
/// primary follows the new one: until then there is no replica, and Sentinels that are told to switch once more promote
/// a server that lacks all that was written since.
async fn switch(world: &mut World) -> Result<Duration> {
    let before = world.primary()?;
    let begun = Instant::now();
    loop {
        // Refused while the Sentinels have not yet agreed on the last one, or see no good replica.
        if world.ask_redis(SENTINELS[0], &["SENTINEL", "FAILOVER", NAME]).is_ok() {
            break;
        }
        ensure!(begun.elapsed() < BACK_MAX, "the Sentinels switch no more");
        tokio::time::sleep(TRY_AGAIN).await;
    }
    let asked = Instant::now();
    while world.primary()? == before {
        ensure!(asked.elapsed() < BACK_MAX, "the Sentinels do not switch");
        tokio::time::sleep(TRY_AGAIN).await;
    }
    world.callers.wait_served(BACK_MAX).await?;
    let served = asked.elapsed();
    world.wait_replica(&before).await?;
    // Fails when a process has ended.
    world.check_processes()?;
    Ok(served)
}

/// How many conferences must be in the store, and how many of them are not.
fn lost_in_store(world: &World) -> Result<(usize, usize)> {
    let primary = world.primary()?;
    let ids: Vec<String> = world.callers.ledger().living().map(|(id, _)| id.clone()).collect();
    let mut lost = 0;
    for id in &ids {
        let there = world.ask_redis(&primary, &["EXISTS", &format!("conf/{{{id}}}")])?;
        lost += usize::from(there.first().map(String::as_str) != Some("1"));
    }
    Ok((ids.len(), lost))
}
