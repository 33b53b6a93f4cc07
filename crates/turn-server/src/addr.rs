//! Addresses by role: who asks us, whom they want, what we lend.
//!
//! Every address is canonical: an IPv4 client that came in on an IPv6 socket is an IPv4 client.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How a client's bytes reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams on the turn port.
    Udp,
    /// A TCP stream on the turn port.
    Tcp,
    /// TLS over TCP, on its own port or beside HTTPS.
    Tls,
}

impl Transport {
    /// All of them, in the order of counts.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];
}

/// A client's 5-tuple: who asks us (RFC 8656 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr {
    /// How it talks to us.
    pub transport: Transport,
    /// Where it is.
    pub remote: SocketAddr,
    /// Which of our addresses it talks to.
    pub local: SocketAddr,
}

/// Whom a client wants to reach.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// What we lend: the address by which an allocation is reached, as its client was told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayedAddr(pub SocketAddr);

/// An address family, as REQUESTED-ADDRESS-FAMILY numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 0x01.
    V4,
    /// 0x02.
    V6,
}

/// One of something for each address family, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families<T> {
    /// For IPv4.
    pub v4: Option<T>,
    /// For IPv6.
    pub v6: Option<T>,
}

impl ClientAddr {
    /// Makes both ends canonical. A link-local client keeps its scope: the same address on another link is
    /// another client, and without it nothing can be sent there (RFC 4007 §6).
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
    /// The family an address is of.
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
    /// The one for `family`.
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

    /// Those there are, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.v4.iter().chain(self.v6.iter())
    }
}

/// An IPv4-mapped address as the IPv4 address it is; flow labels and scopes dropped.
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
