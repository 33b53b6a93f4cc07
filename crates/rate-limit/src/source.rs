//! What counts as one source: an IPv4 address, or an IPv6 network.

use std::net::{IpAddr, Ipv6Addr};

/// A network prefix that requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePrefix {
    length: u8,
    network: IpAddr,
}

impl SourcePrefix {
    /// The prefixes of `address`, narrowest first: an IPv4 address is one source (/32); an IPv6 address counts
    /// for its /64 (one network), its /56 (a typical household) and its /48 (a typical site).
    pub fn of(address: IpAddr) -> [Option<Self>; 3] {
        match address.to_canonical() {
            IpAddr::V4(v4) => [Some(Self { length: 32, network: v4.into() }), None, None],
            IpAddr::V6(v6) => [64, 56, 48].map(|length| {
                let mask = u128::MAX << (128 - u32::from(length));
                Some(Self { length, network: Ipv6Addr::from_bits(v6.to_bits() & mask).into() })
            }),
        }
    }
}

/// The narrowest prefix of `address` as an address: IPv4 unchanged, IPv6 cut to its /64.
pub fn source_key(address: IpAddr) -> IpAddr {
    SourcePrefix::of(address)[0].map_or(address, |prefix| prefix.network)
}
