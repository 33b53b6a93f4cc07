//! The certificate of the try-out mode: signed by itself, kept in the state directory, made anew
//! when it runs out or when this host has got an address it does not name.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::store::{State, StateError};
use crate::tls;

/// Safari trusts no certificate that is valid for longer than 398 days; an hour lies before today.
const VALID: Duration = Duration::from_secs(396 * 24 * 3600);

/// For clocks that are a little behind ours.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A certificate with less left is made anew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

const CERT_FILE: &str = "self-signed.pem";
const KEY_FILE: &str = "self-signed-key.pem";

/// Where the self-signed certificate and its key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelfSigned {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A self-signed certificate for localhost and the addresses `lan`, good for 30 days and more;
/// the kept one where that will do.
///
/// # Errors
/// The files cannot be read or written, or no key can be made.
pub(super) fn load_or_create(
    state: &State,
    lan: &[IpAddr],
    now: SystemTime,
) -> Result<SelfSigned, StateError> {
    let files = SelfSigned { cert: state.path(CERT_FILE), key: state.path(KEY_FILE) };
    let kept = state.read(CERT_FILE)?.is_some_and(|pem| will_do(&pem, lan, now));
    if !kept || tls::load(&files.cert, &files.key).is_err() {
        let (cert, key) = make(names_here(lan), now)?;
        // The certificate comes last: one without its key would not load, and be made anew.
        state.write(KEY_FILE, &key)?;
        state.write(CERT_FILE, &cert)?;
    }
    Ok(files)
}

/// Whether the certificate in `pem` is valid, lasts and names every one of `lan`.
fn will_do(pem: &str, lan: &[IpAddr], now: SystemTime) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
        return false;
    };
    let named = addresses(&certificate);
    let (from, until) = validity(&certificate);
    from <= now && until > now + RENEW_BEFORE && lan.iter().all(|ip| named.contains(ip))
}

fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    let moment = |time: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or(0));
    (moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp()))
}

fn addresses(certificate: &X509Certificate<'_>) -> Vec<IpAddr> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return vec![];
    };
    let address =
        |name: &GeneralName<'_>| if let GeneralName::IPAddress(bytes) = name { octets(bytes) } else { None };
    names.value.general_names.iter().filter_map(address).collect()
}

fn octets(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn names_here(lan: &[IpAddr]) -> Vec<String> {
    let ours = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    ours.into_iter().chain(lan.iter().map(IpAddr::to_string)).collect()
}

/// PEM of a fresh certificate for `names` and of its key (ECDSA P-256).
///
/// # Errors
/// There is no randomness, or a name is none.
pub(crate) fn make(names: Vec<String>, now: SystemTime) -> Result<(String, String), StateError> {
    signed(names, now).map_err(|error| StateError::KeyGeneration { reason: error.to_string() })
}

fn signed(names: Vec<String>, now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "webrtc-box on this host");
    params.not_before = OffsetDateTime::from(now - BACKDATED);
    params.not_after = OffsetDateTime::from(now + VALID);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    struct Stage {
        _place: tempfile::TempDir,
        state: State,
        now: SystemTime,
    }

    impl Stage {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let state = State::open(place.path()).unwrap();
            Self { _place: place, state, now: SystemTime::now() }
        }

        fn cert(&self, lan: &[&str]) -> String {
            let lan: Vec<_> = lan.iter().map(|ip| ip.parse().unwrap()).collect();
            let files = load_or_create(&self.state, &lan, self.now).unwrap();
            fs::read_to_string(files.cert).unwrap()
        }
    }

    #[test]
    fn the_certificate_is_kept_while_it_will_do() {
        let mut stage = Stage::new();
        let first = stage.cert(&["192.168.1.2", "fd00::2"]);
        assert_eq!(stage.cert(&["192.168.1.2", "fd00::2"]), first);
        stage.now += 365 * DAY;
        assert_eq!(stage.cert(&["192.168.1.2"]), first);
    }

    #[test]
    fn a_new_address_or_a_near_end_makes_a_new_one() {
        let mut stage = Stage::new();
        let first = stage.cert(&["192.168.1.2"]);
        let second = stage.cert(&["192.168.1.3"]);
        assert_ne!(first, second);
        stage.now += 367 * DAY;
        assert_ne!(stage.cert(&["192.168.1.3"]), second);
    }

    #[test]
    fn a_damaged_pair_is_made_anew() {
        let stage = Stage::new();
        let first = stage.cert(&[]);
        fs::write(stage.state.path(KEY_FILE), "gone").unwrap();
        let second = stage.cert(&[]);
        assert_ne!(first, second);
        fs::write(stage.state.path(CERT_FILE), "gone").unwrap();
        assert!(stage.cert(&[]).contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn safari_accepts_how_long_it_is_valid() {
        let now = SystemTime::now();
        let (pem, _) = make(names_here(&[]), now).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let validity = certificate.validity();
        let length = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert!(length <= 397 * 24 * 3600, "{length}");
    }
}
