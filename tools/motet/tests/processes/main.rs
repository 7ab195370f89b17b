//! `motet` as people and scripts use it: real processes, real sockets, on free ports of this machine.

#![forbid(unsafe_code)]

mod capacity;
mod commands;
mod dashboards;
mod draining;
mod faults;
mod ipv6;
mod manager;
mod mixing;
mod moving;
mod numa;
mod observing;
mod reach;
mod restoring;
mod shared_port;
mod upgrade;
mod workers;
mod world;
mod zookeeper;
