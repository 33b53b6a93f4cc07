//! The `resume` token: proof that its bearer was given a seat in a room, checked with nothing but a
//! kept key.
//!
//! base64url of seat id (16 bytes), room tag (16 bytes) and HMAC-SHA256 over both (32 bytes).
//! Nothing is stored, so a token outlives a restart of the box.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::mac::keyed;
use crate::seat::{RoomTag, SeatId};

/// Keeps these digests apart from any other made under the same key.
const PURPOSE: &[u8] = b"webrtc-box resume 1\0";

/// The kept key of the tokens; never printed.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// Wraps 32 bytes of kept randomness.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The token of `seat` in the room tagged `room`: 86 characters.
    pub fn token(&self, room: RoomTag, seat: SeatId) -> String {
        let mut bytes = [0; 64];
        bytes[..16].copy_from_slice(seat.as_bytes());
        bytes[16..32].copy_from_slice(room.as_bytes());
        let digest = self.digest(&bytes[..32]).finalize().into_bytes();
        bytes[32..].copy_from_slice(&digest);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The seat that `token` names; `None` where it is forged or of another room than `room`.
    pub fn seat(&self, room: RoomTag, token: &str) -> Option<SeatId> {
        let bytes: [u8; 64] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        // Compared in constant time by the digest itself.
        self.digest(&bytes[..32]).verify_slice(&bytes[32..]).ok()?;
        let (seat, tag) = bytes[..32].split_at(16);
        (tag == room.as_bytes()).then_some(SeatId::new(seat.try_into().ok()?))
    }

    fn digest(&self, named: &[u8]) -> Hmac<Sha256> {
        let mut mac: Hmac<Sha256> = keyed(&self.0);
        mac.update(PURPOSE);
        mac.update(named);
        mac
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomTag {
        RoomTag::new([1; 16])
    }

    fn seat() -> SeatId {
        SeatId::new([2; 16])
    }

    #[test]
    fn a_token_names_its_seat_after_a_restart() {
        let token = TokenKey::new([3; 32]).token(room(), seat());
        assert_eq!(token.len(), 86);
        assert_eq!(TokenKey::new([3; 32]).seat(room(), &token), Some(seat()));
    }

    #[test]
    fn another_room_or_key_knows_no_such_token() {
        let token = TokenKey::new([3; 32]).token(room(), seat());
        assert_eq!(TokenKey::new([3; 32]).seat(RoomTag::new([9; 16]), &token), None);
        assert_eq!(TokenKey::new([4; 32]).seat(room(), &token), None);
    }

    #[test]
    fn no_changed_character_goes_unnoticed() {
        let key = TokenKey::new([3; 32]);
        let token = key.token(room(), seat());
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.seat(room(), std::str::from_utf8(&forged).unwrap()), None, "at {at}");
        }
        for forged in ["", "A", &token[1..], &format!("{token}A"), "…"] {
            assert_eq!(key.seat(room(), forged), None, "{forged}");
        }
    }
}
