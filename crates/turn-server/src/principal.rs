//! A seat in a room, as both halves of the box know it: opaque names and the news of its life.
//!
//! Signaling gives seats out and takes them back; the relay asks whether a credential's seat is
//! alive. Neither calls the other: news travels as values. Nothing here knows a room's name.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Length in characters of a [`IsolationGroup`] or [`PrincipalId`] as text: 16 bytes of base64url.
pub const TEXT_LENGTH: usize = 22;

/// A room as the relay sees it: 16 bytes of a keyed digest of its name, which tell nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsolationGroup([u8; 16]);

/// One participant's place in a room: 16 random bytes, unguessable, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId([u8; 16]);

/// What happened to a seat, in the order it happened; told to every relay worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalEvent {
    /// The seat is taken (or taken back); credentials naming it open allocations from now on.
    Admitted(IsolationGroup, PrincipalId),
    /// Given up by `leave`: its allocations end at once.
    Left(IsolationGroup, PrincipalId),
    /// Its grace ran out: its allocations end each when it has been silent for a minute, all of them when
    /// the room's seats are taken by others or its credentials are over.
    Expired(IsolationGroup, PrincipalId),
}

impl IsolationGroup {
    /// Wraps 16 bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The tag of an id that other software minted: a digest no room's tag can be made to equal.
    pub fn of_foreign(id: &str) -> Self {
        let digest = Sha256::new().chain_update(b"webrtc-box foreign id\0").chain_update(id).finalize();
        let mut group = [0; 16];
        group.copy_from_slice(&digest[..16]);
        Self(group)
    }

    /// The 16 bytes themselves.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads back what `Display` wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text).map(Self)
    }
}

impl PrincipalId {
    /// Wraps 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes themselves.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads back what `Display` wrote; `None` for anything else.
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
    fn names_survive_being_written_and_read() {
        let seat = PrincipalId::new([0xfb; 16]);
        assert_eq!(seat.to_string().len(), TEXT_LENGTH);
        assert_eq!(PrincipalId::parse(&seat.to_string()), Some(seat));
        assert_eq!(PrincipalId::parse("too short"), None);
        assert_eq!(PrincipalId::parse(&"!".repeat(TEXT_LENGTH)), None);
    }
}
