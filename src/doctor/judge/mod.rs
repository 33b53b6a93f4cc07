//! What was seen becomes findings: pure, so that each scene is a test.

pub(super) mod access;
pub(super) mod addresses;
pub(super) mod certificate;
pub(super) mod host;
pub(super) mod page;
pub(super) mod ports;
pub(super) mod relay;

use std::fmt;
use std::net::SocketAddr;

/// Why nothing came of trying to reach a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// This machine has no way to addresses of that family.
    NoRoute,
    /// The host is there, and nothing listens.
    Refused,
    /// No answer in time: most often a firewall.
    Silent,
    /// The other side hung up, or spoke something else.
    Broken(String),
}

impl Trouble {
    /// What to do where `port` (such as `3478/udp`) does not answer.
    fn cure(&self, port: &str) -> String {
        match self {
            Self::NoRoute => "try from a machine that has such addresses".to_owned(),
            Self::Refused => format!("start the box, and see that its settings name port {port}"),
            Self::Silent => format!(
                "open {port} in every firewall before the box, the provider's too; \
                 where it answers from another network, this one blocks it"
            ),
            Self::Broken(_) => {
                format!("see in the log of the box what happened, and that nothing else has port {port}")
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("this machine has no way there"),
            Self::Refused => f.write_str("nothing listens there"),
            Self::Silent => f.write_str("no answer"),
            Self::Broken(why) => write!(f, "it answers, but {why}"),
        }
    }
}

/// `IPv4 (45.0.0.10)`.
fn over(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    format!("{family} ({})", address.ip())
}
