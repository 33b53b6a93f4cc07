//! Answers of validation handshakes (TLS-ALPN-01, RFC 8737): those of this server's own order, and in a cluster those of
//! another box's order for the common name, which any server may be asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use webrtc_box_cluster::ClusterHandle;

use super::key_pair::server_config;

/// The ALPN protocol of a validation handshake (RFC 8737 §4).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// How long the key authorization of an order stays in the store: longer than an authority takes to validate.
pub(super) const SHARED_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Validation handshakes that ask the store at a time; the others wait. Anybody can begin one.
const CONCURRENT_LOOKUPS: usize = 4;

/// Characters of a key authorization: a token and the digest of an account key. Pebble and Let's Encrypt use 87.
const MAX_KEY_AUTHORIZATION: usize = 512;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The challenges that this server can answer.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// Those of its own order, by the server name of the handshake.
    own: Mutex<BTreeMap<String, Arc<ServerConfig>>>,
    shared: OnceLock<SharedChallenges>,
}

/// Challenges of the other servers.
struct SharedChallenges {
    /// The common name, which leads to all servers.
    domain: String,
    cluster: ClusterHandle,
    lookups: Semaphore,
    /// The key authorization answered last, with its answer: an authority validates from several places.
    last: Mutex<Option<(String, Arc<ServerConfig>)>>,
}

/// Answers a challenge until it is dropped or replaced by a newer one for the same name.
pub(super) struct ChallengeGuard {
    challenges: Arc<Challenges>,
    name: String,
    config: Arc<ServerConfig>,
}

/// Whether it is a validation handshake, which offers that protocol alone (RFC 8737 §4).
pub(super) fn is_validation(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut names| names.next() == Some(ACME_TLS) && names.next().is_none())
}

impl Challenges {
    /// Answers validations of `name`, which may be an address, with `key_authorization` (RFC 8555 §8.1).
    ///
    /// # Errors
    /// No certificate can be made for `name`.
    pub(super) fn answer(
        self: &Arc<Self>,
        name: &str,
        key_authorization: &str,
    ) -> Result<ChallengeGuard, BoxError> {
        let config = challenge_config(name, key_authorization)?;
        let name = validation_name(name);
        self.own().insert(name.clone(), Arc::clone(&config));
        Ok(ChallengeGuard { challenges: Arc::clone(self), name, config })
    }

    /// From now on also answers challenges for `domain` that other servers of the cluster share.
    pub(super) fn share(&self, domain: &str, cluster: ClusterHandle) {
        let lookups = Semaphore::new(CONCURRENT_LOOKUPS);
        let shared = SharedChallenges { domain: domain.to_owned(), cluster, lookups, last: Mutex::default() };
        // Only the first call counts; there is one cluster.
        let _ = self.shared.set(shared);
    }

    /// Whether a validation handshake may come.
    pub(super) fn are_expected(&self) -> bool {
        self.shared.get().is_some() || !self.own().is_empty()
    }

    /// The TLS configuration that answers a validation handshake with the server name `name`.
    pub(super) async fn config(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let own = self.own().get(name).cloned();
        match self.shared.get() {
            None => own,
            // An order of its own is newer than what the store has, if the store does not respond.
            Some(shared) if shared.domain == name && own.is_none() => shared.config().await,
            Some(_) => own,
        }
    }

    fn own(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ServerConfig>>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedChallenges {
    async fn config(&self) -> Option<Arc<ServerConfig>> {
        let _lookup = self.lookups.acquire().await.ok()?;
        let key_authorization = self.cluster.get_challenge(&self.domain).await?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = &*last
            && *known == key_authorization
        {
            return Some(Arc::clone(config));
        }
        let config = challenge_config(&self.domain, &key_authorization).ok()?;
        *last = Some((key_authorization, Arc::clone(&config)));
        Some(config)
    }
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        let mut own = self.challenges.own();
        if own.get(&self.name).is_some_and(|config| Arc::ptr_eq(config, &self.config)) {
            own.remove(&self.name);
        }
    }
}

impl fmt::Debug for SharedChallenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedChallenges").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// The server name of the handshake that validates `name`; for an address its name in reverse DNS (RFC 8738 §6).
fn validation_name(name: &str) -> String {
    match name.parse() {
        Err(_) => name.to_owned(),
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(ip)) => {
            let digits =
                ip.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4));
            digits.collect::<String>() + "ip6.arpa"
        }
    }
}

/// A self-signed certificate for `name` with the digest of the key authorization (RFC 8737 §3).
fn challenge_config(name: &str, key_authorization: &str) -> Result<Arc<ServerConfig>, BoxError> {
    if !is_key_authorization(key_authorization) {
        return Err("not a key authorization".into());
    }
    let digest = Sha256::digest(key_authorization);
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate()?;
    let chain = vec![params.self_signed(&key)?.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let pair = CertifiedKey::new(chain, ring::sign::any_supported_type(&key)?);
    Ok(Arc::new(server_config(pair, &[ACME_TLS])?))
}

/// A token and a thumbprint, both base64url. The store may hold anything.
fn is_key_authorization(text: &str) -> bool {
    let is_base64url = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= MAX_KEY_AUTHORIZATION
        && text
            .split_once('.')
            .is_some_and(|(token, thumbprint)| is_base64url(token) && is_base64url(thumbprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_AUTHORIZATION: &str = "token_1.thumb-print";

    #[tokio::test]
    async fn each_name_has_a_challenge_of_its_own() {
        let challenges = Arc::new(Challenges::default());
        assert!(!challenges.are_expected());
        let first = challenges.answer("box.test", KEY_AUTHORIZATION).unwrap();
        let second = challenges.answer("b1.box.test", KEY_AUTHORIZATION).unwrap();
        assert!(challenges.are_expected());
        for (name, guard) in [("box.test", &first), ("b1.box.test", &second)] {
            assert!(Arc::ptr_eq(&challenges.config(name).await.unwrap(), &guard.config), "{name}");
        }
        assert!(challenges.config("b2.box.test").await.is_none());
        drop(first);
        assert!(challenges.config("box.test").await.is_none());
        drop(second);
        assert!(!challenges.are_expected());
    }

    #[tokio::test]
    async fn an_address_is_validated_under_its_name_in_reverse_dns() {
        let challenges = Arc::new(Challenges::default());
        for (address, name) in [
            ("203.0.113.5", "5.113.0.203.in-addr.arpa"),
            (
                "2001:db8::567:89ab",
                "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ] {
            let _guard = challenges.answer(address, KEY_AUTHORIZATION).unwrap();
            assert!(challenges.config(name).await.is_some(), "{address}");
            assert!(challenges.config(address).await.is_none());
        }
    }

    #[test]
    fn the_end_of_one_challenge_does_not_end_a_newer_one() {
        let challenges = Arc::new(Challenges::default());
        let older = challenges.answer("box.test", KEY_AUTHORIZATION).unwrap();
        let newer = challenges.answer("box.test", KEY_AUTHORIZATION).unwrap();
        drop(older);
        assert!(challenges.are_expected());
        drop(newer);
        assert!(!challenges.are_expected());
    }

    #[test]
    fn a_challenge_configuration_offers_the_acme_protocol_alone() {
        assert_eq!(challenge_config("box.test", KEY_AUTHORIZATION).unwrap().alpn_protocols, [b"acme-tls/1"]);
    }

    #[test]
    fn what_is_no_key_authorization_is_not_answered() {
        let long = format!("{}.a", "a".repeat(MAX_KEY_AUTHORIZATION));
        for text in ["", ".", "a.", ".a", "a", "a.b.c", "a b.c", "a.\n", "ä.b", &long] {
            assert!(challenge_config("box.test", text).is_err(), "{text:?}");
        }
    }
}
