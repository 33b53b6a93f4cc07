//! Who may join a room: resume tokens, host keys, and limits on guessing room names.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Now;
use crate::attempt_limiter::{Attempt, AttemptLimiter};
use crate::error::Refusal;
use crate::ownership::Ownership;
use crate::resume_token::{ResumeClaims, ResumeTokenKey};
use crate::room_name::RoomName;
use crate::seat::{RoomTag, SeatKey, TagKey};
use crate::transfer::TransferNonce;

/// For this long after the start, a resume token opens a room without a host key: the restart has lost the
/// rooms, and participants return in any order. Pages retry every 15 s, so later ones are not returning.
const REOPENING_PERIOD: Duration = Duration::from_secs(120);

/// The host keys, as digests that are compared in constant time. Without any, every client may open a room.
#[derive(Clone)]
pub struct HostKeys(Vec<[u8; 32]>);

/// What entitles a client to a seat in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The room is open, or opens for everybody.
    Free,
    /// A host key.
    HostKey,
    /// Only a resume token, after a restart or the loss of the owner. The new token keeps its time, or each restart would renew it.
    ResumeToken(ResumeClaims),
}

/// Checks joins; counts failed attempts by source.
#[derive(Debug)]
pub(crate) struct Admission {
    tag_key: TagKey,
    resume_key: ResumeTokenKey,
    host_keys: HostKeys,
    attempts: AttemptLimiter,
    started: Instant,
}

impl Admission {
    pub(crate) fn new(
        tag_key: TagKey,
        resume_key: ResumeTokenKey,
        host_keys: HostKeys,
        seeds: [u64; 2],
        started: Instant,
    ) -> Self {
        Self { tag_key, resume_key, host_keys, attempts: AttemptLimiter::new(seeds, started), started }
    }

    pub(crate) fn set_host_keys(&mut self, host_keys: HostKeys) {
        self.host_keys = host_keys;
    }

    pub(crate) fn set_resume_key(&mut self, key: ResumeTokenKey) {
        self.resume_key = key;
    }

    pub(crate) fn tag(&self, name: &RoomName) -> RoomTag {
        self.tag_key.tag(name.as_str())
    }

    /// The newest token of a seat.
    pub(crate) fn sign_token(&self, room: RoomTag, claims: ResumeClaims) -> String {
        self.resume_key.sign(room, claims)
    }

    /// The transfer token of a seat.
    pub(crate) fn sign_transfer(&self, key: SeatKey, nonce: TransferNonce) -> String {
        self.resume_key.sign_transfer(key, nonce)
    }

    /// The seat and nonce of `token`, if it is a transfer token of `room`.
    pub(crate) fn verify_transfer(&self, room: RoomTag, token: &str) -> Option<(SeatKey, TransferNonce)> {
        self.resume_key.verify_transfer(token).filter(|(key, _)| key.room == room)
    }

    /// The claims of `token` in `room`, whose name the client wrote as `typed`. A valid token is always
    /// accepted, whatever its source tried before.
    ///
    /// # Errors
    /// [`Refusal::BadResume`], or [`Refusal::TooManyAttempts`] after too many of them.
    pub(crate) fn verify_token(
        &mut self,
        source: IpAddr,
        (room, typed): (RoomTag, &str),
        token: &str,
        now: Now,
    ) -> Result<ResumeClaims, Refusal> {
        let claims = self.claims((room, typed), token, now);
        claims.ok_or_else(|| self.reject_token(source, token, now))
    }

    /// The claims of `token`, if it is one of `room`. Counts no attempt: the caller must not reveal the result.
    pub(crate) fn claims(
        &self,
        (room, typed): (RoomTag, &str),
        token: &str,
        now: Now,
    ) -> Option<ResumeClaims> {
        let (tag, claims) = self.resume_key.verify(token)?;
        // Tokens issued before room names were normalized carry the tag of the name as typed.
        let legacy = || tag == self.tag_key.tag(&RoomName::legacy_spelling(typed));
        (tag == room || (claims.is_recent(now.unix) && legacy())).then_some(claims)
    }

    /// The room and claims of `token`, for a request that names no room.
    ///
    /// # Errors
    /// As [`Self::verify_token`].
    pub(crate) fn verify_any_token(
        &mut self,
        source: IpAddr,
        token: &str,
        now: Now,
    ) -> Result<(RoomTag, ResumeClaims), Refusal> {
        self.resume_key.verify(token).ok_or_else(|| self.reject_token(source, token, now))
    }

    /// Checks whether `source` may try `token`, which is wrong.
    ///
    /// # Errors
    /// [`Refusal::TooManyAttempts`]
    pub(crate) fn check_token(&mut self, source: IpAddr, token: &str, now: Now) -> Result<(), Refusal> {
        self.attempts.check(source, Attempt::Token(token), now.instant)
    }

    fn reject_token(&mut self, source: IpAddr, token: &str, now: Now) -> Refusal {
        match self.attempts.check(source, Attempt::Token(token), now.instant) {
            Ok(()) => {
                self.attempts.record(source, Attempt::Token(token), now.instant);
                Refusal::BadResume
            }
            Err(refusal) => refusal,
        }
    }

    /// Checks whether `source` may learn if `room` is open; counts the name if `counted`.
    ///
    /// # Errors
    /// [`Refusal::TooManyAttempts`]
    pub(crate) fn check_room_name(
        &mut self,
        source: IpAddr,
        room: RoomTag,
        counted: bool,
        now: Now,
    ) -> Result<(), Refusal> {
        self.attempts.check(source, Attempt::Room(room), now.instant)?;
        if counted {
            self.attempts.record(source, Attempt::Room(room), now.instant);
        }
        Ok(())
    }

    /// Whether an empty room opens with a host key only.
    pub(crate) fn requires_key(&self) -> bool {
        !self.host_keys.is_empty()
    }

    /// Checks whether a client may open an empty room, and by what. `ownership`: of this server, in a cluster.
    ///
    /// # Errors
    /// [`Refusal::BadResume`] for a token of an owner before the last; [`Refusal::KeyRequired`], or
    /// [`Refusal::TooManyAttempts`] after too many wrong keys.
    pub(crate) fn check_opening(
        &mut self,
        source: IpAddr,
        (claims, ownership): (Option<ResumeClaims>, Option<Ownership>),
        key: Option<&str>,
        now: Now,
    ) -> Result<Opening, Refusal> {
        if let (Some(claims), Some(ownership)) = (claims, ownership)
            && !ownership.accepts(claims.fence)
        {
            return Err(Refusal::BadResume);
        }
        if !self.requires_key() {
            return Ok(Opening::Free);
        }
        let key = self.check_key(source, key, now);
        let claims = claims.filter(|claims| self.may_reopen(*claims, ownership, now));
        match claims {
            Some(claims) if key.is_err() => Ok(Opening::ResumeToken(claims)),
            Some(_) | None => key.map(|()| Opening::HostKey),
        }
    }

    fn check_key(&mut self, source: IpAddr, key: Option<&str>, now: Now) -> Result<(), Refusal> {
        let key = key.ok_or(Refusal::KeyRequired)?;
        self.attempts.check(source, Attempt::Key(key), now.instant)?;
        if self.host_keys.contain(key) {
            return Ok(());
        }
        self.attempts.record(source, Attempt::Key(key), now.instant);
        Err(Refusal::KeyRequired)
    }

    /// An older token opens no room without a host key: few calls are longer, and a participant who left with the host
    /// hours ago must present the key like a new one.
    /// In a cluster the owner of the room may have gone, which is like a restart.
    fn may_reopen(&self, claims: ResumeClaims, ownership: Option<Ownership>, now: Now) -> bool {
        let restarted = now.instant.saturating_duration_since(self.started) < REOPENING_PERIOD;
        let taken_over = ownership.is_some_and(|ownership| ownership.takes_over(claims.fence));
        (restarted || taken_over) && claims.is_recent(now.unix)
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> (&TagKey, &ResumeTokenKey) {
        (&self.tag_key, &self.resume_key)
    }
}

impl HostKeys {
    /// Hashes the keys as configured.
    pub fn new<K: AsRef<[u8]>>(keys: &[K]) -> Self {
        Self(keys.iter().map(|key| digest(key.as_ref())).collect())
    }

    /// Whether an empty room opens without a key.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `given` is one of them.
    fn contain(&self, given: &str) -> bool {
        let given = digest(given.as_bytes());
        // All digests are compared, so that timing reveals neither length nor position of a key.
        let matching = self.0.iter().fold(subtle::Choice::from(0), |found, key| found | key.ct_eq(&given));
        matching.into()
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKeys({})", self.0.len())
    }
}
