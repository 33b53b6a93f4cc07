//! A PEM certificate and its key into what TLS is served with, or one sentence that says which file
//! is at fault and how to mend it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ALPN;
use super::certificate_facts::CertificateFacts;
use super::error::TlsError;
use super::hello;
use super::key_kind;
use super::pem::{self, PemError};

/// A long chain with a comment on every certificate has a tenth of this.
const LONGEST_FILE: u64 = 1024 * 1024;

/// A certificate ready to be served.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// TLS 1.2 and 1.3, [`ALPN`], session tickets, no client certificates.
    pub config: Arc<ServerConfig>,
    /// What is known of it.
    pub leaf: CertificateFacts,
}

/// What two files hold, not yet understood. Has no `Debug`: it holds a key.
pub(super) struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Tells two contents apart without keeping a key in memory.
pub(super) type Fingerprint = [u8; 32];

/// Loads the chain in `cert` and the key in `key`, both PEM; they may be one file.
///
/// # Errors
/// A file cannot be read or holds something else, or the two do not belong together.
pub fn load(cert: &Path, key: &Path) -> Result<Loaded, TlsError> {
    Texts::read(cert, key)?.load(cert, key)
}

impl Texts {
    pub(super) fn new(cert: &str, key: &str) -> Self {
        Self { cert: cert.into(), key: key.into() }
    }

    pub(super) fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { cert: read("cert", cert)?, key: read("key", key)? })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let length = (self.cert.len() as u64).to_be_bytes();
        Sha256::new().chain_update(length).chain_update(&self.cert).chain_update(&self.key).finalize().into()
    }

    /// `cert` and `key` are the files the texts are from, for the complaint.
    pub(super) fn load(&self, cert: &Path, key: &Path) -> Result<Loaded, TlsError> {
        let chain = chain(&self.cert, cert)?;
        let signer = signer(&self.key, key)?;
        check_pair(&chain, &signer, cert, key)?;
        let leaf = leaf(&chain, cert)?;
        let config = server_config(CertifiedKey::new(chain, signer), ALPN).map_err(TlsError::Library)?;
        Ok(Loaded { config: Arc::new(config), leaf })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { setting, path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LONGEST_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

fn chain(text: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let broken = |reason| broken("cert", path, reason);
    let text = pem::normalized(text).map_err(broken)?;
    let chain = pem::certificates(&text).map_err(broken)?;
    if chain.is_empty() {
        let holds_key = pem::mentions(&text, "PRIVATE KEY-----");
        return Err(TlsError::NoCertificate { path: path.to_owned(), holds_key });
    }
    Ok(chain)
}

fn signer(text: &[u8], path: &Path) -> Result<Arc<dyn SigningKey>, TlsError> {
    let broken = |reason| broken("key", path, reason);
    let text = pem::normalized(text).map_err(broken)?;
    if ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"].iter().any(|mark| pem::mentions(&text, mark))
    {
        return Err(TlsError::EncryptedKey { path: path.to_owned() });
    }
    let unusable = |kind| TlsError::UnusableKey { path: path.to_owned(), kind };
    let Some(der) = pem::private_key(&text).map_err(broken)? else {
        let holds_certificate = pem::mentions(&text, "BEGIN CERTIFICATE");
        let none = TlsError::NoKey { path: path.to_owned(), holds_certificate };
        return Err(key_kind::by_label(&text).map_or(none, unusable));
    };
    // What the library says is not passed on: it has seen the key.
    ring::sign::any_supported_type(&der)
        .map_err(|_| key_kind::unusable(&der).map_or_else(|| broken(PemError::Contents), unusable))
}

fn broken(setting: &'static str, path: &Path, reason: PemError) -> TlsError {
    TlsError::Damaged { setting, path: path.to_owned(), reason }
}

/// The certificates in the PEM file `path`, in order, for a tool that policy at them.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    chain(&read("cert", path)?, path)
}

/// The key must belong to the first certificate, which is the one browsers are shown as ours.
fn check_pair(
    chain: &[CertificateDer<'static>],
    signer: &Arc<dyn SigningKey>,
    cert: &Path,
    key: &Path,
) -> Result<(), TlsError> {
    let belongs = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(signer)).keys_match()
    };
    match chain.iter().position(|certificate| belongs(certificate).is_ok()) {
        Some(0) => Ok(()),
        Some(index) => Err(TlsError::WrongOrder { cert: cert.to_owned(), position: index + 1 }),
        None => Err(match chain.first().map(belongs) {
            Some(Err(rustls::Error::InvalidCertificate(_))) => broken("cert", cert, PemError::Contents),
            _ => TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() },
        }),
    }
}

fn leaf(chain: &[CertificateDer<'static>], cert: &Path) -> Result<CertificateFacts, TlsError> {
    let first = chain.first().map_or(&[][..], |first| first.as_ref());
    let (_, leaf) = X509Certificate::from_der(first).map_err(|_| broken("cert", cert, PemError::Contents))?;
    Ok(CertificateFacts::of(&leaf))
}

/// What a server with this certificate speaks; `alpn` is what it offers.
pub(super) fn server_config(pair: CertifiedKey, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(hello::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}
