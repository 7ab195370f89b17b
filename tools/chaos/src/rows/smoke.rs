//! The shortest run: for tests, which may run on a slow and busy machine. Nothing is measured.

use super::random::leaks;
use super::setup;
use crate::options::Options;
use crate::world::{World, css_name, node_name};
use anyhow::Result;
use std::time::Duration;

const CONFERENCES: usize = 4;
const PEOPLE: usize = 3;
/// How long anything may take.
const WITHIN: Duration = Duration::from_secs(120);

/// A node, a control process and the primary of Redis are killed and started again, one after another, under
/// media; conferences are created meanwhile. Gives what is not as it must be, a sentence each.
pub async fn smoke(options: &Options, seed: u64) -> Result<Vec<String>> {
    let mut world = World::start(setup(options, seed)?, 3).await?;
    world.callers.populate(CONFERENCES, PEOPLE).await?;
    let mut wrong = world.settle(WITHIN).await?.violations;
    for victim in [node_name(0), css_name(0), world.primary()?] {
        world.kill(&victim)?;
        world.callers.create(PEOPLE).await?;
        world.revive(&victim)?;
        let found = world.settle(WITHIN).await?.violations;
        wrong.extend(found.into_iter().map(|violation| format!("after the death of {victim}: {violation}")));
    }
    let left = leaks(&mut world, WITHIN).await?;
    if left > 0 {
        wrong.push(format!("N9: {left} conferences, legs and ports are left when all have ended"));
    }
    Ok(wrong)
}
