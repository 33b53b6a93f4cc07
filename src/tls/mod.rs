//! TLS as the box speaks it: where its certificate comes from, which one is in force, and how another
//! takes its place without a handshake that notices.
//!
//! `pair` reads a certificate and its key; `watch` keeps an eye on their files, and `looks` decides
//! what to do about what it sees. All listeners share one [`InForce`].

mod access;
mod acme;
mod fault;
mod hello;
mod in_force;
mod key_kind;
mod leaf;
mod looks;
mod pair;
mod pem;
mod reminder;
mod source;
mod watch;
mod when;

pub use acme::{Renewal, kept_by_acme};
pub use fault::{TlsError, Warning};
pub use hello::HelloStream;
pub use in_force::{InForce, Summary};
pub use leaf::Leaf;
pub use pair::{Loaded, certificates, load};
pub use pem::Damage;
pub use source::{Keeping, Upkeep, open};
pub use watch::{Files, Watch};

/// The protocols offered in ALPN: HTTP and TURN share a port, and rustls ends a handshake in which
/// nothing fits (RFC 7301 §3.2, RFC 7443). The first that the client also has is taken, and
/// coturn's clients have all three.
pub const ALPN: &[&[u8]] = &[b"stun.turn", b"stun.nat-discovery", b"http/1.1", b"http/1.0"];

#[cfg(test)]
mod tests;
