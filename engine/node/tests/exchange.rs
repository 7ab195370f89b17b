//! Packets from worker to worker: order, bounds, and no allocation once it is warm.

use allocation_counter::measure;
use motet_node::exchange::{Desk, Exchange, PARCEL_BYTES, PARCELS_MAX};
use motet_node::plan::TrunkEnd;
use motet_relay::PortId;
use motet_rtp::Time;
use std::sync::Arc;

/// Two workers; ports 7 and 8 here are joined to 70 and 80 there.
fn two() -> (Desk, Desk) {
    let (near, far, _) = two_and_all();
    (near, far)
}

fn two_and_all() -> (Desk, Desk, Arc<Exchange>) {
    let exchange = Exchange::new(2);
    let mut near = Desk::new(0, exchange.clone());
    let mut far = Desk::new(1, exchange.clone());
    for (here, there) in [(7, 70), (8, 80)] {
        near.open(TrunkEnd { port: PortId(here), worker: 1, peer: PortId(there) });
        far.open(TrunkEnd { port: PortId(there), worker: 0, peer: PortId(here) });
    }
    (near, far, exchange)
}

fn pack(desk: &mut Desk, port: u32, bytes: &[u8], segment_bytes: u32) {
    let end = desk.end(PortId(port)).expect("the trunk is open");
    let (header, payload) = bytes.split_at(bytes.len().min(12));
    desk.pack(end, header, payload, segment_bytes);
}

/// What came: port, bytes and segment size of each run.
fn take_all(desk: &mut Desk) -> Vec<(u32, Vec<u8>, u32)> {
    let mut runs = Vec::new();
    desk.look();
    while let Some(parcel) = desk.take() {
        for run in &parcel.runs {
            let bytes = &parcel.bytes[run.offset as usize..][..run.len as usize];
            runs.push((run.to.0, bytes.to_vec(), run.segment_bytes));
        }
        desk.give_back(parcel);
    }
    runs
}

#[test]
fn neighbours_of_one_size_come_as_one_run_and_in_order() {
    let (mut near, mut far) = two();
    for (port, len) in [(7, 100), (7, 100), (7, 60), (7, 60), (8, 60), (7, 60), (7, 61)] {
        pack(&mut near, port, &vec![len as u8; len], len as u32);
    }
    // Two datagrams of 40 that lie together, and a third.
    pack(&mut near, 8, &[40; 80], 40);
    pack(&mut near, 8, &[40; 40], 40);
    assert!(!far.has_mail(), "handed over at the end of the turn");
    near.flush();
    let runs: Vec<_> =
        take_all(&mut far).into_iter().map(|(port, bytes, size)| (port, bytes.len(), size)).collect();
    assert_eq!(runs, [(70, 260, 100), (70, 60, 60), (80, 60, 60), (70, 60, 60), (70, 61, 61), (80, 120, 40)]);
    assert_eq!((near.crossed().packets_out, far.crossed().packets_in), (10, 10));
    assert_eq!((near.crossed().parcels, near.crossed().rings), (1, 1));
}

#[test]
fn two_short_datagrams_do_not_pass_for_the_end_of_a_run() {
    let (mut near, mut far) = two();
    pack(&mut near, 7, &[1; 100], 100);
    pack(&mut near, 7, &[2; 40], 20);
    near.flush();
    let sizes: Vec<_> = take_all(&mut far).into_iter().map(|(_, bytes, size)| (bytes.len(), size)).collect();
    assert_eq!(sizes, [(100, 100), (40, 20)]);
}

#[test]
fn the_bell_rings_once_until_the_receiver_looks() {
    let (mut near, mut far) = two();
    for _ in 0..3 {
        pack(&mut near, 7, &[1; 30], 30);
        near.flush();
    }
    assert_eq!(near.crossed().rings, 1);
    assert_eq!(take_all(&mut far).len(), 3);
    pack(&mut near, 7, &[1; 30], 30);
    near.flush();
    assert_eq!(near.crossed().rings, 2);
}

/// As a mixing thread does, which looks every 5 ms while a worker may make a turn for each packet.
#[test]
fn who_comes_by_itself_misses_nothing_however_short_turns_are() {
    let (mut near, mut far, exchange) = two_and_all();
    exchange.set_looks(1);
    for look in 0..20_u16 {
        for turn in 0..300_u16 {
            pack(&mut near, 7 + u32::from(turn % 2), &[look.to_be_bytes(), turn.to_be_bytes()].concat(), 4);
            near.flush();
        }
        let came: Vec<u8> = take_all(&mut far).into_iter().flat_map(|(_, bytes, _)| bytes).collect();
        let all: Vec<u8> =
            (0..300_u16).flat_map(|turn| [look.to_be_bytes(), turn.to_be_bytes()].concat()).collect();
        assert_eq!(came, all, "all that was packed until the look");
    }
    assert_eq!((near.crossed().dropped_full, near.crossed().packets_out), (0, 6_000));
    assert_eq!((near.crossed().parcels, near.crossed().rings), (20, 0));
}

#[test]
fn packets_say_when_they_came_and_only_those_of_a_turn_make_a_run() {
    let (mut near, mut far, exchange) = two_and_all();
    exchange.set_looks(1);
    for ms in [5, 6, 9] {
        near.begin(Time::from_millis(ms));
        (0..2).for_each(|_| pack(&mut near, 7, &[ms as u8; 30], 30));
        near.flush();
    }
    far.look();
    let parcel = far.take().expect("one with all");
    let runs: Vec<_> = parcel.runs.iter().map(|run| (run.at, run.len)).collect();
    assert_eq!(runs, [5, 6, 9].map(|ms| (Time::from_millis(ms), 60)));
    assert!(far.take().is_none());
}

#[test]
fn two_threads_keep_the_order_where_one_comes_by_itself() {
    let (mut near, mut far, exchange) = two_and_all();
    exchange.set_looks(1);
    const PACKETS: u64 = 200_000;
    let sender = std::thread::spawn(move || {
        let mut number = 0;
        // Large enough that parcels get full between looks.
        let mut packet = [0; 1_000];
        while number < PACKETS {
            for _ in 0..(number % 97) + 1 {
                packet[..8].copy_from_slice(&number.to_be_bytes());
                pack(&mut near, 7, &packet, 1_000);
                number = near.crossed().packets_out;
            }
            near.flush();
        }
        near.crossed()
    });
    let mut next = 0;
    let mut take_in_order = |far: &mut Desk| {
        for (_, bytes, _) in take_all(far) {
            for packet in bytes.chunks(1_000) {
                assert_eq!(packet[..8], u64::to_be_bytes(next));
                next += 1;
            }
        }
        next
    };
    while take_in_order(&mut far) < PACKETS {}
    let crossed = sender.join().expect("no panic");
    // The last turn may have ended after the last look, and may have gone on past the number asked for.
    take_in_order(&mut far);
    assert_eq!(crossed.packets_out, far.crossed().packets_in);
}

#[test]
fn a_receiver_that_does_not_come_costs_its_packets_and_nothing_else() {
    let (mut near, mut far) = two();
    let packet = vec![3; PARCEL_BYTES / 2];
    for _ in 0..2 * PARCELS_MAX + 5 {
        pack(&mut near, 7, &packet, PARCEL_BYTES as u32 / 2);
    }
    near.flush();
    let crossed = near.crossed();
    assert_eq!((crossed.packets_out, crossed.dropped_full), (2 * PARCELS_MAX as u64, 5));
    assert_eq!(take_all(&mut far).len(), PARCELS_MAX);
    // With what came back it goes on.
    pack(&mut near, 7, &packet, PARCEL_BYTES as u32 / 2);
    near.flush();
    assert_eq!((take_all(&mut far).len(), near.crossed().dropped_full), (1, 5));
}

#[test]
fn an_inbox_full_of_others_parcels_drops_and_goes_on() {
    let exchange = Exchange::new(34);
    let mut busy = Desk::new(33, exchange.clone());
    let mut desks: Vec<Desk> = (0..33).map(|worker| Desk::new(worker, exchange.clone())).collect();
    for (worker, desk) in desks.iter_mut().enumerate() {
        desk.open(TrunkEnd { port: PortId(1), worker: 33, peer: PortId(worker as u32) });
        busy.open(TrunkEnd { port: PortId(worker as u32), worker, peer: PortId(1) });
        for _ in 0..PARCELS_MAX {
            pack(desk, 1, &[1; 20], 20);
            desk.flush();
        }
    }
    let last = desks[32].crossed();
    assert_eq!((last.packets_out, last.bytes_out, last.dropped_full), (0, 0, PARCELS_MAX as u64));
    assert_eq!(take_all(&mut busy).len(), 32 * PARCELS_MAX);
    pack(&mut desks[32], 1, &[1; 20], 20);
    desks[32].flush();
    assert_eq!(take_all(&mut busy).len(), 1);
}

#[test]
fn what_is_on_the_way_to_a_closed_trunk_is_dropped_and_counted() {
    let (mut near, mut far) = two();
    pack(&mut near, 7, &[1; 30], 30);
    pack(&mut near, 8, &[1; 30], 30);
    near.flush();
    far.close(PortId(70));
    // Another trunk may have the port by now.
    far.open(TrunkEnd { port: PortId(80), worker: 0, peer: PortId(9) });
    assert!(take_all(&mut far).is_empty());
    assert_eq!((far.crossed().packets_in, far.crossed().dropped_closed), (0, 2));
}

#[test]
fn crossing_does_not_allocate() {
    let (mut near, mut far) = two();
    let packet = [9; 1_200];
    let turn = |near: &mut Desk, far: &mut Desk| {
        for packets in [100, 3] {
            (0..packets).for_each(|_| pack(near, 7, &packet, 1_200));
            near.flush();
        }
        far.look();
        let mut taken = 0;
        while let Some(parcel) = far.take() {
            taken += parcel.bytes.len();
            far.give_back(parcel);
        }
        assert_eq!(taken, 103 * 1_200);
    };
    assert!(measure(|| turn(&mut near, &mut far)).count_total > 0, "the counter counts");
    let warm = measure(|| (0..1_000).for_each(|_| turn(&mut near, &mut far)));
    assert_eq!(warm.count_total, 0, "for {} packets", far.crossed().packets_in);
}

#[test]
fn two_threads_lose_nothing_and_keep_the_order() {
    let (mut near, mut far) = two();
    const PACKETS: u64 = 200_000;
    let sender = std::thread::spawn(move || {
        let mut number = 0;
        while number < PACKETS {
            for _ in 0..(number % 17) + 1 {
                pack(&mut near, 7, &number.to_be_bytes(), 8);
                // A full exchange drops; the number goes again.
                number = near.crossed().packets_out;
            }
            near.flush();
        }
        near.crossed()
    });
    let mut next = 0;
    while next < PACKETS {
        for (_, bytes, segment_bytes) in take_all(&mut far) {
            assert_eq!(segment_bytes, 8);
            for number in bytes.chunks(8) {
                assert_eq!(number, u64::to_be_bytes(next));
                next += 1;
            }
        }
    }
    let crossed = sender.join().expect("no panic");
    assert_eq!(crossed.packets_out, far.crossed().packets_in);
}

#[test]
fn what_is_promised_for_a_look_is_owed_from_then_on() {
    let (near, mut far, exchange) = two_and_all();
    exchange.set_looks(1);
    let at = Time::from_millis;
    assert!(!far.is_owed(at(5)));
    near.promise(Some(at(20)));
    assert!(!far.is_owed(at(19)) && far.is_owed(at(20)) && far.is_owed(at(25)));
    assert!(!far.is_owed(at(30)), "the worker is held up, and mixing goes on");
    near.promise(None);
    assert!(!far.is_owed(at(25)));
    near.promise(Some(at(40)));
    far.close(PortId(70));
    far.close(PortId(80));
    assert!(!far.is_owed(at(40)), "it brings nothing for this one");
}

#[test]
fn who_comes_by_itself_is_expected_by_those_with_trunks_to_it() {
    let (mut near, far, exchange) = two_and_all();
    exchange.set_looks(1);
    let at = Time::from_millis;
    assert_eq!(near.next_look(at(5)), None, "nobody has said");
    far.expect_look(Some(at(20)));
    assert_eq!(near.next_look(at(5)), Some(at(20)));
    assert_eq!(near.next_look(at(20)), None, "it looks now, or is at work");
    far.expect_look(Some(at(40)));
    assert_eq!(near.next_look(at(21)), Some(at(40)));
    near.close(PortId(7));
    near.close(PortId(7));
    assert_eq!(near.next_look(at(21)), Some(at(40)), "there is another trunk");
    near.close(PortId(8));
    assert_eq!(near.next_look(at(21)), None, "it comes for others");
}
