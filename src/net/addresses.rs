//! Which addresses the box has, and which of them the relay lends.
//!
//! Pure: interfaces and the name's addresses come in as lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{ExternalIp, RelayScope};
use crate::error::Hint;
use webrtc_box_turn::addr::{Families, Family};
use webrtc_box_turn::peer_policy::PeerFilter;

/// What is known of the box's addresses.
#[derive(Clone, Debug, Default)]
pub struct HostAddresses {
    /// `external-ip`, in order.
    pub external: Vec<ExternalIp>,
    /// Of the network interfaces, in their order.
    pub interfaces: Vec<InterfaceAddress>,
    /// What the domain resolves to.
    pub domain: Vec<IpAddr>,
}

/// An address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub ip: IpAddr,
    /// Not in use yet, or a duplicate of another host's (RFC 4862 §5.4).
    pub tentative: bool,
    /// Not for new communication: its prefix or its lease runs out (RFC 4862 §5.5.4).
    pub deprecated: bool,
    /// Made for privacy, another one tomorrow (RFC 8981).
    pub temporary: bool,
}

/// What the relay lends, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddresses {
    /// As clients are told.
    pub relayed: Families<IpAddr>,
    /// What real relay sockets bind (`public`).
    pub bind: Families<IpAddr>,
}

/// With relay-scope `public`, the public address of this host is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("relay-scope public needs a public address")]
pub struct NoPublicAddress;

/// Addresses that are nobody's (RFC 7600 §6, RFC 6666): in room scope they only name.
const NOBODYS: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 0, 8), Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8));

impl HostAddresses {
    /// The addresses to relay_addresses in `scope`.
    ///
    /// # Errors
    /// In `public`, where there is no `external-ip`, no public interface address, and the domain
    /// resolves to nothing.
    pub fn relay_addresses(&self, scope: RelayScope) -> Result<RelayAddresses, NoPublicAddress> {
        match scope {
            RelayScope::Room => Ok(self.names()),
            RelayScope::Public => self.public(),
        }
    }

    /// Every address that is the box itself.
    pub fn own(&self) -> Vec<IpAddr> {
        let external = self.external.iter().flat_map(|external| [Some(external.public), external.local]);
        let interfaces = self.interfaces.iter().map(|interface| interface.ip);
        let mut own: Vec<IpAddr> = external.flatten().chain(interfaces).collect();
        own.sort_unstable();
        own.dedup();
        own
    }

    /// The addresses people reach the box by, at most one of each family: as `external-ip` says, else a
    /// public one of an interface that is `heard`. None where a translator stands before the box and
    /// nothing says how it looks from outside.
    pub fn reached_by(&self, heard: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let filter = PeerFilter::default();
        let public = |family| self.interface(family, |ip| filter.permits(ip) && heard(ip));
        let of = |family| self.external(family).map(|external| external.public).or_else(|| public(family));
        Family::BOTH.into_iter().filter_map(of).collect()
    }

    /// In room scope an address names an allocation and is sent to by nobody; only loopback will
    /// not do, which Firefox refuses.
    fn names(&self) -> RelayAddresses {
        let name = |family| {
            let of_interface = || self.interface(family, |ip| !ip.is_loopback() && !is_link_local(ip));
            self.external(family).map(|external| external.public).or_else(of_interface)
        };
        let relayed = Families {
            v4: Some(name(Family::V4).unwrap_or(NOBODYS.0.into())),
            v6: Some(name(Family::V6).unwrap_or(NOBODYS.1.into())),
        };
        RelayAddresses { relayed, bind: Families::default() }
    }

    fn public(&self) -> Result<RelayAddresses, NoPublicAddress> {
        let mut lent = RelayAddresses { relayed: Families::default(), bind: Families::default() };
        for family in Family::BOTH {
            let Some((public, local)) = self.seen(family) else { continue };
            *lent.relayed.of_mut(family) = Some(public);
            *lent.bind.of_mut(family) = Some(local);
        }
        if lent.relayed == Families::default() { Err(NoPublicAddress) } else { Ok(lent) }
    }

    /// How the box is seen from outside, and what to bind for it.
    fn seen(&self, family: Family) -> Option<(IpAddr, IpAddr)> {
        if let Some(external) = self.external(family) {
            let local = external.local.unwrap_or_else(|| self.local_for(external.public));
            return Some((external.public, local));
        }
        let filter = PeerFilter::default();
        if let Some(public) = self.interface(family, |ip| filter.permits(ip)) {
            return Some((public, public));
        }
        let named = self.domain.iter().copied().find(|&ip| Family::of(ip) == family && filter.permits(ip))?;
        // Without an interface of that family nothing could leave.
        self.interface(family, |ip| !ip.is_loopback() && !is_link_local(ip))?;
        Some((named, self.local_for(named)))
    }

    /// Whether an interface has this address.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.ip == ip)
    }

    fn local_for(&self, public: IpAddr) -> IpAddr {
        if self.has(public) { public } else { unspecified(Family::of(public)) }
    }

    /// The `external-ip` that counts for a family: the first.
    pub fn external(&self, family: Family) -> Option<ExternalIp> {
        self.external.iter().copied().find(|external| Family::of(external.public) == family)
    }

    /// The best of those that fit; the first of equals.
    fn interface(&self, family: Family, fits: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let of_family = |interface: &&InterfaceAddress| Family::of(interface.ip) == family;
        let usable = self.interfaces.iter().filter(of_family).filter(|interface| !interface.tentative);
        let fitting = usable.filter(|interface| fits(interface.ip));
        fitting.min_by_key(|interface| interface.preference()).map(|interface| interface.ip)
    }
}

impl InterfaceAddress {
    /// Less is better for an address that others are told: rules 3 and 7 of RFC 6724 §5, of which the
    /// latter is turned round, since a server's address is to last.
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
        "give it with external-ip, for example external-ip = \"PUBLIC/LOCAL\" behind a NAT".to_owned()
    }
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
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

    /// Addresses, each with the letters of what it is: tentative, deprecated, private (temporary).
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
    fn an_address_that_lasts_is_preferred_to_one_that_does_not() {
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
            assert_eq!(known.reached_by(|_| true), ips(&[best]), "{addresses:?}");
        }
    }

    #[test]
    fn a_tentative_address_is_the_hosts_own_and_named_to_nobody() {
        let known = flagged(&[("2a00::7", "t")]);
        assert_eq!(known.relay_addresses(RelayScope::Public), Err(NoPublicAddress));
        assert!(known.reached_by(|_| true).is_empty());
        assert_eq!(known.own(), ips(&["2a00::7"]));
    }

    fn pair(v4: &str, v6: &str) -> Families<IpAddr> {
        Families { v4: v4.parse().ok(), v6: v6.parse().ok() }
    }

    #[test]
    fn a_room_is_named_by_the_first_address_that_is_not_loopback() {
        let known = host(&["127.0.0.1", "10.1.2.3", "::1", "fe80::1", "fd00::3"]);
        assert_eq!(known.relay_addresses(RelayScope::Room).unwrap().relayed, pair("10.1.2.3", "fd00::3"));
        assert_eq!(
            host(&["127.0.0.1", "::1"]).relay_addresses(RelayScope::Room).unwrap().relayed,
            pair("192.0.0.8", "100::8")
        );
    }

    #[test]
    fn external_ip_comes_first() {
        let external =
            vec![ExternalIp { public: "45.0.0.10".parse().unwrap(), local: "10.1.2.3".parse().ok() }];
        let known = HostAddresses { external, ..host(&["10.1.2.3"]) };
        assert_eq!(known.relay_addresses(RelayScope::Room).unwrap().relayed, pair("45.0.0.10", "100::8"));
        let public = known.relay_addresses(RelayScope::Public).unwrap();
        assert_eq!(public, RelayAddresses { relayed: pair("45.0.0.10", ""), bind: pair("10.1.2.3", "") });
        assert_eq!(known.own(), ips(&["10.1.2.3", "45.0.0.10"]));
    }

    #[test]
    fn people_reach_the_box_by_public_addresses_that_are_heard() {
        let known = host(&["127.0.0.1", "10.1.2.3", "45.0.0.10", "45.0.0.11", "fd00::3", "2a00::10"]);
        assert_eq!(known.reached_by(|_| true), ips(&["45.0.0.10", "2a00::10"]));
        assert_eq!(
            known.reached_by(|ip| ip != "45.0.0.10".parse::<IpAddr>().unwrap() && ip.is_ipv4()),
            ips(&["45.0.0.11"])
        );
        assert!(host(&["127.0.0.1", "172.31.0.5", "::1"]).reached_by(|_| true).is_empty());
        let external =
            vec![ExternalIp { public: "45.0.0.10".parse().unwrap(), local: "172.31.0.5".parse().ok() }];
        assert_eq!(
            HostAddresses { external, ..host(&["172.31.0.5"]) }.reached_by(|_| true),
            ips(&["45.0.0.10"])
        );
    }

    #[test]
    fn public_takes_a_public_interface_then_the_name_then_gives_up() {
        let known = host(&["127.0.0.1", "10.1.2.3", "45.0.0.10"]);
        assert_eq!(known.relay_addresses(RelayScope::Public).unwrap().relayed, pair("45.0.0.10", ""));
        let mut hidden = host(&["127.0.0.1", "10.1.2.3"]);
        assert_eq!(hidden.relay_addresses(RelayScope::Public), Err(NoPublicAddress));
        hidden.domain = ips(&["127.0.0.1", "45.0.0.10", "2a00::10"]);
        let lent = hidden.relay_addresses(RelayScope::Public).unwrap();
        assert_eq!(lent, RelayAddresses { relayed: pair("45.0.0.10", ""), bind: pair("0.0.0.0", "") });
    }
}
