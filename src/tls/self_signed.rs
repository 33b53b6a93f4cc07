//! The certificate of the try-out mode: self-signed, stored in the state directory, and created again when it
//! expires or does not cover an address of this host.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::{error, warn};

use super::active_certificate::ActiveCertificate;
use super::error::TlsError;
use super::key_pair::{LoadedCertificate, load};
use crate::clock::UnixSeconds;
use crate::error::Hint as _;
use crate::net::interfaces::lan_addresses;
use crate::state_dir::{StateDir, StateError};
use crate::task::{catch_panic, run_blocking};

/// Safari trusts no certificate that is valid for more than 398 days; an hour of them is before today.
const VALIDITY: Duration = Duration::from_secs(396 * 24 * 3600);

/// For clients whose clock is a little slow.
const BACKDATED: Duration = Duration::from_secs(3600);

/// At the start a certificate with less validity left is created again.
const MIN_VALIDITY_LEFT: u64 = 30 * 24 * 3600;

/// Between two checks whether the certificate is valid.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(60);

const CERT_FILE: &str = "self-signed.pem";
const KEY_FILE: &str = "self-signed-key.pem";

/// Replaces the certificate if its year ends while the server runs, or if the clock was wrong when it was created.
#[derive(Debug)]
pub(super) struct SelfSignedRenewal {
    active: Arc<ActiveCertificate>,
    state_dir: PathBuf,
}

impl SelfSignedRenewal {
    /// # Errors
    /// The state directory cannot be used, or no key can be created.
    pub(super) fn open(state_dir: &Path, lan: &[IpAddr]) -> Result<Self, TlsError> {
        let loaded = load_or_create(&StateDir::open(state_dir)?, lan, SystemTime::now())?;
        Ok(Self { active: ActiveCertificate::new(loaded), state_dir: state_dir.to_owned() })
    }

    pub(super) fn active(&self) -> Arc<ActiveCertificate> {
        Arc::clone(&self.active)
    }

    pub(super) async fn run(self) {
        let renewal = Arc::new(self);
        let mut reported = None;
        loop {
            sleep(RENEWAL_CHECK_INTERVAL).await;
            let renewal = Arc::clone(&renewal);
            let check = move || renewal.check(&lan_addresses(), SystemTime::now());
            let error = match catch_panic(run_blocking(check)).await {
                Ok(outcome) => outcome.err().map(|error| error.with_hint()),
                Err(panic) => Some(panic.to_string()),
            };
            if let Some(error) = error.as_ref().filter(|_| reported != error) {
                error!("cannot create a new self-signed certificate: {error}");
            }
            reported = error;
        }
    }

    fn check(&self, lan: &[IpAddr], now: SystemTime) -> Result<(), TlsError> {
        if !self.active.status().leaf.is_valid(unix(now)) {
            self.active.replace(load_or_create(&StateDir::open(&self.state_dir)?, lan, now)?);
            warn!("self-signed certificate replaced because it was not valid; browsers ask again");
        }
        Ok(())
    }
}

/// The stored certificate, if it is valid for 30 more days and covers localhost and `lan`; otherwise a new one.
fn load_or_create(state: &StateDir, lan: &[IpAddr], now: SystemTime) -> Result<LoadedCertificate, TlsError> {
    let (cert, key) = (state.path(CERT_FILE), state.path(KEY_FILE));
    let is_usable = |loaded: &LoadedCertificate| {
        let (leaf, now) = (&loaded.leaf, unix(now));
        leaf.is_valid(now)
            && leaf.is_valid(now + MIN_VALIDITY_LEFT)
            && lan.iter().all(|ip| leaf.addresses.contains(ip))
    };
    // A file that cannot be read is an error and is not replaced.
    if state.read(CERT_FILE)?.is_some()
        && let Ok(loaded) = load(&cert, &key)
        && is_usable(&loaded)
    {
        return Ok(loaded);
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let names = names.into_iter().chain(lan.iter().map(IpAddr::to_string)).collect();
    let (cert_pem, key_pem) = create(names, now)?;
    // The certificate comes last: one without its key does not load, and is created again.
    state.write(KEY_FILE, &key_pem)?;
    state.write(CERT_FILE, &cert_pem)?;
    load(&cert, &key)
}

fn unix(time: SystemTime) -> UnixSeconds {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// PEM of a new certificate for `names`, and of its key (ECDSA P-256).
///
/// # Errors
/// There is no randomness, or a name is invalid.
pub(super) fn create(names: Vec<String>, now: SystemTime) -> Result<(String, String), StateError> {
    let create = || -> Result<_, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "webrtc-box on this host");
        params.not_before = OffsetDateTime::from(now - BACKDATED);
        params.not_after = OffsetDateTime::from(now + VALIDITY);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    };
    create().map_err(|error| StateError::KeyGeneration { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls::certificate_facts::CertificateFacts;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    struct Fixture {
        _dir: tempfile::TempDir,
        state: StateDir,
        now: SystemTime,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = StateDir::open(dir.path()).unwrap();
            Self { _dir: dir, state, now: SystemTime::now() }
        }

        fn leaf(&self, lan: &[&str]) -> CertificateFacts {
            let lan: Vec<_> = lan.iter().map(|ip| ip.parse().unwrap()).collect();
            load_or_create(&self.state, &lan, self.now).unwrap().leaf
        }
    }

    #[test]
    fn the_stored_certificate_is_used_while_it_is_valid() {
        let mut fixture = Fixture::new();
        let first = fixture.leaf(&["192.168.1.2", "fd00::2"]);
        assert_eq!(fixture.leaf(&["192.168.1.2", "fd00::2"]), first);
        fixture.now += 365 * DAY;
        assert_eq!(fixture.leaf(&["192.168.1.2"]), first);
    }

    #[test]
    fn a_new_address_or_a_near_expiry_leads_to_a_new_certificate() {
        let mut fixture = Fixture::new();
        let first = fixture.leaf(&["192.168.1.2"]);
        let second = fixture.leaf(&["192.168.1.3"]);
        assert_ne!(first, second);
        fixture.now += 367 * DAY;
        assert_ne!(fixture.leaf(&["192.168.1.3"]), second);
    }

    #[test]
    fn a_damaged_pair_is_replaced() {
        let fixture = Fixture::new();
        let first = fixture.leaf(&[]);
        fs::write(fixture.state.path(KEY_FILE), "gone").unwrap();
        let second = fixture.leaf(&[]);
        assert_ne!(first, second);
        fs::write(fixture.state.path(CERT_FILE), "gone").unwrap();
        assert_ne!(fixture.leaf(&[]), second);
    }

    #[test]
    fn safari_accepts_the_length_of_the_validity() {
        let life = Fixture::new().leaf(&[]).life();
        assert!(life <= 397 * 24 * 3600, "{life}");
    }

    #[test]
    fn a_certificate_that_is_not_valid_now_is_replaced_while_the_server_runs() {
        let dir = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        let renewal = SelfSignedRenewal::open(dir.path(), &[]).unwrap();
        let renewals_at = |now| {
            renewal.check(&[], now).unwrap();
            renewal.active.status().renewals
        };
        assert_eq!(renewals_at(start), 0);
        assert_eq!(renewals_at(start + 395 * DAY), 0, "browsers remember the certificate");
        assert_eq!(renewals_at(start + 397 * DAY), 1, "a year has passed");
        assert_eq!(renewals_at(start + 398 * DAY), 1);
        assert_eq!(renewals_at(start), 2, "the clock was ahead when it was created");
        assert_eq!(renewals_at(start), 2);
    }
}
