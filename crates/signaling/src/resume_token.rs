//! The `resume` token: proof that its bearer was given a seat in a room, and when, checked with nothing
//! but a kept key.
//!
//! base64url of seat id (16 bytes), room tag (16 bytes), Unix time in seconds (8 bytes) and HMAC-SHA256
//! over them (32 bytes).
//! Nothing is stored, so a token outlives a restart of the box.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::seat::{RoomTag, SeatId};
use crate::time::UnixSeconds;

/// Keeps these digests apart from any other made under the same key.
const PURPOSE: &[u8] = b"webrtc-box resume 2\0";

/// Bytes under the digest.
const NAMED: usize = 16 + 16 + 8;

/// What a genuine token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) seat: SeatId,
    /// When its bearer last sat down in it.
    pub(super) since: UnixSeconds,
}

/// The kept key of the tokens; never printed.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// Wraps 32 bytes of kept randomness.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The token of `seat` in the room tagged `room`, given out at `now`: 96 characters.
    pub(super) fn token(&self, room: RoomTag, seat: SeatId, now: UnixSeconds) -> String {
        let mut bytes = [0; NAMED + 32];
        bytes[..16].copy_from_slice(seat.as_bytes());
        bytes[16..32].copy_from_slice(room.as_bytes());
        bytes[32..NAMED].copy_from_slice(&now.to_be_bytes());
        let digest = self.digest(&bytes[..NAMED]).finalize().into_bytes();
        bytes[NAMED..].copy_from_slice(&digest);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The room of `token` and what it says; `None` where it is forged.
    pub(super) fn open(&self, token: &str) -> Option<(RoomTag, Named)> {
        let bytes: [u8; NAMED + 32] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        // Compared in constant time by the digest itself.
        self.digest(&bytes[..NAMED]).verify_slice(&bytes[NAMED..]).ok()?;
        let (seat, rest) = bytes[..NAMED].split_at(16);
        let (tag, since) = rest.split_at(16);
        let named = Named {
            seat: SeatId::new(seat.try_into().ok()?),
            since: UnixSeconds::from_be_bytes(since.try_into().ok()?),
        };
        Some((RoomTag::new(tag.try_into().ok()?), named))
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

/// HMAC-SHA256 under `key`.
pub(super) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    match <Hmac<Sha256> as Mac>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
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

    const THEN: UnixSeconds = 1_000_000;

    fn named() -> Named {
        Named { seat: seat(), since: THEN }
    }

    #[test]
    fn a_token_names_its_seat_and_time_after_a_restart() {
        let token = TokenKey::new([3; 32]).token(room(), seat(), THEN);
        assert_eq!(token.len(), 96);
        assert_eq!(TokenKey::new([3; 32]).open(&token), Some((room(), named())));
    }

    #[test]
    fn another_key_knows_no_such_token() {
        let token = TokenKey::new([3; 32]).token(room(), seat(), THEN);
        assert_eq!(TokenKey::new([4; 32]).open(&token), None);
    }

    #[test]
    fn no_changed_character_goes_unnoticed() {
        let key = TokenKey::new([3; 32]);
        let token = key.token(room(), seat(), THEN);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(std::str::from_utf8(&forged).unwrap()), None, "at {at}");
        }
        for forged in ["", "A", &token[1..], &format!("{token}A"), "…"] {
            assert_eq!(key.open(forged), None, "{forged}");
        }
    }
}
