//! What can be wrong with a certificate and its key: each a value, each one line that says whose
//! fault it is and how to mend it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::pem::Damage;
use super::permissions;
use crate::error::why;

/// A fault that browsers will complain about, not we. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The certificate has run out.
    Expired {
        /// How it is called, such as `cert FILE`.
        subject: String,
        /// For how many whole days.
        days: u64,
    },
    /// The certificate is not valid yet: most often our clock is wrong.
    NotYetValid {
        /// How it is called.
        subject: String,
    },
    /// Most of its life is over, so whoever renews it has missed the time.
    RunsOut {
        /// How it is called.
        subject: String,
        /// What is left.
        seconds: u64,
    },
    /// It is for another name than the one the box is reached by.
    OtherName {
        /// How it is called.
        subject: String,
        /// The name it lacks.
        domain: String,
        /// The names it has.
        names: String,
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
        /// What is wrong with it.
        damage: Damage,
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
    /// The key is sound, and of a kind that TLS cannot use here.
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// Such as `an EC key on P-521`.
        kind: String,
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

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { setting, path, source } => {
                let denied = source.kind() == io::ErrorKind::PermissionDenied;
                let why = if denied { permissions::denied(path) } else { why(source) };
                write!(f, "{setting} {}: {why}", path.display())
            }
            Self::Broken { setting, path, damage } => {
                let (fault, cure) = (damage.fault(), damage.cure());
                write!(f, "{setting} {} is damaged ({fault}); {cure}", path.display())
            }
            Self::UnusableKey { path, kind } => write!(
                f,
                "key {} is {kind}, with which no TLS is served here; make one on P-256 or P-384 \
                 (openssl ecparam -genkey -name prime256v1) or an RSA one of 2048 to 4096 bits, \
                 and have the certificate issued for it",
                path.display()
            ),
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
            Self::Expired { subject, days } => {
                write!(f, "{subject} ran out {days} days ago; renew it, browsers refuse it")
            }
            Self::NotYetValid { subject } => {
                write!(f, "{subject} is not valid yet; check this host's clock")
            }
            Self::RunsOut { subject, seconds } => {
                let hours = seconds / 3600;
                let (count, unit) = if hours < 48 { (hours, "hours") } else { (hours / 24, "days") };
                write!(f, "{subject} runs out in {count} {unit}; see to it that it is renewed")
            }
            Self::OtherName { subject, domain, names } if names.is_empty() => {
                write!(f, "{subject} names no host, so browsers refuse it; have one issued for {domain}")
            }
            Self::OtherName { subject, domain, names } => write!(
                f,
                "{subject} is for {names}, so browsers refuse it at {domain}; \
                 have one issued for {domain}, or correct domain"
            ),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Unreadable { source, .. } = self { Some(source) } else { None }
    }
}
