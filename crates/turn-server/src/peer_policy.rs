//! Which peers an allocation may reach: the same isolation group, or the public internet without private networks.
//!
//! IPv4-mapped, IPv4-compatible, NAT64 and 6to4 addresses are also checked as the IPv4 address that they contain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::addr::{Families, Family, PeerAddr};
use crate::routing_table::Route;

/// The policy of a server.
#[derive(Clone, Debug)]
pub enum PeerPolicy {
    /// Only relayed addresses of allocations in the same isolation group.
    SameGroup,
    /// Public unicast addresses, and relayed addresses of all allocations.
    Public(PeerFilter),
}

/// Exceptions to the built-in list of private and reserved networks.
#[derive(Clone, Debug, Default)]
pub struct PeerFilter {
    /// Always reachable; has priority over `denied`, `own` and the built-in list.
    pub allowed: Vec<IpNet>,
    /// Not reachable, in addition to the built-in list.
    pub denied: Vec<IpNet>,
    /// Addresses of the host: those of its interfaces, and its public ones. Not reachable.
    pub own: Vec<IpAddr>,
    /// Ports of the program's listeners: not reachable on addresses of the host, even if `allowed` lists these.
    pub listeners: Vec<u16>,
}

/// The policy of a server together with its relayed addresses.
#[derive(Debug)]
pub(crate) struct Reachability {
    policy: PeerPolicy,
    relayed: Families<IpAddr>,
    /// Relayed IP addresses before an address change. Allocations may still use them.
    former: Vec<IpAddr>,
}

/// Address changes after which the allocations of the oldest address are no longer found.
const MAX_FORMER_ADDRESSES: usize = 16;

impl Reachability {
    pub(crate) fn new(policy: PeerPolicy, relayed: Families<IpAddr>) -> Self {
        Self { policy, relayed, former: Vec::new() }
    }

    /// The relayed IP addresses of new allocations.
    pub(crate) fn relayed(&self) -> &Families<IpAddr> {
        &self.relayed
    }

    /// Whether relayed addresses need sockets, because peers outside the process may be reached.
    pub(crate) fn needs_sockets(&self) -> bool {
        matches!(self.policy, PeerPolicy::Public(_))
    }

    /// Replaces the relayed addresses and those of the host.
    pub(crate) fn set_addresses(&mut self, relayed: Families<IpAddr>, own: Vec<IpAddr>) {
        let before = std::mem::replace(&mut self.relayed, relayed);
        self.former.extend(before.iter());
        self.former.retain(|former| relayed.of(Family::of(*former)) != Some(former));
        let excess = self.former.len().saturating_sub(MAX_FORMER_ADDRESSES);
        self.former.drain(..excess);
        if let PeerPolicy::Public(filter) = &mut self.policy {
            // An address that the host no longer has may belong to another host.
            self.former.retain(|former| own.contains(former));
            filter.own = own;
        }
    }

    /// Whether allocations have, or may still have, relayed addresses with this IP address.
    pub(crate) fn is_relayed_ip(&self, ip: IpAddr) -> bool {
        self.relayed.of(Family::of(ip)) == Some(&ip) || self.former.contains(&ip)
    }

    /// Whether the policy of the server permits `peer`.
    pub(crate) fn permits(&self, peer: IpAddr) -> bool {
        self.is_relayed_ip(peer) || self.policy.permits_external(peer)
    }

    /// Whether `route` may have a permission for `peer`.
    pub(crate) fn may_permit(&self, route: &Route, peer: IpAddr) -> bool {
        self.is_relayed_ip(peer) || self.policy_of(route).permits_external(peer)
    }

    /// Whether packets from `from` may reach the allocation `target` inside the process.
    pub(crate) fn may_relay_internally(&self, from: &Route, target: &Route) -> bool {
        let is_public = |route| matches!(self.policy_of(route), PeerPolicy::Public(_));
        (is_public(from) && is_public(target)) || target.group == from.group
    }

    /// Whether packets from `from` may leave to the network for `peer`, which is no reachable allocation.
    pub(crate) fn may_send_external(&self, from: &Route, peer: PeerAddr) -> bool {
        match self.policy_of(from) {
            PeerPolicy::SameGroup => false,
            PeerPolicy::Public(filter) => {
                let ip = peer.0.ip();
                // A relayed address is not external unless the operator allows it explicitly.
                let allowed = if self.is_relayed_ip(ip) { filter.allows(ip) } else { filter.permits(ip) };
                allowed && peer.0.port() != 0 && !filter.is_listener(peer.0)
            }
        }
    }

    /// The policy of the server; the isolation group alone for connection tests.
    fn policy_of(&self, route: &Route) -> &PeerPolicy {
        if route.confined { &PeerPolicy::SameGroup } else { &self.policy }
    }
}

impl PeerPolicy {
    fn permits_external(&self, peer: IpAddr) -> bool {
        match self {
            Self::SameGroup => false,
            Self::Public(filter) => filter.permits(peer),
        }
    }
}

impl PeerFilter {
    /// Whether `peer`, which is no relayed address, may be reached.
    pub fn permits(&self, peer: IpAddr) -> bool {
        let is_denied = |ip| contains(&self.denied, ip) || self.own.contains(&ip) || is_reserved(ip);
        self.allows(peer) || !forms(peer).any(is_denied)
    }

    /// Whether `allowed` contains `peer`, or the IPv4 address in it.
    pub fn allows(&self, peer: IpAddr) -> bool {
        forms(peer).any(|ip| contains(&self.allowed, ip))
    }

    /// Whether `peer` is a listener of the program: an address of the host with a listener's port.
    pub fn is_listener(&self, peer: SocketAddr) -> bool {
        let is_own = |ip: IpAddr| self.own.contains(&ip) || ip.is_loopback() || ip.is_unspecified();
        self.listeners.contains(&peer.port()) && forms(peer.ip()).any(is_own)
    }
}

fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

/// The address, and the IPv4 address that it contains.
fn forms(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    [Some(ip), embedded_v4(ip)].into_iter().flatten()
}

/// The IPv4 address that an IPv6 address contains.
fn embedded_v4(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let octets = ip.octets();
    let v4_at = |at: usize| {
        Some(IpAddr::V4(Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3])))
    };
    if MAPPED.contains(&ip) || COMPATIBLE.contains(&ip) || NAT64.contains(&ip) {
        v4_at(12)
    } else if SIX_TO_FOUR.contains(&ip) {
        v4_at(2)
    } else {
        None
    }
}

fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => RESERVED_V4.iter().any(|net| net.contains(&ip)),
        // Everything outside global unicast (2000::/3) is reserved, except for forms of IPv4 addresses.
        IpAddr::V6(ip) => {
            let is_ipv4_form = MAPPED.contains(&ip) || NAT64.contains(&ip) || is_compatible(ip);
            !is_ipv4_form
                && (!GLOBAL_UNICAST.contains(&ip) || RESERVED_V6.iter().any(|net| net.contains(&ip)))
        }
    }
}

/// IPv4-compatible, but neither `::` nor `::1`.
fn is_compatible(ip: Ipv6Addr) -> bool {
    COMPATIBLE.contains(&ip) && !ip.is_unspecified() && !ip.is_loopback()
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
const COMPATIBLE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 96);
/// The well-known prefix (RFC 6052); the local-use one, 64:ff9b:1::/48, is outside 2000::/3.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);

/// IANA's special-purpose registry (RFC 6890) and multicast.
const RESERVED_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// Within 2000::/3: Teredo, benchmarking, ORCHID and the rest of 2001::/23, documentation (twice), 6to4.
const RESERVED_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 0, 23), v6(0x2001, 0xdb8, 0, 32), SIX_TO_FOUR, v6(0x3fff, 0, 0, 20)];

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> PeerFilter {
        PeerFilter { own: vec!["45.0.0.10".parse().unwrap()], ..PeerFilter::default() }
    }

    fn permits(filter: &PeerFilter, ip: &str) -> bool {
        filter.permits(ip.parse().unwrap())
    }

    #[test]
    fn public_unicast_addresses_are_reachable() {
        for ip in ["45.0.0.11", "8.8.8.8", "2a00:1450::1", "2600::", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
            assert!(permits(&filter(), ip), "{ip}");
        }
    }

    #[test]
    fn private_and_reserved_addresses_are_unreachable_in_any_form() {
        let reserved_v4 = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "45.0.0.10",
        ];
        for ip in reserved_v4 {
            assert!(!permits(&filter(), ip), "{ip}");
            assert!(!permits(&filter(), &format!("::ffff:{ip}")), "mapped {ip}");
            assert!(!permits(&filter(), &format!("::{ip}")), "compatible {ip}");
            assert!(!permits(&filter(), &format!("64:ff9b::{ip}")), "NAT64 {ip}");
        }
        let reserved_v6 = [
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "2001::1",
            "2001:db8::1",
            "2002:0808:0808::1",
            "2002:0a01:0203::1",
            "64:ff9b:1::1",
            "100::1",
            "3fff::1",
            "4000::1",
        ];
        for ip in reserved_v6 {
            assert!(!permits(&filter(), ip), "{ip}");
        }
    }

    #[test]
    fn allowed_has_priority_over_denied_and_denied_over_the_list() {
        let mut filter = filter();
        filter.denied = vec!["8.8.8.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        filter.allowed = vec!["10.1.0.0/16".parse().unwrap()];
        assert!(!permits(&filter, "8.8.8.8"));
        assert!(!permits(&filter, "::ffff:8.8.8.8"));
        assert!(!permits(&filter, "10.2.0.1"));
        assert!(permits(&filter, "10.1.0.1"));
        assert!(permits(&filter, "::ffff:10.1.0.1"));
    }

    #[test]
    fn same_group_permits_only_relayed_addresses() {
        let relayed = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
        let same_group = Reachability::new(PeerPolicy::SameGroup, relayed);
        assert!(same_group.permits("192.0.0.8".parse().unwrap()));
        assert!(!same_group.permits("8.8.8.8".parse().unwrap()));
        assert!(!same_group.permits("100::8".parse().unwrap()));
    }
}
