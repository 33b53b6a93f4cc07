//! How many room names, host keys and tokens one source may try.
//!
//! Counted by source, since a new connection costs nothing. What a source has tried lately it may try
//! again for nothing, so that a page that asks every few seconds is counted once.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::error::Refusal;
use crate::seat::RoomTag;
use webrtc_box_rate_limit::source_key;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};

/// Room names: an office of a hundred behind one address opens its rooms at nine o'clock.
const NAMES: Rate = Rate { interval: Duration::from_secs(3), burst: 200 };

/// Wrong host keys, and as many tokens that are not ours.
const SECRETS: Rate = Rate { interval: Duration::from_secs(10), burst: 20 };

/// How long what was tried is remembered after the last time.
const REMEMBERED: Duration = Duration::from_secs(30 * 60);

/// Guesses that are remembered, of all sources: eight times what an IPv6 /48 may try meanwhile, and four
/// times that with what it is refused.
const SLOTS: usize = 1 << 15;

/// Slots that one guess may be in.
const WAYS: usize = 4;

/// Something that a client may be trying to find out.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Guess<'a> {
    /// Whether anybody is in a room.
    Room(RoomTag),
    /// A host key.
    Key(&'a str),
    /// A token. Counted apart: a box with another key makes all tokens of an office wrong, and whoever
    /// knows the host key is to get in all the same.
    Token(&'a str),
}

/// The guesses of all sources, in fixed memory.
#[derive(Debug)]
pub(super) struct Guesses {
    names: Allowance,
    keys: Allowance,
    tokens: Allowance,
    recent: Recent,
}

#[derive(Debug)]
struct Allowance {
    first: SourceRateLimiter,
    /// Attempts beyond the allowance. Where these are spent too, nothing is answered: what a source
    /// has tried lately may have been tried by somebody else behind the same address.
    beyond: SourceRateLimiter,
}

impl Guesses {
    /// `seeds` are random and secret.
    pub(super) fn new(seeds: [u64; 2], now: Instant) -> Self {
        Self {
            names: Allowance::new(NAMES, seeds, now),
            keys: Allowance::new(SECRETS, seeds, now),
            tokens: Allowance::new(SECRETS, seeds, now),
            recent: Recent::new(seeds[0] ^ seeds[1], now),
        }
    }

    /// Whether `source` may try `guess` and hear whether it is right.
    ///
    /// # Errors
    /// [`Refusal::TooManyGuesses`]
    pub(super) fn may_try(&mut self, source: IpAddr, guess: Guess<'_>, now: Instant) -> Result<(), Refusal> {
        let allowance = self.allowance(guess);
        let known = self.recent.holds((source_key(source), guess), now);
        let open = allowance.beyond.check(source, now).is_ok();
        if open && (known || allowance.first.check(source, now).is_ok()) {
            return Ok(());
        }
        // Spent as well or not, the answer is the same. A page that asks again and again is counted once,
        // or it would keep everybody behind the address from what they know.
        let refused = (source_key(source), "refused", guess);
        if !self.recent.holds(refused, now) && allowance.beyond.charge(source, now).is_ok() {
            self.recent.note(refused, now);
        }
        Err(Refusal::TooManyGuesses)
    }

    /// `source` has tried `guess`, and it was wrong.
    pub(super) fn tried(&mut self, source: IpAddr, guess: Guess<'_>, now: Instant) {
        if self.recent.note((source_key(source), guess), now) {
            // Asked before: see `may_try`.
            let _within = self.allowance(guess).first.charge(source, now);
        }
    }

    fn allowance(&self, guess: Guess<'_>) -> &Allowance {
        match guess {
            Guess::Room(_) => &self.names,
            Guess::Key(_) => &self.keys,
            Guess::Token(_) => &self.tokens,
        }
    }
}

impl Allowance {
    fn new(rate: Rate, seeds: [u64; 2], now: Instant) -> Self {
        let limiter = || SourceRateLimiter::new(rate, seeds, now).with_wide_prefixes();
        Self { first: limiter(), beyond: limiter() }
    }
}

/// A set of what was tried lately, by keyed hash: of those that share a place the oldest gives way.
#[derive(Debug)]
struct Recent {
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

impl Recent {
    fn new(seed: u64, epoch: Instant) -> Self {
        Self { seed, slots: vec![Slot::default(); SLOTS].into(), epoch }
    }

    fn holds(&self, item: impl Hash, now: Instant) -> bool {
        let (place, mark) = self.find(item);
        let now = self.seconds(now);
        self.slots[place..place + WAYS].iter().any(|slot| slot.mark == mark && slot.until > now)
    }

    /// Remembers `item`; whether it was not remembered before.
    fn note(&mut self, item: impl Hash, now: Instant) -> bool {
        let (place, mark) = self.find(item);
        let now = self.seconds(now);
        let until = now + REMEMBERED.as_secs() as u32;
        let slots = &mut self.slots[place..place + WAYS];
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

    fn room(n: u32) -> Guess<'static> {
        let mut tag = [0; 16];
        tag[..4].copy_from_slice(&n.to_be_bytes());
        Guess::Room(RoomTag::new(tag))
    }

    fn guesses() -> (Guesses, Instant) {
        let now = Instant::now();
        (Guesses::new([1, 2], now), now)
    }

    /// How many of `names` are answered.
    fn answered(guesses: &mut Guesses, source: &str, names: std::ops::Range<u32>, now: Instant) -> usize {
        let source = source.parse().unwrap();
        let mut guess = |n| {
            let may = guesses.may_try(source, room(n), now).is_ok();
            if may {
                guesses.tried(source, room(n), now);
            }
            may
        };
        names.filter(|n| guess(*n)).count()
    }

    #[test]
    fn two_hundred_names_at_once_and_then_one_every_three_seconds() {
        let (mut guesses, now) = guesses();
        assert_eq!(answered(&mut guesses, "45.0.0.1", 0..300, now), 200);
        let later = now + Duration::from_secs(300);
        assert_eq!(answered(&mut guesses, "45.0.0.1", 300..500, later), 100);
        assert_eq!(answered(&mut guesses, "45.0.0.2", 0..100, now), 100, "another source is not affected");
    }

    #[test]
    fn the_same_name_again_costs_nothing_and_is_answered_when_all_is_spent() {
        let (mut guesses, now) = guesses();
        for _ in 0..10_000 {
            assert_eq!(answered(&mut guesses, "45.0.0.1", 0..1, now), 1);
        }
        assert_eq!(answered(&mut guesses, "45.0.0.1", 1..250, now), 199);
        assert_eq!(answered(&mut guesses, "45.0.0.1", 0..100, now), 100);
    }

    #[test]
    fn names_of_others_behind_the_address_are_not_found_by_the_answers_that_go_on() {
        let (mut guesses, now) = guesses();
        answered(&mut guesses, "45.0.0.1", 0..200, now);
        // Of those that follow 200 are refused; then known names are as well.
        answered(&mut guesses, "45.0.0.1", 1000..1200, now);
        assert_eq!(answered(&mut guesses, "45.0.0.1", 0..200, now), 0);
        assert_eq!(answered(&mut guesses, "45.0.0.1", 0..1, now + Duration::from_secs(6)), 1);
    }

    #[test]
    fn a_large_office_that_goes_on_asking_keeps_its_answers() {
        let (mut guesses, now) = guesses();
        for round in 0..60 {
            let now = now + Duration::from_secs(5) * round;
            assert_eq!(answered(&mut guesses, "45.0.0.1", 0..200, now), 200, "round {round}");
            answered(&mut guesses, "45.0.0.1", 200..260, now);
        }
        let later = now + Duration::from_secs(300);
        assert_eq!(answered(&mut guesses, "45.0.0.1", 0..260, later), 260, "and the rest follow");
    }

    #[test]
    fn tokens_that_are_wrong_refuse_no_host_key() {
        let (mut guesses, now) = guesses();
        let source = "45.0.0.1".parse().unwrap();
        for n in 0..100 {
            let token = format!("token {n}");
            if guesses.may_try(source, Guess::Token(&token), now).is_ok() {
                guesses.tried(source, Guess::Token(&token), now);
            }
        }
        assert!(guesses.may_try(source, Guess::Token("another"), now).is_err());
        assert!(guesses.may_try(source, Guess::Key("another"), now).is_ok());
    }

    #[test]
    fn the_networks_of_one_subscriber_share_what_they_may_try() {
        let (mut guesses, now) = guesses();
        let each = |n: u32| format!("2a00:0:0:{n:x}::1");
        let of_56: usize =
            (0..50).map(|n| answered(&mut guesses, &each(n), n * 100..n * 100 + 100, now)).sum();
        assert_eq!(of_56, 400, "twice a source's for a /56");
    }

    #[test]
    fn what_was_tried_half_an_hour_ago_is_forgotten() {
        let (mut guesses, now) = guesses();
        answered(&mut guesses, "45.0.0.1", 0..200, now);
        let soon = now + Duration::from_secs(1799);
        assert!(guesses.recent.holds((source_key("45.0.0.1".parse().unwrap()), room(7)), soon));
        let late = now + Duration::from_secs(1800);
        assert!(!guesses.recent.holds((source_key("45.0.0.1".parse().unwrap()), room(7)), late));
    }

    #[test]
    fn one_source_pushes_nobody_out_of_what_is_remembered() {
        let (mut guesses, now) = guesses();
        answered(&mut guesses, "45.0.0.1", 0..100, now);
        for second in 0..1700 {
            let now = now + Duration::from_secs(second);
            answered(&mut guesses, "45.0.0.2", 10_000 + second as u32..10_100 + second as u32, now);
        }
        let later = now + Duration::from_secs(1700);
        let source = source_key("45.0.0.1".parse().unwrap());
        let kept = (0..100).filter(|n| guesses.recent.holds((source, room(*n)), later)).count();
        assert!(kept >= 99, "{kept}");
    }
}
