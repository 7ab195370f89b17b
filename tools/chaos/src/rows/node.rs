//! Nodes that die, are stopped, and are cut off from control.

use super::{Measured, QUIET, ms, percentile, settled, settled_before, setup, untouched};
use crate::media::{Heard, Hearing, PartyId};
use crate::net::Fault;
use crate::options::Options;
use crate::world::{World, css_name, node_name};
use anyhow::Result;
use motet_node::NodeOptions;
use motet_rtpgen::system;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Conferences on the node that fails.
const CONFERENCES: usize = 50;
const PEOPLE: usize = 4;
/// A pair that heard each other within this time has media again.
const HEARD_WITHIN: Duration = Duration::from_millis(200);
/// How long media may stay away until it is given up.
const BACK_MAX: Duration = Duration::from_secs(30);
/// How long a node is stopped.
const STOPPED: Duration = Duration::from_secs(8);
/// How long the link to control is away.
const LINK_CUT: Duration = Duration::from_secs(10);
/// By then a node that is cut off is known to be.
const ISOLATED_AFTER: Duration = Duration::from_secs(4);

/// A node with all conferences is killed, then started again.
pub(super) async fn killed(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = loaded(options, seed).await?;
    world.callers.media.mark();
    world.kill(&node_name(0))?;
    wait_heard(&mut world).await?;
    let hearings = world.callers.media.read().await;
    let mut measured = outage(&hearings, 1_500.0, 3_000.0);
    measured.extend(settled(&mut world).await?);
    world.revive(&node_name(0))?;
    world.wait_ready(3).await?;
    let again = world.settle(QUIET).await?.violations;
    again.iter().take(20).for_each(|violation| println!("  {violation}"));
    measured.push(Measured::new("violations_after_its_return", again.len() as f64, "").at_most(0.0));
    Ok(measured)
}

/// A node with all conferences is stopped for longer than it takes to restore them, and goes on.
pub(super) async fn stopped(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = loaded(options, seed).await?;
    world.callers.media.mark();
    let begun = Instant::now();
    world.process(&node_name(0))?.stop()?;
    wait_heard(&mut world).await?;
    tokio::time::sleep_until(begun + STOPPED).await;
    world.process(&node_name(0))?.go_on()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let hearings = world.callers.media.read().await;
    let mut measured = outage(&hearings, 2_000.0, 4_000.0);
    // Its return, not the time in which it had not sent yet what came just before the stop.
    let overlap = hearings.iter().map(|hearing| hearing.heard.overlap).max().unwrap_or_default();
    let returned =
        overlap.saturating_sub(STOPPED.saturating_sub(Duration::from_millis(median_ms(&hearings))));
    measured.push(
        Measured::new("double_delivery", ms(returned), "ms").at_most(ms(NodeOptions::default().fence_time)),
    );
    let stale: u64 = hearings.iter().map(|hearing| hearing.heard.stale).sum();
    measured.push(Measured::new("packets_of_the_old_node", stale as f64, "packets"));
    measured.extend(settled(&mut world).await?);
    Ok(measured)
}

/// The links between control and a node are away, once silently and once with resets; nothing moves.
pub(super) async fn cut_off(options: &Options, seed: u64) -> Result<Vec<Measured>> {
    let mut world = World::start(setup(options, seed)?, 3).await?;
    world.callers.populate(options.many(30), 3).await?;
    settled_before(&mut world).await?;
    let before = homes(&world).await?;
    world.callers.media.mark();
    for fault in [Fault::Stall, Fault::Cut] {
        for css in 0..usize::from(options.css) {
            world.net.set_both(&css_name(css), &node_name(0), Some(fault));
        }
        tokio::time::sleep(LINK_CUT).await;
        world.net.heal();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let hearings = world.callers.media.read().await;
    let mut measured = untouched(&hearings);
    let quiet = settled(&mut world).await?;
    let after = homes(&world).await?;
    let moves = before.iter().filter(|(id, home)| after.get(*id) != Some(home)).count();
    measured.push(Measured::new("moves", moves as f64, "").at_most(0.0));
    measured.extend(quiet);
    measured.extend(join_through_another(options, &mut world).await?);
    Ok(measured)
}

/// Somebody comes to each conference of a node while no control process reaches that.
async fn join_through_another(options: &Options, world: &mut World) -> Result<Vec<Measured>> {
    let before = homes(world).await?;
    for css in 0..usize::from(options.css) {
        world.net.set_both(&css_name(css), &node_name(0), Some(Fault::Stall));
    }
    tokio::time::sleep(ISOLATED_AFTER).await;
    let mut times = Vec::new();
    for (id, _) in before.iter().filter(|(_, (node, _))| *node == node_name(0)) {
        let begun = Instant::now();
        world.callers.join(id, "late").await?;
        times.push(ms(begun.elapsed()));
    }
    world.net.heal();
    let settled = world.settle(QUIET).await?.violations;
    settled.iter().take(20).for_each(|violation| println!("  {violation}"));
    let after = homes(world).await?;
    let moves = before.iter().filter(|(id, home)| after.get(*id) != Some(home)).count();
    Ok(vec![
        Measured::new("joins_while_cut", times.len() as f64, ""),
        Measured::new("join_while_cut_max", percentile(&mut times, 100), "ms"),
        Measured::new("moves_by_joins", moves as f64, "").at_most(0.0),
        Measured::new("violations_after_joins", settled.len() as f64, "").at_most(0.0),
    ])
}

/// Three nodes, the first of which has all conferences, since it was there first.
async fn loaded(options: &Options, seed: u64) -> Result<World> {
    let mut world = World::start(setup(options, seed)?, 1).await?;
    world.callers.populate(options.many(CONFERENCES), PEOPLE).await?;
    world.revive(&node_name(1))?;
    world.revive(&node_name(2))?;
    world.wait_ready(3).await?;
    settled_before(&mut world).await?;
    Ok(world)
}

/// Waits until everybody hears everybody, after media was away; in vain, the figures will show it.
async fn wait_heard(world: &mut World) -> Result<()> {
    // The last packets of before are heard no longer than this.
    tokio::time::sleep(2 * HEARD_WITHIN).await;
    let end = Instant::now() + BACK_MAX;
    while Instant::now() < end {
        world.check_processes()?;
        if world.callers.media.book().silent(HEARD_WITHIN, system::now()).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// By conference: which node, which epoch.
async fn homes(world: &World) -> Result<BTreeMap<String, (String, u64)>> {
    let views = world.views().await?;
    let copies = views.nodes.into_iter().flat_map(|(node, running)| {
        running.into_iter().map(move |copy| (copy.id, (node.clone(), copy.epoch)))
    });
    Ok(copies.collect())
}

/// For each receiver the longest time in which it did not hear all others, in milliseconds.
fn silences(hearings: &[Hearing]) -> Vec<f64> {
    let mut longest: BTreeMap<PartyId, Duration> = BTreeMap::new();
    for hearing in hearings {
        let known = longest.entry(hearing.receiver).or_default();
        *known = (*known).max(hearing.heard.silence);
    }
    longest.into_values().map(ms).collect()
}

fn median_ms(hearings: &[Hearing]) -> u64 {
    percentile(&mut silences(hearings), 50) as u64
}

fn outage(hearings: &[Hearing], goal_p50: f64, goal_p99: f64) -> Vec<Measured> {
    let mut silences = silences(hearings);
    let sum =
        |count: fn(&Heard) -> u64| hearings.iter().map(|hearing| count(&hearing.heard)).sum::<u64>() as f64;
    vec![
        Measured::new("receivers", silences.len() as f64, ""),
        Measured::new("audio_back_p50", percentile(&mut silences, 50), "ms").at_most(goal_p50),
        Measured::new("audio_back_p99", percentile(&mut silences, 99), "ms").at_most(goal_p99),
        Measured::new("audio_back_max", percentile(&mut silences, 100), "ms"),
        Measured::new("ssrcs_that_changed", sum(|heard| heard.ssrc_changes), "").at_most(0.0),
        Measured::new("sequence_numbers_that_went_back", sum(|heard| heard.sequence_jumps_back), "")
            .at_most(0.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hearing(receiver: usize, silence_ms: u64) -> Hearing {
        let heard = Heard { silence: Duration::from_millis(silence_ms), ..Heard::default() };
        Hearing { receiver: PartyId(receiver), conference: "c".into(), heard }
    }

    #[test]
    fn a_receiver_is_served_when_it_hears_all() {
        let hearings = [hearing(0, 1_000), hearing(0, 3_000), hearing(1, 1_200)];
        assert_eq!(silences(&hearings), [3_000.0, 1_200.0]);
        let measured = outage(&hearings, 1_500.0, 3_000.0);
        assert_eq!((measured[1].value, measured[2].value), (1_200.0, 3_000.0));
    }
}
