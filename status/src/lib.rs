//! What a process says of itself over HTTP: `/metrics`, `/healthz` and `/readyz`.
//!
//! Nodes and control share it. A [`Source`] is asked at each scrape and fills a [`Page`]; nothing is kept
//! here, so nothing is counted twice, and nothing is on the way of a packet or a request.
//!
//! `/healthz` says that the process lives: it asks nobody, so nothing that is away can decide it. `/readyz`
//! asks the source, with a deadline.
#![forbid(unsafe_code)]

mod listen;
mod page;
mod process;
mod server;

pub use listen::{Listen, ListenError};
pub use page::{Buckets, Labels, Metric, Page};
pub use server::{Server, Source, serve};
