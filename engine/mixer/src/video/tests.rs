//! Canvases by picture: test cards go in, cells of the decoded output are looked at.

mod alone;
mod arrangement;
mod bad_input;
mod cells;
mod layers;
mod names;
mod scaling;
mod sharing;
mod stills;
mod turns;
mod world;
