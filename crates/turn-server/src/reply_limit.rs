//! Limits replies to UDP requests whose source address may be forged.
//!
//! Replies without a proof of address have a small budget per source, so that the server cannot be used to flood a victim.
//! A flood with a forged address must not use up the budget of the real client there. Requests that prove something are
//! therefore counted separately, and the last part of the budget is left to retransmissions, which clients send and a
//! flood does not. Fixed memory, shared by all workers without a lock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use webrtc_box_rate_limit::{Rate, SourceRateLimiter};

use crate::addr::{ClientAddr, Transport};
use crate::bandwidth::BandwidthLimiter;
use crate::credential::Principal;

/// What a request proves about its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// A nonce that was issued to this client, or a stream: the address is not forged.
    Address,
    /// The 5-tuple of an allocation. An attacker who knows it can forge it.
    Allocation,
    /// MESSAGE-INTEGRITY with the password of this user, which does not prove the address.
    Credential(Principal),
}

/// The reply budgets of all sources.
#[derive(Debug)]
pub struct ReplyLimit {
    addresses: SourceRateLimiter,
    /// By 5-tuple for requests with a nonce or allocation, by address and user for those with a credential.
    proven: SourceRateLimiter,
    /// Replies of a burst that are left to retransmissions.
    reserve: u32,
    unanswered: UnansweredRequests,
    /// Password verifications for requests that prove nothing else.
    password_checks: BandwidthLimiter,
}

/// Requests that got no reply, to recognise their retransmissions.
#[derive(Debug)]
struct UnansweredRequests {
    seed: u64,
    /// Upper half: a digest of client and transaction; lower half: milliseconds since the epoch.
    slots: Box<[AtomicU64]>,
    epoch: Instant,
}

/// 65,536 slots of 8 bytes: at 50,000 forged requests per second, three of four are still known after 250 ms.
const SLOTS: usize = 1 << 16;
/// On all workers together. A check takes a few microseconds.
const PASSWORD_CHECKS_PER_SECOND: u32 = 1000;
/// Clients retransmit after 200 ms (RFC 8489 §6.2.1: 500 ms) to 16 s.
const RETRANSMISSION_MS: std::ops::RangeInclusive<u32> = 100..=20_000;

impl ReplyLimit {
    /// `rate` limits replies per source, and per proof. `seeds` are random and secret.
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
            password_checks: BandwidthLimiter::new(PASSWORD_CHECKS_PER_SECOND, epoch),
        }
    }

    /// Whether a request of `client` may be answered; counts the reply if so.
    pub fn allows(&self, client: &ClientAddr, transaction: &[u8; 12], proof: &Proof, now: Instant) -> bool {
        let address = client.remote.ip();
        let proven = match proof {
            Proof::None => false,
            // A client needs one reply in ten minutes; collected nonces must not allow a flood.
            Proof::Address => {
                client.transport != Transport::Udp || self.proven.allows_key(("nonce", client), now)
            }
            Proof::Allocation => self.proven.allows_key(client, now),
            Proof::Credential(principal) => self.proven.allows_key((address, principal), now),
        };
        proven
            || self.allows_datagram(client, now)
            || (self.unanswered.is_retransmission(client, transaction, now)
                && self.addresses.allows(address, now))
    }

    /// Whether the password of another request may be verified.
    pub fn may_check_password(&self, now: Instant) -> bool {
        self.password_checks.allows(1, now)
    }

    /// Whether a datagram that proves nothing may be answered; counts the reply if so.
    pub fn allows_datagram(&self, client: &ClientAddr, now: Instant) -> bool {
        client.transport != Transport::Udp
            || self.addresses.allows_leaving(client.remote.ip(), self.reserve, now)
    }
}

impl UnansweredRequests {
    /// Notes a request, and returns whether it was noted before at the interval of a retransmission. A flood that repeats
    /// one request without a pause is none.
    fn is_retransmission(&self, client: &ClientAddr, transaction: &[u8; 12], now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, client, transaction).hash(&mut hasher);
        let digest = hasher.finish();
        let Some(slot) = (digest as usize).checked_rem(self.slots.len()) else { return false };
        let ms = now.saturating_duration_since(self.epoch).as_millis() as u32;
        let previous = self.slots[slot].swap(((digest >> 32) << 32) | u64::from(ms), Ordering::Relaxed);
        previous >> 32 == digest >> 32 && RETRANSMISSION_MS.contains(&ms.wrapping_sub(previous as u32))
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

    /// Sends 1000 forged requests per second, each with its own port and transaction, while `client(1)` sends one request
    /// per second and retransmits it once after half a second. The numbers of replies to both.
    fn flood(limit: &ReplyLimit, start: Instant, seconds: u32) -> (u32, u32) {
        let (mut forged, mut genuine) = (0, 0);
        for ms in 0..seconds * 1000 {
            let now = start + Duration::from_millis(ms.into());
            let from = client(1024 + (ms.wrapping_mul(7919) % 60_000) as u16);
            forged += u32::from(limit.allows(&from, &transaction(ms), &Proof::None, now));
            if ms % 500 == 250 {
                let request = transaction(0x8000_0000 | (ms / 1000));
                genuine += u32::from(limit.allows(&client(1), &request, &Proof::None, now));
            }
        }
        (forged, genuine)
    }

    #[test]
    fn a_client_is_answered_during_a_flood_from_changing_ports() {
        let start = Instant::now();
        let (forged, genuine) = flood(&limit(start), start, 20);
        assert!(genuine >= 20, "{genuine} replies to 20 requests, each sent twice");
        let budget = 200 + 20 * 20;
        assert!((budget * 8 / 10..=budget).contains(&(forged + genuine)), "{forged} + {genuine} of {budget}");
    }

    #[test]
    fn a_request_repeated_without_pause_is_no_retransmission() {
        let start = Instant::now();
        let limit = limit(start);
        let answered = (0..20_000)
            .filter(|ms| {
                let now = start + Duration::from_millis(*ms);
                limit.allows(&client(5), &transaction(5), &Proof::None, now)
            })
            .count();
        assert!((540..=551).contains(&answered), "{answered}: a burst of 150, then the rate");
        let now = start + Duration::from_secs(20);
        assert!((0..50).all(|_| limit.addresses.allows(client(5).remote.ip(), now)), "the reserve is left");
    }

    #[test]
    fn a_request_with_a_proof_is_answered_during_a_flood() {
        let start = Instant::now();
        let limit = limit(start);
        flood(&limit, start, 2);
        let now = start + Duration::from_secs(2);
        let answered = |client, proof: &Proof, times: u32| {
            (0..times)
                .filter(|number| limit.allows(&client, &transaction((1 << 24) | number), proof, now))
                .count()
        };
        let bob = Proof::Credential(Principal::Foreign("bob".into()));
        assert!(answered(client(9), &Proof::None, 1000) <= 1);
        assert_eq!(answered(client(1), &Proof::Address, 1000), 200, "nonces can be collected and used later");
        assert_eq!(answered(client(3), &Proof::Address, 100), 100);
        assert_eq!(answered(client(1), &Proof::Allocation, 1000), 200, "a 5-tuple can be forged");
        assert_eq!(answered(client(2), &Proof::Allocation, 100), 100);
        assert_eq!(answered(client(1), &bob, 1000), 200, "a credential does not prove an address");
        assert_eq!(answered(client(1), &Proof::Credential(Principal::Foreign("eve".into())), 100), 100);
    }

    #[test]
    fn without_a_limit_every_request_is_answered() {
        let start = Instant::now();
        let limit = ReplyLimit::new(Rate::UNLIMITED, [[1, 2], [3, 4]], start);
        assert!((0..1000).all(|number| limit.allows(&client(1), &transaction(number), &Proof::None, start)));
    }
}
