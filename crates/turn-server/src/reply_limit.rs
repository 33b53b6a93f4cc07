//! Which requests over UDP are answered whose sender may have forged its address.
//!
//! What is not proven costs its address a small budget, so that the box floods nobody. A flood under an
//! address must not use up that budget for whoever really is there: what a client proves itself with is
//! counted elsewhere or not at all, and the last part of the budget is left to requests that are sent again,
//! as every client does and a flood does not. Fixed memory, shared by all workers, never locked.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::addr::{ClientAddr, Transport};
use super::bandwidth::BandwidthLimiter;
use crate::credential::Principal;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};

/// What a request shows of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// A nonce that this client was sent, or a stream: the client is where it says.
    Address,
    /// It comes from the 5-tuple of a live allocation. Who knows that 5-tuple can forge it.
    Allocation,
    /// MESSAGE-INTEGRITY with somebody's password; where it comes from is not shown.
    Credential(Principal),
}

/// The budgets of all addresses.
#[derive(Debug)]
pub struct ReplyLimit {
    addresses: SourceRateLimiter,
    /// Of each 5-tuple with an allocation or a nonce of ours, and of each credential at each address.
    proven: SourceRateLimiter,
    /// Replies of an address's burst that only requests sent again may take.
    reserve: u32,
    unanswered: UnansweredRequests,
    /// Passwords looked at, of requests that prove nothing else.
    verifications: BandwidthLimiter,
}

/// Requests that were not answered, so that their retransmission is known.
#[derive(Debug)]
struct UnansweredRequests {
    seed: u64,
    /// Upper half: a digest of client and transaction; lower half: when, in milliseconds.
    slots: Box<[AtomicU64]>,
    epoch: Instant,
}

/// 65,536 of 8 bytes: at 50,000 forged requests a second three of four are still known after 250 ms.
const SLOTS: usize = 1 << 16;
/// A second, on each of the box's workers together: some microseconds each.
const PASSWORD_CHECKS_PER_SECOND: u32 = 1000;
/// A client waits at least 200 ms before it sends a request again (RFC 8489 §6.2.1 has 500), and 16 s at most.
const RETRANSMISSION_MS: std::ops::RangeInclusive<u32> = 100..=20_000;

impl ReplyLimit {
    /// `rate` for what nothing is known of; `seeds` are random and secret.
    pub fn new(rate: Rate, seeds: [[u64; 2]; 2], epoch: Instant) -> Self {
        let slots = if rate == Rate::UNLIMITED { 0 } else { SLOTS };
        Self {
            addresses: SourceRateLimiter::new(rate, seeds[0], epoch),
            proven: SourceRateLimiter::new(rate, seeds[1], epoch),
            reserve: rate.burst / 4,
            unanswered: UnansweredRequests {
                seed: seeds[0][0] ^ seeds[1][0],
                slots: std::iter::repeat_with(AtomicU64::default).take(slots).collect(),
                epoch,
            },
            verifications: BandwidthLimiter::new(PASSWORD_CHECKS_PER_SECOND, epoch),
        }
    }

    /// Whether a request of `client` may be answered; counts it if so.
    pub fn allows(&self, client: &ClientAddr, transaction: &[u8; 12], proof: &Proof, now: Instant) -> bool {
        let address = client.remote.ip();
        let proven = match proof {
            Proof::None => false,
            // Once in ten minutes is what a client needs; nonces collected earlier must not open a flood.
            Proof::Address => {
                client.transport != Transport::Udp || self.proven.allows_key(("nonce", client), now)
            }
            Proof::Allocation => self.proven.allows_key(client, now),
            Proof::Credential(principal) => self.proven.allows_key((address, principal), now),
        };
        proven
            || self.allows_datagram(client, now)
            || (self.unanswered.is_repeated(client, transaction, now) && self.addresses.allows(address, now))
    }

    /// Whether the password of one more request may be looked at.
    pub fn may_check_password(&self, now: Instant) -> bool {
        self.verifications.allows(1, now)
    }

    /// The same for a datagram that is no request, and so proves nothing.
    pub fn allows_datagram(&self, client: &ClientAddr, now: Instant) -> bool {
        client.transport != Transport::Udp
            || self.addresses.allows_leaving(client.remote.ip(), self.reserve, now)
    }
}

impl UnansweredRequests {
    /// Notes a request; whether the same one came before, as long ago as a client waits. A flood that
    /// repeats one request without pause is no retransmission.
    fn is_repeated(&self, client: &ClientAddr, transaction: &[u8; 12], now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, client, transaction).hash(&mut hasher);
        let digest = hasher.finish();
        let Some(slot) = (digest as usize).checked_rem(self.slots.len()) else { return false };
        let ms = now.saturating_duration_since(self.epoch).as_millis() as u32;
        let before = self.slots[slot].swap(((digest >> 32) << 32) | u64::from(ms), Ordering::Relaxed);
        before >> 32 == digest >> 32 && RETRANSMISSION_MS.contains(&ms.wrapping_sub(before as u32))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(start: Instant) -> ReplyLimit {
        ReplyLimit::new(Rate::per_second(20), [[1, 2], [3, 4]], start)
    }

    fn client(port: u16) -> ClientAddr {
        let remote = std::net::SocketAddr::new("45.0.0.1".parse().unwrap(), port);
        ClientAddr::new(Transport::Udp, remote, "45.0.0.10:3478".parse().unwrap())
    }

    fn transaction(number: u32) -> [u8; 12] {
        let mut transaction = [7; 12];
        transaction[..4].copy_from_slice(&number.to_be_bytes());
        transaction
    }

    /// A thousand forged requests a second for `seconds`, each with a port and transaction of its own;
    /// how many were answered. `client(1)` asks once a second meanwhile and asks again once after half of
    /// one; how often it was answered.
    fn flooded(limit: &ReplyLimit, start: Instant, seconds: u32) -> (u32, u32) {
        let (mut forged, mut honest) = (0, 0);
        for ms in 0..seconds * 1000 {
            let now = start + Duration::from_millis(ms.into());
            let from = client(1024 + (ms.wrapping_mul(7919) % 60_000) as u16);
            forged += u32::from(limit.allows(&from, &transaction(ms), &Proof::None, now));
            if ms % 500 == 250 {
                let asked = transaction(0x8000_0000 | (ms / 1000));
                honest += u32::from(limit.allows(&client(1), &asked, &Proof::None, now));
            }
        }
        (forged, honest)
    }

    #[test]
    fn a_flood_with_changing_ports_leaves_a_client_its_first_reply() {
        let start = Instant::now();
        let (forged, honest) = flooded(&limit(start), start, 20);
        assert!(honest >= 20, "{honest} of 20 requests, each sent twice");
        let most = 200 + 20 * 20;
        assert!((most * 8 / 10..=most).contains(&(forged + honest)), "{forged} + {honest} of {most}");
    }

    #[test]
    fn one_request_repeated_without_pause_takes_no_more_than_others() {
        let start = Instant::now();
        let limit = limit(start);
        let answered = (0..20_000)
            .filter(|ms| {
                let now = start + Duration::from_millis(*ms);
                limit.allows(&client(5), &transaction(5), &Proof::None, now)
            })
            .count();
        assert!((540..=551).contains(&answered), "{answered}: 150 at once, then the rate");
        let now = start + Duration::from_secs(20);
        assert!((0..50).all(|_| limit.addresses.allows(client(5).remote.ip(), now)), "the rest is left");
    }

    #[test]
    fn what_proves_itself_is_answered_under_any_flood() {
        let start = Instant::now();
        let limit = limit(start);
        flooded(&limit, start, 2);
        let now = start + Duration::from_secs(2);
        let ask = |client, proof: &Proof, times: u32| {
            (0..times)
                .filter(|number| limit.allows(&client, &transaction((1 << 24) | number), proof, now))
                .count()
        };
        let bob = Proof::Credential(Principal::Foreign("bob".into()));
        assert!(ask(client(9), &Proof::None, 1000) <= 1);
        assert_eq!(
            ask(client(1), &Proof::Address, 1000),
            200,
            "nonces can be collected first and used later"
        );
        assert_eq!(ask(client(3), &Proof::Address, 100), 100);
        assert_eq!(ask(client(1), &Proof::Allocation, 1000), 200, "a 5-tuple can be forged");
        assert_eq!(ask(client(2), &Proof::Allocation, 100), 100);
        assert_eq!(ask(client(1), &bob, 1000), 200, "at this address, wherever its owner is");
        assert_eq!(ask(client(1), &Proof::Credential(Principal::Foreign("eve".into())), 100), 100);
    }

    #[test]
    fn without_a_limit_everything_is_answered() {
        let start = Instant::now();
        let limit = ReplyLimit::new(Rate::UNLIMITED, [[1, 2], [3, 4]], start);
        assert!((0..1000).all(|number| limit.allows(&client(1), &transaction(number), &Proof::None, start)));
    }
}
