//! Which box of several owns a room: decisions without IO, and the Redis or Valkey store that the boxes share.
//!
//! [`Cluster`] opens no socket and reads no clock. The caller hands in what clients ask and what the store said, each with
//! the moment, and carries out what the `poll_` methods return:
//!
//! ```text
//!        inputs                                      outputs
//!  ┌────────────────────────┐  ┌─────────┐  ┌──────────────────────────────────────────┐
//!  │ join, look, move_room  │  │         │  │ poll_outcome → the Decision of a Ticket  │
//!  │ set_seats, set_load    ├─▶│ Cluster ├─▶│ poll_request → Request for the store     │
//!  │ handle_reply           │  │         │  │ poll_event   → Event for log and metrics │
//!  │ handle_timeout         │  │         │  │ poll_timeout → next handle_timeout       │
//!  └────────────────────────┘  └────┬────┘  └──────────────────────────────────────────┘
//!                                   │ owned: the Decision from memory
//!                                   ▼
//!  ClusterHandle ──▶ driver ──▶ Registry: one atomic Request, one Reply
//!                                 ├── RedisRegistry   scripts on Redis ≥ 6.2 or Valkey, TLS, Sentinel
//!                                 └── MemoryRegistry  the same answers, for tests
//! ```
//!
//! [`start`] runs it on Tokio with a [`RedisRegistry`]. Each box holds a lease of three seconds. Who joins an unowned room, or
//! one whose owner has no lease, makes the asked box its owner, with a higher [`Fence`] than the last. If two boxes have one
//! room, the higher fence wins; on equal fences the one with more seats, then the lesser name. Keys, values, and what
//! becomes of values that no box wrote: [`registry`].
//!
//! What a box does in a fault:
//!
//! | fault | joins of its rooms | other joins |
//! |---|---|---|
//! | one request fails or takes over 300 ms | from memory | by [`Fallback`], without waiting, until a renewal succeeds |
//! | the store refuses one key | from memory | [`Decision::TryLater`] for that room; others as usual |
//! | the store is back | the first asks the store | 1.5 s by [`Fallback`] if the store does not know the room |
//! | the process was stopped for over 2 s | wait for the lease, and ask the store if it was lost | wait for the lease |
//! | most others cannot reach the box | from memory | go to others; it holds no lease |
//! | another live box has its name | from memory | [`Decision::TryLater`] |
//!
//! # Example
//!
//! Two boxes on a store in memory:
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use webrtc_box_cluster::memory::{MemoryRegistry, MemoryStore};
//! use webrtc_box_cluster::*;
//!
//! struct Silent;
//!
//! impl Observer for Silent {
//!     fn handle(&self, _: Event) {}
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let store = Arc::new(Mutex::new(MemoryStore::default()));
//! let [b1, b2] = [("b1.call.example.com", 1), ("b2.call.example.com", 2)].map(|(name, boot)| {
//!     let config = ClusterConfig {
//!         name: NodeName::parse(name).unwrap(),
//!         domain: NodeName::parse("call.example.com").unwrap(),
//!         boot,
//!         version: "0.1.0".to_owned(),
//!         fallback: Fallback::Open,
//!         key_id: [0; 8],
//!         store: StoreUrl::parse("redis://localhost").unwrap(),
//!         roots: rustls::RootCertStore::empty(),
//!     };
//!     let registry = MemoryRegistry::new(&config, Arc::clone(&store));
//!     let (handle, driver) = start_with(config, registry, Arc::new(Silent));
//!     tokio::spawn(driver);
//!     handle
//! });
//! let join = JoinRequest::new(RoomTag::new([7; 16]));
//! let Decision::Serve { fence, .. } = b1.join(join).await else { panic!("nobody else owns the room") };
//! let node = NodeName::parse("b1.call.example.com").unwrap();
//! assert_eq!(b2.join(join).await, Decision::Redirect { node, fence });
//! # });
//! ```

mod breaker;
mod calls;
mod cluster;
mod driver;
mod error;
mod event;
mod lease;
pub mod memory;
mod own_box;
mod owned_rooms;
mod ownership;
mod peers;
mod redis;
pub mod registry;
mod rendezvous;
mod types;

pub use calls::{CallId, Outcome, Ticket};
pub use cluster::Cluster;
pub use driver::{ClusterHandle, start, start_with};
pub use error::StoreError;
pub use event::{Event, Observer};
pub use redis::{RedisRegistry, StoreUrl, StoreUrlError, read_nodes};
pub use registry::{StoreFacts, StoreStatus};
pub use types::{
    BoxId, ClusterConfig, Decision, Fallback, Fence, JoinRequest, Load, NodeInfo, NodeName, NodeNameError,
    RoomTag,
};
