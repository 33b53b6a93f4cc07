//! Which box of several owns a room: pure decisions, and the Redis or Valkey store that the boxes share.

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
