//! Long-term credentials without a user table: the password follows from the username, and the nonce is verified by its
//! MAC (RFC 8489 §9.2, draft-uberti-behave-turn-rest-00). A 401 stores nothing.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use stun::integrity::MessageIntegrity;
use subtle::ConstantTimeEq as _;

use crate::addr::{ClientAddr, Transport};
use crate::credential::{Principal, Secrets, UnixSeconds, Username, keyed};
use crate::reply_limit::Proof;
use crate::request::{Claim, Request};
use crate::response::Refusal;

/// Verifies credentials: the secrets, the realm, and the key of nonces. The same for all workers.
#[derive(Clone, Debug)]
pub struct Authenticator {
    secrets: Secrets,
    realm: String,
    nonces: NonceKey,
}

/// Issues and verifies nonces: the second of issue, and a MAC of it and of the client.
#[derive(Clone)]
pub struct NonceKey {
    key: [u8; 32],
    epoch: Instant,
}

/// The key of MESSAGE-INTEGRITY: MD5 of `username:realm:password` (RFC 8489 §9.2.2).
#[derive(Clone, PartialEq, Eq)]
pub struct IntegrityKey([u8; 16]);

/// An authenticated client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The value of USERNAME.
    pub username: String,
    /// The user that it names.
    pub principal: Principal,
    /// Until when the credential opens allocations.
    pub expiry: UnixSeconds,
    /// Verified the request, and signs the reply.
    pub key: IntegrityKey,
}

/// How long a nonce is valid. coturn has the same value.
const NONCE_LIFETIME: Duration = Duration::from_secs(600);
/// How long a nonce proves the address of its client: longer than an allocation lasts without a Refresh.
const ADDRESS_PROOF_LIFETIME: Duration = Duration::from_secs(4200);
/// Bytes of time and of MAC in a nonce: 20 characters, so that a 401 has at most 68 bytes.
const NONCE_PARTS: (usize, usize) = (4, 11);

impl Authenticator {
    /// `realm` is part of every 401, so it should be short.
    pub fn new(secrets: Secrets, realm: String, nonces: NonceKey) -> Self {
        Self { secrets, realm, nonces }
    }

    /// Replaces the secrets.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// A nonce for `client`.
    pub fn nonce(&self, client: ClientAddr, now: Instant) -> String {
        self.nonces.issue(client, now)
    }

    /// Verifies the credentials of a request. `known` are the username and key that opened the client's allocation: they
    /// remain valid although the secret may have changed since.
    ///
    /// # Errors
    /// 400, 401 or 438 (RFC 8489 §9.2.4).
    pub fn verify(
        &self,
        request: &mut Request,
        client: ClientAddr,
        known: Option<(&str, &IntegrityKey)>,
        now: Instant,
    ) -> Result<Identity, Refusal> {
        let claim = request.claim()?;
        if !self.nonces.is_fresh(&claim.nonce, client, now) {
            return Err(Refusal::StaleNonce);
        }
        if claim.realm != self.realm {
            return Err(Refusal::Unauthenticated);
        }
        let Username { expiry, principal } =
            Username::parse(&claim.username).ok_or(Refusal::Unauthenticated)?;
        let key = (self.keys(&claim, known))
            .find(|key| request.verify_integrity(&key.0))
            .ok_or(Refusal::Unauthenticated)?;
        Ok(Identity { username: claim.username, principal, expiry, key })
    }

    /// What a refused request proves about its sender; `known` as for [`Self::verify`]. The password is only verified if
    /// `may_check_password` allows it: that costs more than everything else.
    pub fn proof(
        &self,
        request: &mut Request,
        client: ClientAddr,
        known: Option<(&str, &IntegrityKey)>,
        may_check_password: impl FnOnce() -> bool,
        now: Instant,
    ) -> Proof {
        let age = request.nonce().and_then(|nonce| self.nonces.age(&nonce, client, now));
        if age.is_some_and(|age| age <= ADDRESS_PROOF_LIFETIME) {
            return Proof::Address;
        }
        let Ok(claim) = request.claim() else { return Proof::None };
        let username = Username::parse(&claim.username).filter(|_| claim.realm == self.realm);
        match username {
            Some(username)
                if may_check_password()
                    && self.keys(&claim, known).any(|key| request.verify_integrity(&key.0)) =>
            {
                Proof::Credential(username.principal)
            }
            _ => Proof::None,
        }
    }

    /// The keys that are valid for a claimed username.
    fn keys<'a>(
        &'a self,
        claim: &'a Claim,
        known: Option<(&'a str, &'a IntegrityKey)>,
    ) -> impl Iterator<Item = IntegrityKey> + 'a {
        let known = known.filter(|(username, _)| *username == claim.username).map(|(_, key)| key.clone());
        let passwords = self.secrets.passwords(&claim.username);
        known
            .into_iter()
            .chain(passwords.map(|password| IntegrityKey::new(&claim.username, &self.realm, &password)))
    }
}

impl NonceKey {
    /// A new `key` invalidates all earlier nonces. Times count from `epoch`.
    pub fn new(key: [u8; 32], epoch: Instant) -> Self {
        Self { key, epoch }
    }

    fn issue(&self, client: ClientAddr, now: Instant) -> String {
        let time = self.seconds(now).to_be_bytes();
        let mut nonce = [0; NONCE_PARTS.0 + NONCE_PARTS.1];
        nonce[..NONCE_PARTS.0].copy_from_slice(&time);
        nonce[NONCE_PARTS.0..].copy_from_slice(&self.mac(time, client));
        URL_SAFE_NO_PAD.encode(nonce)
    }

    fn is_fresh(&self, nonce: &str, client: ClientAddr, now: Instant) -> bool {
        self.age(nonce, client, now).is_some_and(|age| age <= NONCE_LIFETIME)
    }

    /// The age of a nonce that was issued to `client`; `None` for any other.
    fn age(&self, nonce: &str, client: ClientAddr, now: Instant) -> Option<Duration> {
        let mut bytes = [0; NONCE_PARTS.0 + NONCE_PARTS.1];
        if URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) != Ok(bytes.len()) {
            return None;
        }
        let (time, mac) = bytes.split_at(NONCE_PARTS.0);
        let time = [time[0], time[1], time[2], time[3]];
        let age = self.seconds(now).checked_sub(u32::from_be_bytes(time))?;
        bool::from(self.mac(time, client).ct_eq(mac)).then(|| Duration::from_secs(age.into()))
    }

    fn seconds(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_secs() as u32
    }

    fn mac(&self, time: [u8; 4], client: ClientAddr) -> [u8; NONCE_PARTS.1] {
        let mut mac: Hmac<Sha256> = keyed(&self.key);
        mac.update(&time);
        mac.update(&[match client.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
        }]);
        match client.remote.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.remote.port().to_be_bytes());
        let mut truncated = [0; NONCE_PARTS.1];
        truncated.copy_from_slice(&mac.finalize().into_bytes()[..NONCE_PARTS.1]);
        truncated
    }
}

impl IntegrityKey {
    /// The inputs must be ASCII, which SASLprep does not change.
    pub fn new(username: &str, realm: &str, password: &str) -> Self {
        let long_term =
            MessageIntegrity::new_long_term_integrity(username.into(), realm.into(), password.into());
        let mut key = [0; 16];
        key.copy_from_slice(&long_term.0);
        Self(key)
    }

    /// The form of the `stun` crate, which adds MESSAGE-INTEGRITY to a message.
    pub fn signer(&self) -> MessageIntegrity {
        MessageIntegrity(self.0.to_vec())
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(…)")
    }
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(addr: &str) -> ClientAddr {
        ClientAddr::new(Transport::Udp, addr.parse().unwrap(), "45.0.0.10:3478".parse().unwrap())
    }

    #[test]
    fn a_nonce_is_valid_for_one_client_and_ten_minutes() {
        let start = Instant::now();
        let nonces = NonceKey::new([7; 32], start);
        let nonce = nonces.issue(client("45.0.0.1:1000"), start);
        assert_eq!(nonce.len(), 20);
        assert!(nonces.is_fresh(&nonce, client("45.0.0.1:1000"), start + NONCE_LIFETIME));
        assert!(!nonces.is_fresh(&nonce, client("45.0.0.1:1001"), start));
        let late = start + NONCE_LIFETIME + Duration::from_secs(1);
        assert!(!nonces.is_fresh(&nonce, client("45.0.0.1:1000"), late));
    }

    #[test]
    fn a_nonce_from_before_a_restart_or_made_up_is_invalid() {
        let start = Instant::now();
        let address = client("45.0.0.1:1000");
        let nonce = NonceKey::new([7; 32], start).issue(address, start);
        let restarted = NonceKey::new([8; 32], start);
        for nonce in [nonce.as_str(), "", "made up", &"A".repeat(20), &"A".repeat(500)] {
            assert!(!restarted.is_fresh(nonce, address, start), "{nonce}");
        }
    }
}
