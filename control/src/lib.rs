//! Conference scheduling as a library: which conferences exist, which node carries each, and what happens
//! when nodes come, go and come back.
//!
//! ```text
//! gRPC (service) --> runtime --> conference::step (pure)
//!                       ^             | effects
//!                       |             v
//!                    answers <-- store, nodes (edges)
//! ```
//!
//! [`conference`] decides and is pure: the time, new ids and every answer come in as events, what to do
//! comes out as effects. [`runtime`] owns the state in one task and runs the effects. [`store`] and
//! [`nodes`] are the edges. [`css`] puts them behind gRPC. Media is never touched here: a node goes on
//! when control is away, and [`conference`] adopts what it finds running.
#![forbid(unsafe_code)]

pub mod conference;
pub mod css;
mod metrics;
pub mod nodes;
pub mod placement;
pub mod refusal;
mod registry;
pub mod runtime;
mod service;
pub mod store;

pub use css::{CssOptions, RunningCss, run, start};
