//! This box as the others see it: its identity, load, and whether it takes new rooms.

use std::time::Duration;

use crate::registry::{Elsewhere, Identity, Lease, ListedLease, PROTOCOL};
use crate::{BoxId, ClusterConfig, Load, NodeInfo};

/// Over this load new rooms go to another box.
const FULL: u8 = 80;

/// This box.
#[derive(Debug)]
pub(crate) struct OwnBox {
    pub(crate) id: BoxId,
    pub(crate) load: Load,
    pub(crate) draining: bool,
    /// Most other boxes cannot reach it.
    pub(crate) withdrawn: bool,
    /// It has given up its lease for good.
    pub(crate) stopped: bool,
    key: String,
    version: String,
}

impl OwnBox {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        let identity = Identity::of(config);
        Self {
            key: identity.key(),
            id: identity.id,
            load: Load::default(),
            draining: false,
            withdrawn: false,
            stopped: false,
            version: config.version.clone(),
        }
    }

    /// The key id as it stands in values.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What it writes with its lease.
    pub(crate) fn lease(&self, serial: u64, rooms: usize, unreachable: Vec<String>) -> Lease {
        Lease {
            v: PROTOCOL,
            key: self.key.clone(),
            version: self.version.clone(),
            load: self.load.highest(),
            rooms: rooms as u64,
            draining: self.draining,
            unreachable,
            serial,
        }
    }

    pub(crate) fn info(&self, rooms: usize) -> NodeInfo {
        let lease = self.lease(0, rooms, Vec::new());
        ListedLease { id: self.id.clone(), lease, withdrawn: self.withdrawn, age: Duration::ZERO }
            .info(&self.key)
    }

    /// Whether a new room goes to another box.
    pub(crate) fn elsewhere(&self, random: [u32; 2]) -> Elsewhere {
        match self.load.highest() {
            _ if self.draining || self.withdrawn => Elsewhere::IfAny(random),
            load if load > FULL => Elsewhere::IfLess(load, random),
            _ => Elsewhere::No,
        }
    }
}
