//! A seat in a room, as both halves of the box know it: opaque names and the news of its life.
//!
//! Signaling gives seats out and takes them back; the relay asks whether a credential's seat is
//! alive. Neither calls the other: news travels as values. Nothing here knows a room's name.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::resume_token::keyed;

/// Length in characters of a [`RoomTag`] or [`SeatId`] as text: 16 bytes of base64url.
const TEXT_LENGTH: usize = 22;

/// How many sit in a room at most.
pub const SEATS_PER_ROOM: usize = 2;

/// A room as the relay sees it: 16 bytes of a keyed digest of its name, which tell nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomTag([u8; 16]);

/// One participant's place in a room: 16 random bytes, unguessable, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatId([u8; 16]);

/// The kept key under which room names become tags; not the TURN secret, so that a new secret
/// does not split a room.
#[derive(Clone)]
pub struct TagKey([u8; 32]);

/// What happened to a seat, in the order it happened; told to every relay worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatEvent {
    /// The seat is taken (or taken back); credentials naming it open allocations from now on.
    Opened(RoomTag, SeatId),
    /// Given up by `leave`: its allocations end at once.
    Left(RoomTag, SeatId),
    /// Its grace ran out: its allocations end each when it has been silent for a minute, all of them when
    /// the room's seats are taken by others or its credentials are over.
    Lapsed(RoomTag, SeatId),
}

impl TagKey {
    /// Wraps 32 bytes of kept randomness.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The tag of the room named `room` (already normalised to NFC): the first half of
    /// HMAC-SHA256 under this key.
    pub fn tag(&self, room: &str) -> RoomTag {
        let mut mac: Hmac<Sha256> = keyed(&self.0);
        mac.update(room.as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut tag = [0; 16];
        tag.copy_from_slice(&digest[..16]);
        RoomTag(tag)
    }
}

impl RoomTag {
    /// Wraps 16 bytes.
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

impl SeatId {
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

impl fmt::Display for RoomTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Display for SeatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for RoomTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomTag({self})")
    }
}

impl fmt::Debug for SeatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeatId({self})")
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
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
        let seat = SeatId::new([0xfb; 16]);
        assert_eq!(seat.to_string().len(), TEXT_LENGTH);
        assert_eq!(SeatId::parse(&seat.to_string()), Some(seat));
        assert_eq!(SeatId::parse("too short"), None);
        assert_eq!(SeatId::parse(&"!".repeat(TEXT_LENGTH)), None);
    }

    #[test]
    fn the_same_room_has_the_same_tag_only_under_the_same_key() {
        let (one, other) = (TagKey::new([1; 32]), TagKey::new([2; 32]));
        assert_eq!(one.tag("kitchen"), one.tag("kitchen"));
        assert_ne!(one.tag("kitchen"), one.tag("Kitchen"));
        assert_ne!(one.tag("kitchen"), other.tag("kitchen"));
    }
}
