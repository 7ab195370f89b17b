//! Control that dies and comes back.

use super::{Measured, ms, settled, settled_before, setup, untouched};
use crate::options::Options;
use crate::world::{World, css_name};
use anyhow::Result;
use std::time::Duration;
use tokio::time::Instant;

const CONFERENCES: usize = 100;

/// Each control process is killed and started again, one after another, then all at once.
pub(super) async fn restarted(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(setup(options, seed)?, 3).await?;
    world.callers.populate(options.many(CONFERENCES), 2).await?;
    settled_before(&mut world).await?;
    world.callers.media.mark();
    let names: Vec<String> = (0..usize::from(options.css)).map(css_name).collect();
    for name in &names {
        restart(&mut world, std::slice::from_ref(name)).await?;
    }
    let back = restart(&mut world, &names).await?;
    let hearings = world.callers.media.read().await;
    let mut measured = untouched(&hearings);
    measured.push(Measured::new("create_works_after", ms(back), "ms"));
    measured.extend(settled(&mut world).await?);
    Ok(measured)
}

/// Gives the time from the start of the processes until a conference could be created.
async fn restart(world: &mut World, names: &[String]) -> Result<Duration> {
    for name in names {
        world.kill(name)?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    for name in names {
        world.revive(name)?;
    }
    let id = world.callers.create(2).await?.id;
    let back = begun.elapsed();
    world.callers.end(&id).await?;
    world.wait_ready(3).await?;
    Ok(back)
}
