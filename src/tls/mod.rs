//! TLS as the box speaks it: where its certificate comes from, which one is in force, and how another
//! takes its place without a handshake that notices.
//!
//! `pair` reads a certificate and its key; `watch` keeps an eye on their files, and `policy` decides
//! what to do about what it sees. All listeners share one [`ActiveCertificate`].

mod acme;
mod active_certificate;
mod certificate_facts;
mod error;
mod expiry_warning;
mod file_watch;
mod hello;
mod key_kind;
mod key_pair;
mod pem;
mod permissions;
mod reload_policy;
mod self_signed;
mod source;
mod validity;

pub use acme::{Renewal, acme_certificate_path};
pub use active_certificate::{ActiveCertificate, Summary};
pub use certificate_facts::CertificateFacts;
pub use error::{CertificateWarning, TlsError};
pub use file_watch::{Files, Watch};
pub use hello::HelloStream;
pub use key_pair::{Loaded, certificates, load};
pub use pem::PemError;
pub use source::{PendingWrites, Upkeep, open};

/// The protocols offered in ALPN: HTTP and TURN share a port, and rustls ends a handshake in which
/// nothing fits (RFC 7301 §3.2, RFC 7443). The first that the client also has is taken, and
/// coturn's clients have all three.
pub const ALPN: &[&[u8]] = &[b"stun.turn", b"stun.nat-discovery", b"http/1.1", b"http/1.0"];

#[cfg(test)]
mod tests;
