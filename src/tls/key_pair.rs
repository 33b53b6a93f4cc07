//! A PEM certificate chain and its private key (RFC 7468), read into a TLS configuration.
//!
//! Error texts of the PEM and crypto libraries may repeat a line of the key, so none of them is passed on.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::FromDer as _;

use super::ALPN;
use super::certificate_facts::CertificateFacts;
use super::error::{PemError, TlsError};
use super::hello;

/// Bytes of a file; a long chain with a comment on every certificate has a tenth of it.
const MAX_FILE: u64 = 1024 * 1024;

/// A certificate and key that are ready for TLS.
#[derive(Clone, Debug)]
pub struct LoadedCertificate {
    /// TLS 1.2 and 1.3, [`ALPN`], session tickets, no client certificates.
    pub config: Arc<ServerConfig>,
    /// Names and validity.
    pub leaf: CertificateFacts,
}

/// The texts of a chain and a key, not parsed yet. Has no `Debug`: it holds a key.
pub(super) struct PemPair {
    cert: PemFile,
    key: PemFile,
}

struct PemFile {
    /// `cert` or `key`.
    setting: &'static str,
    path: PathBuf,
    text: Vec<u8>,
}

/// Distinguishes two contents without keeping a key in memory.
pub(super) type Fingerprint = [u8; 32];

/// Loads the chain in `cert` and the key in `key`, both PEM; they may be one file.
///
/// # Errors
/// A file cannot be read or parsed, or the key does not belong to the certificate.
pub fn load(cert: &Path, key: &Path) -> Result<LoadedCertificate, TlsError> {
    PemPair::read(cert, key)?.load()
}

/// The certificates in the PEM file `path`, in order.
///
/// # Errors
/// The file cannot be read, or contains no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    PemFile::read("cert", path)?.chain()
}

/// The TLS configuration of a server with this certificate, which offers the protocols `alpn`.
pub(super) fn server_config(pair: CertifiedKey, alpn: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(hello::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

impl PemPair {
    /// Texts that are in memory; errors call them `path`.
    pub(super) fn new(path: impl Into<PathBuf>, cert: &str, key: &str) -> Self {
        let path = path.into();
        let file = |setting, text: &str| PemFile { setting, path: path.clone(), text: text.into() };
        Self { cert: file("cert", cert), key: file("key", key) }
    }

    pub(super) fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { cert: PemFile::read("cert", cert)?, key: PemFile::read("key", key)? })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let (cert, key) = (&self.cert.text, &self.key.text);
        let length = (cert.len() as u64).to_be_bytes();
        Sha256::new().chain_update(length).chain_update(cert).chain_update(key).finalize().into()
    }

    pub(super) fn load(&self) -> Result<LoadedCertificate, TlsError> {
        let (chain, signer) = (self.cert.chain()?, self.key.signer()?);
        self.check_key(&chain, &signer)?;
        let leaf = chain.first().and_then(|first| CertificateFacts::read(first));
        let leaf = leaf.ok_or_else(|| self.cert.damaged(PemError::Contents))?;
        let config = server_config(CertifiedKey::new(chain, signer), ALPN).map_err(TlsError::Library)?;
        Ok(LoadedCertificate { config: Arc::new(config), leaf })
    }

    /// The key must belong to the first certificate, which clients take for the server's own.
    fn check_key(
        &self,
        chain: &[CertificateDer<'static>],
        signer: &Arc<dyn SigningKey>,
    ) -> Result<(), TlsError> {
        let check = |certificate: &CertificateDer<'static>| {
            CertifiedKey::new(vec![certificate.clone()], Arc::clone(signer)).keys_match()
        };
        let (cert, key) = (self.cert.path.clone(), self.key.path.clone());
        match chain.iter().position(|certificate| check(certificate).is_ok()) {
            Some(0) => Ok(()),
            Some(index) => Err(TlsError::WrongOrder { cert, position: index + 1 }),
            None => Err(match chain.first().map(check) {
                Some(Err(rustls::Error::InvalidCertificate(_))) => self.cert.damaged(PemError::Contents),
                _ => TlsError::Mismatch { cert, key },
            }),
        }
    }
}

impl PemFile {
    fn read(setting: &'static str, path: &Path) -> Result<Self, TlsError> {
        let unreadable = |source| TlsError::Unreadable { setting, path: path.to_owned(), source };
        let mut text = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_FILE {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Self { setting, path: path.to_owned(), text })
    }

    fn damaged(&self, reason: PemError) -> TlsError {
        TlsError::Damaged { setting: self.setting, path: self.path.clone(), reason }
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = normalize(&self.text).map_err(|reason| self.damaged(reason))?;
        let chain = parse_certificates(&text).map_err(|reason| self.damaged(reason))?;
        if chain.is_empty() {
            let holds_key = contains(&text, b"PRIVATE KEY-----");
            return Err(TlsError::NoCertificate { path: self.path.clone(), holds_key });
        }
        Ok(chain)
    }

    fn signer(&self) -> Result<Arc<dyn SigningKey>, TlsError> {
        let text = normalize(&self.text).map_err(|reason| self.damaged(reason))?;
        let path = || self.path.clone();
        let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| contains(&text, mark)) {
            return Err(TlsError::EncryptedKey { path: path() });
        }
        let unusable = |kind| TlsError::UnusableKey { path: path(), kind };
        let Some(key) = parse_private_key(&text).map_err(|reason| self.damaged(reason))? else {
            let label = UNUSABLE_LABELS.iter().find(|(label, _)| contains(&text, label));
            let holds_certificate = contains(&text, b"BEGIN CERTIFICATE");
            return Err(match label {
                Some((_, kind)) => unusable((*kind).to_owned()),
                None => TlsError::NoKey { path: path(), holds_certificate },
            });
        };
        ring::sign::any_supported_type(&key)
            .map_err(|_| unusable_kind(&key).map_or_else(|| self.damaged(PemError::Contents), unusable))
    }
}

/// Windows editors write it before the first character of a file, so concatenated files have it in the middle.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text in the form the PEM library expects: no byte-order marks, no white space around a line.
fn normalize(text: &[u8]) -> Result<Vec<u8>, PemError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(PemError::Utf16);
    }
    // A DER SEQUENCE of more than 127 bytes.
    if matches!(text, [0x30, 0x81..=0x84, ..]) {
        return Err(PemError::Binary);
    }
    let mut normalized = Vec::with_capacity(text.len());
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii_start();
        normalized.extend_from_slice(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii());
        normalized.push(b'\n');
    }
    Ok(normalized)
}

/// All certificates of a [`normalize`]d text, in order; it may contain none.
fn parse_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    match certificates.map_err(|error| pem_error(text, &error))? {
        none if none.is_empty() => lost_line_breaks(text).map_or(Ok(none), Err),
        certificates => Ok(certificates),
    }
}

/// The first private key of a [`normalize`]d text; it may contain none.
fn parse_private_key(text: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, PemError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(Some(key)),
        Err(pem::Error::NoItemsFound) => lost_line_breaks(text).map_or(Ok(None), Err),
        Err(error) => Err(pem_error(text, &error)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may add errors")]
fn pem_error(text: &[u8], error: &pem::Error) -> PemError {
    lost_line_breaks(text).unwrap_or(match error {
        pem::Error::MissingSectionEnd { .. } => PemError::CutOff,
        pem::Error::Base64Decode(_) => PemError::NotBase64,
        _ => PemError::Contents,
    })
}

/// A BEGIN or END that shares its line.
fn lost_line_breaks(text: &[u8]) -> Option<PemError> {
    let line = text.split(|byte| *byte == b'\n').find(|line| {
        let is_marker = contains(line, b"-----BEGIN ") || contains(line, b"-----END ");
        let dashes = line.iter().filter(|byte| **byte == b'-').count();
        is_marker && !(line.starts_with(b"-----") && line.ends_with(b"-----") && dashes == 10)
    })?;
    Some(if contains(line, b"\\n") { PemError::LineBreaksEscaped } else { PemError::LineBreaksLost })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Labels of private keys that TLS cannot use.
const UNUSABLE_LABELS: [(&[u8], &str); 3] = [
    (b"BEGIN OPENSSH PRIVATE KEY", "a key for SSH"),
    (b"BEGIN DSA PRIVATE KEY", "a DSA key"),
    (b"BEGIN PGP PRIVATE KEY", "a key for PGP"),
];

/// Kinds of unusable keys by the DER of their object identifier in PKCS#8 (RFC 5208) or SEC1 (RFC 5915).
const UNUSABLE_KINDS: [(&[u8], &str); 14] = [
    (b"\x06\x05\x2b\x81\x04\x00\x23", "an EC key on P-521"),
    (b"\x06\x05\x2b\x81\x04\x00\x0a", "an EC key on secp256k1"),
    (b"\x06\x05\x2b\x81\x04\x00\x21", "an EC key on P-224"),
    (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01", "an EC key on P-192"),
    (b"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01", "an EC key on a Brainpool curve"),
    (b"\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d", "an SM2 key"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "an RSA-PSS key"),
    (b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01", "a DSA key"),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01", "a Diffie-Hellman key"),
    (b"\x06\x03\x2b\x65\x71", "an Ed448 key"),
    (b"\x06\x03\x2b\x65\x6e", "an X25519 key"),
    (b"\x06\x03\x2b\x65\x6f", "an X448 key"),
    (b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03", "a post-quantum signature key"),
    // Last: all EC keys in PKCS#8 have it, and one with explicit curve parameters has no other.
    (b"\x06\x07\x2a\x86\x48\xce\x3d\x01\x01", "an EC key whose curve has no name"),
];

const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// The object identifiers of a PKCS#8 key are within its first bytes, before the key itself.
const PKCS8_HEADER: usize = 40;

/// The kind of `key`, if that is why it cannot be used.
fn unusable_kind(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        PrivateKeyDer::Pkcs1(rsa) => rsa_kind(rsa.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(ec) => ec_kind(ec.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => pkcs8_kind(key.secret_pkcs8_der()),
        _ => None,
    }
}

fn pkcs8_kind(der: &[u8]) -> Option<String> {
    let header = &der[..der.len().min(PKCS8_HEADER)];
    if contains(header, EC_PUBLIC_KEY) {
        return ec_kind(der);
    }
    if contains(header, ED25519) {
        return None;
    }
    listed_kind(header).or_else(|| {
        // PrivateKeyInfo: version, algorithm, and the PKCS#1 key in an OCTET STRING.
        let (_, version) = der_element(der)?;
        let (algorithm, _) = der_element(version)?;
        let (octets, _) = der_element(algorithm)?;
        rsa_kind(der_element(octets)?.1)
    })
}

fn ec_kind(der: &[u8]) -> Option<String> {
    // Explicit curve parameters may name the field of P-256 without being accepted as P-256.
    let is_usable = contains(der, P256) || contains(der, P384);
    listed_kind(der).filter(|_| !is_usable)
}

/// RSAPrivateKey (RFC 8017 A.1.2): version, modulus, public exponent, …
fn rsa_kind(der: &[u8]) -> Option<String> {
    let (_, version) = der_element(der)?;
    let (modulus, _) = der_element(version)?;
    let (_, modulus) = der_element(modulus)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let bits = (modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize;
    (!(2048..=4096).contains(&bits)).then(|| format!("an RSA key of {bits} bits"))
}

fn listed_kind(der: &[u8]) -> Option<String> {
    let listed = UNUSABLE_KINDS.iter().find(|(identifier, _)| contains(der, identifier));
    listed.map(|(_, kind)| (*kind).to_owned())
}

/// What follows the first element, and its contents.
fn der_element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, element) = Any::from_der(der).ok()?;
    Some((rest, element.data))
}

#[cfg(test)]
mod tests;
