//! The resume token: proof that its holder had a seat in a room, and when. Only the signing key is needed to check it.
//!
//! base64url of seat ID (16 bytes), room tag (16 bytes), Unix time in seconds (8 bytes) and their HMAC-SHA256
//! (32 bytes). The server stores no tokens, so they stay valid after a restart.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::UnixSeconds;
use crate::seat::{RoomTag, SeatId, hmac_sha256};

/// Separates these digests from others under the same key.
const PURPOSE: &[u8] = b"webrtc-box resume 2\0";

/// Length of the signed part in bytes.
const SIGNED_LEN: usize = 16 + 16 + 8;

/// The content of a valid token, besides its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeClaims {
    pub(crate) seat: SeatId,
    /// When the holder last joined or resumed the seat.
    pub(crate) joined_at: UnixSeconds,
}

/// The signing key of resume tokens; never printed.
#[derive(Clone)]
pub struct ResumeTokenKey([u8; 32]);

impl ResumeTokenKey {
    /// Wraps 32 random bytes that persist over restarts.
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The token of `claims` in `room`: 96 characters.
    pub(crate) fn sign(&self, room: RoomTag, claims: ResumeClaims) -> String {
        let mut bytes = [0; SIGNED_LEN + 32];
        bytes[..16].copy_from_slice(claims.seat.as_bytes());
        bytes[16..32].copy_from_slice(room.as_bytes());
        bytes[32..SIGNED_LEN].copy_from_slice(&claims.joined_at.to_be_bytes());
        let digest = self.digest(&bytes[..SIGNED_LEN]).finalize().into_bytes();
        bytes[SIGNED_LEN..].copy_from_slice(&digest);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The room and claims of `token`; `None` if it is not valid under this key.
    pub(crate) fn verify(&self, token: &str) -> Option<(RoomTag, ResumeClaims)> {
        let bytes: [u8; SIGNED_LEN + 32] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        // Constant-time comparison.
        self.digest(&bytes[..SIGNED_LEN]).verify_slice(&bytes[SIGNED_LEN..]).ok()?;
        let (seat, rest) = bytes[..SIGNED_LEN].split_at(16);
        let (room, time) = rest.split_at(16);
        let claims = ResumeClaims {
            seat: SeatId::new(seat.try_into().ok()?),
            joined_at: UnixSeconds::from_be_bytes(time.try_into().ok()?),
        };
        Some((RoomTag::new(room.try_into().ok()?), claims))
    }

    fn digest(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = hmac_sha256(&self.0);
        mac.update(PURPOSE);
        mac.update(signed);
        mac
    }
}

impl fmt::Debug for ResumeTokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeTokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomTag {
        RoomTag::new([1; 16])
    }

    fn claims() -> ResumeClaims {
        ResumeClaims { seat: SeatId::new([2; 16]), joined_at: 1_000_000 }
    }

    #[test]
    fn a_token_proves_its_claims_after_a_restart() {
        let token = ResumeTokenKey::new([3; 32]).sign(room(), claims());
        assert_eq!(token.len(), 96);
        assert_eq!(ResumeTokenKey::new([3; 32]).verify(&token), Some((room(), claims())));
    }

    #[test]
    fn a_token_is_invalid_under_another_key() {
        let token = ResumeTokenKey::new([3; 32]).sign(room(), claims());
        assert_eq!(ResumeTokenKey::new([4; 32]).verify(&token), None);
    }

    #[test]
    fn a_token_with_any_changed_character_is_invalid() {
        let key = ResumeTokenKey::new([3; 32]);
        let token = key.sign(room(), claims());
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.verify(std::str::from_utf8(&forged).unwrap()), None, "at {at}");
        }
        for forged in ["", "A", &token[1..], &format!("{token}A"), "…"] {
            assert_eq!(key.verify(forged), None, "{forged}");
        }
    }
}
