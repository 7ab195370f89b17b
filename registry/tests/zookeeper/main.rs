//! Against a real ZooKeeper (Debian's package `zookeeper`), started by each test on a free port.

mod crashes;
mod functions;
mod identities;
mod reserving;
mod resources;
mod world;
