//! The keys that open an empty room, where a box asks for one.

use std::fmt;

use subtle::ConstantTimeEq as _;

use sha2::{Digest as _, Sha256};

/// The host keys, in a form that is compared in constant time; none: everybody may open a room.
#[derive(Clone)]
pub struct HostKeys(Vec<[u8; 32]>);

impl HostKeys {
    /// Takes the keys as configured.
    pub fn new<K: AsRef<[u8]>>(keys: &[K]) -> Self {
        Self(keys.iter().map(|key| digest(key.as_ref())).collect())
    }

    /// Whether an empty room opens without one.
    pub(super) fn none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `given` is one of them.
    pub(super) fn hold(&self, given: &str) -> bool {
        let given = digest(given.as_bytes());
        // Digests are compared, all of them, so that neither length nor place of a key shows.
        let matching = self.0.iter().fold(subtle::Choice::from(0), |found, key| found | key.ct_eq(&given));
        matching.into()
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKeys({})", self.0.len())
    }
}
