//! Which box of several owns a room: pure decisions, and the Redis or Valkey store that the boxes share.

mod driver;
mod event;
mod redis;
mod registry;
mod types;

pub use driver::{ClusterHandle, read_nodes, start};
pub use event::{Event, Observer};
pub use redis::{StoreUrl, StoreUrlError};
pub use registry::{StoreError, StoreFacts, StoreStatus};
pub use types::{
    BoxId, ClusterConfig, Decision, Fallback, Fence, JoinRequest, Load, NodeInfo, NodeName, NodeNameError,
    RoomTag,
};
