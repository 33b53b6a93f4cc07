//! What can be wrong with a certificate and its key.

use std::io;
use std::path::{Path, PathBuf};

use super::pem::PemError;
use super::permissions;
use crate::error::{Hint, io_hint, io_reason};
use crate::store::StateError;

/// The certificate or the key cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting} {}: {}", .path.display(), read_text(.path, .source).0)]
    Unreadable {
        /// `cert` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds broken PEM, or something else under the label of a certificate or key.
    #[error("{setting} {} is damaged ({reason})", .path.display())]
    Damaged {
        /// `cert` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: PemError,
    },
    /// There is no certificate in the `cert` file.
    #[error("cert {} holds {}", .path.display(), if *.holds_key { "a private key and no certificate" } else { "no PEM certificate" })]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// It holds a private key instead.
        holds_key: bool,
    },
    /// There is no private key in the `key` file.
    #[error("key {} holds {}", .path.display(), if *.holds_certificate { "a certificate and no private key" } else { "no PEM private key" })]
    NoKey {
        /// The file.
        path: PathBuf,
        /// It holds a certificate instead.
        holds_certificate: bool,
    },
    /// The key is protected by a passphrase.
    #[error("key {} is protected by a passphrase", .path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is intact, but TLS here cannot use its kind.
    #[error("key {} is {kind}, which cannot serve TLS here", .path.display())]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// Such as `an EC key on P-521`.
        kind: String,
    },
    /// The key belongs to another certificate.
    #[error("key {} does not belong to cert {}", .key.display(), .cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key belongs to a later certificate of the chain.
    #[error("cert {} has its chain in the wrong order", .cert.display())]
    WrongOrder {
        /// The certificate's file.
        cert: PathBuf,
        /// Position of the leaf, from 1.
        position: usize,
    },
    /// The crypto library refuses the pair, which it never should.
    #[error("cert cannot be served: {0}")]
    Library(rustls::Error),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The reason and the hint.
fn read_text(path: &Path, source: &io::Error) -> (String, String) {
    match source.kind() == io::ErrorKind::PermissionDenied {
        true => permissions::denied(path),
        false => (io_reason(source), io_hint(source)),
    }
}

impl Hint for TlsError {
    fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, source, .. } => read_text(path, source).1,
            Self::Damaged { reason, .. } => reason.hint(),
            Self::NoCertificate { holds_key: true, .. } => "swap cert and key".to_owned(),
            Self::NoCertificate { holds_key: false, .. } => "name the fullchain.pem".to_owned(),
            Self::NoKey { .. } => "name the privkey.pem".to_owned(),
            Self::EncryptedKey { path } => {
                format!("write it without one: openssl pkey -in {} -out plain.pem", path.display())
            }
            Self::UnusableKey { .. } => {
                "make one on P-256 or P-384 (openssl ecparam -genkey -name prime256v1) or an RSA one of 2048 to \
                 4096 bits, and have the certificate issued for it"
                    .to_owned()
            }
            Self::Mismatch { .. } => "name the two files that were issued together".to_owned(),
            Self::WrongOrder { position, .. } => {
                format!("move certificate number {position}, which the key belongs to, to the top")
            }
            Self::Library(_) => "have a new one issued".to_owned(),
            Self::State(error) => error.hint(),
        }
    }
}

/// A certificate that works but that browsers will reject, now or soon. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateWarning {
    /// The certificate has expired.
    #[error("{subject} expired {days} days ago")]
    Expired {
        /// What to call it, such as `cert FILE`.
        subject: String,
        /// Whole days since then.
        days: u64,
    },
    /// The certificate is not valid yet: most often the clock here is wrong.
    #[error("{subject} is not valid yet")]
    NotYetValid {
        /// What to call it.
        subject: String,
    },
    /// Most of its life is over, so its renewal is late.
    #[error("{subject} expires in {}", time_left(*.seconds))]
    Expires {
        /// What to call it.
        subject: String,
        /// What is left.
        seconds: u64,
    },
    /// It is for another name than this server's.
    #[error("{subject} {}, so browsers refuse it{}", names_text(.names), at_domain(.names, .domain))]
    OtherName {
        /// What to call it.
        subject: String,
        /// The name it lacks.
        domain: String,
        /// The names it has.
        names: Vec<String>,
    },
}

fn time_left(seconds: u64) -> String {
    let hours = seconds / 3600;
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}

fn names_text(names: &[String]) -> String {
    if names.is_empty() { "names no host".to_owned() } else { format!("is for {}", names.join(", ")) }
}

fn at_domain(names: &[String], domain: &str) -> String {
    if names.is_empty() { String::new() } else { format!(" at {domain}") }
}

impl Hint for CertificateWarning {
    fn hint(&self) -> String {
        match self {
            Self::Expired { .. } => "renew it, browsers refuse it".to_owned(),
            Self::NotYetValid { .. } => "check this host's clock".to_owned(),
            Self::Expires { .. } => "check its renewal".to_owned(),
            Self::OtherName { domain, names, .. } => match names.is_empty() {
                true => format!("have one issued for {domain}"),
                false => format!("have one issued for {domain}, or correct domain"),
            },
        }
    }
}
