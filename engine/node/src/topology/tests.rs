//! Machines as trees of files.

use super::*;
use crate::testing::FakeSysfs;
use proptest::prelude::*;

fn ids<'a>(nodes: impl Iterator<Item = &'a NumaNode>) -> Vec<u32> {
    nodes.map(|node| node.id).collect()
}

#[test]
fn two_sockets_with_two_threads_a_core() {
    let machine = FakeSysfs::new();
    machine.cpus("0-15").node(0, "0-3,8-11", "10 21").node(1, "4-7,12-15", "21 10").memory("0-1");
    for core in 0..8 {
        machine.siblings(&[core, core + 8]);
    }
    let topology = machine.topology();
    assert_eq!(ids(topology.sockets()), [0, 1]);
    let second = topology.node(1).expect("it is there");
    assert_eq!(second.cpus, [4, 5, 6, 7, 12, 13, 14, 15]);
    assert_eq!(second.cores, [4, 5, 6, 7], "one of two threads");
    assert_eq!((topology.memory_node(0), topology.memory_node(1)), (Some(0), Some(1)));
}

#[test]
fn four_sockets_with_cpus_offline_and_nodes_without_memory() {
    let machine = FakeSysfs::new();
    // CPUs 5 to 7 and all of node 2 are offline; node 1 has no memory and is nearer to 3 than to 0.
    machine.cpus("0-4,12-15").memory("0,3");
    machine.node(0, "0-3", "10 32 32 32").node(1, "4-7", "32 10 32 21");
    machine.node(2, "8-11", "32 32 10 32").node(3, "12-15", "32 21 32 10");
    let topology = machine.topology();
    assert_eq!(ids(topology.sockets()), [0, 1, 3]);
    assert_eq!(topology.node(1).map(|node| node.cpus.clone()), Some(vec![4]));
    assert_eq!(topology.node(2).map(|node| node.cpus.len()), Some(0));
    assert_eq!(topology.memory_node(0), Some(0));
    assert_eq!(topology.memory_node(1), Some(3), "the nearest with memory");
    assert_eq!(topology.memory_node(7), None, "no such node");
}

#[test]
fn a_core_whose_first_thread_is_offline_is_still_a_core() {
    let machine = FakeSysfs::new();
    machine.cpus("1-3").node(0, "1-3", "10").memory("0");
    machine.siblings(&[0, 2]).siblings(&[1, 3]);
    assert_eq!(machine.topology().node(0).map(|node| node.cores.clone()), Some(vec![1, 2]));
}

#[test]
fn memory_alone_is_no_socket() {
    let machine = FakeSysfs::new();
    machine.cpus("0-1").node(0, "0-1", "10 17").node(1, "", "17 10").memory("0-1");
    assert_eq!(ids(machine.topology().sockets()), [0]);
}

#[test]
fn a_kernel_without_numa_is_one_socket() {
    let machine = FakeSysfs::new();
    machine.cpus("0-3");
    let topology = machine.topology();
    assert!(!topology.numa);
    assert_eq!(topology.nodes[0].cpus, [0, 1, 2, 3]);
    assert_eq!(topology.memory_node(0), None, "there is no policy to set");
}

#[test]
fn this_machine_can_be_read() {
    let topology = Topology::read(Path::new("/sys")).expect("every Linux has it");
    assert!(topology.sockets().count() >= 1);
}

#[test]
fn a_tree_that_makes_no_sense_names_the_file() {
    let machine = FakeSysfs::new();
    let error = Topology::read(machine.root()).expect_err("nothing is there");
    assert!(error.to_string().contains("devices/system/cpu/online"), "{error}");
    machine.cpus("0-3").node(0, "three", "10");
    let error = Topology::read(machine.root()).expect_err("no list");
    assert!(error.to_string().contains("node0/cpulist: 'three'"), "{error}");
}

#[test]
fn cards_are_found_below_bonds_and_vlans() {
    let machine = FakeSysfs::new();
    machine.card("eth0", 0).card("eth1", 1).card("eth2", -1).interface("lo");
    machine.above("bond0", "eth1").above("bond0.7", "bond0");
    let card = |interface| card_numa_node(machine.root(), interface);
    assert_eq!((card("eth0"), card("eth1"), card("bond0.7")), (Some(0), Some(1), Some(1)));
    assert_eq!((card("eth2"), card("lo"), card("none")), (None, None, None));
    // A ring of links ends.
    machine.above("loop", "loop");
    assert_eq!(card("loop"), None);
}

#[test]
fn lists_of_nonsense_are_refused() {
    for text in ["x", "3-1", "1-", "-1", "0-99999999999", "0-70000", "1 2"] {
        assert_eq!(parse_list(text), None, "{text}");
    }
    assert_eq!(parse_list(""), Some(vec![]));
    assert_eq!(parse_list("0-2,8"), Some(vec![0, 1, 2, 8]));
}

proptest! {
    #[test]
    fn lists_are_read_as_they_are_written(numbers in prop::collection::btree_set(0usize..2000, 0..60)) {
        let numbers: Vec<usize> = numbers.into_iter().collect();
        prop_assert_eq!(parse_list(&format_list(&numbers)), Some(numbers));
    }

    #[test]
    fn no_text_breaks_the_reader(text in ".{0,40}") {
        let _ = parse_list(&text);
    }
}
