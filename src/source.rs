//! What counts as one source where connections or replies are counted.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address as it is; an IPv6 address as its /64, which one customer has whole.
pub fn of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
