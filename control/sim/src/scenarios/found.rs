//! Bugs that the simulator found in control, each with the world that showed it.

use super::{Scenario, at_least, fault, order};
use crate::message::Who;
use crate::plan::{Fault, Ordered, Plan};
use crate::points::{Crash, Point};

const N1: Who = Who::Node(0);
const CSS: Who = Who::Css(0);

/// A conference with one participant from 2 s on.
fn room() -> Vec<crate::plan::Order> {
    vec![order(2_000, 0, Ordered::Create("700")), order(2_500, 0, Ordered::Join("alice"))]
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = of_restarts();
    all.extend(of_ends());
    all
}

fn of_restarts() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "unread-store-hides-nothing",
            about: "control starts again while the store is away: what it has not read is not 'not found'",
            plan: || {
                let mut script = room();
                script.extend([4_600, 5_000, 6_000].map(|at_ms| order(at_ms, 0, Ordered::Get)));
                let cut = fault(3_900, 6_000, Fault::Cut(CSS, N1));
                let cut_too = fault(3_900, 6_000, Fault::Cut(CSS, Who::Node(1)));
                let down = fault(3_900, 6_000, Fault::StoreDown);
                let faults = vec![cut, cut_too, down, fault(4_000, 500, Fault::Kill(CSS))];
                Plan::scripted(script, faults)
            },
            crash: None,
            expect: |outcome| at_least(outcome, "got", 3),
        },
        Scenario {
            name: "acknowledged-create-outlives-control-and-node",
            about: "control dies right after it has acknowledged a create, and the node dies with it: the \
                    conference is still known",
            plan: || {
                let script = vec![order(2_000, 0, Ordered::Create("700")), order(6_000, 0, Ordered::Get)];
                let gone = (0..2).map(|node| fault(2_030, 1_000, Fault::Kill(Who::Node(node))));
                Plan::scripted(script, gone.collect())
            },
            crash: Some(Crash {
                point: Point { event: ("store-put", "done"), effect: ("reply", "ok") },
                time: 1,
                before: false,
            }),
            expect: |outcome| at_least(outcome, "created", 1),
        },
        Scenario {
            name: "repeated-mute-after-a-restart",
            about: "a mute that its node did not confirm is taken back while the store is away; control dies; \
                    the store still holds the mute, the node does not; the mute is asked for again",
            plan: || {
                let mut script = room();
                script.push(order(4_050, 0, Ordered::Mute("alice", true)));
                let faults = vec![
                    fault(4_000, 1_500, Fault::CutOneWay(N1, CSS)),
                    fault(4_000, 1_500, Fault::CutOneWay(Who::Node(1), CSS)),
                    fault(5_000, 4_000, Fault::StoreDown),
                    fault(8_000, 2_000, Fault::Kill(CSS)),
                ];
                Plan::scripted(script, faults)
            },
            crash: None,
            expect: |outcome| at_least(outcome, "muted", 1),
        },
    ]
}

fn of_ends() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "tombstone-and-clock-jump",
            about: "a conference ends while its node is cut off, and the wall clock jumps an hour ahead: the \
                    node's copy is deleted when it is seen again, not taken over",
            plan: || {
                let mut script = room();
                script.push(order(4_000, 0, Ordered::End));
                let faults = vec![
                    fault(3_900, 8_000, Fault::Cut(CSS, N1)),
                    fault(3_900, 8_000, Fault::Cut(CSS, Who::Node(1))),
                    fault(5_000, 1, Fault::ClockJump(0, 3_600)),
                ];
                Plan::scripted(script, faults)
            },
            crash: None,
            expect: |outcome| at_least(outcome, "ended", 1),
        },
        Scenario {
            name: "tombstone-of-a-lost-node",
            about: "a conference ends while its node is cut off for longer than ended ones are remembered: it \
                    does not come back with the node",
            plan: || {
                let mut script = room();
                script.push(order(4_000, 0, Ordered::End));
                let cut = |node| fault(3_900, 70_000, Fault::Cut(CSS, Who::Node(node)));
                let plan = Plan::scripted(script, vec![cut(0), cut(1)]);
                Plan { calm_from_ms: 74_500, ..plan }
            },
            crash: None,
            expect: |outcome| at_least(outcome, "ended", 1),
        },
        Scenario {
            name: "unanswered-end-is-not-taken-back",
            about: "the store takes an end and its answer is lost: the conference does not run again in between",
            plan: || {
                let mut script = room();
                script.push(order(4_050, 0, Ordered::End));
                let cut = fault(4_000, 1_500, Fault::CutOneWay(Who::Store, CSS));
                Plan::scripted(script, vec![cut])
            },
            crash: None,
            expect: |outcome| at_least(outcome, "ended", 1),
        },
        Scenario {
            name: "removal-meets-a-store-that-is-down",
            about: "a create is refused since no node answers, while the store is down: neither the record nor \
                    its number stays there",
            plan: || {
                let script = vec![order(2_000, 0, Ordered::Create("700"))];
                let cut = |node| fault(1_990, 4_000, Fault::CutOneWay(CSS, Who::Node(node)));
                let down = fault(2_500, 6_000, Fault::StoreDown);
                Plan::scripted(script, vec![cut(0), cut(1), down])
            },
            crash: None,
            expect: |outcome| at_least(outcome, "refused", 1),
        },
    ]
}
