//! Limits how many room names, host keys and resume tokens one source may try.
//!
//! Counted by source, because a new connection costs nothing. Repeating a recent attempt is free, so a page that asks
//! every few seconds counts once.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use webrtc_box_rate_limit::source_key;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};

use crate::error::Refusal;
use crate::seat::RoomTag;

/// Room names: an office of a hundred people behind one address opens its rooms at nine o'clock.
const NAME_RATE: Rate = Rate { interval: Duration::from_secs(3), burst: 200 };

/// Wrong host keys, and the same for invalid tokens.
const SECRET_RATE: Rate = Rate { interval: Duration::from_secs(10), burst: 20 };

/// How long an attempt counts as recent.
const RECENT_PERIOD: Duration = Duration::from_secs(30 * 60);

/// Recent attempts of all sources: eight times what an IPv6 /48 may try in that period, and four times that
/// together with its refused attempts.
const SLOTS: usize = 1 << 15;

/// Slots that one attempt may occupy.
const WAYS: usize = 4;

/// Something that a client may be guessing.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Attempt<'a> {
    /// Whether a room is open.
    Room(RoomTag),
    /// A host key.
    Key(&'a str),
    /// A resume token. Counted apart from keys: a server with a new signing key makes all tokens of an office
    /// invalid, and its host keys must still work.
    Token(&'a str),
}

/// The attempts of all sources, in fixed memory.
#[derive(Debug)]
pub(crate) struct AttemptLimiter {
    names: Limits,
    keys: Limits,
    tokens: Limits,
    recent: RecentSet,
}

/// The limits of one kind of attempt.
#[derive(Debug)]
struct Limits {
    answered: SourceRateLimiter,
    /// Attempts beyond the first limit. Beyond this one even recent attempts are refused: another client behind
    /// the same address may have made them, and a free answer would confirm a guess.
    refused: SourceRateLimiter,
}

impl AttemptLimiter {
    /// `seeds` are random and secret.
    pub(crate) fn new(seeds: [u64; 2], now: Instant) -> Self {
        Self {
            names: Limits::new(NAME_RATE, seeds, now),
            keys: Limits::new(SECRET_RATE, seeds, now),
            tokens: Limits::new(SECRET_RATE, seeds, now),
            recent: RecentSet::new(seeds[0] ^ seeds[1], now),
        }
    }

    /// Checks whether `source` may make `attempt` and learn the result.
    ///
    /// # Errors
    /// [`Refusal::TooManyAttempts`]
    pub(crate) fn check(
        &mut self,
        source: IpAddr,
        attempt: Attempt<'_>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let limits = self.limits(attempt);
        let is_recent = self.recent.contains((source_key(source), attempt), now);
        let is_open = limits.refused.check(source, now).is_ok();
        if is_open && (is_recent || limits.answered.check(source, now).is_ok()) {
            return Ok(());
        }
        // A page that repeats a refused attempt counts once; otherwise it would block recent attempts for every
        // client behind the address.
        let refused = (source_key(source), "refused", attempt);
        if !self.recent.contains(refused, now) && limits.refused.charge(source, now).is_ok() {
            self.recent.insert(refused, now);
        }
        Err(Refusal::TooManyAttempts)
    }

    /// Counts an attempt of `source` that [`Self::check`] allowed and that failed.
    pub(crate) fn record(&mut self, source: IpAddr, attempt: Attempt<'_>, now: Instant) {
        if self.recent.insert((source_key(source), attempt), now) {
            // `check` has allowed it.
            let _within = self.limits(attempt).answered.charge(source, now);
        }
    }

    fn limits(&self, attempt: Attempt<'_>) -> &Limits {
        match attempt {
            Attempt::Room(_) => &self.names,
            Attempt::Key(_) => &self.keys,
            Attempt::Token(_) => &self.tokens,
        }
    }
}

impl Limits {
    fn new(rate: Rate, seeds: [u64; 2], now: Instant) -> Self {
        let limiter = || SourceRateLimiter::new(rate, seeds, now).with_wide_prefixes();
        Self { answered: limiter(), refused: limiter() }
    }
}

/// A set of recent items by keyed hash, set-associative: an insert evicts the oldest item of its bucket.
#[derive(Debug)]
struct RecentSet {
    seed: u64,
    slots: Box<[Slot]>,
    epoch: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    mark: u32,
    /// Seconds since the epoch; 0 is free.
    until: u32,
}

impl RecentSet {
    fn new(seed: u64, epoch: Instant) -> Self {
        Self { seed, slots: vec![Slot::default(); SLOTS].into(), epoch }
    }

    fn contains(&self, item: impl Hash, now: Instant) -> bool {
        let (bucket, mark) = self.find(item);
        let now = self.seconds(now);
        self.slots[bucket..bucket + WAYS].iter().any(|slot| slot.mark == mark && slot.until > now)
    }

    /// Inserts or renews `item`; returns whether it is new.
    fn insert(&mut self, item: impl Hash, now: Instant) -> bool {
        let (bucket, mark) = self.find(item);
        let now = self.seconds(now);
        let until = now + RECENT_PERIOD.as_secs() as u32;
        let slots = &mut self.slots[bucket..bucket + WAYS];
        let known = slots.iter().position(|slot| slot.mark == mark && slot.until > now);
        let oldest = || slots.iter().enumerate().min_by_key(|(_, slot)| slot.until).map_or(0, |(at, _)| at);
        let at = known.unwrap_or_else(oldest);
        slots[at] = Slot { mark, until };
        known.is_none()
    }

    fn find(&self, item: impl Hash) -> (usize, u32) {
        let mut hasher = DefaultHasher::new();
        (self.seed, item).hash(&mut hasher);
        let hash = hasher.finish();
        (hash as usize % (SLOTS / WAYS) * WAYS, (hash >> 32) as u32)
    }

    fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_secs() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: u32) -> Attempt<'static> {
        let mut tag = [0; 16];
        tag[..4].copy_from_slice(&n.to_be_bytes());
        Attempt::Room(RoomTag::new(tag))
    }

    fn limiter() -> (AttemptLimiter, Instant) {
        let now = Instant::now();
        (AttemptLimiter::new([1, 2], now), now)
    }

    /// How many of `names` are answered.
    fn answered(
        limiter: &mut AttemptLimiter,
        source: &str,
        names: std::ops::Range<u32>,
        now: Instant,
    ) -> usize {
        let source = source.parse().unwrap();
        let mut attempt = |n| {
            let allowed = limiter.check(source, room(n), now).is_ok();
            if allowed {
                limiter.record(source, room(n), now);
            }
            allowed
        };
        names.filter(|n| attempt(*n)).count()
    }

    #[test]
    fn two_hundred_names_at_once_then_one_every_three_seconds() {
        let (mut limiter, now) = limiter();
        assert_eq!(answered(&mut limiter, "45.0.0.1", 0..300, now), 200);
        let later = now + Duration::from_secs(300);
        assert_eq!(answered(&mut limiter, "45.0.0.1", 300..500, later), 100);
        assert_eq!(answered(&mut limiter, "45.0.0.2", 0..100, now), 100, "another source is not affected");
    }

    #[test]
    fn a_repeated_name_is_free_and_answered_beyond_the_limit() {
        let (mut limiter, now) = limiter();
        for _ in 0..10_000 {
            assert_eq!(answered(&mut limiter, "45.0.0.1", 0..1, now), 1);
        }
        assert_eq!(answered(&mut limiter, "45.0.0.1", 1..250, now), 199);
        assert_eq!(answered(&mut limiter, "45.0.0.1", 0..100, now), 100);
    }

    #[test]
    fn free_answers_do_not_reveal_names_of_other_clients_behind_an_address() {
        let (mut limiter, now) = limiter();
        answered(&mut limiter, "45.0.0.1", 0..200, now);
        // The next 200 attempts are refused; then recent names are refused as well.
        answered(&mut limiter, "45.0.0.1", 1000..1200, now);
        assert_eq!(answered(&mut limiter, "45.0.0.1", 0..200, now), 0);
        assert_eq!(answered(&mut limiter, "45.0.0.1", 0..1, now + Duration::from_secs(6)), 1);
    }

    #[test]
    fn a_large_office_that_keeps_asking_keeps_its_answers() {
        let (mut limiter, now) = limiter();
        for round in 0..60 {
            let now = now + Duration::from_secs(5) * round;
            assert_eq!(answered(&mut limiter, "45.0.0.1", 0..200, now), 200, "round {round}");
            answered(&mut limiter, "45.0.0.1", 200..260, now);
        }
        let later = now + Duration::from_secs(300);
        assert_eq!(answered(&mut limiter, "45.0.0.1", 0..260, later), 260, "then the rest are answered");
    }

    #[test]
    fn invalid_tokens_do_not_use_up_the_attempts_for_host_keys() {
        let (mut limiter, now) = limiter();
        let source = "45.0.0.1".parse().unwrap();
        for n in 0..100 {
            let token = format!("token {n}");
            if limiter.check(source, Attempt::Token(&token), now).is_ok() {
                limiter.record(source, Attempt::Token(&token), now);
            }
        }
        assert!(limiter.check(source, Attempt::Token("another"), now).is_err());
        assert!(limiter.check(source, Attempt::Key("another"), now).is_ok());
    }

    #[test]
    fn the_networks_of_one_subscriber_share_what_they_check() {
        let (mut limiter, now) = limiter();
        let each = |n: u32| format!("2a00:0:0:{n:x}::1");
        let of_56: usize =
            (0..50).map(|n| answered(&mut limiter, &each(n), n * 100..n * 100 + 100, now)).sum();
        assert_eq!(of_56, 400, "a /56 has twice the limit of a source");
    }

    #[test]
    fn an_attempt_is_recent_for_half_an_hour() {
        let (mut limiter, now) = limiter();
        answered(&mut limiter, "45.0.0.1", 0..200, now);
        let soon = now + Duration::from_secs(1799);
        assert!(limiter.recent.contains((source_key("45.0.0.1".parse().unwrap()), room(7)), soon));
        let late = now + Duration::from_secs(1800);
        assert!(!limiter.recent.contains((source_key("45.0.0.1".parse().unwrap()), room(7)), late));
    }

    #[test]
    fn one_source_does_not_evict_the_recent_attempts_of_another() {
        let (mut limiter, now) = limiter();
        answered(&mut limiter, "45.0.0.1", 0..100, now);
        for second in 0..1700 {
            let now = now + Duration::from_secs(second);
            answered(&mut limiter, "45.0.0.2", 10_000 + second as u32..10_100 + second as u32, now);
        }
        let later = now + Duration::from_secs(1700);
        let source = source_key("45.0.0.1".parse().unwrap());
        let kept = (0..100).filter(|n| limiter.recent.contains((source, room(*n)), later)).count();
        assert!(kept >= 99, "{kept}");
    }
}
