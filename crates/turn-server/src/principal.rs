//! Isolation groups, and the participants who may open allocations.
//!
//! The application decides who is a participant of which group and passes that in as [`PrincipalEvent`]s. Groups and
//! participants are opaque ids here. Credentials name them; see [`Principal`].

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::credential::{Principal, UnixSeconds};
use crate::response::Refusal;

/// Length in characters of an [`IsolationGroup`] or [`PrincipalId`] as text: 16 bytes in base64url.
pub const TEXT_LENGTH: usize = 22;

/// Allocations that may reach each other: 16 bytes, for example of a keyed digest of a room's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsolationGroup([u8; 16]);

/// A participant of a group: 16 random bytes, unguessable, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId([u8; 16]);

/// A change of a participant. Every worker needs every event, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalEvent {
    /// The participant joined or resumed: its credentials open allocations from now on.
    Admitted(IsolationGroup, PrincipalId),
    /// The participant left: its allocations end immediately.
    Left(IsolationGroup, PrincipalId),
    /// The participant lost its connection for too long. Each of its allocations ends when it has been idle for a
    /// minute; all end when the group is full again, or when its credentials expire.
    Expired(IsolationGroup, PrincipalId),
}

/// Which participants may open allocations on a worker, and which hold some although they expired.
#[derive(Debug)]
pub(crate) struct Admissions {
    admitted: BTreeSet<(IsolationGroup, PrincipalId)>,
    /// Expired participants with allocations on this worker.
    orphaned: BTreeSet<(IsolationGroup, PrincipalId)>,
    draining: bool,
    group_size: usize,
}

impl Admissions {
    pub(crate) fn new(group_size: usize) -> Self {
        Self { admitted: BTreeSet::new(), orphaned: BTreeSet::new(), draining: false, group_size }
    }

    /// Checks whether a credential may open an allocation.
    ///
    /// # Errors
    /// 401 if the credential has expired or its participant is not admitted; 508 while draining, except for
    /// participants: their calls may look for other paths.
    pub(crate) fn check(
        &self,
        principal: &Principal,
        expiry: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        if !self.is_admitted(principal) || expiry <= now {
            Err(Refusal::Unauthenticated)
        } else if self.draining && !matches!(principal, Principal::Participant(..)) {
            Err(Refusal::InsufficientCapacity)
        } else {
            Ok(())
        }
    }

    /// Whether the participant that a credential names is admitted; `true` for credentials that name none.
    pub(crate) fn is_admitted(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Participant(group, id) => self.admitted.contains(&(*group, *id)),
            Principal::Tool(..) | Principal::Tester(..) | Principal::Foreign(_) => true,
        }
    }

    /// From now on, only participants open allocations.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Admits a participant. If the group is full, returns its expired participants: others have replaced them.
    pub(crate) fn admit(&mut self, group: IsolationGroup, id: PrincipalId) -> Vec<PrincipalId> {
        self.admitted.insert((group, id));
        self.orphaned.remove(&(group, id));
        if ids_in_group(&self.admitted, group).count() < self.group_size {
            return Vec::new();
        }
        let replaced: Vec<_> = ids_in_group(&self.orphaned, group).collect();
        replaced.iter().for_each(|other| self.forget_orphan(group, *other));
        replaced
    }

    /// Notes that a participant left or expired.
    pub(crate) fn remove(&mut self, group: IsolationGroup, id: PrincipalId) {
        self.admitted.remove(&(group, id));
        self.orphaned.remove(&(group, id));
    }

    /// Notes that an expired participant still has allocations.
    pub(crate) fn add_orphan(&mut self, group: IsolationGroup, id: PrincipalId) {
        self.orphaned.insert((group, id));
    }

    /// Notes that an expired participant has no allocations any more.
    pub(crate) fn forget_orphan(&mut self, group: IsolationGroup, id: PrincipalId) {
        self.orphaned.remove(&(group, id));
    }

    #[cfg(test)]
    pub(crate) fn orphan_count(&self) -> usize {
        self.orphaned.len()
    }
}

fn ids_in_group(
    participants: &BTreeSet<(IsolationGroup, PrincipalId)>,
    group: IsolationGroup,
) -> impl Iterator<Item = PrincipalId> + '_ {
    let first = (group, PrincipalId::new([0; 16]));
    participants.range(first..).take_while(move |(of, _)| *of == group).map(|(_, id)| *id)
}

impl IsolationGroup {
    /// Wraps 16 bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The group of an id that other software chose: a digest that cannot be made equal to another group.
    pub fn of_foreign(id: &str) -> Self {
        let digest = Sha256::new().chain_update(b"webrtc-box foreign id\0").chain_update(id).finalize();
        let mut group = [0; 16];
        group.copy_from_slice(&digest[..16]);
        Self(group)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text).map(Self)
    }
}

impl PrincipalId {
    /// Wraps 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text).map(Self)
    }
}

impl fmt::Display for IsolationGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for IsolationGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IsolationGroup({self})")
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrincipalId({self})")
    }
}

fn parse(text: &str) -> Option<[u8; 16]> {
    if text.len() != TEXT_LENGTH {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_text() {
        let id = PrincipalId::new([0xfb; 16]);
        assert_eq!(id.to_string().len(), TEXT_LENGTH);
        assert_eq!(PrincipalId::parse(&id.to_string()), Some(id));
        assert_eq!(PrincipalId::parse("too short"), None);
        assert_eq!(PrincipalId::parse(&"!".repeat(TEXT_LENGTH)), None);
    }
}
