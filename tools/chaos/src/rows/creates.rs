//! Conferences that are created quickly, and beside many others.

use super::{Measured, ms, percentile, settled, setup};
use crate::callers::Callers;
use crate::options::Options;
use crate::world::{Setup, World, css_name};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Creates in the row of the same name, all within a second.
const BURST: usize = 500;
/// Conferences that run while creates are measured.
const THOUSANDS: usize = 10_000;
/// Creates by which the time of one is measured.
const PROBES: usize = 300;
/// Creates that are under way at once when only their number counts.
const SIDE_BY_SIDE: usize = 16;

/// Times in milliseconds from when each create was due, and how many went where.
struct Created {
    times_ms: Vec<f64>,
    homes: BTreeMap<String, usize>,
}

/// Creates so many in such a time: each is asked for when it is due, whether or not others are answered.
async fn create_evenly(callers: &Arc<Callers>, count: usize, within: Duration) -> Result<Created> {
    let mut asked = JoinSet::new();
    let begun = Instant::now();
    for number in 0..count {
        let due = begun + within.mul_f64(number as f64 / count as f64);
        let callers = Arc::clone(callers);
        asked.spawn(async move {
            tokio::time::sleep_until(due).await;
            let css = &callers.css()[number % callers.css().len()];
            let info = callers.create_once(css, callers.wish(4)).await;
            (due.elapsed(), info)
        });
    }
    let mut created = Created { times_ms: Vec::new(), homes: BTreeMap::new() };
    while let Some(done) = asked.join_next().await {
        let (time, info) = done.context("it does not panic")?;
        let info = info.context("a create was refused")?;
        created.times_ms.push(ms(time));
        *created.homes.entry(info.node_id).or_default() += 1;
    }
    Ok(created)
}

/// No link is harmed here, and who passes everything on would take a good part of the machine.
fn direct(options: &Options, seed: u64) -> Result<Setup> {
    Ok(Setup { doors: false, ..setup(options, seed)? })
}

/// 500 creates in one second.
pub(super) async fn burst(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(direct(options, seed)?, 3).await?;
    let count = options.many(BURST);
    // Connections are made and scripts are known before.
    create_evenly(&world.callers, 3 * 4, Duration::from_secs(1)).await?;
    world.callers.end_all().await?;
    let mut created = create_evenly(&world.callers, count, Duration::from_secs(1)).await?;
    let even = count as f64 / 3.0;
    let uneven =
        (0..3).map(|node| created.homes.get(&crate::world::node_name(node)).copied().unwrap_or_default());
    let uneven = uneven.map(|here| (here as f64 - even).abs()).fold(0.0, f64::max);
    let mut measured = vec![
        Measured::new("creates", created.times_ms.len() as f64, ""),
        Measured::new("create_p50", percentile(&mut created.times_ms, 50), "ms"),
        Measured::new("create_p99", percentile(&mut created.times_ms, 99), "ms").at_most(200.0),
        Measured::new("from_even_placement", uneven, "").at_most(1.0),
    ];
    measured.extend(settled(&mut world).await?);
    Ok(measured)
}

/// Creates beside none, and beside ten thousand.
pub(super) async fn thousands(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(direct(options, seed)?, 3).await?;
    let within = Duration::from_secs(3);
    create_evenly(&world.callers, PROBES, within).await?;
    world.callers.end_all().await?;
    let before = probe(&world, within).await?;
    let memory_before = resident(&mut world, options)?;
    let count = options.many(THOUSANDS);
    fill(&world.callers, count).await?;
    let after = probe(&world, within).await?;
    let memory_after = resident(&mut world, options)?;
    let mut measured = vec![
        Measured::new("running_conferences", count as f64, ""),
        Measured::new("create_p99_beside_none", before, "ms"),
        Measured::new("create_p99_beside_them", after, "ms"),
        Measured::new("create_p99_ratio", after / before, "ratio").at_most(1.5),
        Measured::new("css_memory", memory_after / f64::from(1 << 20), "MiB"),
        Measured::new("css_memory_each", (memory_after - memory_before) / 1024.0 / count as f64, "KiB"),
    ];
    measured.extend(settled(&mut world).await?);
    Ok(measured)
}

/// The 99th percentile of the better of three tries, in milliseconds: other work on the machine makes a try
/// worse and never better. The conferences are ended again.
async fn probe(world: &World, within: Duration) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let known: Vec<String> = world.callers.ledger().conferences.keys().cloned().collect();
        let mut created = create_evenly(&world.callers, PROBES, within).await?;
        best = best.min(percentile(&mut created.times_ms, 99));
        let made: Vec<String> = world.callers.ledger().living().map(|(id, _)| id.clone()).collect();
        for id in made.iter().filter(|id| known.binary_search(id).is_err()) {
            world.callers.end(id).await?;
        }
    }
    Ok(best)
}

async fn fill(callers: &Arc<Callers>, count: usize) -> Result<()> {
    let mut running = JoinSet::new();
    for number in 0..SIDE_BY_SIDE {
        let callers = Arc::clone(callers);
        let share = (count + number) / SIDE_BY_SIDE;
        running.spawn(async move {
            for _ in 0..share {
                callers.create(4).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done.context("it does not panic")??;
    }
    Ok(())
}

/// Resident bytes of the largest control process.
fn resident(world: &mut World, options: &Options) -> Result<f64> {
    let mut most = 0;
    for index in 0..usize::from(options.css) {
        most = most.max(world.process(&css_name(index))?.resident_bytes());
    }
    ensure!(most > 0, "the memory of control cannot be read");
    Ok(most as f64)
}
