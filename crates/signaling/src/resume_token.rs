//! The tokens of a seat. The resume token proves that its holder had a seat in a room, and when. The transfer token
//! proves that its holder got it from the participant of a seat.
//!
//! base64url of seat ID (16 bytes), room tag (16 bytes), 8 bytes and their HMAC-SHA256 (32 bytes). The 8 bytes are the
//! Unix time in seconds, or the nonce of a transfer. The server stores no resume tokens, so they stay valid after a
//! restart; `transfer.rs` knows which transfer token was not used yet.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::UnixSeconds;
use crate::seat::{RoomTag, SeatId, SeatKey, hmac_sha256};
use crate::transfer::TransferNonce;

/// Separates the digests of resume tokens from others under the same key.
const RESUME: &[u8] = b"webrtc-box resume 2\0";

/// Separates the digests of transfer tokens from others under the same key.
const TRANSFER: &[u8] = b"webrtc-box transfer 1\0";

/// Length of the signed part in bytes.
const SIGNED_LEN: usize = 16 + 16 + 8;

/// A token is not older than this where its holder must have been in the room lately.
const RECENT: UnixSeconds = 12 * 60 * 60;

/// The content of a valid token, besides its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeClaims {
    pub(crate) seat: SeatId,
    /// When the holder last joined or resumed the seat.
    pub(crate) joined_at: UnixSeconds,
}

/// The signing key of resume tokens, and older ones whose tokens are still valid; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeTokenKey {
    signing: [u8; 32],
    older: Vec<[u8; 32]>,
}

impl ResumeTokenKey {
    /// Wraps 32 random bytes that persist over restarts.
    pub fn new(key: [u8; 32]) -> Self {
        Self { signing: key, older: Vec::new() }
    }

    /// The same with keys whose tokens are valid too.
    #[must_use]
    pub fn with_older(self, older: Vec<[u8; 32]>) -> Self {
        Self { older, ..self }
    }

    /// The resume token of `claims` in `room`: 96 characters.
    pub(crate) fn sign(&self, room: RoomTag, claims: ResumeClaims) -> String {
        let key = SeatKey { room, seat: claims.seat };
        self.sign_for(RESUME, key, claims.joined_at.to_be_bytes())
    }

    /// The room and claims of the resume token `token`; `None` if it is not valid under this key.
    pub(crate) fn verify(&self, token: &str) -> Option<(RoomTag, ResumeClaims)> {
        let (key, time) = self.verify_for(RESUME, token)?;
        Some((key.room, ResumeClaims { seat: key.seat, joined_at: UnixSeconds::from_be_bytes(time) }))
    }

    /// The transfer token of a seat: 96 characters.
    pub(crate) fn sign_transfer(&self, key: SeatKey, nonce: TransferNonce) -> String {
        self.sign_for(TRANSFER, key, nonce)
    }

    /// The seat and nonce of the transfer token `token`; `None` if it is not valid under this key.
    pub(crate) fn verify_transfer(&self, token: &str) -> Option<(SeatKey, TransferNonce)> {
        self.verify_for(TRANSFER, token)
    }

    fn sign_for(&self, purpose: &[u8], key: SeatKey, last: [u8; 8]) -> String {
        let mut bytes = [0; SIGNED_LEN + 32];
        bytes[..16].copy_from_slice(key.seat.as_bytes());
        bytes[16..32].copy_from_slice(key.room.as_bytes());
        bytes[32..SIGNED_LEN].copy_from_slice(&last);
        let digest = digest(&self.signing, purpose, &bytes[..SIGNED_LEN]).finalize().into_bytes();
        bytes[SIGNED_LEN..].copy_from_slice(&digest);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn verify_for(&self, purpose: &[u8], token: &str) -> Option<(SeatKey, [u8; 8])> {
        let bytes: [u8; SIGNED_LEN + 32] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (signed, signature) = bytes.split_at(SIGNED_LEN);
        // Constant-time comparison.
        let is_signed_by = |key| digest(key, purpose, signed).verify_slice(signature).is_ok();
        if !std::iter::once(&self.signing).chain(&self.older).any(is_signed_by) {
            return None;
        }
        let (seat, rest) = bytes[..SIGNED_LEN].split_at(16);
        let (room, last) = rest.split_at(16);
        let key =
            SeatKey { room: RoomTag::new(room.try_into().ok()?), seat: SeatId::new(seat.try_into().ok()?) };
        Some((key, last.try_into().ok()?))
    }
}

fn digest(key: &[u8; 32], purpose: &[u8], signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = hmac_sha256(key);
    mac.update(purpose);
    mac.update(signed);
    mac
}

impl ResumeClaims {
    /// Whether the holder joined within the last twelve hours. A time in the future comes from a clock that was ahead.
    pub(crate) fn is_recent(self, now: UnixSeconds) -> bool {
        now.abs_diff(self.joined_at) < RECENT
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
    fn a_token_of_an_older_key_is_valid_and_none_is_signed_with_it() {
        let (old, new) = (ResumeTokenKey::new([3; 32]), ResumeTokenKey::new([4; 32]));
        let both = new.clone().with_older(vec![[3; 32]]);
        assert_eq!(both.verify(&old.sign(room(), claims())), Some((room(), claims())));
        assert_eq!(both.sign(room(), claims()), new.sign(room(), claims()));
        assert_eq!(old.verify(&both.sign(room(), claims())), None);
    }

    #[test]
    fn a_token_is_valid_for_its_own_purpose_only() {
        let key = ResumeTokenKey::new([3; 32]);
        let seat = SeatKey { room: room(), seat: claims().seat };
        let transfer = key.sign_transfer(seat, [9; 8]);
        assert_eq!(key.verify_transfer(&transfer), Some((seat, [9; 8])));
        assert_eq!(key.verify(&transfer), None);
        assert_eq!(key.verify_transfer(&key.sign(room(), claims())), None);
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
