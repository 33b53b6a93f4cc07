//! Chooses the addresses that the relay allocates and binds, and those by which clients reach the server.
//!
//! Pure: the addresses of the interfaces and of the domain are inputs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{ExternalIp, RelayScope};
use crate::error::Hint;
use webrtc_box_turn::addr::{Families, Family};
use webrtc_box_turn::peer_policy::PeerFilter;

/// The known addresses of this host.
#[derive(Clone, Debug, Default)]
pub struct HostAddresses {
    /// The `external-ip` setting.
    pub external: Vec<ExternalIp>,
    /// The addresses of the network interfaces, in the kernel's order.
    pub interfaces: Vec<InterfaceAddress>,
    /// The addresses that the domain resolves to.
    pub domain: Vec<IpAddr>,
}

/// An address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub ip: IpAddr,
    /// Not usable yet, or a duplicate of another host's address (RFC 4862 §5.4).
    pub tentative: bool,
    /// Not for new communication: its preferred lifetime is over (RFC 4862 §5.5.4).
    pub deprecated: bool,
    /// A privacy address, which is replaced about once a day (RFC 8981).
    pub temporary: bool,
}

/// The addresses of the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddresses {
    /// The relayed addresses that clients receive.
    pub relayed: Families<IpAddr>,
    /// The local addresses that relay sockets bind (scope `public`).
    pub bind: Families<IpAddr>,
}

/// With relay-scope `public`, the public address of this host is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("relay-scope public needs a public address")]
pub struct NoPublicAddress;

/// `host`, a name or an address, as URLs have it: an IPv6 address in brackets.
pub fn url_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Unused addresses (RFC 7600 §6, RFC 6666) that identify allocations in room scope if the host has no other address.
const PLACEHOLDERS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 0, 8), Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8));

impl HostAddresses {
    /// The addresses of the relay in `scope`.
    ///
    /// # Errors
    /// In scope `public` without `external-ip`, a public interface address or an address of the domain.
    pub fn relay_addresses(&self, scope: RelayScope) -> Result<RelayAddresses, NoPublicAddress> {
        match scope {
            RelayScope::Room => Ok(self.room_addresses()),
            RelayScope::Public => self.public_relay_addresses(),
        }
    }

    /// All addresses that lead to this host.
    pub fn own(&self) -> Vec<IpAddr> {
        let external = self.external.iter().flat_map(|external| [Some(external.public), external.local]);
        let interfaces = self.interfaces.iter().map(|interface| interface.ip);
        let mut own: Vec<IpAddr> = external.flatten().chain(interfaces).collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    /// The addresses by which clients reach this host, at most one per family: `external-ip`, else a public address of an
    /// interface that `is_bound`. Empty behind NAT without `external-ip`.
    pub fn public_addresses(&self, is_bound: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let filter = PeerFilter::default();
        let public = |family| self.interface(family, |ip| filter.permits(ip) && is_bound(ip));
        let of = |family| self.external(family).map(|external| external.public).or_else(|| public(family));
        Family::BOTH.into_iter().filter_map(of).collect()
    }

    /// In room scope an address only identifies an allocation, and no packet is sent to it. Loopback is excluded because
    /// Firefox refuses it.
    fn room_addresses(&self) -> RelayAddresses {
        let address = |family| {
            let of_interface = || self.interface(family, |ip| !ip.is_loopback() && !is_link_local(ip));
            self.external(family).map(|external| external.public).or_else(of_interface)
        };
        let relayed = Families {
            v4: Some(address(Family::V4).unwrap_or(PLACEHOLDERS.0.into())),
            v6: Some(address(Family::V6).unwrap_or(PLACEHOLDERS.1.into())),
        };
        RelayAddresses { relayed, bind: Families::default() }
    }

    fn public_relay_addresses(&self) -> Result<RelayAddresses, NoPublicAddress> {
        let mut addresses = RelayAddresses { relayed: Families::default(), bind: Families::default() };
        for family in Family::BOTH {
            let Some((public, local)) = self.public_and_local(family) else { continue };
            *addresses.relayed.of_mut(family) = Some(public);
            *addresses.bind.of_mut(family) = Some(local);
        }
        if addresses.relayed == Families::default() { Err(NoPublicAddress) } else { Ok(addresses) }
    }

    /// The public address and the local one to bind for it.
    fn public_and_local(&self, family: Family) -> Option<(IpAddr, IpAddr)> {
        if let Some(external) = self.external(family) {
            let local = external.local.unwrap_or_else(|| self.local_for(external.public));
            return Some((external.public, local));
        }
        let filter = PeerFilter::default();
        if let Some(public) = self.interface(family, |ip| filter.permits(ip)) {
            return Some((public, public));
        }
        let public =
            self.domain.iter().copied().find(|&ip| Family::of(ip) == family && filter.permits(ip))?;
        // Without an interface of that family no packet could be sent.
        self.interface(family, |ip| !ip.is_loopback() && !is_link_local(ip))?;
        Some((public, self.local_for(public)))
    }

    /// Whether an interface has this address.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.ip == ip)
    }

    fn local_for(&self, public: IpAddr) -> IpAddr {
        if self.has(public) { public } else { unspecified(Family::of(public)) }
    }

    /// The first `external-ip` of a family; later ones have no effect.
    pub fn external(&self, family: Family) -> Option<ExternalIp> {
        self.external.iter().copied().find(|external| Family::of(external.public) == family)
    }

    /// The preferred address of those that fit; the first of equal ones.
    fn interface(&self, family: Family, fits: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let of_family = |interface: &&InterfaceAddress| Family::of(interface.ip) == family;
        let usable = self.interfaces.iter().filter(of_family).filter(|interface| !interface.tentative);
        let fitting = usable.filter(|interface| fits(interface.ip));
        fitting.min_by_key(|interface| interface.preference()).map(|interface| interface.ip)
    }
}

impl InterfaceAddress {
    /// The order in which addresses are announced, smallest first: rules 3 and 7 of RFC 6724 §5. Rule 7 is reversed,
    /// because the address of a server should be permanent.
    pub fn preference(&self) -> impl Ord {
        (self.deprecated, self.temporary)
    }
}

impl From<IpAddr> for InterfaceAddress {
    fn from(ip: IpAddr) -> Self {
        Self { ip, tentative: false, deprecated: false, temporary: false }
    }
}

impl Hint for NoPublicAddress {
    fn hint(&self) -> String {
        "set external-ip, for example external-ip = \"PUBLIC/LOCAL\" behind NAT".to_owned()
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Valid on one link only (RFC 3927, RFC 4291 §2.5.6).
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn host(interfaces: &[&str]) -> HostAddresses {
        let interfaces = ips(interfaces).into_iter().map(InterfaceAddress::from).collect();
        HostAddresses { interfaces, ..HostAddresses::default() }
    }

    /// A host whose addresses have flags: t (tentative), d (deprecated), p (privacy, that is temporary).
    fn flagged(interfaces: &[(&str, &str)]) -> HostAddresses {
        let address = |(ip, flags): &(&str, &str)| InterfaceAddress {
            ip: ip.parse().unwrap(),
            tentative: flags.contains('t'),
            deprecated: flags.contains('d'),
            temporary: flags.contains('p'),
        };
        HostAddresses { interfaces: interfaces.iter().map(address).collect(), ..HostAddresses::default() }
    }

    #[test]
    fn a_permanent_address_is_preferred_to_a_temporary_one() {
        let v6 = |known: &HostAddresses, scope| {
            known.relay_addresses(scope).unwrap().relayed.v6.unwrap().to_string()
        };
        for (addresses, best) in [
            (&[("2a00::d", "d"), ("2a00::1", "")][..], "2a00::1"),
            (&[("2a00::e", "p"), ("2a00::1", "")], "2a00::1"),
            (&[("2a00::7", "t"), ("2a00::e", "p")], "2a00::e"),
            (&[("2a00::d", "d"), ("2a00::e", "p")], "2a00::e"),
            (&[("2a00::de", "dp"), ("2a00::d", "d")], "2a00::d"),
            (&[("2a00::1", ""), ("2a00::2", "")], "2a00::1"),
            // RFC 6724: avoided, not forbidden.
            (&[("2a00::d", "d")], "2a00::d"),
        ] {
            let known = flagged(addresses);
            assert_eq!(v6(&known, RelayScope::Public), best, "{addresses:?}");
            assert_eq!(v6(&known, RelayScope::Room), best, "{addresses:?}");
            assert_eq!(known.public_addresses(|_| true), ips(&[best]), "{addresses:?}");
        }
    }

    #[test]
    fn a_tentative_address_belongs_to_the_host_but_is_not_announced() {
        let known = flagged(&[("2a00::7", "t")]);
        assert_eq!(known.relay_addresses(RelayScope::Public), Err(NoPublicAddress));
        assert!(known.public_addresses(|_| true).is_empty());
        assert_eq!(known.own(), ips(&["2a00::7"]));
    }

    fn pair(v4: &str, v6: &str) -> Families<IpAddr> {
        Families { v4: v4.parse().ok(), v6: v6.parse().ok() }
    }

    #[test]
    fn room_scope_uses_the_first_address_that_is_not_loopback() {
        let known = host(&["127.0.0.1", "10.1.2.3", "::1", "fe80::1", "fd00::3"]);
        assert_eq!(known.relay_addresses(RelayScope::Room).unwrap().relayed, pair("10.1.2.3", "fd00::3"));
        assert_eq!(
            host(&["127.0.0.1", "::1"]).relay_addresses(RelayScope::Room).unwrap().relayed,
            pair("192.0.0.8", "100::8")
        );
    }

    #[test]
    fn external_ip_takes_precedence() {
        let external =
            vec![ExternalIp { public: "45.0.0.10".parse().unwrap(), local: "10.1.2.3".parse().ok() }];
        let known = HostAddresses { external, ..host(&["10.1.2.3"]) };
        assert_eq!(known.relay_addresses(RelayScope::Room).unwrap().relayed, pair("45.0.0.10", "100::8"));
        let public = known.relay_addresses(RelayScope::Public).unwrap();
        assert_eq!(public, RelayAddresses { relayed: pair("45.0.0.10", ""), bind: pair("10.1.2.3", "") });
        assert_eq!(known.own(), ips(&["10.1.2.3", "45.0.0.10"]));
    }

    #[test]
    fn clients_reach_the_server_by_bound_public_addresses() {
        let known = host(&["127.0.0.1", "10.1.2.3", "45.0.0.10", "45.0.0.11", "fd00::3", "2a00::10"]);
        assert_eq!(known.public_addresses(|_| true), ips(&["45.0.0.10", "2a00::10"]));
        assert_eq!(
            known.public_addresses(|ip| ip != "45.0.0.10".parse::<IpAddr>().unwrap() && ip.is_ipv4()),
            ips(&["45.0.0.11"])
        );
        assert!(host(&["127.0.0.1", "172.31.0.5", "::1"]).public_addresses(|_| true).is_empty());
        let external =
            vec![ExternalIp { public: "45.0.0.10".parse().unwrap(), local: "172.31.0.5".parse().ok() }];
        assert_eq!(
            HostAddresses { external, ..host(&["172.31.0.5"]) }.public_addresses(|_| true),
            ips(&["45.0.0.10"])
        );
    }

    #[test]
    fn public_scope_uses_a_public_interface_then_the_domain() {
        let known = host(&["127.0.0.1", "10.1.2.3", "45.0.0.10"]);
        assert_eq!(known.relay_addresses(RelayScope::Public).unwrap().relayed, pair("45.0.0.10", ""));
        let mut behind_nat = host(&["127.0.0.1", "10.1.2.3"]);
        assert_eq!(behind_nat.relay_addresses(RelayScope::Public), Err(NoPublicAddress));
        behind_nat.domain = ips(&["127.0.0.1", "45.0.0.10", "2a00::10"]);
        let addresses = behind_nat.relay_addresses(RelayScope::Public).unwrap();
        assert_eq!(addresses, RelayAddresses { relayed: pair("45.0.0.10", ""), bind: pair("0.0.0.0", "") });
    }
}
