//! The mixer with sources made of tones, by signal: what is in each output, and that nothing else is.

mod care;
mod loss;
mod property;
mod rooms;
mod sharing;
mod speakers;
mod world;
