//! Bugs that the simulator found in control, each with the world that showed it.

use super::{Scenario, at_least, fault, order};
use crate::message::Who;
use crate::network::Manner;
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
    all.extend(of_several());
    all.extend(of_sharing());
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

fn of_several() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "refused-create-outlives-control",
            about: "a create is refused since its node did not answer, the node runs it all the same, and control \
                    dies: the copy is deleted, not taken over (seed 428)",
            plan: || {
                let script = vec![order(2_000, 0, Ordered::Create("700"))];
                let nodes = [N1, Who::Node(1)];
                let mut faults: Vec<_> =
                    nodes.map(|node| fault(1_990, 2_600, Fault::CutOneWay(node, CSS))).to_vec();
                faults.extend(nodes.map(|node| fault(2_100, 6_000, Fault::CutOneWay(CSS, node))));
                faults.push(fault(7_000, 500, Fault::Kill(CSS)));
                Plan::scripted(script, faults)
            },
            crash: None,
            expect: |outcome| at_least(outcome, "refused", 1),
        },
        Scenario {
            name: "late-write-of-the-dead",
            about: "what a killed control process wrote reaches the store after its next start has read it: that \
                    follows the store",
            plan: || {
                let late =
                    Manner { lost_permille: 0, twice_permille: 0, delay_ms_min: 700, delay_ms_max: 900 };
                let mut script = room();
                script.push(order(9_000, 0, Ordered::Join("bob")));
                let faults =
                    vec![fault(8_900, 2_000, Fault::Noise(late)), fault(9_850, 50, Fault::Kill(CSS))];
                Plan { shared: true, ..Plan::scripted(script, faults) }
            },
            crash: None,
            expect: |outcome| at_least(outcome, "joined", 2),
        },
        Scenario {
            name: "node-knows-better-than-the-store",
            about: "the store forgets a join, and control dies while it is away: what the node runs is written again",
            plan: || {
                let mut script = room();
                script.push(order(4_800, 0, Ordered::Join("bob")));
                let faults =
                    vec![fault(5_000, 6_000, Fault::StoreSwitchover), fault(5_500, 3_000, Fault::Kill(CSS))];
                Plan { shared: true, store_lag_ms: 1_000, ..Plan::scripted(script, faults) }
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "joined", 2)?;
                at_least(outcome, "writes forgotten", 1)
            },
        },
    ]
}

fn of_sharing() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "forgotten-by-the-store-kept-by-its-maintainer",
            about: "a replica that has not heard of a conference takes over: who reads it before the maintainer has \
                    written the conference again does not answer 'not found'",
            plan: || {
                let mut script = room();
                script.extend((0..60).map(|turn| order(3_600 + 50 * turn, 0, Ordered::Get)));
                let faults = vec![fault(3_000, 500, Fault::StoreSwitchover)];
                Plan { css: 3, shared: true, store_lag_ms: 2_000, ..Plan::scripted(script, faults) }
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "got", 60)?;
                at_least(outcome, "writes forgotten", 1)
            },
        },
        Scenario {
            name: "forgotten-by-the-store-without-a-pause",
            about: "the same where nobody notices: whoever reads all of the new primary lacks it before its maintainer \
                    has looked (Sentinel switchover, make chaos)",
            plan: || {
                let mut script = room();
                script.extend((0..120).map(|turn| order(3_002 + 5 * turn, 0, Ordered::Get)));
                let faults = vec![fault(3_000, 1, Fault::StoreSwitchover)];
                Plan { css: 3, shared: true, store_lag_ms: 2_000, ..Plan::scripted(script, faults) }
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "got", 120)?;
                at_least(outcome, "writes forgotten", 1)
            },
        },
        Scenario {
            name: "maintainer-dies",
            about: "the control process that maintains a conference dies for good, right before somebody joins: \
                    another one takes it over",
            plan: || {
                let mut script = room();
                script.push(order(6_050, 0, Ordered::Join("bob")));
                let faults =
                    [0, 1].map(|css| fault(6_000 + 8_000 * css as u64, 6_000, Fault::Kill(Who::Css(css))));
                Plan { css: 2, shared: true, ..Plan::scripted(script, faults.to_vec()) }
            },
            crash: None,
            expect: |outcome| at_least(outcome, "joined", 2),
        },
        Scenario {
            name: "asked-elsewhere-at-once",
            about: "what one control process has just acknowledged is found by all others, though they have not read \
                    of it yet",
            plan: || {
                let mut script = vec![order(2_000, 0, Ordered::Create("700"))];
                script.extend((0..20).map(|turn| order(2_030 + 10 * turn, 0, Ordered::Get)));
                Plan { css: 3, shared: true, ..Plan::scripted(script, Vec::new()) }
            },
            crash: None,
            expect: |outcome| at_least(outcome, "got", 20),
        },
    ]
}
