//! The tokens of a seat. The resume token proves that its holder had a seat in a room, and when. The transfer token
//! proves that its holder got it from the participant of a seat.
//!
//! base64url of seat ID (16 bytes), room tag (16 bytes), 8 bytes and their HMAC-SHA256 (32 bytes). The 8 bytes are the
//! Unix time in seconds, or the nonce of a transfer. In a cluster the fence of the room (8 bytes) follows the time. The server stores no resume tokens, so they stay valid after a
//! restart; `transfer.rs` knows which transfer token was not used yet.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::UnixSeconds;
use crate::ownership::Fence;
use crate::seat::{RoomTag, SeatId, SeatKey, hmac_sha256};
use crate::transfer::TransferNonce;

/// Separates the digests of resume tokens from others under the same key.
const RESUME: &[u8] = b"webrtc-box resume 2\0";

/// Separates the digests of resume tokens with a fence from others under the same key.
const RESUME_WITH_FENCE: &[u8] = b"webrtc-box resume 3\0";

/// Separates the digests of transfer tokens from others under the same key.
const TRANSFER: &[u8] = b"webrtc-box transfer 1\0";

/// Bytes of the seat ID and the room tag.
const SEAT_KEY_LEN: usize = 16 + 16;

/// Bytes of the digest.
const DIGEST_LEN: usize = 32;

/// A token is not older than this where its holder must have been in the room lately.
const RECENT: UnixSeconds = 12 * 60 * 60;

/// The content of a valid token, besides its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeClaims {
    pub(crate) seat: SeatId,
    /// When the holder last joined or resumed the seat.
    pub(crate) joined_at: UnixSeconds,
    /// The fence of the room then, in a cluster.
    pub(crate) fence: Option<Fence>,
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

    /// The resume token of `claims` in `room`: 96 characters, or 107 with a fence.
    pub(crate) fn sign(&self, room: RoomTag, claims: ResumeClaims) -> String {
        let key = SeatKey { room, seat: claims.seat };
        let time = claims.joined_at.to_be_bytes();
        match claims.fence {
            Some(Fence(fence)) => {
                self.sign_for(RESUME_WITH_FENCE, key, [time, fence.to_be_bytes()].as_flattened())
            }
            None => self.sign_for(RESUME, key, &time),
        }
    }

    /// The room and claims of the resume token `token`; `None` if it is not valid under this key.
    pub(crate) fn verify(&self, token: &str) -> Option<(RoomTag, ResumeClaims)> {
        let (key, time, fence) = match self.verify_for::<8>(RESUME, token) {
            Some((key, time)) => (key, time, None),
            None => {
                let (key, claims) = self.verify_for::<16>(RESUME_WITH_FENCE, token)?;
                let (time, fence) = claims.split_first_chunk()?;
                (key, *time, Some(Fence(u64::from_be_bytes(fence.try_into().ok()?))))
            }
        };
        let joined_at = UnixSeconds::from_be_bytes(time);
        Some((key.room, ResumeClaims { seat: key.seat, joined_at, fence }))
    }

    /// The transfer token of a seat: 96 characters.
    pub(crate) fn sign_transfer(&self, key: SeatKey, nonce: TransferNonce) -> String {
        self.sign_for(TRANSFER, key, &nonce)
    }

    /// The seat and nonce of the transfer token `token`; `None` if it is not valid under this key.
    pub(crate) fn verify_transfer(&self, token: &str) -> Option<(SeatKey, TransferNonce)> {
        self.verify_for(TRANSFER, token)
    }

    fn sign_for(&self, purpose: &[u8], key: SeatKey, last: &[u8]) -> String {
        let mut bytes = [key.seat.as_bytes(), key.room.as_bytes(), last].concat();
        let digest = digest(&self.signing, purpose, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&digest);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The seat and the last `N` signed bytes of `token`.
    fn verify_for<const N: usize>(&self, purpose: &[u8], token: &str) -> Option<(SeatKey, [u8; N])> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        if bytes.len() != SEAT_KEY_LEN + N + DIGEST_LEN {
            return None;
        }
        let (signed, signature) = bytes.split_at(SEAT_KEY_LEN + N);
        // Constant-time comparison.
        let is_signed_by = |key| digest(key, purpose, signed).verify_slice(signature).is_ok();
        if !std::iter::once(&self.signing).chain(&self.older).any(is_signed_by) {
            return None;
        }
        let (seat, rest) = signed.split_at(16);
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
        ResumeClaims { seat: SeatId::new([2; 16]), joined_at: 1_000_000, fence: None }
    }

    #[test]
    fn a_token_proves_its_claims_after_a_restart() {
        let token = ResumeTokenKey::new([3; 32]).sign(room(), claims());
        assert_eq!(token.len(), 96);
        assert_eq!(ResumeTokenKey::new([3; 32]).verify(&token), Some((room(), claims())));
    }

    #[test]
    fn a_token_of_a_cluster_proves_its_fence() {
        let key = ResumeTokenKey::new([3; 32]);
        let claims = ResumeClaims { fence: Some(Fence(7)), ..claims() };
        let token = key.sign(room(), claims);
        assert_eq!(token.len(), 107);
        assert_eq!(key.verify(&token), Some((room(), claims)));
        let none = key.sign(room(), ResumeClaims { fence: Some(Fence::NONE), ..claims });
        assert_eq!(key.verify(&none).unwrap().1.fence, Some(Fence::NONE), "of a server without the store");
    }

    #[test]
    fn a_token_of_a_server_alone_is_the_same_as_before_clusters() {
        let expected = "AgICAgICAgICAgICAgICAgEBAQEBAQEBAQEBAQEBAQEAAAAAAA9CQC4eTtGFt0bp76\
             3drX__-vTco8i75OEem2n9ajGVnA6M";
        assert_eq!(ResumeTokenKey::new([3; 32]).sign(room(), claims()), expected);
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
        for fence in [None, Some(Fence(7))] {
            let token = key.sign(room(), ResumeClaims { fence, ..claims() });
            for at in 0..token.len() {
                let mut forged = token.clone().into_bytes();
                // The last character may have bits that are not used.
                forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
                assert_eq!(key.verify(std::str::from_utf8(&forged).unwrap()), None, "at {at}");
            }
            for forged in ["", "A", &token[1..], &format!("{token}A"), "…"] {
                assert_eq!(key.verify(forged), None, "{forged}");
            }
        }
    }
}
