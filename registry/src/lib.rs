//! Nodes in ZooKeeper, for platforms that find their resources there (source document 000, section 7).
//!
//! A node has an entry for each of its functions ([`Function`]), each below a *SrcType* of its own: `CMU`, `Mpu`, `Vrs`
//! unless told otherwise. Below the path of the connect string, each *SrcType* has three parts:
//!
//! | path | nodes in it | content |
//! | --- | --- | --- |
//! | `/{SrcType}/Source` | one for each resource, ephemeral, `{SrcType}` and a number; only the resource changes it | [`Resource`] |
//! | `/{SrcType}/ApplyQueue` | who wants a resource, ephemeral, first come first served | the applicant's name |
//! | `/{SrcType}/ReserveQueue` | what was granted and is not occupied yet, ephemeral | [`Promise`] |
//!
//! - [`keep_registered`] is a resource's part: it registers, refreshes, and registers again when its session
//!   ended. The number in the name changes with every session and is no identity: `node_id` and `boot_id` in the
//!   content are.
//! - [`Joiner`] makes one node of what its entries say.
//! - [`follow`] tells of every resource and every refresh of it. Being in the tree is not being alive: a session
//!   outlives its process by seconds, so that whoever follows counts from the last refresh.
//! - [`Applicant::reserve`] takes its turn in the queue, chooses by what is there less what is promised to others,
//!   and leaves a promise until the resource is occupied.
//!
//! All content is JSON with a number for its form ([`FORM`]); fields that are not known are left alone, content of
//! a newer form, and content that makes no sense, is passed over and said.
#![forbid(unsafe_code)]

mod args;
mod content;
mod entries;
mod follow;
mod function;
mod register;
mod reserve;
mod tree;

pub use args::ZooKeeperArgs;
pub use content::{ContentError, FORM, Promise, Resource, ResourceCapacity, ResourceLoad};
pub use follow::{Heard, follow};
pub use function::{Function, Joiner, Kinds};
pub use register::keep_registered;
pub use reserve::{Applicant, Candidate, Reservation, ReserveError, Wanted};
pub use tree::{OptionsError, ZooKeeperOptions};
