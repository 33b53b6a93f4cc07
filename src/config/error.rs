//! Complaints about settings: each a value that knows its setting, each one line that ends with
//! the cure.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::why;

/// What is wrong with what was typed. `Display` is one line: the setting, the fault, the cure.
#[derive(Debug)]
pub enum SettingsError {
    /// A name that is no setting.
    UnknownName {
        /// Where it stands.
        place: Place,
        /// How it is written there; not repeated where it may be a secret.
        name: Option<String>,
        /// The setting that was probably meant, written the same way.
        nearest: Option<String>,
    },
    /// A value of the wrong kind: a list for a setting that takes one value, a table, a fraction.
    WrongKind {
        /// Where it stands.
        place: Place,
        /// How the setting is written there.
        name: String,
        /// What may stand there.
        wanted: &'static str,
    },
    /// The configuration file is not TOML.
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What the parser says.
        fault: String,
    },
    /// A file or folder named by a setting cannot be used.
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// What it names.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of secrets named by a word without a folder, which may be a secret; it is not repeated.
    UnreadableWord {
        /// The setting.
        setting: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A value that means nothing to its setting.
    Value {
        /// The setting.
        setting: &'static str,
        /// What was typed.
        value: String,
        /// Completes "min-port 7 is …".
        fault: &'static str,
        /// What to type instead.
        cure: &'static str,
    },
    /// A secret that is empty; its text is not repeated.
    EmptySecret {
        /// The setting.
        setting: &'static str,
    },
    /// A secret that is guessed too soon; its text is not repeated.
    ShortSecret {
        /// The setting.
        setting: &'static str,
        /// Characters it must have.
        least: usize,
    },
    /// Secrets both in place and in a file.
    TwoSecretSources {
        /// The setting with the secrets themselves.
        in_place: &'static str,
        /// The one that names a file.
        in_file: &'static str,
    },
    /// The contents of a file stand where its name belongs; they are not repeated.
    NotAFileName {
        /// The setting.
        setting: &'static str,
    },
    /// One listen address already covers another.
    Covered {
        /// The wildcard.
        wide: IpAddr,
        /// The address it covers.
        narrow: IpAddr,
    },
    /// Ports that do not go together.
    Ports(PortsError),
    /// A domain and its certificate that do not go together.
    Certificate(CertificateError),
}

/// Ports that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortsError {
    /// The range of relayed ports ends before it begins.
    EmptyRange {
        /// What `min-port` says.
        min: u16,
        /// What `max-port` says.
        max: u16,
    },
    /// Two listeners want one TCP port.
    Same {
        /// One setting.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// What both say.
        port: u16,
    },
    /// Every listener is switched off.
    AllOff,
    /// Chromium refuses TURN on this port.
    RefusedByBrowsers {
        /// Which setting.
        setting: &'static str,
        /// What it says.
        port: u16,
    },
}

/// A domain and its certificate that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// A domain without a certificate.
    Missing {
        /// The domain.
        domain: String,
    },
    /// Of `cert` and `key`, only one is there.
    Alone {
        /// The one that is there.
        present: &'static str,
        /// The one that is missing.
        missing: &'static str,
    },
    /// A certificate without a domain.
    NoDomain,
    /// `acme-email` without a domain.
    AcmeWithoutDomain,
    /// Both from files and by ACME.
    TwoSources,
    /// By ACME, without the port where the authority looks.
    AcmeWithoutHttps,
}

/// Where something was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TOML file.
    File(PathBuf),
    /// The process environment.
    Environment,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName { place, name: Some(name), nearest: Some(nearest) } => {
                write!(f, "{name:?} in {place} is not a setting; did you mean {nearest:?}?")
            }
            Self::UnknownName { place, name: Some(name), .. } => {
                write!(f, "{name:?} in {place} is not a setting; remove it (--help lists them all)")
            }
            Self::UnknownName { place, name: None, .. } => {
                write!(
                    f,
                    "a name in {place} is not a setting; name a file of settings (--help lists them all)"
                )
            }
            Self::WrongKind { place, name, wanted } => {
                write!(f, "{name} in {place} has a value of the wrong kind; give {wanted}")
            }
            Self::Syntax { path, line, fault } => {
                write!(f, "config {} is not TOML: {fault:?}; mend line {line}", path.display())
            }
            Self::Unreadable { setting, path, source } => {
                write!(f, "{setting} {}: {}", path.display(), why(source))
            }
            Self::Value { setting, value, fault, cure } => {
                write!(f, "{setting} {value:?} is {fault}; {cure}")
            }
            Self::EmptySecret { setting } => {
                write!(f, "{setting} is empty; give it a long random text (openssl rand -base64 32)")
            }
            Self::ShortSecret { setting, least } => {
                write!(
                    f,
                    "a {setting} is shorter than {least} characters; give a longer one (openssl rand -base64 32)"
                )
            }
            Self::TwoSecretSources { in_place, in_file } => {
                write!(f, "{in_place} and {in_file} are both set; keep one of them")
            }
            Self::UnreadableWord { setting, source } => {
                write!(f, "{setting}: {}", why(source))
            }
            Self::NotAFileName { setting } => {
                write!(f, "{setting} holds the contents of a file; write them to a file, and name that file")
            }
            Self::Covered { wide, narrow } => {
                write!(f, "listen {narrow} is already covered by listen {wide}; leave one of them out")
            }
            Self::Ports(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for PortsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyRange { min, max } => {
                write!(f, "min-port {min} is above max-port {max}; swap them")
            }
            Self::Same { first, second, port } => write!(
                f,
                "{first} and {second} both want TCP port {port}; give one of them another port, or 0 for off"
            ),
            Self::AllOff => f.write_str(
                "https-port, http-port, turn-port and turns-port are all 0, so there is nothing to serve; \
                 give one of them a port",
            ),
            Self::RefusedByBrowsers { setting, port } => write!(
                f,
                "{setting} {port} is refused by Chromium browsers; \
                 take another port from 1024 up, or 53, 80 or 443"
            ),
        }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { domain } => write!(
                f,
                "domain {domain} has no certificate; add --acme-email YOU@EXAMPLE.COM to have one got \
                 (setting acme-email), or --cert fullchain.pem --key privkey.pem (settings cert and key)"
            ),
            Self::Alone { present, missing } => {
                write!(f, "{present} is set without {missing}; add --{missing} FILE (setting {missing})")
            }
            Self::NoDomain => f.write_str(
                "cert and key are set without domain; \
                 add --domain NAME, a name in the certificate, or leave both out to try things out",
            ),
            Self::AcmeWithoutDomain => f.write_str(
                "acme-email is set without domain; \
                 add --domain NAME, the name to get a certificate for, or leave acme-email out to try things out",
            ),
            Self::TwoSources => {
                f.write_str("acme-email and cert with key are both set; keep acme-email, or keep cert and key")
            }
            Self::AcmeWithoutHttps => f.write_str(
                "acme-email needs https-port, where the authority looks who answers; \
                 give https-port a port that 443 leads to, or take cert and key instead",
            ),
        }
    }
}

impl Error for SettingsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Unreadable { source, .. } = self { Some(source) } else { None }
    }
}

impl From<PortsError> for SettingsError {
    fn from(error: PortsError) -> Self {
        Self::Ports(error)
    }
}

impl From<CertificateError> for SettingsError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("the environment"),
        }
    }
}
