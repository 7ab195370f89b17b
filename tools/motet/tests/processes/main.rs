//! `motet` as people and scripts use it: real processes, real sockets, on free ports of this machine.

#![forbid(unsafe_code)]

mod abuse;
mod booking;
mod canvases;
mod capacity;
mod chaos;
mod commands;
mod dashboards;
mod deployments;
mod draining;
mod faults;
mod films;
mod ipv6;
mod manager;
mod mixing;
mod moving;
mod numa;
mod observing;
mod phones;
mod reach;
mod recording;
mod restoring;
mod rooms;
mod screens;
mod several;
mod shared_port;
mod stopped;
mod upgrade;
mod workers;
mod world;
mod zookeeper;
