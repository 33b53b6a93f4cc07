//! Who may be reached through the relay: the room alone, or the public internet without its
//! private corners.
//!
//! An address is judged in every spelling: IPv4-mapped, IPv4-compatible, NAT64 and 6to4 addresses
//! are also judged as the IPv4 address they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::addr::{Families, Family};

/// The rule of a box.
#[derive(Clone, Debug)]
pub enum PeerPolicy {
    /// Only relayed addresses of this box whose room is the same.
    SameGroup,
    /// Public unicast addresses, and live relayed addresses of this box.
    Public(PeerFilter),
}

/// What `public` refines the built-in list with.
#[derive(Clone, Debug, Default)]
pub struct PeerFilter {
    /// Wins over everything else here.
    pub allowed: Vec<IpNet>,
    /// Wins over the built-in list's silence.
    pub denied: Vec<IpNet>,
    /// The box's own addresses: its interfaces' and those it is seen by.
    pub own: Vec<IpAddr>,
    /// Ports the box itself listens on, which nothing allows on its own addresses.
    pub listeners: Vec<u16>,
}

impl PeerPolicy {
    /// Whether a permission for `peer` may be installed. `relayed` are the addresses we lend.
    pub fn permits(&self, peer: IpAddr, relayed: &Families<IpAddr>) -> bool {
        if is_relayed(peer, relayed) {
            return true;
        }
        match self {
            Self::SameGroup => false,
            Self::Public(filter) => filter.permits(peer),
        }
    }
}

impl PeerFilter {
    /// Whether `peer`, which is not an address we lend, may be reached.
    pub fn permits(&self, peer: IpAddr) -> bool {
        let forms = [Some(peer), embedded_v4(peer)];
        let any = |test: &dyn Fn(IpAddr) -> bool| forms.into_iter().flatten().any(test);
        if self.allows(peer) {
            return true;
        }
        !any(&|ip| contains(&self.denied, ip) || self.own.contains(&ip) || is_reserved(ip))
    }

    /// Whether `allowed` lists `peer`, in any spelling.
    pub fn allows(&self, peer: IpAddr) -> bool {
        [Some(peer), embedded_v4(peer)].into_iter().flatten().any(|ip| contains(&self.allowed, ip))
    }

    /// Whether `peer` is one of the box's own addresses at a port it listens on.
    pub fn is_listener(&self, peer: std::net::SocketAddr) -> bool {
        let forms = [Some(peer.ip()), embedded_v4(peer.ip())];
        let own = forms
            .into_iter()
            .flatten()
            .any(|ip| self.own.contains(&ip) || ip.is_loopback() || ip.is_unspecified());
        own && self.listeners.contains(&peer.port())
    }
}

/// Whether `peer` is an address we lend ports of.
pub fn is_relayed(peer: IpAddr, relayed: &Families<IpAddr>) -> bool {
    relayed.of(Family::of(peer)) == Some(&peer)
}

fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

/// The IPv4 address that an IPv6 address is a spelling of, if it is.
fn embedded_v4(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let octets = ip.octets();
    let four = |at: usize| {
        Some(IpAddr::V4(Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3])))
    };
    let starts = |prefix: &Ipv6Net| prefix.contains(&ip);
    if starts(&MAPPED) || starts(&COMPATIBLE) || starts(&NAT64) {
        four(12)
    } else if starts(&SIX_TO_FOUR) {
        four(2)
    } else {
        None
    }
}

fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => RESERVED_V4.iter().any(|net| net.contains(&ip)),
        // What is not global unicast (2000::/3) is reserved, but for the spellings of IPv4.
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

/// Inside 2000::/3: Teredo, benchmarking, ORCHID and the rest of 2001::/23, documentation (twice),
/// 6to4.
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
    fn public_unicast_addresses_may_be_reached() {
        for ip in ["45.0.0.11", "8.8.8.8", "2a00:1450::1", "2600::", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
            assert!(permits(&filter(), ip), "{ip}");
        }
    }

    #[test]
    fn private_corners_may_not_in_any_spelling() {
        let corners = [
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
        for ip in corners {
            assert!(!permits(&filter(), ip), "{ip}");
            assert!(!permits(&filter(), &format!("::ffff:{ip}")), "mapped {ip}");
            assert!(!permits(&filter(), &format!("::{ip}")), "compatible {ip}");
            assert!(!permits(&filter(), &format!("64:ff9b::{ip}")), "NAT64 {ip}");
        }
        let sixes = [
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
        for ip in sixes {
            assert!(!permits(&filter(), ip), "{ip}");
        }
    }

    #[test]
    fn allowed_wins_over_denied_over_the_list() {
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
    fn a_room_reaches_only_what_the_box_lends() {
        let relayed = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
        assert!(PeerPolicy::SameGroup.permits("192.0.0.8".parse().unwrap(), &relayed));
        assert!(!PeerPolicy::SameGroup.permits("8.8.8.8".parse().unwrap(), &relayed));
        assert!(!PeerPolicy::SameGroup.permits("100::8".parse().unwrap(), &relayed));
    }
}
