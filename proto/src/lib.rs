//! The gRPC schema of motet (`proto/*.proto`) and the code generated from it.
//!
//! A leaf: schema only. Turning wire messages into domain types happens once, in the crate that owns
//! the domain type. Comments on messages and fields, with units and errors, are in the `.proto` files
//! and appear here as documentation.

/// Generated code, nested as the packages are.
#[allow(missing_docs, clippy::all, rustdoc::all)]
mod motet {
    pub mod media {
        pub mod v1 {
            tonic::include_proto!("motet.media.v1");
        }
    }
    pub mod node {
        pub mod v1 {
            tonic::include_proto!("motet.node.v1");
        }
    }
    pub mod registry {
        pub mod v1 {
            tonic::include_proto!("motet.registry.v1");
        }
    }
    pub mod domains {
        pub mod v1 {
            tonic::include_proto!("motet.domains.v1");
        }
    }
    pub mod conference {
        pub mod v1 {
            tonic::include_proto!("motet.conference.v1");
        }
    }
}

/// The `Conference` service: what control offers to applications.
pub use motet::conference::v1 as conference;
/// The `Domains` service: who owns conferences, and which platforms serve whom.
pub use motet::domains::v1 as domains;
/// Words shared by all services: media kinds, codecs, latch policies.
pub use motet::media::v1 as media;
/// The `MediaNode` service: what a media node offers to control.
pub use motet::node::v1 as node;
/// The `NodeRegistry` service: how nodes make themselves known to control.
pub use motet::registry::v1 as registry;

/// Metadata of a call in the name of a user domain: its MOID, in printable ASCII. See `conference.proto`.
pub const USER_DOMAIN: &str = "motet-user-domain";

/// The encoded `FileDescriptorSet` of all services, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("motet");

/// Passwords stay out of whatever is printed.
impl std::fmt::Debug for conference::Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.text.is_empty() { "\"\"" } else { "***" })
    }
}
