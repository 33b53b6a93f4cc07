//! Why a certificate and its key cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Hint, io_hint, io_reason};
use crate::file_permissions;
use crate::state_dir::StateError;

/// The certificate or the key cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting} {}: {}", .path.display(), unreadable_text(.path, .source).0)]
    Unreadable {
        /// `cert` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A file contains broken PEM, or something else under the label of a certificate or key.
    #[error("{setting} {} is damaged ({reason})", .path.display())]
    Damaged {
        /// `cert` or `key`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: PemError,
    },
    /// The `cert` file contains no certificate.
    #[error("cert {} holds {}", .path.display(), if *.holds_key { "a private key and no certificate" } else { "no PEM certificate" })]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// It contains a private key instead.
        holds_key: bool,
    },
    /// The `key` file contains no private key.
    #[error("key {} holds {}", .path.display(), if *.holds_certificate { "a certificate and no private key" } else { "no PEM private key" })]
    NoKey {
        /// The file.
        path: PathBuf,
        /// It contains a certificate instead.
        holds_certificate: bool,
    },
    /// A passphrase protects the key.
    #[error("key {} is protected by a passphrase", .path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is intact, but TLS here does not support its kind.
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
    /// The crypto library refuses the pair for a reason that was not checked before.
    #[error("cert cannot be served: {0}")]
    Library(rustls::Error),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The reason and the hint.
fn unreadable_text(path: &Path, source: &io::Error) -> (String, String) {
    match source.kind() == io::ErrorKind::PermissionDenied {
        true => file_permissions::explain_denial(path),
        false => (io_reason(source), io_hint(source)),
    }
}

impl Hint for TlsError {
    fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, source, .. } => unreadable_text(path, source).1,
            Self::Damaged { reason, .. } => reason.hint().to_owned(),
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

/// Why a text is no usable PEM. All texts are fixed, so none of them contains a part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// BEGIN, base64 and END are on one line.
    #[error("its line breaks are lost")]
    LineBreaksLost,
    /// The two characters `\n` are in the place of line breaks.
    #[error("its line breaks are lost, \\n is written in their place")]
    LineBreaksEscaped,
    /// The END line is missing.
    #[error("its END line is missing")]
    CutOff,
    /// Characters between BEGIN and END that are not base64.
    #[error("it has characters that are not base64")]
    NotBase64,
    /// UTF-16, as PowerShell writes it.
    #[error("it is UTF-16")]
    Utf16,
    /// DER or PKCS#12.
    #[error("it is binary and not PEM")]
    Binary,
    /// Intact PEM whose contents do not match its label.
    #[error("its contents do not match its label")]
    Contents,
}

impl PemError {
    fn hint(self) -> &'static str {
        match self {
            Self::LineBreaksLost | Self::CutOff | Self::NotBase64 | Self::Contents => {
                "copy the file again, whole and unchanged"
            }
            Self::LineBreaksEscaped => "put line breaks back: printf %b \"$(cat FILE)\" > FILE.pem",
            Self::Utf16 => "save it as ASCII or UTF-8",
            Self::Binary => {
                "convert it: openssl x509 or openssl pkey with -inform DER, or openssl pkcs12 -nodes"
            }
        }
    }
}
