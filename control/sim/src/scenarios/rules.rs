//! Rules of the source documents that only show when something fails.

use super::{Scenario, at_least, fault, order};
use crate::message::Who;
use crate::plan::{Fault, Order, Ordered, Plan};

const N1: Who = Who::Node(0);
const N2: Who = Who::Node(1);
const CSS: Who = Who::Css(0);

/// Two conferences that are not to be restored, and two that are, on two nodes.
fn mixed() -> Vec<Order> {
    vec![
        order(2_000, 0, Ordered::CreateUnrestored("700")),
        order(2_100, 1, Ordered::CreateUnrestored("701")),
        order(2_200, 2, Ordered::Create("702")),
        order(2_300, 3, Ordered::Create("703")),
        order(2_500, 0, Ordered::Join("alice")),
        order(2_600, 1, Ordered::Join("bob")),
        order(2_700, 2, Ordered::Join("carol")),
    ]
}

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "reused-devices-are-not-restored",
            about: "one node is gone for good, the other one starts again: what is not to be restored ends with a \
                    reason, the rest is restored (003 section 12)",
            plan: || {
                let faults =
                    vec![fault(5_000, 600_000, Fault::Kill(N1)), fault(12_000, 300, Fault::Kill(N2))];
                Plan::scripted(mixed(), faults)
            },
            crash: None,
            expect: |outcome| {
                at_least(outcome, "ended unrestored", 2)?;
                at_least(outcome, "pending", 2)
            },
        },
        Scenario {
            name: "reused-devices-while-control-is-away",
            about: "control dies with a node, and finds at its next start what was not to be restored: it ends, and \
                    does not wait",
            plan: || {
                let gone =
                    vec![fault(5_000, 600_000, Fault::Kill(N1)), fault(5_010, 2_000, Fault::Kill(CSS))];
                Plan { shared: true, ..Plan::scripted(mixed(), gone) }
            },
            crash: None,
            expect: |outcome| at_least(outcome, "ended unrestored", 1),
        },
        Scenario {
            name: "reused-devices-behind-a-cut",
            about: "control does not reach a node for a while: nothing ends, since the node may run it all the same",
            plan: || Plan::scripted(mixed(), vec![fault(5_000, 8_000, Fault::Cut(CSS, N1))]),
            crash: None,
            expect: |outcome| super::never(outcome, "ended unrestored"),
        },
    ]
}
