//! Failures that other systems had, by the issue that tells of them. Those that need several platforms, media
//! or a recorder (T-EGRESS210) are tested elsewhere or wait for them.

use super::{Scenario, at_least, fault, never, order};
use crate::message::Who;
use crate::network::Manner;
use crate::plan::{Fault, Ordered, Plan, Planned};

const N1: Who = Who::Node(0);
const CSS: Who = Who::Css(0);

/// Applications at work, and these faults.
fn busy(nodes: usize, calm_from_ms: u64, faults: Vec<Planned>) -> Plan {
    Plan { nodes, faults, calm_from_ms, ..Plan::calm(11) }
}

/// One application, one conference of one or two people.
fn small(faults: Vec<Planned>) -> Plan {
    let script = vec![
        order(2_000, 0, Ordered::Create("700")),
        order(2_100, 0, Ordered::Join("alice")),
        order(2_200, 1, Ordered::Create("701")),
        order(2_300, 1, Ordered::Join("bob")),
        order(2_400, 1, Ordered::Join("carol")),
    ];
    Plan::scripted(script, faults)
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = of_nodes();
    all.extend(of_crowds());
    all.extend(of_moves());
    all.extend(of_drains());
    all.extend(of_doubt());
    all.extend(of_blinks());
    all.extend(of_the_store());
    all
}

fn of_nodes() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-LK4316",
            about: "a node that lost its memory says that it runs nothing: nothing ends",
            plan: || busy(2, 20_000, vec![fault(8_000, 300, Fault::Kill(N1))]),
            crash: None,
            expect: |outcome| at_least(outcome, "pending", 1),
        },
        Scenario {
            name: "T-LK3766",
            about: "conferences whose node is gone for good can be ended, and leave nothing behind",
            plan: || small(vec![fault(5_000, 600_000, Fault::Kill(N1))]),
            crash: None,
            expect: |outcome| at_least(outcome, "pending", 1),
        },
    ]
}

fn of_crowds() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-LK1645",
            about: "one room is asked for at the same moment, of three control processes: it is made once",
            plan: || {
                let script = (0..12).map(|_| order(3_000, 0, Ordered::Create("700"))).collect();
                Plan { css: 3, shared: true, ..Plan::scripted(script, Vec::new()) }
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "refused", 11)?;
                at_least(outcome, "created", 1)
            },
        },
        Scenario {
            name: "T-LK3858",
            about: "twenty nodes come while conferences are made: nobody gives up",
            plan: || {
                let away = (1..21).map(|node| fault(1, 6_000, Fault::Kill(Who::Node(node))));
                busy(21, 14_000, away.collect())
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "created", 3)?;
                never(outcome, "given up")
            },
        },
    ]
}

fn of_moves() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-JI617",
            about: "after a move everybody is told where to send",
            plan: || small(vec![fault(6_000, 600_000, Fault::Kill(N1))]),
            crash: None,
            expect: |outcome| {
                at_least(outcome, "restores", 1)?;
                at_least(outcome, "moved", 1)
            },
        },
        Scenario {
            name: "T-JI1050",
            about: "control does not reach a node, and another node does: nothing moves, and who joins or leaves \
                    meanwhile does so through that one",
            plan: || {
                let cut = fault(5_000, 30_000, Fault::Cut(CSS, N1));
                let mut plan = small(vec![cut]);
                plan.script.push(order(9_000, 0, Ordered::Join("dave")));
                plan.script.push(order(9_100, 1, Ordered::Join("erin")));
                plan.script.push(order(12_000, 1, Ordered::Leave("carol")));
                plan
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "nodes isolated", 1)?;
                at_least(outcome, "joined", 5)?;
                at_least(outcome, "told through another node", 2)?;
                never(outcome, "restores")
            },
        },
        Scenario {
            name: "T-FS2400",
            about: "after a move every kind of request works as before: join, mute, leave, end",
            plan: || {
                let dead = [N1, Who::Node(1)].map(|node| fault(6_000, 1_000, Fault::Kill(node)));
                let mut plan = small(dead.to_vec());
                plan.script.extend([
                    order(12_000, 1, Ordered::Join("dave")),
                    order(12_500, 1, Ordered::Mute("bob", true)),
                    order(13_000, 1, Ordered::Leave("carol")),
                    order(13_500, 0, Ordered::End),
                ]);
                plan
            },
            crash: None,
            expect: |outcome| {
                for (what, times) in [("pending", 2), ("joined", 4), ("muted", 1), ("left", 1), ("ended", 1)]
                {
                    at_least(outcome, what, times)?;
                }
                Ok(())
            },
        },
    ]
}

fn of_drains() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-LK1032",
            about: "a drain is cancelled: the node takes conferences again, and nothing waits for ever",
            plan: || busy(1, 20_000, vec![fault(5_000, 4_000, Fault::Drain(0))]),
            crash: None,
            expect: |outcome| {
                at_least(outcome, "refused", 1)?;
                at_least(outcome, "created", 3)?;
                never(outcome, "nodes lost")
            },
        },
        Scenario {
            name: "T-SC525",
            about: "a draining node is offered nothing new from the decision on",
            plan: || busy(2, 20_000, vec![fault(4_000, 10_000, Fault::Drain(0))]),
            crash: None,
            expect: |outcome| {
                never(outcome, "new conferences offered to a draining node")?;
                at_least(outcome, "created", 3)
            },
        },
    ]
}

fn of_doubt() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-JI282",
            about: "late and repeated commands of an old epoch change nothing",
            plan: || {
                let late = Manner {
                    lost_permille: 100,
                    twice_permille: 1_000,
                    delay_ms_min: 1,
                    delay_ms_max: 1_200,
                };
                let faults =
                    vec![fault(6_000, 5_000, Fault::Stop(N1)), fault(14_000, 4_000, Fault::Cut(CSS, N1))];
                Plan { manner: late, ..busy(3, 25_000, faults) }
            },
            crash: None,
            expect: |outcome| at_least(outcome, "nodes lost", 1),
        },
        Scenario {
            name: "T-JI933",
            about: "a node that announces itself and hears nothing does not keep conferences from being made",
            plan: || busy(3, 20_000, vec![fault(3_000, 15_000, Fault::CutOneWay(CSS, N1))]),
            crash: None,
            expect: |outcome| at_least(outcome, "created", 3),
        },
        Scenario {
            name: "T-JI1143",
            about: "a node that hung for 5 s is used again by itself",
            plan: || busy(1, 25_000, vec![fault(6_000, 5_000, Fault::Stop(N1))]),
            crash: None,
            expect: |outcome| {
                at_least(outcome, "nodes lost", 1)?;
                at_least(outcome, "created", 3)
            },
        },
        Scenario {
            name: "T-JI11798",
            about: "conferences of one and of two people are looked after like large ones when their node dies",
            plan: || {
                small(vec![
                    fault(6_000, 1_000, Fault::Kill(N1)),
                    fault(6_000, 1_000, Fault::Kill(Who::Node(1))),
                ])
            },
            crash: None,
            expect: |outcome| at_least(outcome, "pending", 2),
        },
    ]
}

fn of_blinks() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-PILOS652",
            about: "the network to the nodes blinks, for 0.1 s to 120 s: nothing ends and nobody is lost",
            plan: || {
                let blinks =
                    [(5_000, 100), (8_000, 1_000), (12_000, 5_000), (25_000, 30_000), (70_000, 120_000)];
                let cut = |(at_ms, for_ms)| fault(at_ms, for_ms, Fault::Cut(CSS, N1));
                busy(1, 195_000, blinks.map(cut).to_vec())
            },
            crash: None,
            expect: |outcome| at_least(outcome, "joined", 10),
        },
        Scenario {
            name: "T-COCOON20",
            about: "all nodes look dead at once, and are not: nothing ends",
            plan: || {
                let cut = |node| fault(6_000, 8_000, Fault::Cut(CSS, Who::Node(node)));
                busy(4, 25_000, (0..4).map(cut).collect())
            },
            crash: None,
            expect: |outcome| at_least(outcome, "nodes lost", 4),
        },
    ]
}

fn of_the_store() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "T-LK4663",
            about: "the store is down for ten minutes: media go on, and 5 s after its return everything works",
            plan: || {
                let plan = busy(3, 620_000, vec![fault(8_000, 610_000, Fault::StoreDown)]);
                Plan { quiet_ms: 7_000, rest_ms_max: 1_500, ..plan }
            },
            crash: None,
            expect: |outcome| {
                never(outcome, "nodes lost")?;
                never(outcome, "pending")?;
                at_least(outcome, "got", 100)
            },
        },
        Scenario {
            name: "T-LK1559",
            about: "the store switches over fifty times in a row: no process ends, nothing is lost",
            plan: || {
                let turn = |turn: u64| fault(4_000 + 1_500 * turn, 300, Fault::StoreSwitchover);
                busy(3, 82_000, (0..50).map(turn).collect())
            },
            crash: None,
            expect: |outcome| {
                never(outcome, "control killed")?;
                never(outcome, "nodes lost")?;
                at_least(outcome, "created", 10)
            },
        },
    ]
}
