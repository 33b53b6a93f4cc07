//! Reads the addresses of this host's interfaces, with the kernel's flags; determines the addresses to bind.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;
use crate::net::addresses::InterfaceAddress;

/// Flags of an address, from `linux/if_addr.h`.
const TEMPORARY: u8 = 0x01;
const OPTIMISTIC: u8 = 0x04;
const DUPLICATE: u8 = 0x08;
const DEPRECATED: u8 = 0x20;
const TENTATIVE: u8 = 0x40;

/// Prefixes of the names of container and virtual machine interfaces, which other devices cannot reach.
const VIRTUAL: [&str; 5] = ["docker", "br-", "veth", "virbr", "cni"];

/// The current addresses of this host's interfaces; empty if they cannot be read.
pub fn interfaces() -> Vec<InterfaceAddress> {
    try_interfaces().unwrap_or_default()
}

/// The current addresses of this host's interfaces.
///
/// # Errors
/// The kernel does not list them.
pub fn try_interfaces() -> io::Result<Vec<InterfaceAddress>> {
    let found = if_addrs::get_if_addrs()?;
    let flags = ipv6_flags();
    Ok(found.iter().map(|interface| flagged(interface.ip(), &flags)).collect())
}

/// The addresses of this host in the local network: IPv4, else permanent IPv6 addresses, else any. Temporary IPv6
/// addresses change daily (RFC 8981), and each change would mean another self-signed certificate to accept.
pub fn lan_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let flags = ipv6_flags();
    let is_physical = |name: &str| !VIRTUAL.iter().any(|prefix| name.starts_with(prefix));
    let all: Vec<_> = interfaces
        .iter()
        .filter(|interface| {
            is_physical(&interface.name) && !interface.is_loopback() && !interface.is_link_local()
        })
        .map(|interface| flagged(interface.ip(), &flags))
        .filter(|interface| !interface.tentative)
        .collect();
    let of = |fits: &dyn Fn(&InterfaceAddress) -> bool| -> Vec<_> {
        all.iter().filter(|interface| fits(interface)).map(|interface| interface.ip).collect()
    };
    let preferred =
        [of(&|address| address.ip.is_ipv4()), of(&|address| !address.deprecated && !address.temporary)];
    preferred.into_iter().find(|found| !found.is_empty()).unwrap_or_else(|| of(&|_| true))
}

fn flagged(ip: IpAddr, flags: &HashMap<Ipv6Addr, u8>) -> InterfaceAddress {
    let flags = match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) => flags.get(&ip).copied().unwrap_or_default(),
    };
    // An optimistic address is usable while the kernel still searches for duplicates (RFC 4429).
    let unusable = flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0;
    InterfaceAddress {
        ip,
        tentative: unusable || flags & DUPLICATE != 0,
        deprecated: flags & DEPRECATED != 0,
        temporary: flags & TEMPORARY != 0,
    }
}

/// The flags of each IPv6 address; empty if they cannot be read. Reads the list below `/proc/self`, because systemd's
/// `ProcSubset=pid` hides `/proc/net`.
fn ipv6_flags() -> HashMap<Ipv6Addr, u8> {
    std::fs::read_to_string("/proc/self/net/if_inet6").map(|text| parse_flags(&text)).unwrap_or_default()
}

/// Parses lines of address, index, prefix length, scope, flags (all hexadecimal) and interface.
fn parse_flags(text: &str) -> HashMap<Ipv6Addr, u8> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let ip = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        Some((Ipv6Addr::from_bits(ip), flags))
    };
    text.lines().filter_map(line).collect()
}

/// The addresses to bind: both families on one socket, unless `listen` lists addresses or the host has no IPv6.
pub fn sockets(listen: &Listen, port: u16) -> Vec<SocketAddr> {
    let addresses = match listen {
        Listen::These(addresses) => addresses.clone(),
        Listen::Any if has_ipv6() => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        Listen::Any => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
    };
    addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn has_ipv6() -> bool {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP));
    socket.is_ok_and(|socket| socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_ipv6_addresses_are_parsed() {
        let text = "\
            00000000000000000000000000000001 01 80 10 80       lo\n\
            2a000000000000000000000000000001 02 40 00 00     eth0\n\
            2a00000000000000000000000000000d 02 40 00 20     eth0\n\
            2a00000000000000000000000000000e 02 40 00 01     eth0\n\
            2a000000000000000000000000000007 02 40 00 40     eth0\n\
            2a000000000000000000000000000008 02 40 00 44     eth0\n\
            2a000000000000000000000000000009 02 40 00 c8     eth0\n\
            not a line of the kernel\n";
        let flags = parse_flags(text);
        let flags_of = |ip: &str| {
            let address = flagged(ip.parse().unwrap(), &flags);
            (address.tentative, address.deprecated, address.temporary)
        };
        assert_eq!(flags_of("2a00::1"), (false, false, false));
        assert_eq!(flags_of("2a00::d"), (false, true, false));
        assert_eq!(flags_of("2a00::e"), (false, false, true));
        assert_eq!(flags_of("2a00::7"), (true, false, false));
        assert_eq!(flags_of("2a00::8"), (false, false, false), "optimistic: usable");
        assert_eq!(flags_of("2a00::9"), (true, false, false), "duplicate of another host");
        assert_eq!(flags_of("2a00::ffff"), (false, false, false), "not in the list");
        assert_eq!(flags_of("10.0.0.1"), (false, false, false));
        assert_eq!(flags.len(), 7);
    }
}
