//! Bindings on machines that are trees of files.

use super::*;
use crate::testing::FakeSysfs;

/// Two sockets of four cores with two threads each; the threads of core 1 are CPUs 1 and 9.
fn machine() -> FakeSysfs {
    let machine = FakeSysfs::new();
    machine.cpus("0-15").node(0, "0-3,8-11", "10 21").node(1, "4-7,12-15", "21 10").memory("0-1");
    for core in 0..8 {
        machine.siblings(&[core, core + 8]);
    }
    machine
}

fn options(machine: &FakeSysfs, numa_node: Option<u32>) -> NumaOptions {
    NumaOptions { numa_node, numa_memory: NumaMemory::Prefer, sysfs: machine.root().to_owned() }
}

fn resolve(numa: &NumaOptions, workers: Option<u16>, worker_cores: &[usize]) -> Result<Binding> {
    Binding::resolve(Wanted { numa, workers, worker_cores }, |_| true)
}

fn cores(binding: &Binding) -> Vec<usize> {
    binding.workers.iter().flatten().copied().collect()
}

#[test]
fn without_a_socket_nothing_is_bound() {
    let machine = machine();
    let binding = resolve(&options(&machine, None), Some(2), &[]).expect("nothing is asked for");
    assert_eq!(binding, Binding { workers: vec![None, None], ..Binding::default() });
    binding.bind_process().expect("there is nothing to do");
}

#[test]
fn a_socket_brings_its_cpus_cores_and_memory() {
    let machine = machine();
    let binding = resolve(&options(&machine, Some(1)), None, &[]).expect("it is there");
    assert_eq!((binding.numa_node, binding.memory), (Some(1), Some(MemoryPolicy::Prefer(1))));
    assert_eq!(binding.cpus, [4, 5, 6, 7, 12, 13, 14, 15]);
    assert_eq!(cores(&binding), [5, 6, 7], "one physical core is left to the rest");
}

#[test]
fn workers_share_cores_last() {
    let machine = machine();
    let numa = options(&machine, Some(0));
    let cores = |count| cores(&resolve(&numa, Some(count), &[]).expect("it has eight CPUs"));
    assert_eq!(cores(1), [1]);
    assert_eq!(cores(4), [0, 1, 2, 3]);
    assert_eq!(cores(6), [0, 1, 2, 3, 8, 9]);
    let error = format!("{:#}", resolve(&numa, Some(9), &[]).expect_err("it has eight CPUs"));
    assert_eq!(error, "--workers: on NUMA node 0: 9 workers for 8 CPUs");
}

#[test]
fn small_sockets_give_all_they_have() {
    let machine = FakeSysfs::new();
    machine.cpus("0-2").node(0, "0", "10 21").node(1, "1-2", "21 10").memory("0-1");
    let cores = |node| cores(&resolve(&options(&machine, Some(node)), None, &[]).expect("it is there"));
    assert_eq!((cores(0), cores(1)), (vec![0], vec![1, 2]));
}

#[test]
fn memory_comes_from_the_nearest_that_has_some() {
    let machine = FakeSysfs::new();
    machine.cpus("0-3").node(0, "0-1", "10 21").node(1, "2-3", "21 10").memory("1");
    let mut numa = options(&machine, Some(0));
    let memory = |numa: &NumaOptions| resolve(numa, None, &[]).expect("it is there").memory;
    assert_eq!(memory(&numa), Some(MemoryPolicy::Prefer(1)));
    numa.numa_memory = NumaMemory::Bind;
    assert_eq!(memory(&numa), Some(MemoryPolicy::Bind(1)));
    numa.numa_memory = NumaMemory::Any;
    assert_eq!(memory(&numa), None);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let machine = machine();
    machine.node(2, "", "10").cpus("0-15");
    let refused = |numa: &NumaOptions, workers, cores: &[usize]| {
        format!("{:#}", resolve(numa, workers, cores).expect_err("it cannot be"))
    };
    assert_eq!(refused(&options(&machine, Some(5)), None, &[]), "--numa-node 5: this machine has 0-1");
    assert!(refused(&options(&machine, Some(2)), None, &[]).contains("none of its CPUs is online"));
    let error = refused(&options(&machine, Some(1)), None, &[4, 3]);
    assert_eq!(error, "--worker-cores: core 3 is not one of NUMA node 1, which has 4-7,12-15");
    assert_eq!(refused(&options(&machine, None), Some(3), &[4, 3]), "--worker-cores: 2 cores for 3 workers");
    let numa = options(&machine, Some(1));
    let wanted = Wanted { numa: &numa, workers: None, worker_cores: &[] };
    let error = Binding::resolve(wanted, |cpu| cpu < 4).expect_err("not allowed").to_string();
    assert!(error.contains("may use none of its CPUs 4-7,12-15"), "{error}");
}

#[test]
fn cpus_that_a_container_forbids_are_left_out() {
    let machine = machine();
    let numa = options(&machine, Some(1));
    let wanted = Wanted { numa: &numa, workers: None, worker_cores: &[] };
    let binding = Binding::resolve(wanted, |cpu| [5, 6, 13].contains(&cpu)).expect("three are allowed");
    assert_eq!((binding.cpus.as_slice(), cores(&binding)), ([5, 6, 13].as_slice(), vec![5, 6]));
}

#[test]
fn a_card_of_the_other_socket_is_warned_about() {
    let machine = machine();
    machine.card("near", 0).card("far", 1).interface("lo");
    let name = |ip: IpAddr| match ip.to_string().as_str() {
        "192.0.2.1" => Some("near".to_owned()),
        "2001:db8::1" => Some("far".to_owned()),
        "127.0.0.1" => Some("lo".to_owned()),
        _ => None,
    };
    let ips =
        ["192.0.2.1", "2001:db8::1", "127.0.0.1", "203.0.113.9"].map(|ip| ip.parse().expect("an address"));
    let warnings = card_warnings(machine.root(), 0, &ips, name);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("2001:db8::1") && warnings[0].contains("--numa-node 1"), "{warnings:?}");
}

#[test]
fn loopback_is_found_by_its_address() {
    assert_eq!(interface_of("127.0.0.1".parse().expect("an address")).as_deref(), Some("lo"));
    assert_eq!(interface_of("203.0.113.9".parse().expect("an address")), None);
}

#[test]
fn a_thread_is_bound_to_cpus_that_it_may_use() {
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed_here()(*cpu)).expect("this thread runs somewhere");
    let binding = Binding { cpus: vec![first], ..Binding::default() };
    let bound = std::thread::spawn(move || {
        binding.bind_process().expect("it may run there");
        let allowed = allowed_here();
        (0..CpuSet::MAX_CPU).filter(|cpu| allowed(*cpu)).collect::<Vec<_>>()
    });
    assert_eq!(bound.join().expect("the thread ends well"), [first]);
}
