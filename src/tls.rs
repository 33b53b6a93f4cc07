//! A PEM certificate and its key into what HTTPS is served with, or one sentence that says which
//! file is at fault and how to mend it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::why;

/// The protocols offered in ALPN: HTTP and TURN share a port, and rustls ends a handshake in which
/// nothing fits (RFC 7301 §3.2, RFC 7443). The first that the client also has is taken, and
/// coturn's clients have all three.
pub const ALPN: &[&[u8]] = &[b"stun.turn", b"stun.nat-discovery", b"http/1.1"];

/// A certificate ready to be served.
#[derive(Debug)]
pub struct Loaded {
    /// TLS 1.2 and 1.3, [`ALPN`], session tickets, no client certificates.
    pub config: Arc<ServerConfig>,
    /// What works but should not stay like this.
    pub warning: Option<Warning>,
}

/// A fault that browsers will complain about, not we. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The certificate has run out.
    Expired {
        /// Its file.
        cert: PathBuf,
        /// For how many whole days.
        days: u64,
    },
    /// The certificate is not valid yet: most often our clock is wrong.
    NotYetValid {
        /// Its file.
        cert: PathBuf,
    },
}

/// The certificate or the key cannot be used. `Display` is one line.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    Unreadable {
        /// `cert` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds broken PEM or a certificate that is none.
    Broken {
        /// `cert` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser says.
        fault: String,
    },
    /// There is no certificate in the `cert` file.
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// A private key is there instead.
        holds_key: bool,
    },
    /// There is no private key in the `key` file.
    NoKey {
        /// The file.
        path: PathBuf,
        /// A certificate is there instead.
        holds_certificate: bool,
    },
    /// The key is protected by a passphrase.
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key belongs to another certificate.
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key belongs to a certificate further down in the chain.
    WrongOrder {
        /// The certificate's file.
        cert: PathBuf,
        /// Where the leaf stands, from 1.
        position: usize,
    },
    /// The crypto library refuses something it never should.
    Library {
        /// What it says.
        fault: rustls::Error,
    },
}

/// Loads the chain in `cert` and the key in `key`, both PEM; `now` decides about warnings.
///
/// # Errors
/// A file cannot be read or holds something else, or the two do not belong together.
pub fn load(cert: &Path, key: &Path, now: SystemTime) -> Result<Loaded, TlsError> {
    let chain = read_chain(cert)?;
    let signer = read_key(key)?;
    check_pair(&chain, &signer, cert, key)?;
    let warning = warning(&chain, cert, now)?;
    let config =
        server_config(CertifiedKey::new(chain, signer)).map_err(|fault| TlsError::Library { fault })?;
    Ok(Loaded { config: Arc::new(config), warning })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read("cert", path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|fault| broken("cert", path, fault.to_string()))?;
    if chain.is_empty() {
        let holds_key = mentions(&text, "PRIVATE KEY-----");
        return Err(TlsError::NoCertificate { path: path.to_owned(), holds_key });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<Arc<dyn SigningKey>, TlsError> {
    let text = read("key", path)?;
    if mentions(&text, "BEGIN ENCRYPTED PRIVATE KEY") || mentions(&text, "Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey { path: path.to_owned() });
    }
    let der = PrivateKeyDer::from_pem_slice(&text).map_err(|fault| no_key(path, &text, &fault))?;
    ring::sign::any_supported_type(&der).map_err(|fault| broken("key", path, fault.to_string()))
}

fn no_key(path: &Path, text: &[u8], fault: &pem::Error) -> TlsError {
    if matches!(fault, pem::Error::NoItemsFound) {
        let holds_certificate = mentions(text, "BEGIN CERTIFICATE");
        return TlsError::NoKey { path: path.to_owned(), holds_certificate };
    }
    broken("key", path, fault.to_string())
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { setting, path: path.to_owned(), source })
}

fn mentions(text: &[u8], words: &str) -> bool {
    text.windows(words.len()).any(|window| window == words.as_bytes())
}

fn broken(setting: &'static str, path: &Path, fault: String) -> TlsError {
    TlsError::Broken { setting, path: path.to_owned(), fault }
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
            Some(Err(rustls::Error::InvalidCertificate(fault))) => broken("cert", cert, format!("{fault:?}")),
            _ => TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() },
        }),
    }
}

fn warning(
    chain: &[CertificateDer<'static>],
    cert: &Path,
    now: SystemTime,
) -> Result<Option<Warning>, TlsError> {
    let Some(leaf) = chain.first() else {
        return Ok(None);
    };
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|fault| broken("cert", cert, fault.to_string()))?;
    let cert = || cert.to_owned();
    if let Ok(past) = now.duration_since(not_after(&leaf)) {
        return Ok(Some(Warning::Expired { cert: cert(), days: past.as_secs() / (24 * 3600) }));
    }
    let begun = now >= instant(leaf.validity().not_before.timestamp());
    Ok((!begun).then(|| Warning::NotYetValid { cert: cert() }))
}

/// When `certificate` runs out.
pub(crate) fn not_after(certificate: &X509Certificate<'_>) -> SystemTime {
    instant(certificate.validity().not_after.timestamp())
}

fn instant(unix: i64) -> SystemTime {
    let since = Duration::from_secs(unix.unsigned_abs());
    if unix < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since }
}

fn server_config(pair: CertifiedKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { setting, path, source } => {
                write!(f, "{setting} {}: {}", path.display(), why(source))
            }
            Self::Broken { setting, path, fault } => {
                write!(f, "{setting} {} is damaged ({fault}); fetch that file anew", path.display())
            }
            Self::NoCertificate { path, holds_key: true } => {
                write!(f, "cert {} holds a private key and no certificate; swap cert and key", path.display())
            }
            Self::NoCertificate { path, holds_key: false } => {
                write!(f, "cert {} holds no PEM certificate; name the fullchain.pem", path.display())
            }
            Self::NoKey { path, holds_certificate: true } => {
                write!(
                    f,
                    "key {} holds a certificate and no private key; name the privkey.pem",
                    path.display()
                )
            }
            Self::NoKey { path, holds_certificate: false } => {
                write!(f, "key {} holds no PEM private key; name the privkey.pem", path.display())
            }
            Self::EncryptedKey { path } => write!(
                f,
                "key {0} is protected by a passphrase; write it without one: openssl pkey -in {0} -out plain.pem",
                path.display()
            ),
            Self::Mismatch { cert, key } => write!(
                f,
                "key {} does not belong to cert {}; name the two files that were issued together",
                key.display(),
                cert.display()
            ),
            Self::WrongOrder { cert, position } => write!(
                f,
                "cert {} has its chain in the wrong order; move certificate number {position}, \
                 which the key belongs to, to the top",
                cert.display()
            ),
            Self::Library { fault } => write!(f, "cert cannot be served: {fault}; have a new one issued"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { cert, days } => {
                write!(f, "cert {} ran out {days} days ago; renew it, browsers refuse it", cert.display())
            }
            Self::NotYetValid { cert } => {
                write!(f, "cert {} is not valid yet; check this host's clock", cert.display())
            }
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Unreadable { source, .. } = self { Some(source) } else { None }
    }
}

#[cfg(test)]
mod tests;
