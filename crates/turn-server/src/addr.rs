//! Addresses by role: client, peer, relayed.
//!
//! Every address is canonical: an IPv4 client on an IPv6 socket has an IPv4 address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The transport between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A TCP stream.
    Tcp,
    /// TLS over TCP, on a port of its own or shared with HTTPS.
    Tls,
}

impl Transport {
    /// Every transport, in the order of counters.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];
}

/// A client's 5-tuple (RFC 8656 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    /// Its transport.
    pub transport: Transport,
    /// The address of the client.
    pub remote: SocketAddr,
    /// The address of the server.
    pub local: SocketAddr,
}

/// An address that a client exchanges data with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// The address where peers reach an allocation, as its client learned it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayedAddr(pub SocketAddr);

/// An address family, with its value in REQUESTED-ADDRESS-FAMILY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 0x01.
    V4,
    /// 0x02.
    V6,
}

/// Up to one value for each address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families<T> {
    /// For IPv4.
    pub v4: Option<T>,
    /// For IPv6.
    pub v6: Option<T>,
}

impl ClientAddr {
    /// Makes both addresses canonical. A link-local client keeps its scope: the same address on another link is another
    /// client, and sending to it needs the scope (RFC 4007 §6).
    pub fn new(transport: Transport, remote: SocketAddr, local: SocketAddr) -> Self {
        let mut client = Self { transport, remote: canonical(remote), local: canonical(local) };
        if let (SocketAddr::V6(from), SocketAddr::V6(to)) = (remote, &mut client.remote)
            && from.ip().is_unicast_link_local()
        {
            to.set_scope_id(from.scope_id());
        }
        client
    }
}

impl PeerAddr {
    /// Makes the address canonical.
    pub fn new(addr: SocketAddr) -> Self {
        Self(canonical(addr))
    }
}

impl Family {
    /// The family of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

impl<T> Default for Families<T> {
    fn default() -> Self {
        Self { v4: None, v6: None }
    }
}

impl<T> Families<T> {
    /// The value for `family`.
    pub fn of(&self, family: Family) -> Option<&T> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// The place for `family`.
    pub fn of_mut(&mut self, family: Family) -> &mut Option<T> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    /// The values that are present, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.v4.iter().chain(self.v6.iter())
    }
}

/// Converts an IPv4-mapped address to IPv4, and drops flow label and scope.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl fmt::Debug for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} at {}", self.transport, self.remote, self.local)
    }
}

impl fmt::Debug for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

impl fmt::Debug for RelayedAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relayed {}", self.0)
    }
}
