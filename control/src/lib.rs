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
//!
//! # In a scheduling service of your own
//!
//! [`start`] gives all of `motet css` inside another process: nodes announce themselves at its address, its state is in
//! its store, and [`RunningCss::control`] takes requests without a detour over the network. What is asked for and
//! what comes back are the messages of `conference.proto`; a [`Refusal`](refusal::Refusal) names the field and the
//! likely cause, and has changed nothing.
//!
//! ```
//! use motet_control::conference::{Request, Response};
//! use motet_control::CssOptions;
//! use motet_proto::conference::{AddParticipantRequest, CreateRequest, EndRequest, ParticipantMedium};
//! use motet_proto::media::MediaKind;
//!
//! # #[tokio::main]
//! # async fn main() -> anyhow::Result<()> {
//! let options = CssOptions {
//!     listen: "127.0.0.1:0".parse()?,          // where nodes announce themselves; 0: any port
//!     metrics: Some("off".parse().map_err(anyhow::Error::msg)?),
//!     store: "embedded".into(),                // or redis://..., so that a restart forgets nothing
//!     platform: "platform-1".into(),           // confex.platformmoid
//!     ..CssOptions::default()
//! };
//! let css = motet_control::start(options).await?;
//! let control = css.control().clone();         // as many as you like; all ask the same core
//! println!("nodes: motet node --control http://{}", css.address());
//!
//! // What happens, as it happens: joins, speakers, lost nodes, moves to other nodes.
//! let mut events = control.subscribe();
//! let watcher = tokio::spawn(async move {
//!     while let Ok(event) = events.recv().await {
//!         println!("{}: {}", event.conference, event.message);
//!     }
//! });
//!
//! // The core draws no random numbers: ids come with the request. The same request_id makes it safe to repeat.
//! let (id, seed) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().as_u64_pair().0);
//! let create = CreateRequest {
//!     name: "Monday".into(),
//!     request_id: "booking-4711".into(),
//!     expected_participants: 4,
//!     ..CreateRequest::default()
//! };
//! match control.request(Request::Create { id, seed, create }).await {
//!     Ok(Response::Conference(conference)) => {
//!         let audio = ParticipantMedium { kind: MediaKind::Audio.into(), ..ParticipantMedium::default() };
//!         let add = AddParticipantRequest {
//!             conference: conference.id.clone(),
//!             participant: "alice".into(),
//!             media: vec![audio],
//!             ..AddParticipantRequest::default()
//!         };
//!         if let Response::Participant(alice) = control.request(Request::Add { id: String::new(), add }).await? {
//!             println!("alice sends RTP to {}", alice.media[0].local);
//!         }
//!         let end = EndRequest { conference: conference.id, ..EndRequest::default() };
//!         control.request(Request::End(end)).await?;
//!     }
//!     Ok(_) => unreachable!("a create is answered by a conference"),
//!     // No node has announced itself here yet; the message says why for each one that is known.
//!     Err(refusal) => assert_eq!(refusal.code, tonic::Code::ResourceExhausted, "{refusal}"),
//! }
//! css.shutdown().await;
//! watcher.abort();
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod conference;
pub mod css;
mod domains_file;
mod metrics;
pub mod nodes;
pub mod peers;
pub mod placement;
pub mod refusal;
mod registry;
mod reserve;
pub mod runtime;
pub mod scope;
mod service;
pub mod store;
mod store_edge;

pub use css::{CssOptions, RunningCss, run, start};
