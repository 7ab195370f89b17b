//! Rooms that many ask for at once are made once (T-LK1645).

use motet_sim::joins::{Crowd, Joins, replay, run};

#[test]
fn a_room_that_many_ask_for_is_made_once() {
    let crowd = Crowd { people: 5, nodes: 3, css: 1, lost_permille: 200 };
    let joins = run(crowd, 1, 500);
    assert_eq!(joins.wrong, [], "{joins:?}");
    assert!(joins.late > 500 && joins.moved > 25, "they did meet, and nodes did fail: {joins:?}");
}

#[test]
fn two_hundred_at_once() {
    let Joins { wrong, late, .. } = run(Crowd { people: 200, nodes: 4, css: 1, lost_permille: 0 }, 7, 1);
    assert_eq!((wrong, late), (Vec::new(), 199));
}

#[test]
fn a_thousand_at_once_ask_four_control_processes() {
    let Joins { wrong, late, .. } = run(Crowd { people: 1_000, nodes: 4, css: 4, lost_permille: 0 }, 9, 1);
    assert_eq!((wrong, late), (Vec::new(), 999), "T-LK1645");
}

#[test]
fn processes_that_share_a_store_make_a_room_once() {
    let joins = run(Crowd { people: 5, nodes: 3, css: 4, lost_permille: 100 }, 1, 500);
    assert_eq!(joins.wrong, [], "{joins:?}");
    assert!(joins.late > 500, "they did meet: {joins:?}");
}

#[test]
fn a_number_that_its_first_owner_gave_up_leads_to_its_second() {
    // The first maker gives up when no node answers, and another one's write comes just then: some processes still
    // took the first for the owner of the number, and sent people round in circles.
    for seed in [8_725, 10_400, 24_728] {
        let crowd = Crowd { people: 5, nodes: 3, css: 4, lost_permille: 200 };
        let (result, trace) = replay(crowd, seed);
        assert_eq!(result, Ok(()), "{}", trace.join("\n"));
    }
}
