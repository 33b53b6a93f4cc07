//! What was typed becomes what runs: defaults, file, environment and flags into [`Settings`] with
//! nothing left to doubt.
//!
//! Three steps, each its own file: `typed` is what was typed, all text and all optional; `sources`
//! reads the file and the environment into that and lays one over the other; `checks` turns the
//! result into [`Settings`] or one [`SettingsError`].

mod changes;
mod checks;
mod error;
mod service_links;
mod sources;
mod typed;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use webrtc_box_turn::credential::Secret;

pub use self::checks::{Surroundings, browsers_take};
pub use self::error::{Place, SettingsError};
pub use self::sources::{DEFAULT_FILE, VARIABLE_PREFIX, gather, set_variables};
pub use self::typed::Typed;
pub use self::values::seconds;

/// A checked configuration. Ports: `None` is off; `Some(0)` takes any free one (tests only, a user
/// cannot type it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the box is reached by.
    pub identity: Identity,
    /// The addresses to bind.
    pub listen: Listen,
    /// HTTPS and WSS, TCP.
    pub https_port: Option<u16>,
    /// Redirects to HTTPS, TCP.
    pub http_port: Option<u16>,
    /// STUN and TURN, UDP (and TCP).
    pub turn_port: Option<u16>,
    /// STUN and TURN over TLS, TCP; besides the one on `https_port`.
    pub turns_port: Option<u16>,
    /// Addresses the box is seen by from outside, in order.
    pub external_ip: Vec<ExternalIp>,
    /// Who may be reached through the relay.
    pub relay_scope: RelayScope,
    /// First relayed port.
    pub min_port: u16,
    /// Last relayed port, not below `min_port`.
    pub max_port: u16,
    /// Peers allowed in `public` whatever else says no.
    pub allowed_peer_ip: Vec<IpNet>,
    /// Peers refused in `public`.
    pub denied_peer_ip: Vec<IpNet>,
    /// Configured secrets; empty: one is made and kept in the state directory.
    pub static_auth_secret: Vec<Secret>,
    /// The STUN realm.
    pub realm: String,
    /// How long a minted credential opens allocations.
    pub credential_ttl: Duration,
    /// Allocations of one seat; 0: no limit.
    pub user_quota: u32,
    /// Allocations in all; 0: no limit.
    pub total_quota: u32,
    /// Bytes per second of one allocation, each way; 0: no limit.
    pub max_bps: u32,
    /// Bytes per second of the box, each way; 0: no limit.
    pub bps_capacity: u32,
    /// Unauthenticated UDP replies per second to one source; 0: no limit.
    pub unauth_reply_rate: u32,
    /// TCP connections of one source.
    pub source_connections: u32,
    /// How long a seat is kept for somebody who dropped.
    pub room_grace: Duration,
    /// Where not empty: opening an empty room takes one of these.
    pub host_key: Vec<Secret>,
    /// The files that secrets and host keys were read from, by their settings.
    pub secret_files: Vec<(&'static str, PathBuf)>,
    /// Further WebSocket origins besides our own.
    pub allowed_origin: Vec<String>,
    /// Reverse proxies that are believed.
    pub trusted_proxy: Vec<IpNet>,
    /// Proxies whose streams begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// Serve the page from this folder instead of the built-in one.
    pub public: Option<PathBuf>,
    /// Secrets, keys and certificates kept between starts.
    pub state_dir: PathBuf,
    /// How long calls may go on after the first SIGTERM.
    pub drain_timeout: Duration,
    /// Where `/metrics` and the full `/healthz` are served.
    pub metrics_listen: Option<SocketAddr>,
    /// What is logged and how.
    pub log: Log,
}

/// What the box is reached by, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No domain: `localhost`, a self-signed certificate kept in the state directory.
    TryOut,
    /// A public name.
    Domain {
        /// The name, lower case, in ASCII.
        name: String,
        /// Where its certificate comes from.
        source: CertificateSource,
    },
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// From files that somebody else renews.
    Files {
        /// PEM chain.
        cert: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
    /// The box gets and renews it by itself (ACME, RFC 8555).
    Acme {
        /// For the account with the authority.
        email: String,
        /// The authority: the URL of its directory.
        directory: String,
    },
}

/// Which addresses to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `::` with V6ONLY off, or `0.0.0.0` where the host has no IPv6.
    Any,
    /// Just these.
    These(Vec<IpAddr>),
}

impl Listen {
    /// Whether what comes in at `ip`, an address of this host, is heard.
    pub fn hears(&self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::These(addresses) => addresses.iter().any(|&wide| covers(wide, ip)),
        }
    }
}

/// Whether a socket bound to `wide` gets what comes in at `ip`. `::` is bound with V6ONLY off.
fn covers(wide: IpAddr, ip: IpAddr) -> bool {
    wide == ip || (wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4()))
}

/// `PUBLIC` or `PUBLIC/LOCAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalIp {
    /// The address seen from outside.
    pub public: IpAddr,
    /// The local address it is mapped to, where it is mapped.
    pub local: Option<IpAddr>,
}

/// Who may be reached through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayScope {
    /// Only relayed addresses of the same room, inside the process.
    Room,
    /// A general TURN server with real relay sockets.
    Public,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter such as `info` or `webrtc_box=debug`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// Addresses and room names may appear.
    pub addresses: bool,
}
