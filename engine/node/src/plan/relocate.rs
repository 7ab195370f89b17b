//! A conference on another worker: the same under numbers of that worker. Pure.

use super::{HeldLeg, HeldPorts, HeldRoute, Holdings, Released, Resources};
use crate::error::NodeError;
use motet_relay::snapshot::Numbers;
use motet_relay::{PortId, StreamId};
use std::collections::BTreeSet;

/// What a conference holds on the worker that it moves to, and what becomes free when it has moved.
#[derive(Debug, PartialEq)]
pub struct Relocation {
    /// Held then.
    pub next: Holdings,
    /// From the numbers before to those then.
    pub numbers: Numbers,
    /// Free then, on the worker before. Sockets stay open: they move.
    pub released: Released,
}

/// The worker that has all of a conference. None: it has no legs, they are spread, or it is mixed, composed or recorded.
pub fn only_worker(held: &Holdings) -> Option<usize> {
    let workers: BTreeSet<usize> = held.legs.values().map(|leg| leg.worker).collect();
    let is_alone = held.trunks.is_empty() && held.mix.is_none() && held.canvas.is_none();
    let is_whole = is_alone && held.recording.is_none();
    workers.first().copied().filter(|_| workers.len() == 1 && is_whole)
}

/// Plans the move of a conference, all of which is on the worker `from`, to the worker `to`.
///
/// Errors leave `held` as it was; what was taken from `resources` is the caller's to take back.
///
/// Panics when not all of it is on that worker: see [`only_worker`].
pub fn relocate(
    held: &Holdings,
    (from, to): (usize, usize),
    resources: &mut dyn Resources,
) -> Result<Relocation, NodeError> {
    assert_eq!(only_worker(held), Some(from), "only what is on one worker moves");
    let (numbers, released) = (Numbers::default(), Released::default());
    let mut relocation = Relocation { next: held.clone(), numbers, released };
    let Relocation { next, numbers, released } = &mut relocation;
    for leg in next.legs.values_mut() {
        move_leg(leg, (from, to), (&mut *numbers, &mut *released), resources)?;
    }
    for stream in next.streams.values_mut() {
        let there = resources.stream(to)?;
        numbers.streams.insert(*stream, there);
        released.streams.push((from, *stream));
        *stream = there;
    }
    let carried = |stream: StreamId| {
        let there = numbers.streams.get(&stream).copied();
        there.expect("a route carries a stream of its conference")
    };
    for HeldRoute { id, stream, .. } in next.routes.values_mut() {
        let there = resources.route(to)?;
        numbers.routes.insert(*id, there);
        released.routes.push((from, *id));
        (*id, *stream) = (there, carried(*stream));
    }
    Ok(relocation)
}

fn move_leg(
    leg: &mut HeldLeg,
    (from, to): (usize, usize),
    (numbers, released): (&mut Numbers, &mut Released),
    resources: &mut dyn Resources,
) -> Result<(), NodeError> {
    let there = resources.leg(to)?;
    numbers.legs.insert(leg.id, there);
    released.legs.push((from, leg.id));
    (leg.worker, leg.id) = (to, there);
    for HeldPorts { rtp, rtcp, .. } in &mut leg.ports {
        for (port, _) in std::iter::once(rtp).chain(rtcp) {
            let there: PortId = resources.trunk_port(to);
            numbers.ports.insert(*port, there);
            released.trunk_ports.push((from, *port));
            *port = there;
        }
    }
    Ok(())
}
