//! Long-term credentials without a user table: a nonce that proves itself and a password that
//! follows from the username (RFC 8489 §9.2, draft-uberti-behave-turn-rest-00).
//!
//! A stranger's 401 stores nothing.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use stun::integrity::MessageIntegrity;
use subtle::ConstantTimeEq as _;

use super::addr::{ClientAddr, Transport};
use super::error::Refusal;
use super::reply_limit::Proof;
use super::request::{Claim, Request};
use crate::credential::{Principal, Secrets, Username};
use crate::mac::keyed;
use crate::time::UnixSeconds;

/// Who may come in: the secrets, the realm, and the key that makes nonces. The same for all workers.
#[derive(Clone, Debug)]
pub struct Authenticator {
    secrets: Secrets,
    realm: String,
    nonces: NonceKey,
}

/// Makes and recognises nonces: the second of their making and a MAC over it and the client.
#[derive(Clone)]
pub struct NonceKey {
    key: [u8; 32],
    epoch: Instant,
}

/// The key of MESSAGE-INTEGRITY: MD5 of `username:realm:password` (RFC 8489 §9.2.2).
#[derive(Clone, PartialEq, Eq)]
pub struct IntegrityKey([u8; 16]);

/// A client that has shown what it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As it stood in USERNAME.
    pub username: String,
    /// Whom that names.
    pub principal: Principal,
    /// Until when it opens allocations.
    pub expiry: UnixSeconds,
    /// Signs the reply.
    pub key: IntegrityKey,
}

/// How long a nonce is good: as long as coturn's.
const NONCE_LIFETIME: Duration = Duration::from_secs(600);
/// How long a nonce shows that its client is where it says: as long as an allocation may go without a
/// Refresh, and then some.
const ADDRESS_PROOF_LIFETIME: Duration = Duration::from_secs(4200);
/// Bytes of time and of MAC in a nonce: 20 characters, so that a 401 is 68 bytes at most.
const NONCE_PARTS: (usize, usize) = (4, 11);

impl Authenticator {
    /// `realm` stands in every 401, so it is short.
    pub fn new(secrets: Secrets, realm: String, nonces: NonceKey) -> Self {
        Self { secrets, realm, nonces }
    }

    /// Other secrets from now on.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// A nonce for `client`.
    pub fn nonce(&self, client: ClientAddr, now: Instant) -> String {
        self.nonces.make(client, now)
    }

    /// Checks a request's credentials. `known` are those that opened the allocation the client
    /// already has: they go on although the secret may have changed since.
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

    /// What a request that is refused shows of its sender all the same; `known` as for [`Self::verify`].
    /// A password is only looked at where `may_verify` says so: that costs more than all the rest.
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
        let named = Username::parse(&claim.username).filter(|_| claim.realm == self.realm);
        match named {
            Some(named)
                if may_check_password()
                    && self.keys(&claim, known).any(|key| request.verify_integrity(&key.0)) =>
            {
                Proof::Credential(named.principal)
            }
            _ => Proof::None,
        }
    }

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
    /// A new `key` makes every earlier nonce stale; ages count from `epoch`.
    pub fn new(key: [u8; 32], epoch: Instant) -> Self {
        Self { key, epoch }
    }

    fn make(&self, client: ClientAddr, now: Instant) -> String {
        let time = self.seconds(now).to_be_bytes();
        let mut nonce = [0; NONCE_PARTS.0 + NONCE_PARTS.1];
        nonce[..NONCE_PARTS.0].copy_from_slice(&time);
        nonce[NONCE_PARTS.0..].copy_from_slice(&self.mac(time, client));
        URL_SAFE_NO_PAD.encode(nonce)
    }

    fn is_fresh(&self, nonce: &str, client: ClientAddr, now: Instant) -> bool {
        self.age(nonce, client, now).is_some_and(|age| age <= NONCE_LIFETIME)
    }

    /// How old a nonce is that was made for `client`; `None` for any other.
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
            std::net::IpAddr::V4(ip) => mac.update(&ip.octets()),
            std::net::IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.remote.port().to_be_bytes());
        let mut short = [0; NONCE_PARTS.1];
        short.copy_from_slice(&mac.finalize().into_bytes()[..NONCE_PARTS.1]);
        short
    }
}

impl IntegrityKey {
    /// Username, realm and password are taken as they are: ours are ASCII, which SASLprep keeps.
    pub fn new(username: &str, realm: &str, password: &str) -> Self {
        let long_term =
            MessageIntegrity::new_long_term_integrity(username.into(), realm.into(), password.into());
        let mut key = [0; 16];
        key.copy_from_slice(&long_term.0);
        Self(key)
    }

    /// The codec's form, which adds MESSAGE-INTEGRITY to a message.
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
    fn a_nonce_is_for_one_client_and_for_a_while() {
        let start = Instant::now();
        let nonces = NonceKey::new([7; 32], start);
        let nonce = nonces.make(client("45.0.0.1:1000"), start);
        assert_eq!(nonce.len(), 20);
        assert!(nonces.is_fresh(&nonce, client("45.0.0.1:1000"), start + NONCE_LIFETIME));
        assert!(!nonces.is_fresh(&nonce, client("45.0.0.1:1001"), start));
        let late = start + NONCE_LIFETIME + Duration::from_secs(1);
        assert!(!nonces.is_fresh(&nonce, client("45.0.0.1:1000"), late));
    }

    #[test]
    fn a_nonce_from_before_a_restart_or_made_up_is_not_ours() {
        let start = Instant::now();
        let who = client("45.0.0.1:1000");
        let nonce = NonceKey::new([7; 32], start).make(who, start);
        let restarted = NonceKey::new([8; 32], start);
        for nonce in [nonce.as_str(), "", "made up", &"A".repeat(20), &"A".repeat(500)] {
            assert!(!restarted.is_fresh(nonce, who, start), "{nonce}");
        }
    }
}
