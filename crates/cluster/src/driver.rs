//! Runs the decisions on Tokio: sends requests to the store, wakes who waits for a decision, hands out events.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{
    ClusterConfig, Decision, Fence, JoinRequest, Load, NodeInfo, NodeName, Observer, RoomTag, StoreError,
    StoreStatus, StoreUrl,
};

/// Asks and tells the cluster. Clones are the same box.
#[derive(Clone, Debug)]
pub struct ClusterHandle {}

impl ClusterHandle {
    /// The answer from memory, at once; `None` if the store must be asked by [`join`](Self::join) or
    /// [`look`](Self::look). For joins and looks.
    pub fn owned(&self, request: &JoinRequest, now: Instant) -> Option<Decision> {
        None
    }

    /// Decides a join, within 300 ms.
    pub async fn join(&self, request: JoinRequest) -> Decision {
        Decision::TryLater
    }

    /// Decides a look, within 300 ms.
    pub async fn look(&self, room: RoomTag) -> Decision {
        Decision::TryLater
    }

    /// The number of seats of a room that this box serves. Five seconds after it is zero the ownership ends.
    pub fn set_seats(&self, room: RoomTag, seats: usize) {}

    /// The load of this box, which other boxes see.
    pub fn set_load(&self, load: Load) {}

    /// Whether this box reaches another one by its name.
    pub fn set_reachable(&self, node: &NodeName, reachable: bool) {}

    /// Gives new rooms to other boxes, or no longer.
    pub fn drain(&self, on: bool) {}

    /// Hands a room of this box to the less loaded of two random others. `None`: the room stays, since there is no other box or
    /// the store is away.
    pub async fn move_room(&self, room: RoomTag) -> Option<(NodeName, Fence)> {
        None
    }

    /// The boxes last known, this one first.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        Vec::new()
    }

    /// Releases rooms without seats, and the lease.
    pub async fn shutdown(&self) {}

    /// Whether this box may order a certificate now; others may not until [`unlock_order`](Self::unlock_order), at most for
    /// ten minutes.
    pub async fn lock_order(&self) -> bool {
        false
    }

    /// Ends [`lock_order`](Self::lock_order).
    pub async fn unlock_order(&self) {}

    /// Shares the key authorization of `domain` with all boxes for `ttl`; `false`: the store is away.
    pub async fn put_challenge(&self, domain: &str, key_authorization: &str, ttl: Duration) -> bool {
        false
    }

    /// The key authorization of `domain` that a box shared.
    pub async fn get_challenge(&self, domain: &str) -> Option<String> {
        None
    }
}

/// A box of the cluster. The returned future does the work and never ends; spawn it.
pub fn start(
    config: ClusterConfig,
    observer: Arc<dyn Observer>,
) -> (ClusterHandle, impl Future<Output = ()> + Send + 'static) {
    (ClusterHandle {}, std::future::pending())
}

/// The boxes that the store knows, and facts about it; for a command that is no box itself. Connects within two seconds.
///
/// `key_id` is that of [`ClusterConfig`], to recognise foreign boxes.
///
/// # Errors
/// The store does not answer; see [`StoreError::hint`].
pub async fn read_nodes(
    store: &StoreUrl,
    key_id: [u8; 8],
    roots: rustls::RootCertStore,
) -> Result<StoreStatus, StoreError> {
    Err(StoreError::Timeout)
}
