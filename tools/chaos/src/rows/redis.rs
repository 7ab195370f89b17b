//! A store that goes away.

use super::{Measured, QUIET, ms, settled, setup, untouched};
use crate::callers::Callers;
use crate::options::Options;
use crate::world::{Store, World};
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const CONFERENCES: usize = 30;
/// How often service is tried after the return.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// How long that is tried.
const BACK_MAX: Duration = Duration::from_secs(60);

/// Redis is killed, is away for a while, and comes back.
pub(super) async fn down(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(setup(options, Store::Redis, seed)?, 3).await?;
    world.callers.populate(options.many(CONFERENCES), 3).await?;
    let before = world.settle(QUIET).await?;
    ensure!(before.is_empty(), "before any fault: {before:?}");
    world.callers.media.mark();
    world.kill("redis1")?;
    let down = Instant::now();
    let slowest = try_meanwhile(&world, down + Duration::from_secs(options.redis_down)).await?;
    world.revive("redis1")?;
    world.wait_redis("redis1").await?;
    let back = full_service(&world.callers).await?;
    let hearings = world.callers.media.read().await;
    let mut measured = vec![
        Measured::new("away", down.elapsed().as_secs_f64(), "s"),
        Measured::new("slowest_refusal_meanwhile", ms(slowest), "ms"),
        Measured::new("full_service_after_return", ms(back), "ms").at_most(5_000.0),
    ];
    measured.extend(untouched(&hearings));
    measured.push(settled(&mut world).await?);
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

/// Waits until each control process creates a conference, lets somebody join it, and ends it.
async fn full_service(callers: &Arc<Callers>) -> Result<Duration> {
    let begun = Instant::now();
    for css in callers.css() {
        let id = loop {
            match callers.create_once(css, callers.wish(2)).await {
                Ok(info) => break info.id,
                Err(status) => ensure!(begun.elapsed() < BACK_MAX, "{}: {}", css.name, status.message()),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        };
        callers.join(&id, "late").await?;
        callers.end(&id).await?;
    }
    Ok(begun.elapsed())
}
