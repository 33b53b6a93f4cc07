//! What counts as one source where connections, replies or guesses are counted.

use std::net::{IpAddr, Ipv6Addr};

/// An address with only its first bits, as a source is counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    length: u8,
    network: IpAddr,
}

impl Prefix {
    /// By what `address` is counted, narrowest first: an IPv4 address by itself alone; an IPv6 address
    /// by its /64 (one network), its /56 (what a home is given) and its /48 (what a site is given).
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

/// An IPv4 address as it is; an IPv6 address as its /64, which one customer has whole.
pub fn of(address: IpAddr) -> IpAddr {
    Prefix::of(address)[0].map_or(address, |prefix| prefix.network)
}
