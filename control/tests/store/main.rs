//! One suite for every store: the embedded ones, and real Redis servers of the test's own.

mod disk;
mod foreign;
mod keys;
mod loss;
mod redis;
mod samples;
mod suite;
mod world;
