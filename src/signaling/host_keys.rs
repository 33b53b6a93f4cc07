//! The keys that open an empty room, where a box asks for one.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::credential::Secret;

/// The host keys, in a form that is compared in constant time; none: everybody may open a room.
#[derive(Clone)]
pub struct HostKeys(Vec<String>);

impl HostKeys {
    /// Takes the keys as configured.
    pub fn new(keys: &[Secret]) -> Self {
        Self(keys.iter().map(digest).collect())
    }

    /// Whether an empty room opens without one.
    pub(super) fn none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `given` is one of them.
    pub(super) fn hold(&self, given: &str) -> bool {
        let given = digest(&Secret::new(given));
        // Digests are compared, all of them, so that neither length nor place of a key shows.
        let matching = self
            .0
            .iter()
            .fold(subtle::Choice::from(0), |found, key| found | key.as_bytes().ct_eq(given.as_bytes()));
        matching.into()
    }
}

fn digest(key: &Secret) -> String {
    key.password("webrtc-box host key")
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKeys({})", self.0.len())
    }
}
