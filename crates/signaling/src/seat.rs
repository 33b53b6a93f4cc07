//! Seats and rooms as opaque identifiers, and the events of a seat.
//!
//! The caller passes the events on to its relay, which accepts credentials of joined seats only. None of these types
//! contains a room name.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Length in characters of a [`RoomTag`] or [`SeatId`] as text: 16 bytes of base64url.
const TEXT_LENGTH: usize = 22;

/// Participants of a room at most.
pub const SEATS_PER_ROOM: usize = 2;

/// A room as the relay sees it: 16 bytes of a keyed digest, which do not reveal the room name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomTag([u8; 16]);

/// One participant's seat in a room: 16 random bytes, unpredictable and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatId([u8; 16]);

/// A seat and its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeatKey {
    pub(crate) room: RoomTag,
    pub(crate) seat: SeatId,
}

/// The persistent key that turns room names into tags. It is not the TURN secret: a new secret must not change the
/// tags of rooms in use.
#[derive(Clone)]
pub struct TagKey([u8; 32]);

/// What happened to a seat, for every relay worker, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatEvent {
    /// The seat is taken; its credentials open allocations from now on.
    Joined(RoomTag, SeatId),
    /// The participant sent `leave`: its allocations end at once.
    Left(RoomTag, SeatId),
    /// The grace period of a disconnected seat is over. Each of its allocations ends after a minute of silence; all
    /// end when other participants fill the room or when its credentials expire.
    Expired(RoomTag, SeatId),
}

impl SeatEvent {
    /// The room of the seat.
    pub fn room(&self) -> RoomTag {
        let (Self::Joined(room, _) | Self::Left(room, _) | Self::Expired(room, _)) = self;
        *room
    }
}

impl TagKey {
    /// Wraps 32 random bytes that persist over restarts.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The tag of the room named `room` (already normalized): the first half of HMAC-SHA256 under this key.
    pub fn tag(&self, room: &str) -> RoomTag {
        let mut mac = hmac_sha256(&self.0);
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

    /// Parses the output of `Display`; `None` for anything else.
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

    /// Parses the output of `Display`; `None` for anything else.
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

/// An HMAC-SHA256 under `key`.
pub(crate) fn hmac_sha256(key: &[u8; 32]) -> Hmac<Sha256> {
    match <Hmac<Sha256> as Mac>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC accepts keys of any length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_id_parses_from_its_own_text() {
        let seat = SeatId::new([0xfb; 16]);
        assert_eq!(seat.to_string().len(), TEXT_LENGTH);
        assert_eq!(SeatId::parse(&seat.to_string()), Some(seat));
        assert_eq!(SeatId::parse("too short"), None);
        assert_eq!(SeatId::parse(&"!".repeat(TEXT_LENGTH)), None);
    }

    #[test]
    fn a_room_tag_depends_on_the_name_and_the_key() {
        let (one, other) = (TagKey::new([1; 32]), TagKey::new([2; 32]));
        assert_eq!(one.tag("kitchen"), one.tag("kitchen"));
        assert_ne!(one.tag("kitchen"), one.tag("Kitchen"));
        assert_ne!(one.tag("kitchen"), other.tag("kitchen"));
    }
}
